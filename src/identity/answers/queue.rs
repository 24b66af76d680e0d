//! Which questions are asked now, which wait, and which are turned away.
//!
//! Anybody can send made-up tokens, and each of them is a question. Tokens that are vouched for therefore never wait for those:
//! a part of the questions that may be on their way at once is theirs alone, and each of the two kinds has a line of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::identity::error::Error;

/// Questions to one provider at once: a flood of made-up tokens must not turn this process against it.
pub(super) const MAX_ASKED: usize = 64;

/// Of these, so many may be about tokens for which nothing speaks yet.
pub(super) const MAX_ASKED_NEW: usize = 48;

/// Questions of each kind that wait. A provider that answers in 70 ms takes as many within [`PATIENCE`].
pub(super) const MAX_WAITING: usize = 1024;

/// Callers with new tokens that wait for answers. Several may come with one token, and each that waits is a request in flight:
/// with the default of `grpc.max_in_flight`, a quarter of the places is left for everybody else.
pub(super) const MAX_CALLERS_NEW: usize = 3072;

/// The longest wait of a question: half of the default of `grpc.deadline`, so that its callers are still there when the answer
/// comes.
pub(super) const PATIENCE: Duration = Duration::from_millis(1500);

/// What speaks for a token before the provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) enum Standing {
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

/// A place in the line.
#[derive(Debug)]
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    /// In the order in which they are to be had.
    turns: Vec<Arc<Semaphore>>,
}

/// Leave to ask, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "held until the question is answered")] Vec<OwnedSemaphorePermit>);

impl Queue {
    /// An empty one.
    pub(super) fn new() -> Self {
        let [asked, asked_new, waiting, waiting_new] =
            [MAX_ASKED, MAX_ASKED_NEW, MAX_WAITING, MAX_WAITING].map(|most| Arc::new(Semaphore::new(most)));
        Self { asked, asked_new, waiting, waiting_new, callers_new: Semaphore::new(MAX_CALLERS_NEW) }
    }

    /// Lets a caller wait for an answer, as long as what this returns is held, or fails at once where too many wait.
    pub(super) fn admit(&self, standing: Standing) -> Result<Option<SemaphorePermit<'_>>, Error> {
        match standing {
            Standing::Known => Ok(None),
            Standing::New => self.callers_new.try_acquire().map(Some).map_err(|_| Error::Overload),
        }
    }

    /// Takes a place in the line, or fails at once where the line is full.
    pub(super) fn enter(&self, standing: Standing) -> Result<Place, Error> {
        let (places, turns) = match standing {
            Standing::Known => (&self.waiting, vec![Arc::clone(&self.asked)]),
            Standing::New => (&self.waiting_new, vec![Arc::clone(&self.asked_new), Arc::clone(&self.asked)]),
        };
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| Error::Overload)?;
        Ok(Place { _place: place, turns })
    }
}

impl Place {
    /// Waits for the turn of this question. Questions of one kind are asked in the order in which they came.
    pub(super) async fn turn(self) -> Result<Turn, Error> {
        let turns = async {
            let mut held = Vec::with_capacity(self.turns.len());
            for turn in &self.turns {
                // it fails only where the semaphore is closed, and nothing closes it
                held.push(Arc::clone(turn).acquire_owned().await.map_err(|_| Error::Overload)?);
            }
            Ok(Turn(held))
        };
        timeout(PATIENCE, turns).await.unwrap_or(Err(Error::Overload))
    }
}
