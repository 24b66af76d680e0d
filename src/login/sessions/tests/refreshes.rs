//! One redemption of each refresh token, in time, for all tabs and replicas.

use std::time::Duration;

use futures_util::future::join_all;

use super::deployment::*;
use crate::login::{NewSession, SessionError};

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_at_three_quarters_of_their_life_while_the_old_identity_serves() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.takes(2 * SECOND);
    assert_eq!(groups(&replica, &digest).await, ["of the login"]);
    pass(just_before(TOKENS / 4 * 3)).await;
    assert_eq!(groups(&replica, &digest).await, ["of the login"]);
    settle().await;
    assert_eq!(deployment.provider.asked(), 0);
    pass(2 * SECOND).await;
    for _ in 0..10 {
        assert_eq!(groups(&replica, &digest).await, ["of the login"], "nobody waits");
        settle().await;
    }
    pass(3 * SECOND).await;
    assert_eq!(groups(&replica, &digest).await, ["of refresh 1"]);
    assert_eq!(deployment.provider.asked(), 1);
    let session = deployment.session(&digest).unwrap();
    assert_eq!((session.generation, session.claim), (1, None));
    assert_eq!(session.sid.as_deref(), Some("session of ann"), "the provider need not name it again");
}

#[tokio::test(start_paused = true)]
async fn sixty_requests_at_the_end_of_the_tokens_are_one_redemption_over_three_replicas() {
    let deployment = Deployment::new();
    let replicas = [deployment.replica().await, deployment.replica().await, deployment.replica().await];
    let digest = deployment.log_in(&replicas[0]).await;
    for replica in &replicas {
        assert!(is_in(replica, &digest).await);
    }
    deployment.provider.takes(SECOND / 2);
    pass(TOKENS + SECOND).await;
    let requests = (0..60).map(|n| groups(&replicas[n % 3], &digest));
    let answers = join_all(requests).await;
    assert!(answers.iter().all(|groups| groups == &["of refresh 1"]), "{answers:?}");
    assert_eq!(deployment.provider.asked(), 1);
    assert!(!deployment.provider.saw_reuse());
}

#[tokio::test(start_paused = true)]
async fn a_day_of_three_replicas_reuses_no_token() {
    let mut deployment = Deployment::new();
    deployment.settings.lifetime = 24 * HOUR;
    let replicas = [deployment.replica().await, deployment.replica().await, deployment.replica().await];
    let digest = deployment.log_in(&replicas[0]).await;
    deployment.provider.takes(SECOND / 5);
    for minute in 0..24 * 60 - 1 {
        let all = join_all((0..6).map(|n| ask(&replicas[n % 3], &digest))).await;
        assert!(all.into_iter().all(|found| found.unwrap().is_some()), "{minute}");
        pass(MINUTE).await;
    }
    assert!(!deployment.provider.saw_reuse());
    assert_eq!(deployment.provider.most_at_once(), 1);
    let refreshes = deployment.provider.asked();
    assert!((85..=96).contains(&refreshes), "{refreshes}: one in each 15 to 17 minutes");
}

#[tokio::test(start_paused = true)]
async fn a_provider_may_leave_out_the_id_token_and_keep_the_refresh_token() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.script([Does::AnswersShortly, Does::AnswersShortly]);
    for _ in 0..2 {
        pass(TOKENS).await;
        assert_eq!(groups(&replica, &digest).await, ["of the login"]);
    }
    assert_eq!(deployment.provider.asked(), 2);
    pass(TOKENS).await;
    assert_eq!(groups(&replica, &digest).await, ["of refresh 3"]);
}

/// A provider that rotates has given the session another refresh token, which must not be lost.
#[tokio::test(start_paused = true)]
async fn tokens_that_cannot_be_verified_at_present_cost_nobody_the_session() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.always(Does::IsNotVerified);
    pass(TOKENS + SECOND).await;
    for _ in 0..5 {
        assert_eq!(groups(&replica, &digest).await, ["of the login"]);
        pass(MINUTE).await;
    }
    assert!(deployment.provider.asked() >= 5);
    pass(MAX_STALE).await;
    assert!(
        matches!(ask(&replica, &digest).await, Err(SessionError::ProviderDown(_))),
        "and it is not served for ever"
    );
    deployment.provider.always(Does::Answers);
    pass(2 * SECOND).await;
    assert!(groups(&replica, &digest).await[0].starts_with("of refresh"));
    assert!(!deployment.provider.saw_reuse());
}

