use std::time::Duration;

use super::*;
use crate::credentials::invalidation::UNTRACKED;
use crate::credentials::record::{Phase, Record, Written};
use crate::credentials::seal::{self, Seal};
use crate::credentials::{Cluster, Password};
use crate::digest::Digest;
use crate::identity::{Owner, Username};
use crate::roles::{Roles, Version};
use tokio::time::{Instant, advance};

const LIFE: Duration = Duration::from_secs(3600);
const MAX_STALE: Duration = Duration::from_secs(60);

fn near() -> NearCache {
    NearCache::new(Settings { max_entries: 100, max_stale: MAX_STALE })
}

fn key() -> CacheKey {
    CacheKey::of(&Username::parse("ann").unwrap())
}

fn current() -> Current {
    let record = Record {
        phase: Phase::Ready,
        password: Password::generate().unwrap(),
        roles: Roles::new(["r"]),
        as_of: 1,
        mapping: Version::default(),
        owner: Owner { issuer: "i".into(), subject: "s".into() },
        born: 0,
    };
    Current {
        bytes: Vec::new(),
        written: Written { record, life: LIFE, aged: Duration::ZERO, cluster: Cluster::default() },
        remaining: LIFE,
        at: Instant::now(),
    }
}

fn maintenance(current: &Current) -> MaintenanceSchedule {
    let settings = crate::credentials::Settings {
        expiration: LIFE,
        extend: false,
        near: Settings { max_entries: 1, max_stale: MAX_STALE },
        settling: LIFE,
        confirm_interval: LIFE,
        mapping: Digest(1),
        store_timeout: LIFE,
        write_timeout: LIFE,
    };
    let key = seal::Key::Given(Box::new([1; 32]).into());
    let seal = Seal::new(&seal::Settings { key, previous: Vec::new(), cluster: "c".into() }).unwrap();
    MaintenanceSchedule::of(current, &settings, None, &seal)
}

fn insert(near: &NearCache, read_version: ReadVersion) -> Arc<CachedCredential> {
    let current = current();
    let credential = Credential::new(Username::parse("ann").unwrap(), &current.written.record.password);
    let maintenance = maintenance(&current);
    near.insert(&key(), read_version, current, credential, maintenance)
}

