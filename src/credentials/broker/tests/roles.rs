//! Which roles a user gets where tokens, configurations and clocks differ.

use std::time::Duration;

use tokio::time::{Instant, advance};

use super::deployment::{Deployment, Replica, ann};
use crate::clock::now_millis;
use crate::credentials::broker::{PlannedWrite, Preview};
use crate::credentials::{Caller, Obtained, RequestContext, Source};
use crate::identity::AsOf;
use crate::roles::Roles;

async fn ask_at(replica: &Replica, as_of: AsOf, role: &str) -> Obtained {
    let roles = Roles::new(role.split(',').filter(|role| !role.is_empty()));
    replica.obtain(&Caller::new(ann(as_of), roles), RequestContext::default).await.unwrap()
}

fn roles(deployment: &Deployment) -> String {
    deployment.elastic.user().roles.to_string()
}

#[tokio::test(start_paused = true)]
async fn an_older_token_brings_no_roles_back_when_the_record_is_gone() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let (older, newer) = (AsOf::At(1000), AsOf::At(2000));
    ask_at(&replica, older, "admins").await;
    ask_at(&replica, newer, "developers").await;
    ask_at(&replica, older, "admins").await;
    assert_eq!((roles(&deployment).as_str(), deployment.elastic.writes()), ("developers", 2));
    deployment.store.delete().await;
    ask_at(&replica, older, "admins").await;
    assert_eq!((roles(&deployment).as_str(), deployment.elastic.user().as_of), ("developers", 2000));
    assert_eq!(
        (deployment.elastic.writes(), deployment.elastic.passwords()),
        (2, 1),
        "and the password is the one that Elasticsearch keeps"
    );
    ask_at(&replica, older, "admins").await;
    ask_at(&replica, newer, "developers").await;
    assert_eq!(deployment.elastic.writes(), 2, "which serves both");
}

#[tokio::test(start_paused = true)]
async fn roles_without_a_time_are_later_than_whatever_stands_when_the_record_is_gone() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let ahead = now_millis() + 600_000;
    ask_at(&replica, AsOf::At(ahead), "admins").await;
    deployment.store.delete().await;
    ask_at(&replica, AsOf::Now, "developers").await;
    assert_eq!((roles(&deployment).as_str(), deployment.elastic.user().as_of), ("developers", ahead + 1));
}

#[tokio::test(start_paused = true)]
async fn a_role_that_left_the_mapping_leaves_with_the_same_token() {
    let deployment = Deployment::new();
    let token = AsOf::At(1000);
    let first = ask_at(&*deployment.replica_by(1).await, token, "monitoring,viewer").await;
    let replica = deployment.replica_by(2).await;
    let second = ask_at(&replica, token, "monitoring").await;
    assert_eq!((roles(&deployment).as_str(), deployment.elastic.writes()), ("monitoring", 2));
    assert_eq!(first.credential.expose_header(), second.credential.expose_header(), "the password stays");
    ask_at(&replica, token, "monitoring").await;
    assert_eq!(deployment.elastic.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn two_configurations_in_a_roll_out_take_no_turns() {
    for as_of in [AsOf::At(1000), AsOf::Now] {
        let deployment = Deployment::new();
        let (old, new) = (deployment.replica_by(1).await, deployment.replica_by(2).await);
        for _ in 0..50 {
            advance(Duration::from_secs(2)).await;
            ask_at(&old, as_of, "monitoring,viewer").await;
            ask_at(&new, as_of, "monitoring").await;
        }
        assert_eq!((roles(&deployment).as_str(), deployment.elastic.writes()), ("monitoring", 2), "{as_of:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_configuration_that_is_rolled_back_counts_again_whatever_the_clock_says() {
    let deployment = Deployment::new();
    let token = AsOf::At(1000);
    for (mapping, role) in [(1, "a,b"), (2, "a"), (1, "a,b"), (2, "a")] {
        ask_at(&*deployment.replica_by(mapping).await, token, role).await;
        assert_eq!(roles(&deployment), role);
        // all of this in one millisecond of the wall clock: what was there before a start is of an earlier configuration
        advance(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn equal_roles_of_another_configuration_are_served_and_nothing_is_written() {
    let deployment = Deployment::new();
    for mapping in [1, 2, 3] {
        let replica = deployment.replica_by(mapping).await;
        for _ in 0..2 {
            ask_at(&replica, AsOf::At(1000), "a").await;
        }
        assert_eq!(ask_at(&replica, AsOf::At(1000), "a").await.source, Source::Near);
    }
    assert_eq!(deployment.elastic.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_preview_under_another_configuration_is_what_happens() {
    let deployment = Deployment::new();
    let token = AsOf::At(1000);
    ask_at(&*deployment.replica_by(1).await, token, "a,b").await;
    let replica = deployment.replica_by(2).await;
    let caller = Caller::new(ann(token), Roles::new(["a"]));
    let Preview { held, next, .. } = replica.preview(&caller).await.unwrap();
    assert!(held.unwrap().seen.unwrap().other_mapping.is_some());
    let Ok(PlannedWrite::Written { user, with_password: false }) = next else { panic!("{next:?}") };
    assert_eq!(user.roles, Roles::new(["a"]));
    deployment.store.delete().await;
    let older = Caller::new(ann(AsOf::At(500)), Roles::new(["a", "c"]));
    let Ok(PlannedWrite::Written { user, with_password: true }) = replica.preview(&older).await.unwrap().next else {
        panic!("the record is gone");
    };
    assert_eq!((user.roles.to_string().as_str(), user.as_of), ("a", 999), "what an older token has does not come back");
    assert_eq!(deployment.elastic.writes(), 1, "nothing was written");
}

/// Of answers about an opaque token only the age is known, by this process's clock.
#[tokio::test(start_paused = true)]
async fn what_the_provider_answers_later_counts_and_an_older_answer_brings_nothing_back() {
    let deployment = Deployment::new();
    let (one, other) = (deployment.replica().await, deployment.replica().await);
    let first = AsOf::Answered(Instant::now());
    // written by a process with a clock that is ahead
    ask_at(&one, first, "admins").await;
    advance(Duration::from_secs(10)).await;
    let later = AsOf::Answered(Instant::now());
    ask_at(&other, later, "developers").await;
    assert_eq!((roles(&deployment).as_str(), deployment.elastic.writes()), ("developers", 2));
    for _ in 0..10 {
        advance(Duration::from_secs(2)).await;
        ask_at(&one, first, "admins").await;
        ask_at(&other, later, "developers").await;
    }
    assert_eq!(
        (roles(&deployment).as_str(), deployment.elastic.writes()),
        ("developers", 2),
        "two answers take no turns"
    );
}

#[tokio::test(start_paused = true)]
async fn a_record_that_a_clock_ahead_dated_keeps_no_role_that_the_provider_has_revoked() {
    let deployment = Deployment::new();
    ask_at(&*deployment.replica().await, AsOf::At(now_millis() + 600_000), "admins").await;
    advance(Duration::from_secs(2)).await;
    ask_at(&*deployment.replica().await, AsOf::Answered(Instant::now()), "developers").await;
    assert_eq!(roles(&deployment), "developers");
}
