//! Makes writes wait for one another and puts together those that wait: all users are in one document, and after each write
//! of it every node forgets all logins.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use crate::credentials::{UserSpec, WriteError};
use crate::native_user::PasswordField;

/// How many users may wait; further writes fail at once.
const MAX_WAITING: usize = 1024;

/// A user to be written.
pub(super) struct Job {
    pub(super) user: UserSpec,
    pub(super) password: PasswordField,
    /// When the user was last inspected; none where it has to be inspected again.
    pub(super) inspected_at: Option<Instant>,
    /// Until when the caller waits.
    pub(super) ends: Instant,
    /// The parent of the spans of what is done for this user alone.
    pub(super) span: Span,
    done: oneshot::Sender<Result<(), WriteError>>,
}

impl Job {
    /// Gives the caller the result.
    pub(super) fn finish(self, result: Result<(), WriteError>) {
        // a caller that no longer waits has reported an unknown outcome
        let _ = self.done.send(result);
    }

    /// Whether the write is useless by now: the caller is gone, or there is less time than `least`.
    pub(super) fn is_late(&self, least: Duration) -> bool {
        self.done.is_closed() || self.ends.saturating_duration_since(Instant::now()) < least
    }
}

/// How writes are put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batching {
    /// How many users one request may have.
    pub(super) max_users: usize,
    /// The least time from the beginning of one request to that of the next.
    pub(super) interval: Duration,
}

/// The users that wait to be written.
pub(super) struct Queue {
    batching: Batching,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Whether a task is working off the queue.
    has_worker: bool,
    /// When the last request began.
    last: Option<Instant>,
}

/// The task that works off the queue. Dropped before its end, as by a panic, it lets the next caller start another one.
struct Worker {
    queue: Arc<Queue>,
    done: bool,
}

impl Worker {
    async fn run<W, F>(mut self, write: W)
    where
        W: Fn(Vec<Job>) -> F,
        F: Future<Output = ()>,
    {
        loop {
            let last = self.queue.state().last;
            if let Some(last) = last {
                tokio::time::sleep_until(last + self.queue.batching.interval).await;
            }
            let Some(batch) = self.queue.take() else { break };
            write(batch).await;
        }
        self.done = true;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.done {
            self.queue.state().has_worker = false;
        }
    }
}

impl Queue {
    pub(super) fn new(batching: Batching) -> Arc<Self> {
        Arc::new(Self { batching, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits until `ends` for the write of this user, which was inspected at `inspected_at`. `write` writes some users
    /// together and gives each its result. It never runs twice at the same time, and goes on when the caller is gone.
    pub(super) async fn submit<W, F>(
        self: &Arc<Self>,
        (user, password): (UserSpec, PasswordField),
        (inspected_at, ends): (Instant, Instant),
        write: W,
    ) -> Result<(), WriteError>
    where
        W: Fn(Vec<Job>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (done, result) = oneshot::channel();
        let job = Job { user, password, inspected_at: Some(inspected_at), ends, span: Span::current(), done };
        let start = {
            let mut state = self.state();
            if state.waiting.len() >= MAX_WAITING {
                return Err(WriteError::Unavailable("too many writes are waiting".into()));
            }
            state.waiting.push_back(job);
            !std::mem::replace(&mut state.has_worker, true)
        };
        if start {
            tokio::spawn(Worker { queue: Arc::clone(self), done: false }.run(write));
        }
        match timeout_at(ends, result).await {
            Ok(Ok(result)) => result,
            Ok(Err(_dropped)) => Err(WriteError::Unknown("the task that writes ended early".into())),
            Err(_elapsed) => Err(WriteError::Unknown("the write did not end in time".into())),
        }
    }

    /// The users that have waited longest, each of them once: a second write of a user waits for the first.
    fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.state();
        let mut batch: Vec<Job> = Vec::new();
        let mut rest = VecDeque::new();
        for job in std::mem::take(&mut state.waiting) {
            let repeated = batch.iter().any(|other| other.user.username == job.user.username);
            if batch.len() < self.batching.max_users && !repeated { batch.push(job) } else { rest.push_back(job) }
        }
        state.waiting = rest;
        if batch.is_empty() {
            // under the same lock, so that the next job starts another worker
            state.has_worker = false;
            return None;
        }
        state.last = Some(Instant::now());
        Some(batch)
    }
}
