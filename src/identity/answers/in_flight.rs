//! Questions to the provider that wait or are being asked: one for each token, which all requests with the token share.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::watch;

/// SHA-256 of a question and its token: the token itself is not kept.
pub(super) type Digest = [u8; 32];

/// The outcome of a question; `None` until there is one.
pub(super) type Awaited<T> = watch::Receiver<Option<T>>;

type Senders<T> = Arc<Mutex<HashMap<Digest, Weak<watch::Sender<Option<T>>>>>>;

/// All questions that wait or are being asked.
pub(super) struct InFlight<T>(Senders<T>);

/// One question. It leaves the list when this is dropped, and a request that still waits then learns that it ended without an
/// answer.
pub(super) struct PendingQuestion<T> {
    list: Senders<T>,
    digest: Digest,
    sender: Arc<watch::Sender<Option<T>>>,
}

/// What a caller finds under a digest.
pub(super) enum Found<T> {
    /// An answer that is there already.
    Answer(T),
    /// A question that another caller has put.
    Asked(Awaited<T>),
    /// A question that this caller is to put.
    Unasked(PendingQuestion<T>, Awaited<T>),
}

impl<T> InFlight<T> {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Joins the question about this token, or begins one. `answer` looks for an answer that came meanwhile: a question leaves
    /// the list only after its answer is kept.
    pub(super) fn join(&self, digest: Digest, answer: impl FnOnce() -> Option<T>) -> Found<T> {
        let mut list = self.0.lock();
        if let Some(sender) = list.get(&digest).and_then(Weak::upgrade) {
            return Found::Asked(sender.subscribe());
        }
        if let Some(answer) = answer() {
            return Found::Answer(answer);
        }
        let (sender, awaited) = watch::channel(None);
        let sender = Arc::new(sender);
        list.insert(digest, Arc::downgrade(&sender));
        Found::Unasked(PendingQuestion { list: Arc::clone(&self.0), digest, sender }, awaited)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl<T> PendingQuestion<T> {
    /// Waits for something, as long as a caller waits for the answer.
    pub(super) async fn while_awaited<F: Future>(&self, wait: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            () = self.is_abandoned() => None,
            output = wait => Some(output),
        }
    }

    /// Gives the outcome to all requests that wait for it.
    pub(super) fn finish(self, outcome: T) {
        self.sender.send_replace(Some(outcome));
    }

    /// Returns when no caller is left, and takes the question off the list, so that none comes any more.
    async fn is_abandoned(&self) {
        loop {
            self.sender.closed().await;
            let mut list = self.list.lock();
            // under the lock, since a caller may have joined meanwhile
            if self.sender.receiver_count() == 0 {
                list.remove(&self.digest);
                return;
            }
        }
    }
}

impl<T> Drop for PendingQuestion<T> {
    fn drop(&mut self) {
        let mut list = self.list.lock();
        if list.get(&self.digest).is_some_and(|other| other.as_ptr() == Arc::as_ptr(&self.sender)) {
            list.remove(&self.digest);
        }
    }
}
