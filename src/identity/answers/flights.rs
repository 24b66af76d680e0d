//! Questions that wait or are on their way: one per token, which all of the token's callers share.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::Digest;

/// What a question ends with; `None` until it does.
pub(super) type Landing<T> = watch::Receiver<Option<T>>;

type List<T> = Arc<Mutex<HashMap<Digest, Weak<watch::Sender<Option<T>>>>>>;

/// The flights under way.
pub(super) struct Flights<T>(List<T>);

/// One question. It is off the list as soon as this is dropped, and a caller that still waits then learns that it ended
/// without an answer.
pub(super) struct Flight<T> {
    list: List<T>,
    digest: Digest,
    sender: Arc<watch::Sender<Option<T>>>,
}

/// What a caller finds under a digest.
pub(super) enum Found<T> {
    /// An answer that is there already.
    Answer(T),
    /// A question that another caller has put.
    Asked(Landing<T>),
    /// A question that this caller is to put.
    Unasked(Flight<T>, Landing<T>),
}

impl<T> Flights<T> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Joins the question about this token, or begins one. `answer` looks for an answer that came meanwhile: a question leaves
    /// the list only after its answer is kept.
    pub(super) fn join(&self, digest: Digest, answer: impl FnOnce() -> Option<T>) -> Found<T> {
        let mut list = lock(&self.0);
        if let Some(sender) = list.get(&digest).and_then(Weak::upgrade) {
            return Found::Asked(sender.subscribe());
        }
        if let Some(answer) = answer() {
            return Found::Answer(answer);
        }
        let (sender, landing) = watch::channel(None);
        let sender = Arc::new(sender);
        list.insert(digest, Arc::downgrade(&sender));
        Found::Unasked(Flight { list: Arc::clone(&self.0), digest, sender }, landing)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

impl<T> Flight<T> {
    /// Waits for something, as long as a caller waits for the answer.
    pub(super) async fn while_awaited<F: Future>(&self, wait: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.is_abandoned() => None,
            output = wait => Some(output),
        }
    }

    /// Ends the question for its callers.
    pub(super) fn land(self, outcome: T) {
        self.sender.send_replace(Some(outcome));
    }

    /// Returns when no caller is left, and takes the question off the list, so that none comes any more.
    async fn is_abandoned(&self) {
        loop {
            self.sender.closed().await;
            let mut list = lock(&self.list);
            // under the lock, since a caller may have joined meanwhile
            if self.sender.receiver_count() == 0 {
                list.remove(&self.digest);
                return;
            }
        }
    }
}

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        let mut list = lock(&self.list);
        if list.get(&self.digest).is_some_and(|other| other.as_ptr() == Arc::as_ptr(&self.sender)) {
            list.remove(&self.digest);
        }
    }
}

fn lock<T>(list: &List<T>) -> MutexGuard<'_, HashMap<Digest, Weak<watch::Sender<Option<T>>>>> {
    list.lock()
}
