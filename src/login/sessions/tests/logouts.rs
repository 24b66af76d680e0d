//! Logouts at the provider.

use super::deployment::*;
use crate::clock::unix_millis;
use crate::credentials::Store as _;
use crate::login::{LoggedOut, LogoutNotice, NewSession, SessionDigest};

fn notice(of: LoggedOut) -> LogoutNotice {
    LogoutNotice { issuer: "https://issuer".into(), of, issued: unix_millis(now()) }
}

fn of_session(sid: &str) -> LogoutNotice {
    notice(LoggedOut::Session(sid.into()))
}

fn of_subject(subject: &str) -> LogoutNotice {
    notice(LoggedOut::Subject(subject.into()))
}

async fn log_in(replica: &Replica, sid: Option<&str>) -> SessionDigest {
    let new = NewSession { sid: sid.map(str::to_owned), ..login("ann") };
    replica.begin(new).await.unwrap().digest()
}

#[tokio::test(start_paused = true)]
async fn a_logout_at_the_provider_ends_the_sessions_that_it_is_about_and_no_others() {
    for (notice, ends) in [
        (of_session("one"), [true, false, false]),
        (of_session("two"), [false, true, false]),
        (of_session("subject of ann"), [false; 3]),
        (of_subject("subject of ann"), [true; 3]),
        (of_subject("subject of bob"), [false; 3]),
        (of_subject("one"), [false; 3]),
        (LogoutNotice { issuer: "https://other".into(), ..of_subject("subject of ann") }, [false; 3]),
    ] {
        let deployment = Deployment::new();
        let (here, there) = (deployment.replica().await, deployment.replica().await);
        let mut sessions = Vec::new();
        for sid in [Some("one"), Some("two"), None] {
            sessions.push(log_in(&here, sid).await);
        }
        for digest in &sessions {
            assert!(is_in(&there, digest).await);
        }
        pass(MINUTE).await;
        let notice = LogoutNotice { issued: unix_millis(now()), ..notice };
        here.logged_out(&notice).await.unwrap();
        for (digest, ended) in sessions.iter().zip(ends) {
            for replica in [&there, &here] {
                assert_eq!(is_in(replica, digest).await, !ended, "{notice:?}");
            }
            assert_eq!(deployment.session(digest).is_none(), ended, "its record is deleted");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_of_the_same_second_is_ended_and_a_later_one_is_not() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let issued = unix_millis(now()) / 1000 * 1000 + 500;
    replica.logged_out(&LogoutNotice { issued, ..of_subject("subject of ann") }).await.unwrap();
    for (later, stays) in [(0, false), (499, false), (500, true), (5000, true)] {
        let new = NewSession { signed_in: issued + later, ..login("ann") };
        let digest = replica.begin(new).await.unwrap().digest();
        assert_eq!(is_in(&replica, &digest).await, stays, "{later} ms later");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_logouts_the_later_one_counts_in_whichever_order_they_come() {
    for backwards in [false, true] {
        let deployment = Deployment::new();
        let (here, there) = (deployment.replica().await, deployment.replica().await);
        let first = of_subject("subject of ann");
        let second = LogoutNotice { issued: first.issued + 60_000, ..first.clone() };
        let mut notices = [&first, &second];
        if backwards {
            notices.reverse();
        }
        here.logged_out(notices[0]).await.unwrap();
        there.logged_out(notices[1]).await.unwrap();
        for (signed_in, stays) in [(first.issued + 30_000, false), (second.issued + 1000, true)] {
            let digest = here.begin(NewSession { signed_in, ..login("ann") }).await.unwrap().digest();
            assert_eq!(is_in(&here, &digest).await, stays);
        }
    }
}

/// A refresh gives new tokens to a session; it is as old as its login all the same.
#[tokio::test(start_paused = true)]
async fn a_refresh_does_not_carry_a_session_past_a_logout() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let digest = deployment.log_in(&replica).await;
    pass(MINUTE).await;
    let notice = of_session("session of ann");
    pass(TOKENS).await;
    assert_eq!(groups(&replica, &digest).await, ["of refresh 1"]);
    replica.logged_out(&notice).await.unwrap();
    assert!(!is_in(&replica, &digest).await);
}

#[tokio::test(start_paused = true)]
async fn a_marker_lasts_as_long_as_the_sessions_that_it_ends() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let notice = of_subject("subject of ann");
    replica.logged_out(&notice).await.unwrap();
    let entry = deployment.store.get(&notice.key()).await.unwrap().unwrap();
    assert_eq!(entry.remaining, deployment.settings.lifetime);
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_no_key_opens_ends_the_sessions_that_are_older_and_keeps_nobody_from_a_new_login() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let older = deployment.log_in(&replica).await;
    pass(MINUTE).await;
    let key = of_subject("subject of ann").key();
    deployment.store.put(&key, b"not a marker", deployment.settings.lifetime).await;
    assert!(!is_in(&replica, &older).await);
    pass(SECOND).await;
    let newer = deployment.log_in(&replica).await;
    assert!(is_in(&replica, &newer).await);
    replica.logged_out(&of_subject("subject of ann")).await.unwrap();
    assert!(!is_in(&replica, &newer).await, "it is replaced");
}

#[tokio::test(start_paused = true)]
async fn a_logout_that_the_store_did_not_take_is_an_error() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    deployment.store.fail();
    assert!(replica.logged_out(&of_subject("subject of ann")).await.is_err());
}
