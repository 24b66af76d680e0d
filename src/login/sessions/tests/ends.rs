//! The end of a session, which no refresh undoes.

use secrecy::ExposeSecret as _;

use super::deployment::*;

#[tokio::test(start_paused = true)]
async fn an_ended_session_is_refused_everywhere_at_once() {
    let deployment = Deployment::new();
    let (here, there) = (deployment.replica().await, deployment.replica().await);
    let digest = deployment.log_in(&here).await;
    assert!(is_in(&here, &digest).await && is_in(&there, &digest).await);
    let ended = here.end(&digest).await.unwrap().unwrap();
    assert_eq!((ended.username.as_str(), ended.id_token.expose_secret()), ("ann", "the first ID token"));
    for replica in [&here, &there] {
        assert!(replica.recall(&digest, now()).is_none());
        assert!(!is_in(replica, &digest).await);
    }
    assert!(here.end(&digest).await.unwrap().is_none(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_session_stays_ended_whatever_refresh_was_on_its_way() {
    for at in [0, 1, 5, 9, 11] {
        let deployment = Deployment::new();
        let (here, there) = (deployment.replica().await, deployment.replica().await);
        let digest = deployment.log_in(&here).await;
        deployment.provider.takes(SECOND);
        pass(TOKENS / 4 * 3).await;
        deployment.store.writes_take(SECOND / 10);
        assert!(is_in(&here, &digest).await && is_in(&there, &digest).await);
        pass(SECOND / 10 * at).await;
        assert!(there.end(&digest).await.unwrap().is_some(), "{at}");
        for _ in 0..5 {
            for replica in [&here, &there] {
                assert!(!is_in(replica, &digest).await, "{at}");
            }
            pass(SECOND).await;
        }
        assert!(deployment.session(&digest).is_none(), "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_the_end_still_tells_what_was_ended() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.store.lose_answers(1);
    assert!(replica.end(&digest).await.unwrap().is_some());
    assert!(!is_in(&replica, &digest).await);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_store_did_not_do_is_an_error() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.store.fail();
    assert!(replica.end(&digest).await.is_err());
}

/// As after `FLUSHALL`: everybody logs in once more, and nobody sees an error.
#[tokio::test(start_paused = true)]
async fn a_lost_session_is_none() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.takes(SECOND);
    pass(TOKENS / 4 * 3).await;
    assert!(is_in(&replica, &digest).await);
    settle().await;
    deployment.store.flush();
    assert!(!is_in(&replica, &digest).await);
    pass(2 * SECOND).await;
    assert!(!is_in(&replica, &digest).await, "the tokens that came after it bring nothing back");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_no_store_would_read_back_is_not_begun() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let new = crate::login::NewSession { id_token: "x".repeat(256 * 1024).into(), ..login("ann") };
    assert!(replica.begin(new).await.is_err());
    assert_eq!(deployment.store.writes(), 0);
}
