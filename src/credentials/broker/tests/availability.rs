//! While Elasticsearch does not take a change, each caller to which the former roles are not too much is served, and nothing is
//! lost.

use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

use super::deployment::{Deployment, Outage, Replica, ann, ask_as};
use crate::credentials::Source;
use crate::credentials::broker::Error;
use crate::credentials::broker::shared::{MAX_AGE, ROTATED_AT};
use crate::credentials::schedule::RETRY;
use crate::credentials::seal::OpenError;
use crate::identity::AsOf;
use crate::roles::Roles;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);
const OUTAGES: [Outage; 3] = [Outage::Down, Outage::Hangs, Outage::RefusesWrites];

/// Asks with a token of this age and these roles, as `a,b`. Answers the header, or the error.
async fn ask(replica: &Replica, as_of: u64, roles: &str) -> Result<String, Error> {
    let obtained = ask_as(replica, &ann(AsOf::At(as_of)), Roles::new(roles.split(','))).await?;
    Ok(obtained.credential.expose_header().to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_token_that_gains_roles_is_served_with_the_former_ones_and_gets_them_when_it_can_be() {
    for outage in OUTAGES {
        let deployment = Deployment::new();
        let replicas = [deployment.replica().await, deployment.replica().await];
        let served = ask(&replicas[0], 1000, "a").await.unwrap();
        deployment.elastic.fail(outage);
        for _ in 0..20 {
            for replica in &replicas {
                let began = Instant::now();
                assert_eq!(ask(replica, 2000, "a,b").await.unwrap(), served, "{outage:?}");
                assert!(began.elapsed() <= SECOND, "{outage:?}: {:?}", began.elapsed());
                assert_eq!(ask(replica, 1000, "a").await.unwrap(), served, "{outage:?}: an older token");
            }
            advance(SECOND / 2).await;
        }
        let began = Instant::now();
        assert_eq!(ask(&replicas[1], 2000, "a,b").await.unwrap(), served, "{outage:?}");
        assert!(began.elapsed().is_zero(), "after the first time nothing is waited for");
        // much longer than a pending record without a valid password lives
        advance(300 * SECOND).await;
        assert_eq!(ask(&replicas[0], 2000, "a,b").await.unwrap(), served, "{outage:?}");
        sleep(3 * SECOND).await;
        deployment.elastic.fail(Outage::None);
        for _ in 0..3 {
            assert_eq!(ask(&replicas[0], 1000, "a").await.unwrap(), served, "{outage:?}");
            sleep(RETRY).await;
        }
        let user = deployment.elastic.user();
        assert_eq!(user.roles, Roles::new(["a", "b"]), "{outage:?}: any use of the user writes the wish");
        assert_eq!(ask(&replicas[1], 2000, "a,b").await.unwrap(), served, "{outage:?}: the password is the same");
        assert_eq!(deployment.elastic.passwords(), 1, "{outage:?}: no password was written");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_lost_roles_is_refused_at_once_and_older_ones_are_served() {
    for outage in OUTAGES {
        let deployment = Deployment::new();
        let replicas = [deployment.replica().await, deployment.replica().await];
        let served = ask(&replicas[0], 1000, "a,b").await.unwrap();
        deployment.elastic.fail(outage);
        assert!(matches!(ask(&replicas[0], 2000, "a").await, Err(Error::Elasticsearch(_))), "{outage:?}");
        for _ in 0..20 {
            for replica in &replicas {
                let began = Instant::now();
                let answer = ask(replica, 2000, "a").await;
                assert!(matches!(answer, Err(Error::Elasticsearch(_))), "{outage:?}: {answer:?}");
                assert!(began.elapsed() <= SECOND, "{outage:?}: {:?}", began.elapsed());
                assert_eq!(ask(replica, 1000, "a,b").await.unwrap(), served, "{outage:?}: nothing is taken away yet");
            }
            advance(SECOND / 4).await;
        }
        deployment.elastic.fail(Outage::None);
        sleep(3 * SECOND).await;
        assert_eq!(ask(&replicas[1], 2000, "a").await.unwrap(), served, "{outage:?}: the password is the same");
        assert_eq!(deployment.elastic.user().roles, Roles::new(["a"]), "{outage:?}");
        assert_eq!(ask(&replicas[1], 1000, "a,b").await.unwrap(), served, "{outage:?}: with the newest roles");
        assert_eq!(deployment.elastic.user().roles, Roles::new(["a"]), "{outage:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_change_with_an_unknown_outcome_only_tokens_with_all_roles_that_may_be_in_force_are_served() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let served = ask(&replica, 1000, "a").await.unwrap();
    deployment.elastic.lose_answers(1);
    assert_eq!(ask(&replica, 2000, "a,b").await.unwrap(), served);
    deployment.elastic.fail(Outage::Down);
    assert_eq!(ask(&replica, 2000, "a,b").await.unwrap(), served);
    assert_eq!(ask(&replica, 1000, "a").await.unwrap(), served, "an older token gets the newest roles");
    assert!(ask(&replica, 3000, "a").await.is_err(), "b may have been written");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_writes_leaves_a_token_that_gains_roles_served() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let served = ask(&replica, 1000, "a").await.unwrap();
    ask(&replica, 1000, "a").await.unwrap();
    deployment.store.refuse_writes(true);
    assert_eq!(ask(&replica, 2000, "a,b").await.unwrap(), served);
    assert!(ask(&replica, 2000, "c").await.is_err());
    deployment.store.refuse_writes(false);
    assert_eq!(ask(&replica, 2000, "a,b").await.unwrap(), served);
    assert_eq!(deployment.elastic.user().roles, Roles::new(["a", "b"]));
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_in_an_outage_leaves_nothing_behind() {
    let deployment = Deployment::new();
    let replicas = [deployment.replica().await, deployment.replica().await];
    deployment.elastic.fail(Outage::Down);
    let began = Instant::now();
    for replica in &replicas {
        assert!(matches!(ask(replica, 1000, "a").await, Err(Error::Elasticsearch(_))));
    }
    assert!(began.elapsed().is_zero(), "the other replica waits for no lease");
    deployment.elastic.fail(Outage::None);
    ask(&replicas[1], 1000, "a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_record_in_use_gets_a_new_password_before_its_greatest_age_and_none_is_used_for_longer() {
    let mut deployment = Deployment::new();
    deployment.settings.extend = true;
    deployment.settings.expiration = 10 * DAY;
    let replica = deployment.replica().await;
    let first = ask(&replica, 1000, "a").await.unwrap();
    deployment.age_record(ROTATED_AT.saturating_sub(3600 * SECOND), DAY);
    assert_eq!(ask(&replica, 1000, "a").await.unwrap(), first);
    sleep(SECOND / 100).await;
    assert_eq!(ask(&replica, 1000, "a").await.unwrap(), first, "not yet");
    deployment.age_record(ROTATED_AT, DAY);
    let began = Instant::now();
    assert_eq!(ask(&replica, 1000, "a").await.unwrap(), first, "this request does not wait");
    assert!(began.elapsed().is_zero());
    sleep(SECOND / 100).await;
    let second = ask(&replica, 1000, "a").await.unwrap();
    assert_ne!(second, first);
    assert_eq!((deployment.elastic.passwords(), deployment.elastic.writes()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_password_that_could_not_be_replaced_ends_at_its_greatest_age() {
    let mut deployment = Deployment::new();
    deployment.settings.extend = true;
    let replica = deployment.replica().await;
    let first = ask(&replica, 1000, "a").await.unwrap();
    deployment.elastic.fail(Outage::RefusesWrites);
    deployment.age_record(MAX_AGE, 8 * SECOND);
    deployment.elastic.change(|user| user.copy = None);
    assert_eq!(ask(&replica, 1000, "a").await.unwrap(), first, "it is in use");
    sleep(2 * SECOND).await;
    assert!(ask(&replica, 1000, "a").await.is_err(), "and no use gives it more time");
    deployment.elastic.fail(Outage::None);
    assert_ne!(ask(&replica, 1000, "a").await.unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_lost_costs_no_write_where_elasticsearch_keeps_its_password() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let served = ask(&replica, 1000, "a").await.unwrap();
    deployment.store.delete().await;
    let again = ask_as(&replica, &ann(AsOf::At(1000)), Roles::new(["a"])).await.unwrap();
    assert_eq!((again.credential.expose_header(), again.source), (served.as_str(), Source::Provisioned));
    assert_eq!((deployment.elastic.writes(), deployment.elastic.logins()), (1, 1));
    // other roles cost a write of the roles alone
    deployment.store.delete().await;
    assert_eq!(ask(&replica, 2000, "a,b").await.unwrap(), served);
    assert_eq!((deployment.elastic.writes(), deployment.elastic.passwords()), (2, 1));
    assert_eq!(deployment.elastic.user().roles, Roles::new(["a", "b"]));
}

#[tokio::test(start_paused = true)]
async fn a_kept_password_that_is_wrong_too_old_or_gone_costs_a_new_one() {
    for (n, spoil) in [
        |deployment: &Deployment| deployment.elastic.change(|user| user.copy = None),
        |deployment: &Deployment| {
            deployment.elastic.change(|user| user.password = crate::credentials::Password::known("by hand".into()));
        },
    ]
    .into_iter()
    .enumerate()
    {
        let deployment = Deployment::new();
        let replica = deployment.replica().await;
        let served = ask(&replica, 1000, "a").await.unwrap();
        spoil(&deployment);
        deployment.store.delete().await;
        assert_ne!(ask(&replica, 1000, "a").await.unwrap(), served, "{n}");
        assert_eq!((deployment.elastic.writes(), deployment.elastic.passwords()), (2, 2), "{n}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_later_release_added_to_a_record_is_kept_by_every_change_of_it() {
    let mut deployment = Deployment::new();
    deployment.settings.extend = true;
    let replica = deployment.replica().await;
    ask(&replica, 1000, "a").await.unwrap();
    deployment.edit_record(|written| {
        written.unknown.insert("of_a_later_release".into(), 7.into());
    });
    let kept = || deployment.record().unknown.get("of_a_later_release").cloned();
    ask(&replica, 2000, "b").await.unwrap();
    assert_eq!(kept(), Some(7.into()), "a change of roles");
    advance(91 * SECOND).await;
    ask(&replica, 2000, "b").await.unwrap();
    sleep(SECOND).await;
    assert_eq!((deployment.elastic.logins(), kept()), (1, Some(7.into())), "a confirmation");
    advance(2000 * SECOND).await;
    ask(&replica, 2000, "b").await.unwrap();
    sleep(SECOND).await;
    assert_eq!(kept(), Some(7.into()), "a longer life");
    assert_eq!(deployment.elastic.passwords(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_record_in_a_later_format_is_refused_and_left_alone() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    ask(&replica, 1000, "a").await.unwrap();
    let changes = deployment.store.changes();
    let later = deployment.edit_bytes(|bytes| bytes[0] += 1);
    for as_of in [1000, 2000] {
        assert!(matches!(ask(&replica, as_of, "b").await, Err(Error::Unreadable(OpenError::NewerFormat))));
    }
    assert_eq!((deployment.bytes(), deployment.store.changes()), (later, changes + 1));
    assert_eq!(deployment.elastic.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_store_to_a_new_record_costs_neither_a_refusal_nor_a_new_password() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let served = ask(&replica, 1000, "a").await.unwrap();
    deployment.store.delete().await;
    deployment.store.lose_answers(1);
    assert_eq!(ask(&replica, 1000, "a").await.unwrap(), served);
    assert_eq!(deployment.elastic.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_newest_wish_is_the_one_that_is_kept_also_straight_after_a_failed_attempt() {
    let deployment = Deployment::new();
    let replica = deployment.replica().await;
    let served = ask(&replica, 1000, "a").await.unwrap();
    deployment.elastic.fail(Outage::RefusesWrites);
    assert_eq!(ask(&replica, 2000, "a,b").await.unwrap(), served);
    assert!(ask(&replica, 3000, "b").await.is_err());
    deployment.elastic.fail(Outage::None);
    sleep(RETRY).await;
    assert_eq!(ask(&replica, 2000, "a,b").await.unwrap(), served);
    sleep(RETRY).await;
    assert_eq!(deployment.elastic.user().roles, Roles::new(["b"]));
}
