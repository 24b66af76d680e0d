//! Who is in, and what a request costs.

use super::deployment::*;
use crate::login::SessionId;

#[tokio::test(start_paused = true)]
async fn a_login_is_one_write_and_a_known_session_is_served_from_memory() {
    let deployment = Deployment::new();
    let (here, there) = (deployment.replica().await, deployment.replica().await);
    let digest = deployment.log_in(&here).await;
    assert_eq!((deployment.store.writes(), deployment.store.reads()), (1, 0));
    for replica in [&here, &there] {
        let live = ask(replica, &digest).await.unwrap().unwrap();
        assert_eq!((live.username.as_str(), &*live.owner.subject), ("ann", "subject of ann"));
        assert_eq!(live.email.as_deref(), Some("ann@example.org"));
        let left = live.ends.duration_since(now()).unwrap();
        assert!(just_before(12 * HOUR) < left && left <= 12 * HOUR);
        assert_eq!(live.caller.to_vec(), ["of the login"]);
    }
    let (reads, writes) = (deployment.store.reads(), deployment.store.writes());
    assert_eq!(reads, 6, "the session and two markers, at each replica");
    for _ in 0..100 {
        assert!(here.recall(&digest, now()).is_some());
    }
    settle().await;
    assert_eq!((deployment.store.reads(), deployment.store.writes()), (reads, writes));
    assert!(deployment.provider.asked() == 0 && here.kept() == 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_nobody_was_given_lets_nobody_in() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    deployment.log_in(&replica).await;
    let other = SessionId::generate().unwrap().digest();
    assert!(!is_in(&replica, &other).await && replica.kept() == 0);
    assert!(replica.end(&other).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_uses_ends_and_one_in_use_does_not() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let (used, idle) = (deployment.log_in(&replica).await, deployment.log_in(&replica).await);
    for _ in 0..5 {
        assert!(is_in(&replica, &used).await);
        // a request just before the end
        pass(just_before(HOUR)).await;
    }
    assert!(is_in(&replica, &used).await);
    assert!(!is_in(&replica, &idle).await, "a look at a session that has ended does not bring it back");
}

#[tokio::test(start_paused = true)]
async fn a_use_is_noted_at_most_once_in_a_minute() {
    let mut deployment = Deployment::new();
    deployment.settings.lifetime = 48 * HOUR;
    let (here, there) = (deployment.replica().await, deployment.replica().await);
    let new = crate::login::NewSession { lifetime: 24 * HOUR, ..login("ann") };
    let digest = here.begin(new).await.unwrap().digest();
    let before = deployment.store.writes();
    // two requests in each second, for an hour
    for second in 0..3600 {
        for replica in [&here, &there] {
            assert!(is_in(replica, &digest).await, "{second}");
            settle().await;
        }
        tokio::time::sleep(SECOND).await;
    }
    let writes = deployment.store.writes() - before;
    assert!((55..=62).contains(&writes), "{writes} writes");
    assert!(deployment.remaining(&digest) >= just_before(HOUR));
}

#[tokio::test(start_paused = true)]
async fn no_use_carries_a_session_beyond_its_absolute_end() {
    let mut deployment = Deployment::new();
    deployment.settings.lifetime = 2 * HOUR;
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    for _ in 0..2 * 60 - 1 {
        pass(MINUTE).await;
        assert!(is_in(&replica, &digest).await);
        let left = ask(&replica, &digest).await.unwrap().unwrap().ends.duration_since(now()).unwrap();
        assert!(deployment.remaining(&digest) <= left + SECOND / 100, "{left:?}");
    }
    pass(MINUTE + SECOND).await;
    assert!(!is_in(&replica, &digest).await && deployment.session(&digest).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_no_key_opens_is_none() {
    let deployment = Deployment::new();
    let (here, other) = (deployment.replica().await, deployment.replica_sealing(2).await);
    let digest = deployment.log_in(&here).await;
    assert!(!is_in(&other, &digest).await);
    assert!(is_in(&here, &digest).await, "and nothing is done to it");
    // moved to the name of another session, or cut
    let moved = SessionId::generate().unwrap().digest();
    let bytes = deployment.store.bytes(&digest.key()).await;
    deployment.store.put(&moved.key(), &bytes, HOUR).await;
    assert!(!is_in(&here, &moved).await);
    deployment.store.put(&digest.key(), &bytes[..bytes.len() - 1], HOUR).await;
    assert!(!is_in(&here, &digest).await);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_holds_tells_nothing() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    let bytes = deployment.store.bytes(&digest.key()).await;
    for text in ["ann", "ID token", "issuer"] {
        assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }
}
