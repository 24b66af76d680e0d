//! A provider or a store that does not answer.

use super::deployment::*;
use crate::login::SessionError;

#[tokio::test(start_paused = true)]
async fn while_the_provider_is_down_people_are_served_for_max_stale_after_their_tokens_ended() {
    for does in [Does::IsDown, Does::Hangs] {
        let deployment = Deployment::new();
        let (here, there) = (deployment.replica().await, deployment.replica().await);
        let digest = deployment.log_in(&here).await;
        deployment.provider.always(does);
        let mut minute = 0;
        while MINUTE * minute < TOKENS + MAX_STALE {
            for replica in [&here, &there] {
                let begun = now();
                assert_eq!(groups(replica, &digest).await, ["of the login"], "{does:?} minute {minute}");
                let waited = now().duration_since(begun).unwrap();
                assert!(waited <= SECOND * 11 / 10, "{does:?} minute {minute}: {waited:?}");
            }
            pass(MINUTE).await;
            minute += 1;
        }
        for replica in [&here, &there] {
            let refused = ask(replica, &digest).await;
            assert!(matches!(refused, Err(SessionError::ProviderDown(_))), "{does:?}");
        }
        // and nothing was lost
        deployment.provider.always(Does::Answers);
        pass(30 * SECOND).await;
        for replica in [&here, &there] {
            let last = deployment.provider.asked();
            let found = groups(replica, &digest).await;
            assert!(found[0].starts_with("of refresh"), "{does:?} {found:?} {last}");
        }
        assert!(!deployment.provider.saw_reuse() && deployment.provider.most_at_once() == 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_could_not_be_asked_is_asked_again_and_the_claim_is_given_back() {
    let deployment = Deployment::new();
    let (here, there) = (deployment.replica().await, deployment.replica().await);
    let digest = deployment.log_in(&here).await;
    deployment.provider.script([Does::IsDown]);
    pass(TOKENS / 4 * 3).await;
    assert!(is_in(&here, &digest).await);
    settle().await;
    assert_eq!(deployment.session(&digest).unwrap().claim, None);
    assert!(is_in(&there, &digest).await, "another replica has no reason to wait");
    settle().await;
    assert_eq!(deployment.provider.asked(), 2);
    assert_eq!(groups(&here, &digest).await, ["of refresh 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_is_asked_once_in_a_second_however_many_people_wait() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(deployment.log_in(&replica).await);
    }
    deployment.provider.always(Does::IsDown);
    pass(TOKENS + MAX_STALE).await;
    assert!(ask(&replica, &sessions[0]).await.is_err());
    let before = deployment.provider.asked();
    for _ in 0..10 {
        for digest in &sessions {
            assert!(ask(&replica, digest).await.is_err());
        }
        pass(SECOND).await;
    }
    let asked = deployment.provider.asked() - before;
    assert!((8..=11).contains(&asked), "{asked}");
}

/// The other replica's attempt has no answer, and its claim must run out first.
#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_one_after_another_for_an_attempt_of_another_replica() {
    let deployment = Deployment::new();
    let (here, there) = (deployment.replica().await, deployment.replica().await);
    let digest = deployment.log_in(&here).await;
    deployment.provider.script([Does::Hangs]);
    pass(TOKENS + SECOND).await;
    assert!(is_in(&here, &digest).await);
    let begun = now();
    for _ in 0..20 {
        assert_eq!(groups(&there, &digest).await, ["of the login"]);
    }
    let waited = now().duration_since(begun).unwrap();
    assert!(waited <= SECOND * 11 / 10, "{waited:?}");
    pass(15 * SECOND).await;
    assert_eq!(groups(&there, &digest).await, ["of refresh 2"]);
    assert_eq!(deployment.provider.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_provider_does_not_end_a_session_in_use_for_idleness() {
    let mut deployment = Deployment::new();
    deployment.settings.idle_timeout = 5 * MINUTE;
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.always(Does::IsDown);
    for _ in 0..34 {
        assert!(is_in(&replica, &digest).await);
        pass(MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_down_known_sessions_are_served_and_others_are_an_error_and_no_login() {
    let deployment = Deployment::new();
    let (here, there) = (deployment.replica().await, deployment.replica().await);
    let digest = deployment.log_in(&here).await;
    assert!(is_in(&here, &digest).await);
    deployment.store.fail();
    assert!(here.recall(&digest, now()).is_none(), "the store is asked first");
    assert_eq!(groups(&here, &digest).await, ["of the login"]);
    assert!(matches!(ask(&there, &digest).await, Err(SessionError::Store(_))));
    pass(just_before(15 * MINUTE)).await;
    here.sweep();
    assert!(is_in(&here, &digest).await);
    pass(2 * SECOND).await;
    assert!(matches!(ask(&here, &digest).await, Err(SessionError::Store(_))));
    here.sweep();
    assert_eq!(here.kept(), 0);
    deployment.store.revive();
    assert!(is_in(&here, &digest).await && is_in(&there, &digest).await);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_store_does_not_serve_tokens_longer_than_max_stale() {
    let mut deployment = Deployment::new();
    deployment.settings.store_max_stale = HOUR;
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    assert!(is_in(&replica, &digest).await);
    deployment.store.fail();
    pass(just_before(TOKENS + MAX_STALE)).await;
    assert!(is_in(&replica, &digest).await);
    pass(2 * SECOND).await;
    assert!(matches!(ask(&replica, &digest).await, Err(SessionError::Store(_))));
    assert_eq!(deployment.provider.asked(), 0);
}

/// A change may have been missed in an outage of the store, such as the end of the session.
#[tokio::test(start_paused = true)]
async fn an_end_during_which_the_reports_were_lost_is_felt_when_the_store_is_back() {
    let deployment = Deployment::new();
    let (here, there) = (deployment.replica().await, deployment.replica().await);
    let digest = deployment.log_in(&here).await;
    assert!(is_in(&here, &digest).await && is_in(&there, &digest).await);
    deployment.store.fail();
    deployment.store.revive();
    assert!(there.recall(&digest, now()).is_none());
    there.end(&digest).await.unwrap().unwrap();
    assert!(!is_in(&here, &digest).await);
}
