use std::time::Duration;

use super::*;
use crate::clock::BootTime;
use crate::credentials::invalidation::UNTRACKED;
use crate::credentials::record::{Phase, Record, Unknown, Written};
use crate::credentials::seal::{self, Seal};
use crate::credentials::{Cluster, Password};
use crate::digest::Digest;
use crate::identity::{Owner, Username};
use crate::roles::{Roles, Version};
use tokio::time::{Instant, advance};

const LIFE: Duration = Duration::from_secs(3600);
const MAX_STALE: Duration = Duration::from_secs(60);

fn near_cache() -> NearCache {
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
        written: Written {
            record,
            life: LIFE,
            aged: Duration::ZERO,
            cluster: Cluster::default(),
            unknown: Unknown::new(),
        },
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
    MaintenanceSchedule::of(current, &settings, None, &seal, Duration::MAX)
}

fn insert(near_cache: &NearCache, read_version: ReadVersion) -> Arc<CachedCredential> {
    let current = current();
    let credential = Credential::new(Username::parse("ann").unwrap(), &current.written.record.password);
    let maintenance = maintenance(&current);
    near_cache.insert(&key(), read_version, current, credential, maintenance)
}

fn look_up(near_cache: &NearCache) -> &'static str {
    match near_cache.look_up(&key()) {
        Lookup::Nothing => "nothing",
        Lookup::Fresh(_) => "fresh",
        Lookup::Suspect(_) => "suspect",
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_fresh_until_a_change_is_reported() {
    let near_cache = near_cache();
    near_cache.invalidations().begun();
    assert_eq!(look_up(&near_cache), "nothing");
    insert(&near_cache, near_cache.read_version(&key()));
    assert_eq!(look_up(&near_cache), "fresh");
    near_cache.invalidations().changed(b"elastauth-other");
    near_cache.invalidations().changed(key().as_str().as_bytes());
    assert_eq!(look_up(&near_cache), "nothing");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_reported_between_the_read_and_the_insertion_prevails() {
    let near_cache = near_cache();
    near_cache.invalidations().begun();
    let read_version = near_cache.read_version(&key());
    near_cache.invalidations().changed(key().as_str().as_bytes());
    let cached = insert(&near_cache, read_version);
    assert!(!near_cache.may_serve(&cached));
    assert_eq!(look_up(&near_cache), "nothing");
}

#[tokio::test(start_paused = true)]
async fn a_flush_drops_everything_and_so_does_a_write_of_our_own() {
    let near_cache = near_cache();
    near_cache.invalidations().begun();
    insert(&near_cache, near_cache.read_version(&key()));
    near_cache.invalidations().all_changed();
    assert_eq!(look_up(&near_cache), "nothing");
    let read_version = near_cache.read_version(&key());
    near_cache.invalidate(&key());
    insert(&near_cache, read_version);
    assert_eq!(look_up(&near_cache), "nothing");
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_makes_entries_suspect_and_they_may_serve_for_so_long() {
    let near_cache = near_cache();
    near_cache.invalidations().begun();
    let cached = insert(&near_cache, near_cache.read_version(&key()));
    advance(MAX_STALE * 2).await;
    assert_eq!(look_up(&near_cache), "fresh", "age alone makes nothing suspect");
    near_cache.invalidations().lost();
    near_cache.invalidations().lost();
    assert_eq!(look_up(&near_cache), "suspect");
    advance(MAX_STALE.saturating_sub(Duration::from_millis(1))).await;
    assert!(near_cache.may_serve(&cached));
    near_cache.invalidations().begun();
    assert_eq!(look_up(&near_cache), "suspect", "changes in between were not reported");
    advance(Duration::from_millis(1)).await;
    assert!(!near_cache.may_serve(&cached), "the time counts from the loss, whatever began since");
    insert(&near_cache, near_cache.read_version(&key()));
    assert_eq!(look_up(&near_cache), "fresh");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_fresh_only_while_the_server_has_answered_lately_and_again_when_it_answers() {
    let (near_cache, trust) = (near_cache(), Duration::from_secs(2));
    near_cache.invalidations().begun_until(BootTime::now() + trust);
    let cached = insert(&near_cache, near_cache.read_version(&key()));
    advance(trust.saturating_sub(Duration::from_millis(1))).await;
    assert_eq!(look_up(&near_cache), "fresh");
    advance(Duration::from_millis(1)).await;
    assert_eq!(look_up(&near_cache), "suspect", "as after a suspend: reports may be unread");
    near_cache.sweep();
    assert_eq!(look_up(&near_cache), "suspect", "it may serve while the store does not answer");
    near_cache.invalidations().renewed(BootTime::now() + trust);
    assert_eq!(look_up(&near_cache), "fresh", "all reports of before have been read, and none was of this key");
    advance(trust + MAX_STALE.saturating_sub(Duration::from_millis(1))).await;
    assert!(near_cache.may_serve(&cached), "the time counts from the end of its trust");
    near_cache.invalidations().lost();
    assert!(near_cache.may_serve(&cached));
    advance(Duration::from_millis(1)).await;
    assert!(!near_cache.may_serve(&cached), "that the connection was found lost only later prolongs nothing");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_reported_before_the_session_is_renewed_is_followed() {
    let (near_cache, trust) = (near_cache(), Duration::from_secs(2));
    near_cache.invalidations().begun_until(BootTime::now() + trust);
    insert(&near_cache, near_cache.read_version(&key()));
    advance(trust).await;
    near_cache.invalidations().changed(key().as_str().as_bytes());
    near_cache.invalidations().renewed(BootTime::now() + trust);
    assert_eq!(look_up(&near_cache), "nothing");
}

#[tokio::test(start_paused = true)]
async fn what_was_read_without_a_session_is_suspect_at_once() {
    let near_cache = near_cache();
    let cached = insert(&near_cache, near_cache.read_version(&key()));
    assert_eq!(look_up(&near_cache), "suspect");
    advance(MAX_STALE).await;
    assert!(!near_cache.may_serve(&cached));
}

#[tokio::test(start_paused = true)]
async fn where_changes_are_not_reported_entries_live_a_few_seconds() {
    let near_cache = near_cache();
    near_cache.invalidations().unavailable();
    insert(&near_cache, near_cache.read_version(&key()));
    assert_eq!(look_up(&near_cache), "fresh");
    advance(UNTRACKED).await;
    assert_eq!(look_up(&near_cache), "suspect");
}

#[tokio::test(start_paused = true)]
async fn an_entry_never_lives_longer_than_its_record() {
    let near_cache = near_cache();
    near_cache.invalidations().begun();
    let cached = insert(&near_cache, near_cache.read_version(&key()));
    advance(LIFE).await;
    assert!(!near_cache.may_serve(&cached));
    assert_eq!(look_up(&near_cache), "nothing");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_a_change_wakes_when_it_is_reported() {
    let near_cache = near_cache();
    near_cache.invalidations().begun();
    let (poll, tracked) = (Duration::from_secs(1), Duration::from_secs(100));
    let read_version = near_cache.read_version(&key());
    let waiting = near_cache.invalidations().wait(&read_version, poll, tracked);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    near_cache.invalidations().changed(key().as_str().as_bytes());
    let began = Instant::now();
    waiting.await;
    near_cache.invalidations().wait(&read_version, poll, tracked).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "a change before the wait counts too");
    near_cache.invalidations().lost();
    near_cache.invalidations().wait(&near_cache.read_version(&key()), poll, tracked).await;
    assert_eq!(began.elapsed(), poll, "without a session it reads again by itself");
}

#[tokio::test(start_paused = true)]
async fn the_number_of_entries_is_bounded() {
    let near_cache = near_cache();
    near_cache.invalidations().begun();
    for n in 0..1000 {
        let key = CacheKey::of(&Username::parse(&format!("u{n}")).unwrap());
        let current = current();
        let credential = Credential::new(Username::parse("ann").unwrap(), &current.written.record.password);
        let maintenance = maintenance(&current);
        near_cache.insert(&key, near_cache.read_version(&key), current, credential, maintenance);
    }
    assert!(near_cache.entries.len() <= 100, "{}", near_cache.entries.len());
}

#[tokio::test(start_paused = true)]
async fn what_will_not_be_served_any_more_is_dropped_with_its_password_by_a_sweep() {
    for unavailable in [false, true] {
        let near_cache = near_cache();
        if unavailable {
            near_cache.invalidations().unavailable();
        } else {
            near_cache.invalidations().begun();
        }
        insert(&near_cache, near_cache.read_version(&key()));
        near_cache.sweep();
        assert_eq!(near_cache.entries.len(), 1, "it is fresh");
        if !unavailable {
            advance(MAX_STALE * 2).await;
            near_cache.sweep();
            assert_eq!(near_cache.entries.len(), 1, "age alone makes nothing suspect");
            near_cache.invalidations().lost();
        }
        advance(MAX_STALE.saturating_sub(Duration::from_millis(1))).await;
        near_cache.sweep();
        assert_eq!(near_cache.entries.len(), 1, "it may serve while the store does not answer");
        advance(Duration::from_millis(1)).await;
        near_cache.sweep();
        assert_eq!(near_cache.entries.len(), 0);
    }
    let near_cache = near_cache();
    near_cache.invalidations().begun();
    insert(&near_cache, near_cache.read_version(&key()));
    near_cache.invalidations().changed(key().as_str().as_bytes());
    near_cache.sweep();
    assert_eq!(near_cache.entries.len(), 0, "it has changed in the store");
    insert(&near_cache, near_cache.read_version(&key()));
    advance(LIFE).await;
    near_cache.sweep();
    assert_eq!(near_cache.entries.len(), 0, "its record has ended");
}

#[tokio::test(start_paused = true)]
async fn a_record_of_many_roles_takes_the_room_of_several() {
    let near_cache = near_cache();
    near_cache.invalidations().begun();
    let roles = Roles::new((0..1000).map(|n| format!("role-{n}")));
    for n in 0..100 {
        let key = CacheKey::of(&Username::parse(&format!("u{n}")).unwrap());
        let mut current = current();
        current.written.record.roles = roles.clone();
        let credential = Credential::new(Username::parse("ann").unwrap(), &current.written.record.password);
        let maintenance = maintenance(&current);
        near_cache.insert(&key, near_cache.read_version(&key), current, credential, maintenance);
    }
    assert!((1..=4).contains(&near_cache.entries.len()), "{} of 40 kB in 150 kB", near_cache.entries.len());
}
