//! What lasts how long, and what is done in the background for records in use.

use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

use super::deployment::{Deployment, ask, try_ask};
use crate::clock::now_millis;
use crate::credentials::Source;
use crate::credentials::broker::Error;
use crate::credentials::broker::shared::MAX_AGE;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Lets what was begun in the background end.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_use_past_half_the_life_extends_it_once_in_the_background_also_from_the_near_cache() {
    let mut deployment = Deployment::new();
    (deployment.settings.extend, deployment.settings.settling) = (true, 10 * HOUR);
    let replica = deployment.replica().await;
    ask(&replica).await;
    ask(&replica).await;
    let changes = deployment.store.changes();
    advance(26 * MINUTE).await;
    assert_eq!(ask(&replica).await.source, Source::Near);
    settle().await;
    assert_eq!(deployment.store.changes(), changes, "not before half of the life");
    advance(10 * MINUTE).await;
    for _ in 0..10 {
        assert_eq!(ask(&replica).await.source, Source::Near, "the request does not wait for it");
    }
    settle().await;
    assert_eq!(deployment.store.changes(), changes + 1, "once");
    assert!(deployment.store.remaining().await >= 53 * MINUTE, "a whole life again");
    assert_eq!(deployment.elastic.writes(), 1);
}

/// As Redis evicts with `allkeys-lru`: by the time since the last use that it has seen.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_used_from_the_near_cache_alone_is_touched_once_a_minute_without_a_read() {
    let mut deployment = Deployment::new();
    deployment.settings.settling = 10 * HOUR;
    let replica = deployment.replica().await;
    ask(&replica).await;
    assert_eq!(ask(&replica).await.source, Source::Store);
    let trips = deployment.store.trips();
    for minute in 1..=3 {
        advance(MINUTE.saturating_sub(10 * SECOND)).await;
        for _ in 0..10 {
            assert_eq!(ask(&replica).await.source, Source::Near);
        }
        settle().await;
        assert_eq!(
            deployment.store.touches(),
            minute - 1,
            "not within a minute of the last use that the store has seen"
        );
        advance(10 * SECOND).await;
        for _ in 0..10 {
            assert_eq!(ask(&replica).await.source, Source::Near);
        }
        settle().await;
        assert_eq!(deployment.store.touches(), minute);
    }
    assert_eq!(deployment.store.trips(), trips, "nothing is read");
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_a_write_whose_request_is_gone() {
    let deployment = Deployment::new();
    deployment.elastic.take(Duration::ZERO, SECOND);
    let (replica, began) = (deployment.replica().await, Instant::now());
    assert!(tokio::time::timeout(SECOND / 2, ask(&replica)).await.is_err());
    replica.idle().await;
    assert_eq!((began.elapsed().as_millis(), deployment.elastic.writes()), (1000, 1));
    let other = deployment.replica().await;
    assert_eq!(ask(&other).await.source, Source::Store, "the write was noted as done");
}

