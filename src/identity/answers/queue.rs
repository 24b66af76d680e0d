//! The queue of questions to one provider: which are asked now, which wait, and which are turned away.
//!
//! Any client can send made-up tokens, and each of them is a question. Tokens that are known to be good therefore never wait for
//! those: a part of the questions that may be asked at once is reserved for them, and each of the two kinds has a queue of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::identity::error::Error;

/// Questions to one provider at once: a flood of made-up tokens must not permit this process against it.
pub(super) const MAX_ASKED: usize = 64;

/// Of these, so many may be about tokens of which nothing is known yet.
pub(super) const MAX_ASKED_NEW: usize = 48;

/// Questions of each kind that wait. A provider that answers in 70 ms takes as many within [`PATIENCE`].
pub(super) const MAX_WAITING: usize = 1024;

/// Callers with new tokens that wait for answers. Several may come with one token, and each that waits is a request in flight:
/// with the default of `grpc.max_in_flight`, a quarter of the places is left for all other requests.
pub(super) const MAX_CALLERS_NEW: usize = 3072;

/// The longest wait of a question: half of the default of `grpc.deadline`, so that its callers are still there when the answer
/// comes.
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);

/// What is known of a token before the provider is asked: known ones do not wait behind new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) enum Priority {
    /// The provider has accepted it before, or its signature is right.
    Known,
    /// Nothing yet: it may be made up.
    New,
}

/// The questions to one provider that are asked or wait.
#[derive(Debug)]
pub(super) struct Queue {
    asked: Arc<Semaphore>,
    asked_new: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    waiting_new: Arc<Semaphore>,
    callers_new: Semaphore,
}

/// A question's slot in the queue.
#[derive(Debug)]
pub(super) struct QueueSlot {
    _slot: OwnedSemaphorePermit,
    /// In the order in which they are acquired.
    permits: Vec<Arc<Semaphore>>,
}

/// The permission to ask, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit(
    #[expect(dead_code, reason = "held until the question is answered")] Vec<OwnedSemaphorePermit>,
);

impl Queue {
    /// A queue in which no question waits.
    pub(super) fn new() -> Self {
        let [asked, asked_new, waiting, waiting_new] =
            [MAX_ASKED, MAX_ASKED_NEW, MAX_WAITING, MAX_WAITING].map(|most| Arc::new(Semaphore::new(most)));
        Self { asked, asked_new, waiting, waiting_new, callers_new: Semaphore::new(MAX_CALLERS_NEW) }
    }

    /// Lets a caller wait for an answer, as long as what this returns is held, or fails at once where too many wait.
    pub(super) fn admit(&self, priority: Priority) -> Result<Option<SemaphorePermit<'_>>, Error> {
        match priority {
            Priority::Known => Ok(None),
            Priority::New => self.callers_new.try_acquire().map(Some).map_err(|_| Error::Overload),
        }
    }

    /// Takes a slot in the queue, or fails at once where the queue is full.
    pub(super) fn enter(&self, priority: Priority) -> Result<QueueSlot, Error> {
        let (slots, permits) = match priority {
            Priority::Known => (&self.waiting, vec![Arc::clone(&self.asked)]),
            Priority::New => (&self.waiting_new, vec![Arc::clone(&self.asked_new), Arc::clone(&self.asked)]),
        };
        let slot = Arc::clone(slots).try_acquire_owned().map_err(|_| Error::Overload)?;
        Ok(QueueSlot { _slot: slot, permits })
    }
}

impl QueueSlot {
    /// Waits until this question may be asked. Questions of one kind are asked in the order in which they came.
    pub(super) async fn permit(self) -> Result<Permit, Error> {
        let permits = async {
            let mut held = Vec::with_capacity(self.permits.len());
            for permit in &self.permits {
                // it fails only where the semaphore is closed, and nothing closes it
                held.push(Arc::clone(permit).acquire_owned().await.map_err(|_| Error::Overload)?);
            }
            Ok(Permit(held))
        };
        timeout(PATIENCE, permits).await.unwrap_or(Err(Error::Overload))
    }
}
