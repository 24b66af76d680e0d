//! Bounds how many users are written at once, and says to further requests when to come back.
//!
//! The decision is made before anything is agreed in the store or asked of Elasticsearch: a refusal must cost next to nothing,
//! and leave no lease behind that other replicas would wait for.
//!
//! A request that would wait too long is refused with the time of its turn, and its user keeps a place in the queue. The time
//! follows from the number of places before it and from how fast writes go. So clients that come back at their time keep the
//! writers busy and need not ask often, and those that are served leave no place behind.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::CacheKey;

/// The longest wait that is given: later, some clients have gone for good, and others ask without waiting for their time.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A place is given up when its user has not come back so long after its time.
const GRACE: Duration = Duration::from_secs(30);
/// How many places the queue has: some 20 MB. Further users are given a time, and are new when they come back.
const MAX_PLACES: usize = 100_000;

/// How fast writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throughput {
    /// How many users are written at once.
    pub writers: usize,
    /// How many may write or wait for it at once: no more than can be written before their callers give up.
    pub most: usize,
    /// How much longer the last one waits for each further one before it.
    pub each: Duration,
}

impl Throughput {
    /// No bound: every user may be written at once.
    pub const UNLIMITED: Self = Self { writers: usize::MAX, most: usize::MAX, each: Duration::ZERO };

    /// So many are admitted although others have a place before them: a client with a place may never come back, and writers
    /// must not idle for it.
    fn for_newcomers(&self) -> usize {
        (self.most / 2).max(self.writers)
    }
}

/// Too many users are being written, or wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more users are to be written than Elasticsearch takes in time; the turn comes in {again:?}")]
pub struct Busy {
    /// How long from now the user's turn comes.
    pub again: Duration,
}

/// The bound on users that are written at once, with the queue of those that were refused.
#[derive(Default)]
pub(super) struct Admission(Arc<Mutex<WaitQueue>>);

#[derive(Default)]
struct WaitQueue {
    /// How many have a permit.
    admitted: usize,
    /// The refused users by number, in the order in which they came first, and until when each place is kept.
    places: BTreeMap<u64, (CacheKey, Instant)>,
    /// The number of each user in `places`.
    numbers: HashMap<CacheKey, u64>,
    next: u64,
    /// When places were last given up.
    swept: Option<Instant>,
}

/// Permission to write one user, until it is dropped.
pub(super) struct Permit(Arc<Mutex<WaitQueue>>);

impl Admission {
    /// Admits the user, or says when to come back.
    pub(super) fn enter(&self, key: &CacheKey, throughput: Throughput) -> Result<Permit, Busy> {
        let mut queue = self.0.lock();
        let before = queue.before(key);
        let room = throughput.most.saturating_sub(queue.admitted);
        if before >= room && queue.admitted >= throughput.for_newcomers() {
            let turns = u32::try_from(before - room).unwrap_or(u32::MAX).saturating_add(1);
            let wait = throughput.each.saturating_mul(turns);
            let again = if wait <= LONGEST_WAIT { wait } else { spread(wait) };
            queue.keep_place(key, Instant::now() + again + GRACE);
            return Err(Busy { again });
        }
        queue.admitted += 1;
        queue.leave(key);
        Ok(Permit(Arc::clone(&self.0)))
    }

    /// Gives up the places of users that did not come back, also where no other request comes.
    pub(super) fn sweep(&self) {
        let mut queue = self.0.lock();
        queue.sweep();
        queue.numbers.shrink_to_fit();
    }
}

/// A time in the later half of the longest wait, so that users with later turns do not all come back at once.
fn spread(wait: Duration) -> Duration {
    let half = LONGEST_WAIT / 2;
    half + Duration::from_nanos(u64::try_from(wait.as_nanos() % half.as_nanos()).unwrap_or_default())
}

impl WaitQueue {
    /// About how many have a place before this user's. Estimated from its number: places are given up evenly.
    fn before(&self, key: &CacheKey) -> usize {
        let count = self.places.len();
        let (Some(number), Some((first, _))) = (self.numbers.get(key), self.places.first_key_value()) else {
            return count;
        };
        let (ahead, all) = (u128::from(number - first), u128::from(self.next - first));
        usize::try_from(ahead * count as u128 / all.max(1)).unwrap_or(count)
    }

    fn keep_place(&mut self, key: &CacheKey, until: Instant) {
        self.sweep();
        if let Some(place) = self.numbers.get(key).and_then(|number| self.places.get_mut(number)) {
            place.1 = until;
        } else if self.places.len() < MAX_PLACES {
            self.places.insert(self.next, (key.clone(), until));
            self.numbers.insert(key.clone(), self.next);
            self.next += 1;
        }
    }

    fn leave(&mut self, key: &CacheKey) {
        if let Some(number) = self.numbers.remove(key) {
            self.places.remove(&number);
        }
    }

