//! Who may begin a write now, and when the others are to ask again. Decided before anything is agreed in the store or asked of
//! Elasticsearch: a refusal must cost next to nothing, and leave no claim behind that other replicas would wait for.
//!
//! Whoever would wait too long is told when its turn comes, and keeps its place in the line: it is told by how many are
//! before it, as fast as writes go. Clients that come when they were told keep the writers busy and need not ask often, and when
//! few are left nobody waits for those who are through.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::CacheKey;

/// Nobody is told to come later than this: by then some have gone for good, and others asked without being told.
const LATEST: Duration = Duration::from_secs(60);
/// Who has not come so long after its turn has lost its place.
const LATE: Duration = Duration::from_secs(30);
/// How many places are kept in the line: some 20 MB. Whoever comes beyond is told when to come, and is new then.
const MOST_TOLD: usize = 100_000;

/// How fast writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throughput {
    /// How many are written at once.
    pub writers: usize,
    /// How many may write or wait for it at once: no more than are through before their callers give up.
    pub most: usize,
    /// How much longer the last one waits for one more before it.
    pub each: Duration,
}

impl Throughput {
    /// Everybody may write.
    pub const UNLIMITED: Self = Self { writers: usize::MAX, most: usize::MAX, each: Duration::ZERO };

    /// So many are let in although others have a place before them: whoever is told to come may never come, and nobody shall
    /// wait for him while nothing is written.
    fn for_anybody(&self) -> usize {
        (self.most / 2).max(self.writers)
    }
}

/// Too many write or wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more users are to be written than Elasticsearch takes in time; the turn comes in {again:?}")]
pub struct Busy {
    /// When to ask again.
    pub again: Duration,
}

/// Those that write or wait, and those that were told to come back.
#[derive(Default)]
pub(super) struct Admission(Arc<Mutex<WaitQueue>>);

#[derive(Default)]
struct WaitQueue {
    inside: usize,
    /// Who was told to come back, in the order in which they came first, and until when the place is kept.
    told: BTreeMap<u64, (CacheKey, Instant)>,
    numbers: HashMap<CacheKey, u64>,
    next: u64,
    /// When those who did not come were last looked for.
    swept: Option<Instant>,
}

/// Leave to write, until it is dropped.
pub(super) struct Permit(Arc<Mutex<WaitQueue>>);

impl Admission {
    /// Lets in, or says when to come back.
    pub(super) fn enter(&self, key: &CacheKey, pace: Throughput) -> Result<Permit, Busy> {
        let mut line = lock(&self.0);
        let before = line.before(key);
        let room = pace.most.saturating_sub(line.inside);
        if before >= room && line.inside >= pace.for_anybody() {
            let wait = pace.each.saturating_mul(u32::try_from(before - room).unwrap_or(u32::MAX).saturating_add(1));
            let again = if wait <= LATEST { wait } else { spread(wait) };
            line.keep_place(key, Instant::now() + again + LATE);
            return Err(Busy { again });
        }
        line.inside += 1;
        line.leave(key);
        Ok(Permit(Arc::clone(&self.0)))
    }

    /// Takes the places of those who did not come, also where nobody else comes.
    pub(super) fn sweep(&self) {
        let mut line = lock(&self.0);
        line.sweep();
        line.numbers.shrink_to_fit();
    }
}

/// The later half of the longest wait, so that those whose turn is further away do not come all at once.
fn spread(wait: Duration) -> Duration {
    let half = LATEST / 2;
    half + Duration::from_nanos(u64::try_from(wait.as_nanos() % half.as_nanos()).unwrap_or_default())
}

impl WaitQueue {
    /// About how many have a place before this one: places are given up evenly.
    fn before(&self, key: &CacheKey) -> usize {
        let count = self.told.len();
        let (Some(number), Some((first, _))) = (self.numbers.get(key), self.told.first_key_value()) else {
            return count;
        };
        let (ahead, all) = (u128::from(number - first), u128::from(self.next - first));
        usize::try_from(ahead * count as u128 / all.max(1)).unwrap_or(count)
    }

    fn keep_place(&mut self, key: &CacheKey, until: Instant) {
        self.sweep();
        if let Some(place) = self.numbers.get(key).and_then(|number| self.told.get_mut(number)) {
            place.1 = until;
        } else if self.told.len() < MOST_TOLD {
            self.told.insert(self.next, (key.clone(), until));
            self.numbers.insert(key.clone(), self.next);
            self.next += 1;
        }
    }

    fn leave(&mut self, key: &CacheKey) {
        if let Some(number) = self.numbers.remove(key) {
            self.told.remove(&number);
        }
    }