#[tokio::test(start_paused = true)]
async fn maintenance_while_the_store_does_not_answer_leaves_the_cached_password_in_use() {
    let mut deployment = Deployment::new();
    (deployment.settings.extend, deployment.settings.near.max_stale) = (true, HOUR);
    let replica = deployment.replica().await;
    ask(&replica).await;
    let first = ask(&replica).await.credential;
    deployment.store.die();
    // long past half of the life, and past the settling time
    advance(36 * MINUTE).await;
    for _ in 0..3 {
        let stale = ask(&replica).await;
        assert_eq!((stale.source, stale.credential.expose_header()), (Source::Stale, first.expose_header()));
        settle().await;
    }
    assert_eq!(deployment.elastic.logins(), 1, "it was tried, and could not be written down");
    deployment.store.revive();
    advance(MINUTE).await;
    assert_eq!(ask(&replica).await.credential.expose_header(), first.expose_header());
    assert_eq!(deployment.elastic.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unused_record_ends_and_without_extension_every_one_does_and_the_password_stays() {
    let mut deployment = Deployment::new();
    deployment.settings.settling = 10 * HOUR;
    let replica = deployment.replica().await;
    let first = ask(&replica).await.credential;
    advance(53 * MINUTE).await;
    assert_eq!(ask(&replica).await.credential.expose_header(), first.expose_header());
    advance(8 * MINUTE).await;
    let again = ask(&replica).await;
    assert_eq!((again.source, again.credential.expose_header()), (Source::Provisioned, first.expose_header()));
    assert_eq!((deployment.elastic.writes(), deployment.elastic.logins()), (1, 1), "Elasticsearch keeps it");
}

#[tokio::test]
async fn lives_differ_by_up_to_a_tenth_and_end_at_the_hard_maximum() {
    let deployment = Deployment::new();
    let shared = &deployment.replica().await.shared;
    let lives: Vec<Duration> = (0..300).map(|_| shared.ready_life(now_millis())).collect();
    assert!(lives.iter().all(|life| *life <= HOUR && *life >= 54 * MINUTE), "{lives:?}");
    let (least, most) = (lives.iter().min().unwrap(), lives.iter().max().unwrap());
    assert!(*most > *least + 3 * MINUTE, "what was written together does not end together: {least:?} to {most:?}");
    let born = |ago: Duration| now_millis() - u64::try_from(ago.as_millis()).unwrap();
    let last = shared.ready_life(born(MAX_AGE.saturating_sub(10 * MINUTE)));
    assert!(last <= 10 * MINUTE && last > 9 * MINUTE, "{last:?}");
    assert_eq!(shared.ready_life(born(MAX_AGE + HOUR)), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_password_is_tried_at_its_first_use_after_the_settling_time_and_then_at_intervals() {
    let mut deployment = Deployment::new();
    deployment.settings.expiration = 10 * HOUR;
    let replica = deployment.replica().await;
    ask(&replica).await;
    for (passes, logins) in
        [(89 * SECOND, 0), (2 * SECOND, 1), (14 * MINUTE, 1), (2 * MINUTE, 2), (15 * MINUTE + SECOND, 3)]
    {
        advance(passes).await;
        for _ in 0..5 {
            ask(&replica).await;
        }
        settle().await;
        ask(&replica).await;
        settle().await;
        assert_eq!(deployment.elastic.logins(), logins, "after {passes:?}");
    }
    assert_eq!(deployment.elastic.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pending_record_lives_as_long_as_its_write_may_be_applied_and_the_next_request_finishes_it() {
    let deployment = Deployment::new();
    let (first, second) = (deployment.replica().await, deployment.replica().await);
    deployment.elastic.lose_answers(1);
    assert!(matches!(try_ask(&first).await, Err(Error::Elasticsearch(_))));
    let sent = deployment.elastic.user().password;
    assert_eq!(deployment.store.remaining().await, 67 * SECOND);
    advance(66 * SECOND).await;
    ask(&second).await;
    assert_eq!(deployment.elastic.user().password, sent, "the agreed password is used by the next attempt");
    assert_eq!(deployment.elastic.writes(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_would_expire_during_the_write_is_renewed_and_not_taken_over() {
    let deployment = Deployment::new();
    deployment.elastic.take(Duration::from_millis(6500), 4 * SECOND);
    let (first, second) = (deployment.replica().await, deployment.replica().await);
    let later = async {
        sleep(Duration::from_millis(7100)).await;
        ask(&second).await
    };
    let (one, other) = tokio::join!(ask(&first), later);
    assert_eq!(one.credential.expose_header(), other.credential.expose_header());
    assert_eq!(deployment.elastic.writes(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_ends_before_its_lease_even_where_the_provisioner_does_not_end_it() {
    let deployment = Deployment::new();
    deployment.elastic.take(Duration::ZERO, HOUR);
    let (replica, began) = (deployment.replica().await, Instant::now());
    assert!(matches!(try_ask(&replica).await, Err(Error::Elasticsearch(_))));
    assert_eq!(began.elapsed(), 5 * SECOND);
}

#[tokio::test]
async fn the_end_waits_for_tasks_that_were_begun_and_for_what_they_begin_and_not_for_one_that_panicked() {
    let replica = Deployment::new().replica().await;
    let background = &replica.shared.background;
    replica.idle().await;
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let within = background.clone();
    background.spawn(async move {
        let _ = gone.await;
        within.spawn(tokio::task::yield_now());
    });
    background.spawn(async { panic!("while it runs") });
    let ended = replica.idle();
    tokio::pin!(ended);
    while background.len() > 1 {
        tokio::task::yield_now().await;
    }
    assert!(futures_util::poll!(ended.as_mut()).is_pending());
    go.send(()).unwrap();
    ended.await;
    assert_eq!(background.len(), 0);
}