#[tokio::test(start_paused = true)]
async fn a_session_without_a_refresh_token_ends_with_its_tokens() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = replica.begin(login("ann")).await.unwrap().digest();
    pass(just_before(TOKENS)).await;
    assert!(is_in(&replica, &digest).await);
    pass(2 * SECOND).await;
    assert!(!is_in(&replica, &digest).await && deployment.session(&digest).is_none());
    assert_eq!(deployment.provider.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_session_everywhere() {
    let deployment = Deployment::new();
    let (here, there) = (deployment.replica().await, deployment.replica().await);
    let digest = deployment.log_in(&here).await;
    assert!(is_in(&there, &digest).await);
    deployment.provider.revoke();
    pass(TOKENS / 4 * 3).await;
    assert!(is_in(&here, &digest).await, "it is not known yet");
    settle().await;
    assert!(there.recall(&digest, now()).is_none());
    for replica in [&here, &there] {
        assert!(!is_in(replica, &digest).await);
    }
    assert_eq!(deployment.provider.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_session_gets_the_tokens_of_another_person() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.script([Does::IsMistaken]);
    pass(TOKENS).await;
    assert!(!is_in(&replica, &digest).await && deployment.session(&digest).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_replica_died_is_taken_over() {
    for does in [Does::Hangs, Does::LosesTheAnswer] {
        let deployment = Deployment::new();
        let (dying, other) = (deployment.replica().await, deployment.replica().await);
        let digest = deployment.log_in(&dying).await;
        deployment.provider.script([does]);
        pass(TOKENS / 4 * 3).await;
        // the process ends while the provider is asked: nothing of it goes on, and the time-out is not noted either
        assert!(is_in(&dying, &digest).await);
        settle().await;
        let claim = deployment.session(&digest).unwrap().claim.unwrap();
        assert_eq!(claim.attempt, 1);
        assert!(is_in(&other, &digest).await, "the old identity serves");
        settle().await;
        assert_eq!(deployment.provider.asked(), 1, "{does:?}: nobody else asks while the claim lasts");
        pass(12 * SECOND).await;
        let served = is_in(&other, &digest).await;
        pass(SECOND).await;
        assert_eq!(deployment.provider.asked(), 2, "{does:?}");
        match does {
            // it had not redeemed the token
            Does::Hangs => assert_eq!(groups(&other, &digest).await, ["of refresh 2"]),
            // it had, and revokes the session: one login
            _ => assert!(!is_in(&other, &digest).await, "served before: {served}"),
        }
        assert_eq!(deployment.provider.most_at_once(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_without_an_answer_of_the_store_is_read_before_the_provider_is_asked() {
    let deployment = Deployment::new();
    let (here, there) = (deployment.replica().await, deployment.replica().await);
    let digest = deployment.log_in(&here).await;
    assert!(is_in(&there, &digest).await);
    pass(TOKENS + SECOND).await;
    deployment.store.lose_answers(1);
    let both = join_all([groups(&here, &digest), groups(&there, &digest)]).await;
    assert!(both.iter().all(|groups| groups == &["of refresh 1"]), "{both:?}");
    assert_eq!(deployment.provider.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn tokens_whose_write_has_no_answer_are_not_lost() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.takes(SECOND / 2);
    pass(TOKENS + SECOND).await;
    let mut asking = Box::pin(groups(&replica, &digest));
    assert!(futures_util::poll!(asking.as_mut()).is_pending());
    pass(SECOND / 4).await;
    assert_eq!(deployment.provider.asked(), 1);
    deployment.store.lose_answers(1);
    assert_eq!(asking.await, ["of refresh 1"]);
    assert_eq!((deployment.provider.asked(), deployment.provider.saw_reuse()), (1, false));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_came_while_the_store_was_down_are_written_when_it_is_back() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.takes(SECOND);
    pass(TOKENS / 4 * 3).await;
    assert!(is_in(&replica, &digest).await);
    pass(SECOND / 2).await;
    deployment.store.fail();
    pass(4 * SECOND).await;
    assert_eq!(deployment.provider.asked(), 1);
    deployment.store.revive();
    pass(SECOND).await;
    assert_eq!(deployment.session(&digest).unwrap().generation, 1);
    assert_eq!(groups(&replica, &digest).await, ["of refresh 1"]);
}

/// The store answers the claim so late that the lease would end before the provider's answer could be written.
#[tokio::test(start_paused = true)]
async fn the_provider_is_asked_only_with_a_lease_that_is_long_enough() {
    let mut deployment = Deployment::new();
    // the lease is 5 + 2 · 10 + 2 s
    deployment.settings.store_timeout = 10 * SECOND;
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.takes(SECOND);
    deployment.store.writes_take(SECOND / 10 * 99);
    pass(TOKENS / 4 * 3).await;
    assert!(is_in(&replica, &digest).await);
    pass(MINUTE).await;
    assert_eq!(groups(&replica, &digest).await, ["of refresh 1"]);
    assert_eq!(deployment.provider.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_does_not_end_the_attempt() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.takes(SECOND / 2);
    pass(TOKENS + SECOND).await;
    {
        let mut asking = Box::pin(ask(&replica, &digest));
        assert!(futures_util::poll!(asking.as_mut()).is_pending());
        settle().await;
        assert!(futures_util::poll!(asking.as_mut()).is_pending());
    }
    pass(SECOND).await;
    assert_eq!(deployment.session(&digest).unwrap().generation, 1);
    assert_eq!(groups(&replica, &digest).await, ["of refresh 1"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_waits_for_tokens_on_their_way() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    deployment.provider.takes(3 * SECOND);
    pass(TOKENS / 4 * 3).await;
    assert!(is_in(&replica, &digest).await);
    replica.idle().await;
    assert_eq!(deployment.session(&digest).unwrap().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn tokens_without_a_life_do_not_make_a_loop() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let new = NewSession { lifetime: Duration::ZERO, refresh_token: Some(deployment.provider.grant()), ..login("ann") };
    let digest = replica.begin(new).await.unwrap().digest();
    let found: Result<_, SessionError> = ask(&replica, &digest).await;
    assert!(found.unwrap().is_some());
    assert_eq!(deployment.provider.asked(), 1);
}
