//! How many signatures are checked at once. A check is some 100 µs of a core without a pause: whoever sends made-up tokens must
//! not take every core from those whose tokens are known, who need no turn.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Turns at checking signatures, shared by everything that does. Those who wait are served in the order in which they came, each
/// as long as its request lives.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    /// So many at once.
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))))
    }

    /// Nobody waits.
    pub(super) fn unlimited() -> Self {
        Self::new(Semaphore::MAX_PERMITS)
    }

    /// Waits for a turn, which lasts as long as what it answers.
    pub(super) async fn take(&self) -> Option<SemaphorePermit<'_>> {
        // none only if it were closed, and it never is
        self.0.acquire().await.ok()
    }
}