fn look_up(near: &NearCache) -> &'static str {
    match near.look_up(&key()) {
        Lookup::Nothing => "nothing",
        Lookup::Fresh(_) => "fresh",
        Lookup::Suspect(_) => "suspect",
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_fresh_until_a_change_is_reported() {
    let near = near();
    near.invalidations().begun();
    assert_eq!(look_up(&near), "nothing");
    insert(&near, near.read_version(&key()));
    assert_eq!(look_up(&near), "fresh");
    near.invalidations().changed(b"elastauth-other");
    near.invalidations().changed(key().as_str().as_bytes());
    assert_eq!(look_up(&near), "nothing");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_reported_between_the_read_and_the_insertion_prevails() {
    let near = near();
    near.invalidations().begun();
    let read_version = near.read_version(&key());
    near.invalidations().changed(key().as_str().as_bytes());
    let kept = insert(&near, read_version);
    assert!(!near.may_serve(&kept));
    assert_eq!(look_up(&near), "nothing");
}

#[tokio::test(start_paused = true)]
async fn a_flush_drops_everything_and_so_does_a_write_of_our_own() {
    let near = near();
    near.invalidations().begun();
    insert(&near, near.read_version(&key()));
    near.invalidations().all_changed();
    assert_eq!(look_up(&near), "nothing");
    let read_version = near.read_version(&key());
    near.invalidate(&key());
    insert(&near, read_version);
    assert_eq!(look_up(&near), "nothing");
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_makes_entries_suspect_and_they_may_serve_for_so_long() {
    let near = near();
    near.invalidations().begun();
    let kept = insert(&near, near.read_version(&key()));
    advance(MAX_STALE * 2).await;
    assert_eq!(look_up(&near), "fresh", "age alone makes nothing suspect");
    near.invalidations().lost();
    near.invalidations().lost();
    assert_eq!(look_up(&near), "suspect");
    advance(MAX_STALE.saturating_sub(Duration::from_millis(1))).await;
    assert!(near.may_serve(&kept));
    near.invalidations().begun();
    assert_eq!(look_up(&near), "suspect", "changes in between were not reported");
    advance(Duration::from_millis(1)).await;
    assert!(!near.may_serve(&kept), "the time counts from the loss, whatever began since");
    insert(&near, near.read_version(&key()));
    assert_eq!(look_up(&near), "fresh");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_without_a_session_is_suspect_at_once() {
    let near = near();
    let kept = insert(&near, near.read_version(&key()));
    assert_eq!(look_up(&near), "suspect");
    advance(MAX_STALE).await;
    assert!(!near.may_serve(&kept));
}

#[tokio::test(start_paused = true)]
async fn where_changes_are_not_reported_entries_live_a_few_seconds() {
    let near = near();
    near.invalidations().unavailable();
    insert(&near, near.read_version(&key()));
    assert_eq!(look_up(&near), "fresh");
    advance(UNTRACKED).await;
    assert_eq!(look_up(&near), "suspect");
}

#[tokio::test(start_paused = true)]
async fn an_entry_never_lives_longer_than_its_record() {
    let near = near();
    near.invalidations().begun();
    let kept = insert(&near, near.read_version(&key()));
    advance(LIFE).await;
    assert!(!near.may_serve(&kept));
    assert_eq!(look_up(&near), "nothing");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_a_change_wakes_when_it_is_reported() {
    let near = near();
    near.invalidations().begun();
    let (poll, tracked) = (Duration::from_secs(1), Duration::from_secs(100));
    let read_version = near.read_version(&key());
    let waiting = near.invalidations().wait(&read_version, poll, tracked);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    near.invalidations().changed(key().as_str().as_bytes());
    let began = Instant::now();
    waiting.await;
    near.invalidations().wait(&read_version, poll, tracked).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "a change before the wait counts too");
    near.invalidations().lost();
    near.invalidations().wait(&near.read_version(&key()), poll, tracked).await;
    assert_eq!(began.elapsed(), poll, "without a session it reads again by itself");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_entries_is_bounded() {
    let near = near();
    near.invalidations().begun();
    for n in 0..1000 {
        let key = CacheKey::of(&Username::parse(&format!("u{n}")).unwrap());
        let current = current();
        let credential = Credential::new(Username::parse("ann").unwrap(), &current.written.record.password);
        let maintenance = maintenance(&current);
        near.insert(&key, near.read_version(&key), current, credential, maintenance);
    }
    assert!(near.entries.len() <= 100, "{}", near.entries.len());
}

#[tokio::test(start_paused = true)]
async fn what_will_not_be_served_any_more_is_dropped_with_its_password_by_a_sweep() {
    for unavailable in [false, true] {
        let near = near();
        if unavailable {
            near.invalidations().unavailable();
        } else {
            near.invalidations().begun();
        }
        insert(&near, near.read_version(&key()));
        near.sweep();
        assert_eq!(near.entries.len(), 1, "it is fresh");
        if !unavailable {
            advance(MAX_STALE * 2).await;
            near.sweep();
            assert_eq!(near.entries.len(), 1, "age alone makes nothing suspect");
            near.invalidations().lost();
        }
        advance(MAX_STALE.saturating_sub(Duration::from_millis(1))).await;
        near.sweep();
        assert_eq!(near.entries.len(), 1, "it may serve while the store does not answer");
        advance(Duration::from_millis(1)).await;
        near.sweep();
        assert_eq!(near.entries.len(), 0);
    }
    let near = near();
    near.invalidations().begun();
    insert(&near, near.read_version(&key()));
    near.invalidations().changed(key().as_str().as_bytes());
    near.sweep();
    assert_eq!(near.entries.len(), 0, "it has changed in the store");
    insert(&near, near.read_version(&key()));
    advance(LIFE).await;
    near.sweep();
    assert_eq!(near.entries.len(), 0, "its record has ended");
}

#[tokio::test(start_paused = true)]
async fn a_record_of_many_roles_takes_the_room_of_several() {
    let near = near();
    near.invalidations().begun();
    let roles = Roles::new((0..1000).map(|n| format!("role-{n}")));
    for n in 0..100 {
        let key = CacheKey::of(&Username::parse(&format!("u{n}")).unwrap());
        let mut current = current();
        current.written.record.roles = roles.clone();
        let credential = Credential::new(Username::parse("ann").unwrap(), &current.written.record.password);
        let maintenance = maintenance(&current);
        near.insert(&key, near.read_version(&key), current, credential, maintenance);
    }
    assert!((1..=4).contains(&near.entries.len()), "{} of 40 kB in 150 kB", near.entries.len());
}