    /// Gives up the places of users that did not come back.
    fn sweep(&mut self) {
        let now = Instant::now();
        if self.swept.is_some_and(|swept| now < swept + GRACE / 10) {
            return;
        }
        self.swept = Some(now);
        let numbers = &mut self.numbers;
        self.places.retain(|_, (key, until)| {
            let kept = now < *until;
            if !kept {
                numbers.remove(key);
            }
            kept
        });
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lock().admitted -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::identity::Username;

    const THROUGHPUT: Throughput = Throughput { writers: 2, most: 6, each: Duration::from_millis(500) };

    fn key(n: usize) -> CacheKey {
        CacheKey::of(&Username::parse(&format!("u{n}")).unwrap())
    }

    /// When this user is to come back in milliseconds; none where it is admitted.
    fn wait(admission: &Admission, n: usize) -> Option<u128> {
        admission.enter(&key(n), THROUGHPUT).err().map(|busy| busy.again.as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_admitted_and_a_dropped_permit_makes_room() {
        let admission = Admission::default();
        let mut permits: Vec<_> = (0..6).map(|n| admission.enter(&key(n), THROUGHPUT).unwrap()).collect();
        assert!(wait(&admission, 6).is_some());
        drop(permits.pop());
        assert!(wait(&admission, 6).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn each_user_keeps_its_place_however_often_it_asks() {
        let admission = Admission::default();
        let mut permits: Vec<_> = (0..6).map(|n| admission.enter(&key(n), THROUGHPUT).unwrap()).collect();
        for _ in 0..3 {
            let all: Vec<_> = (10..13).filter_map(|n| wait(&admission, n)).collect();
            assert_eq!(all, [500, 1000, 1500]);
        }
        permits.pop();
        assert_eq!(wait(&admission, 12), Some(1000), "there is room for one, and two are before it");
        assert_eq!(wait(&admission, 13), Some(1500), "a new one is the last");
        permits.push(admission.enter(&key(10), THROUGHPUT).unwrap());
        assert_eq!([wait(&admission, 11), wait(&admission, 12)], [Some(500), Some(1000)]);
    }

    #[tokio::test(start_paused = true)]
    async fn users_that_do_not_come_back_do_not_hold_up_others() {
        let admission = Admission::default();
        let mut permits: Vec<_> = (0..6).map(|n| admission.enter(&key(n), THROUGHPUT).unwrap()).collect();
        for n in 10..110 {
            assert!(wait(&admission, n).is_some());
        }
        permits.truncate(3);
        assert!(wait(&admission, 200).is_some(), "newcomers have half of the room");
        permits.truncate(2);
        permits.push(admission.enter(&key(200), THROUGHPUT).unwrap());
        permits.extend((10..13).map(|n| admission.enter(&key(n), THROUGHPUT).unwrap()));
        assert_eq!(wait(&admission, 300), Some(98 * 500), "97 are before it");
        tokio::time::advance(LONGEST_WAIT + GRACE).await;
        assert!(wait(&admission, 400).is_some());
        assert_eq!(wait(&admission, 401), Some(1000), "one is before it");
        let queue = admission.0.lock();
        assert_eq!((queue.places.len(), queue.numbers.len()), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn places_of_users_that_did_not_come_back_are_given_up_without_another_request() {
        let admission = Admission::default();
        let _permits: Vec<_> = (0..6).map(|n| admission.enter(&key(n), THROUGHPUT).unwrap()).collect();
        assert!(wait(&admission, 10).is_some());
        tokio::time::advance(LONGEST_WAIT + GRACE).await;
        admission.sweep();
        let queue = admission.0.lock();
        assert_eq!((queue.places.len(), queue.numbers.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_are_a_minute_at_most_and_do_not_all_end_at_once() {
        let admission = Admission::default();
        let _permits: Vec<_> = (0..6).map(|n| admission.enter(&key(n), THROUGHPUT).unwrap()).collect();
        let waits: Vec<_> = (10..1010).map(|n| admission.enter(&key(n), THROUGHPUT).err().unwrap().again).collect();
        assert!(waits.iter().all(|again| *again <= LONGEST_WAIT), "{waits:?}");
        let late = &waits[200..];
        let soon = late.iter().filter(|again| **again < LONGEST_WAIT * 5 / 8).count();
        assert!((late.len() / 5..late.len() / 3).contains(&soon), "{soon} of {} in a quarter", late.len());
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_places_is_bounded() {
        let admission = Admission::default();
        let _permits: Vec<_> = (0..6).map(|n| admission.enter(&key(n), THROUGHPUT).unwrap()).collect();
        for n in 10..MAX_PLACES + 20 {
            assert!(wait(&admission, n).is_some());
        }
        let queue = admission.0.lock();
        assert_eq!((queue.places.len(), queue.numbers.len()), (MAX_PLACES, MAX_PLACES));
    }
}