    /// Takes the places of those who did not come.
    fn sweep(&mut self) {
        let now = Instant::now();
        if self.swept.is_some_and(|swept| now < swept + LATE / 10) {
            return;
        }
        self.swept = Some(now);
        let numbers = &mut self.numbers;
        self.told.retain(|_, (key, until)| {
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
        lock(&self.0).inside -= 1;
    }
}

fn lock(line: &Mutex<WaitQueue>) -> MutexGuard<'_, WaitQueue> {
    line.lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::identity::Username;

    const PACE: Throughput = Throughput { writers: 2, most: 6, each: Duration::from_millis(500) };

    fn key(n: usize) -> CacheKey {
        CacheKey::of(&Username::parse(&format!("u{n}")).unwrap())
    }

    /// When this one is to come, or nothing where it is let in.
    fn told(admission: &Admission, n: usize) -> Option<u128> {
        admission.enter(&key(n), PACE).err().map(|busy| busy.again.as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_let_in_and_a_place_is_free_when_somebody_leaves() {
        let admission = Admission::default();
        let mut places: Vec<_> = (0..6).map(|n| admission.enter(&key(n), PACE).unwrap()).collect();
        assert!(told(&admission, 6).is_some());
        drop(places.pop());
        assert!(told(&admission, 6).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn each_keeps_a_place_of_its_own_however_often_it_asks() {
        let admission = Admission::default();
        let mut inside: Vec<_> = (0..6).map(|n| admission.enter(&key(n), PACE).unwrap()).collect();
        for _ in 0..3 {
            let all: Vec<_> = (10..13).filter_map(|n| told(&admission, n)).collect();
            assert_eq!(all, [500, 1000, 1500]);
        }
        inside.pop();
        assert_eq!(told(&admission, 12), Some(1000), "there is room for one, and two are before it");
        assert_eq!(told(&admission, 13), Some(1500), "a new one is the last");
        inside.push(admission.enter(&key(10), PACE).unwrap());
        assert_eq!([told(&admission, 11), told(&admission, 12)], [Some(500), Some(1000)]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_those_who_do_not_come() {
        let admission = Admission::default();
        let mut inside: Vec<_> = (0..6).map(|n| admission.enter(&key(n), PACE).unwrap()).collect();
        for n in 10..110 {
            assert!(told(&admission, n).is_some());
        }
        inside.truncate(3);
        assert!(told(&admission, 200).is_some(), "the others have half of the room");
        inside.truncate(2);
        inside.push(admission.enter(&key(200), PACE).unwrap());
        inside.extend((10..13).map(|n| admission.enter(&key(n), PACE).unwrap()));
        assert_eq!(told(&admission, 300), Some(98 * 500), "97 are before it");
        tokio::time::advance(LATEST + LATE).await;
        assert!(told(&admission, 400).is_some());
        assert_eq!(told(&admission, 401), Some(1000), "one is before it");
        let line = lock(&admission.0);
        assert_eq!((line.told.len(), line.numbers.len()), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn places_of_those_who_did_not_come_are_given_up_when_nobody_else_comes_either() {
        let admission = Admission::default();
        let _inside: Vec<_> = (0..6).map(|n| admission.enter(&key(n), PACE).unwrap()).collect();
        assert!(told(&admission, 10).is_some());
        tokio::time::advance(LATEST + LATE).await;
        admission.sweep();
        let line = lock(&admission.0);
        assert_eq!((line.told.len(), line.numbers.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_to_come_later_than_in_a_minute_nor_all_at_once() {
        let admission = Admission::default();
        let _inside: Vec<_> = (0..6).map(|n| admission.enter(&key(n), PACE).unwrap()).collect();
        let told: Vec<_> = (10..1010).map(|n| admission.enter(&key(n), PACE).err().unwrap().again).collect();
        assert!(told.iter().all(|again| *again <= LATEST), "{told:?}");
        let late = &told[200..];
        let soon = late.iter().filter(|again| **again < LATEST * 5 / 8).count();
        assert!((late.len() / 5..late.len() / 3).contains(&soon), "{soon} of {} in a quarter", late.len());
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_places_is_bounded() {
        let admission = Admission::default();
        let _inside: Vec<_> = (0..6).map(|n| admission.enter(&key(n), PACE).unwrap()).collect();
        for n in 10..MOST_TOLD + 20 {
            assert!(told(&admission, n).is_some());
        }
        let line = lock(&admission.0);
        assert_eq!((line.told.len(), line.numbers.len()), (MOST_TOLD, MOST_TOLD));
    }
}
