//! A written password is tried later, and a password that Elasticsearch has lost is written once more.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::SystemTime;

use elastauth::credentials::{Day, StoreName};
use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::fixture::{Fixture, with_elasticsearch};
use elastauth_support::process::until;
use elastauth_support::servers::{Elastauth, config};
use elastauth_support::users::User;
use serde_json::Value;

/// The present day by UTC, as the stamp contains it.
fn today() -> String {
    Day::at(SystemTime::now()).to_string()
}

async fn start(settling: &str) -> Fixture {
    start_with(settling, "").await
}

async fn start_with(settling: &str, more: &str) -> Fixture {
    let settling = format!("  settling: {settling}\n");
    Fixture::start(elastauth!(), |yaml| with_elasticsearch(&yaml, &settling) + more).await
}

fn password(elasticsearch: &Elasticsearch, user: &str) -> String {
    elasticsearch.user(user).unwrap().password
}

fn change(elasticsearch: &Elasticsearch, user: &str, change: impl FnOnce(&mut User)) {
    let mut changed = elasticsearch.user(user).unwrap();
    change(&mut changed);
    elasticsearch.seed(user, changed);
}

fn writes_of(elasticsearch: &Elasticsearch) -> usize {
    elasticsearch.history().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_elasticsearch_lost_is_written_again_without_a_new_one() {
    let bench = start("50ms").await;
    let token = bench.issuer.token("ann", &["admins"]);
    let made = bench.checker.ask(&token).await;
    // as a late write, or an administrator, would do
    change(&bench.elasticsearch, "ann", |user| user.password = "another".into());
    until("the repair", || async {
        assert_eq!(bench.checker.ask(&token).await, made, "the agreed password stays");
        Some(password(&bench.elasticsearch, "ann").as_str()) == made.password()
    })
    .await;
    bench.elastauth.process.wait_for_line(0, &["written again", "ann"]);
    assert_eq!(writes_of(&bench.elasticsearch), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_elasticsearch_lost_is_written_again() {
    let bench = start("50ms").await;
    let token = bench.issuer.token("ann", &["admins"]);
    bench.checker.ask(&token).await;
    change(&bench.elasticsearch, "ann", |user| user.roles.truncate(1));
    until("the repair", || async {
        bench.checker.ask(&token).await;
        bench.elasticsearch.user("ann").unwrap().roles.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_was_deleted_is_made_again() {
    let bench = start("50ms").await;
    let token = bench.issuer.token("ann", &["admins"]);
    let made = bench.checker.ask(&token).await;
    bench.elasticsearch.delete("ann");
    until("the repair", || async {
        bench.checker.ask(&token).await;
        bench.elasticsearch.user("ann").is_some_and(|user| Some(user.password.as_str()) == made.password())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_a_late_write_gave_back_are_taken_away() {
    let bench = start("50ms").await;
    let token = bench.issuer.token("ann", &["admins"]);
    let made = bench.checker.ask(&token).await;
    // an older token's write, which elastauth gave up, is applied after the newer one
    change(&bench.elasticsearch, "ann", |user| {
        user.roles.push("superuser".into());
        user.metadata["elastauth"]["as_of"] = 1.into();
    });
    until("the repair", || async {
        assert_eq!(bench.checker.ask(&token).await, made);
        bench.elasticsearch.user("ann").unwrap().roles.len() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_roles_are_no_mismatch_and_a_confirmed_record_is_left_alone() {
    let bench = start("50ms").await;
    let token = bench.issuer.token("ann", &["admins"]);
    let made = bench.checker.ask(&token).await;
    change(&bench.elasticsearch, "ann", |user| user.roles.push("anonymous".into()));
    until("the confirmation", || async {
        bench.checker.ask(&token).await;
        bench.elasticsearch.logins("ann") > 0
    })
    .await;
    for _ in 0..50 {
        assert_eq!(bench.checker.ask(&token).await, made);
    }
    assert_eq!((bench.elasticsearch.logins("ann"), writes_of(&bench.elasticsearch)), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_401_rotates_nothing_while_the_administrator_cannot_see_the_user() {
    let bench = start("50ms").await;
    let token = bench.issuer.token("ann", &["admins"]);
    let made = bench.checker.ask(&token).await;
    change(&bench.elasticsearch, "ann", |user| user.password = "another".into());
    bench.elasticsearch.fail(Faults { get_status: Some(503), ..Faults::default() });
    until("an attempt", || async {
        assert_eq!(bench.checker.ask(&token).await, made, "the record stays in use");
        bench.elasticsearch.logins("ann") > 0
    })
    .await;
    assert_eq!(writes_of(&bench.elasticsearch), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_mismatch_straight_after_a_repair_is_an_error_for_a_person() {
    // the interval is short because the second change may come after a confirmation of the repair
    let bench = start("50ms\n  confirm_interval: 50ms").await;
    let token = bench.issuer.token("ann", &["admins"]);
    bench.checker.ask(&token).await;
    for (text, writes) in [("written again", 2), ("also writes this user", 2)] {
        change(&bench.elasticsearch, "ann", |user| user.password = "another".into());
        until(text, || async {
            assert!(matches!(bench.checker.ask(&token).await, Answer::Allowed { .. }));
            writes_of(&bench.elasticsearch) == writes
                && bench.elastauth.process.lines().iter().any(|line| line.contains(text))
        })
        .await;
    }
    assert_eq!(writes_of(&bench.elasticsearch), 2, "the repair is not repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_settling_time_nothing_is_tried() {
    let bench = start("1h").await;
    let token = bench.issuer.token("ann", &["admins"]);
    for _ in 0..20 {
        bench.checker.ask(&token).await;
    }
    assert_eq!(bench.elasticsearch.logins("ann"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_day_of_an_active_user_is_written_once_without_a_password() {
    let bench = start_with("50ms", "extend_cache: true\n").await;
    let token = bench.issuer.token("ann", &["admins"]);
    let made = bench.checker.ask(&token).await;
    let last_seen = || bench.elasticsearch.user("ann").unwrap().metadata["elastauth"]["last_seen"].clone();
    assert_eq!(last_seen(), today());
    change(&bench.elasticsearch, "ann", |user| user.metadata["elastauth"]["last_seen"] = "2001-09-09".into());
    until("the day", || async {
        assert_eq!(bench.checker.ask(&token).await, made);
        last_seen() == today().as_str()
    })
    .await;
    until("the next confirmation", || async {
        assert_eq!(bench.checker.ask(&token).await, made);
        bench.elasticsearch.logins("ann") >= 2
    })
    .await;
    let writes: Vec<bool> = bench.elasticsearch.history().iter().map(|write| write.password.is_some()).collect();
    assert_eq!(writes, [true, false], "one write a day, without a password");
    let user = bench.elasticsearch.user("ann").unwrap();
    assert_eq!((user.roles.len(), user.email.as_str(), user.enabled), (2, Some("ann@example.com"), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_ends_soon_costs_no_write_for_the_day() {
    let bench = start("50ms").await;
    let token = bench.issuer.token("ann", &["admins"]);
    bench.checker.ask(&token).await;
    change(&bench.elasticsearch, "ann", |user| user.metadata["elastauth"]["last_seen"] = "2001-09-09".into());
    until("the confirmation", || async {
        bench.checker.ask(&token).await;
        bench.elasticsearch.logins("ann") > 0
    })
    .await;
    for _ in 0..50 {
        bench.checker.ask(&token).await;
    }
    assert_eq!(writes_of(&bench.elasticsearch), 1, "a second write is left to the end of the hour");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_with_a_cache_and_a_key_of_their_own_are_told_that_they_lock_each_other_s_users_out() {
    let bench = start("50ms").await;
    // with the same key the second one would use the password that Elasticsearch keeps
    let yaml = config(&bench.issuer.url, &bench.elasticsearch.url, "  type: memory").replace("0123", "3210");
    let other = Elastauth::start(elastauth!(), &yaml);
    let token = bench.issuer.token("ann", &["admins"]);
    let ours = bench.checker.ask(&token).await;
    let theirs = Checker::connect(&other.grpc).await.ask(&token).await;
    assert_ne!(ours, theirs, "each has made a password of its own");
    let told = "each locks the other's users out";
    until("the message", || async {
        bench.checker.ask(&token).await;
        bench.elastauth.process.lines().iter().any(|line| line.contains(told))
    })
    .await;
    let line = bench.elastauth.process.wait_for_line(0, &[told]);
    for part in ["\"level\":\"error\"", "cache.type: redis", "\"user\":\"ann\""] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let line: Value = serde_json::from_str(&line).unwrap();
    let this = line["this_cache"].as_str().unwrap();
    let name = |process: u32| format!("process {process}");
    assert!(this.ends_with(&name(bench.elastauth.process.id())), "{this}");
    // the stamp is readable for every user, so that it names the cache by a digest
    let theirs = this.replace(&name(bench.elastauth.process.id()), &name(other.process.id()));
    assert_eq!(line["other_cache"], StoreName::from(theirs.as_str()).mark);
}
