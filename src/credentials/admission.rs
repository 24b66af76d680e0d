//! Who may begin a write now, and when the others are to ask again. Decided before anything is agreed in the store or asked of
//! Elasticsearch: a refusal must cost next to nothing, and leave no claim behind that other replicas would wait for.
//!
//! Whoever would wait too long is told when its turn comes: each one a little later than the one before, as fast as writes go.
//! Clients that come when they were told keep the writers busy and need not ask twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Nobody is told to come later than this: by then some have gone for good, and others asked without being told.
const LATEST: Duration = Duration::from_secs(60);

/// How fast writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many may write or wait for it at once: no more than are through before their callers give up.
    pub most: usize,
    /// How much longer the last one waits for one more before it.
    pub each: Duration,
}

impl Pace {
    /// Everybody may write.
    pub const UNLIMITED: Self = Self { most: usize::MAX, each: Duration::ZERO };
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
pub(super) struct Admission(Arc<Mutex<Line>>);

#[derive(Default)]
struct Line {
    inside: usize,
    /// When the turn comes of the last one that was told.
    ends: Option<Instant>,
}

/// Leave to write, until it is dropped.
pub(super) struct Place(Arc<Mutex<Line>>);

impl Admission {
    /// Lets in, or says when to come back.
    pub(super) fn enter(&self, pace: Pace) -> Result<Place, Busy> {
        let mut line = lock(&self.0);
        if line.inside >= pace.most {
            return Err(Busy { again: line.tell(pace) });
        }
        line.inside += 1;
        Ok(Place(Arc::clone(&self.0)))
    }
}

impl Line {
    fn tell(&mut self, pace: Pace) -> Duration {
        let now = Instant::now();
        let inside = pace.each.saturating_mul(u32::try_from(self.inside).unwrap_or(u32::MAX));
        let first = now + inside.min(LATEST);
        let mut ends = self.ends.map_or(first, |ends| ends.max(first)) + pace.each.min(LATEST);
        let mut ahead = ends.saturating_duration_since(now);
        // a line that long is folded, so that the rest is spread over the later half of the longest wait
        while ahead >= 2 * LATEST {
            ends -= LATEST;
            ahead -= LATEST;
        }
        self.ends = Some(ends);
        if ahead <= LATEST { ahead } else { ahead / 2 }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.0).inside -= 1;
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { most: 3, each: Duration::from_millis(500) };

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_let_in_and_a_place_is_free_when_somebody_leaves() {
        let admission = Admission::default();
        let mut places: Vec<_> = (0..3).map(|_| admission.enter(PACE).unwrap()).collect();
        assert!(admission.enter(PACE).is_err());
        drop(places.pop());
        assert!(admission.enter(PACE).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_told_a_turn_of_its_own_and_time_shortens_the_line() {
        let admission = Admission::default();
        let _inside: Vec<_> = (0..3).map(|_| admission.enter(PACE).unwrap()).collect();
        let told = || admission.enter(PACE).err().unwrap().again.as_millis();
        assert_eq!([told(), told(), told()], [2000, 2500, 3000]);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(told(), 2000, "as if nobody had been told: those inside come first");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_to_come_later_than_in_a_minute_nor_all_at_once() {
        let admission = Admission::default();
        let _inside: Vec<_> = (0..3).map(|_| admission.enter(PACE).unwrap()).collect();
        let told: Vec<_> = (0..1000).map(|_| admission.enter(PACE).err().unwrap().again).collect();
        assert!(told.iter().all(|again| *again <= LATEST), "{told:?}");
        let late = &told[200..];
        let soon = late.iter().filter(|again| **again < LATEST * 5 / 8).count();
        assert!((late.len() / 5..late.len() / 3).contains(&soon), "{soon} of {} in a quarter", late.len());
    }
}
