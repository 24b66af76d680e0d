//! Writes one after another, however many ask at once: all users are one document, and each write of it makes every node
//! forget every login. What waits meanwhile goes out together.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use super::api::Secret;
use crate::credentials::{UserSpec, WriteError};

/// How many wait at most; more are sent away at once.
const MOST: usize = 1024;

/// A user to be written.
pub(super) struct Job {
    pub(super) user: UserSpec,
    pub(super) secret: Secret,
    /// When the user was last looked at; none where that does not count any more.
    pub(super) looked: Option<Instant>,
    /// Nobody waits for it after that.
    pub(super) ends: Instant,
    /// What is done for this user alone belongs under it.
    pub(super) span: Span,
    done: oneshot::Sender<Result<(), WriteError>>,
}

impl Job {
    /// Tells whoever waits.
    pub(super) fn finish(self, result: Result<(), WriteError>) {
        // who gave up waiting has reported an unknown outcome
        let _ = self.done.send(result);
    }

    /// Whether there is no point in writing any more, with so little time.
    pub(super) fn is_late(&self, least: Duration) -> bool {
        self.done.is_closed() || self.ends.saturating_duration_since(Instant::now()) < least
    }
}

/// What is written at once, and how soon after the former.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Users in one request.
    pub(super) most: usize,
    /// Between the beginnings of two writes.
    pub(super) interval: Duration,
}

/// Those that wait, and whether somebody is at work on them.
pub(super) struct Queue {
    pace: Pace,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    at_work: bool,
    last: Option<Instant>,
}

/// Lets somebody else begin when the work ended in a panic.
struct AtWork {
    queue: Arc<Queue>,
    done: bool,
}

impl AtWork {
    async fn work_off<W, F>(mut self, write: W)
    where
        W: Fn(Vec<Job>) -> F,
        F: Future<Output = ()>,
    {
        loop {
            let last = self.queue.state().last;
            if let Some(last) = last {
                tokio::time::sleep_until(last + self.queue.pace.interval).await;
            }
            let Some(batch) = self.queue.take() else { break };
            write(batch).await;
        }
        self.done = true;
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if !self.done {
            self.queue.state().at_work = false;
        }
    }
}

impl Queue {
    pub(super) fn new(pace: Pace) -> Arc<Self> {
        Arc::new(Self { pace, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Waits for the write of this user until `ends`. `write` writes some users together and finishes each; it never runs
    /// twice at a time, and goes on when the caller is gone.
    pub(super) async fn submit<W, F>(
        self: &Arc<Self>,
        (user, secret): (UserSpec, Secret),
        (looked, ends): (Instant, Instant),
        write: W,
    ) -> Result<(), WriteError>
    where
        W: Fn(Vec<Job>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (done, told) = oneshot::channel();
        let job = Job { user, secret, looked: Some(looked), ends, span: Span::current(), done };
        let begin = {
            let mut state = self.state();
            if state.waiting.len() >= MOST {
                return Err(WriteError::Unavailable("too many writes are waiting".into()));
            }
            state.waiting.push_back(job);
            !std::mem::replace(&mut state.at_work, true)
        };
        if begin {
            tokio::spawn(AtWork { queue: Arc::clone(self), done: false }.work_off(write));
        }
        match timeout_at(ends, told).await {
            Ok(Ok(result)) => result,
            Ok(Err(_lost)) => Err(WriteError::Unknown("the task that writes was lost".into())),
            Err(_elapsed) => Err(WriteError::Unknown("the write did not come to an end in time".into())),
        }
    }

    /// The first that wait, each user once: a second write of a user stays behind the first.
    fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.state();
        let mut batch: Vec<Job> = Vec::new();
        let mut rest = VecDeque::new();
        for job in std::mem::take(&mut state.waiting) {
            let repeated = batch.iter().any(|other| other.user.username == job.user.username);
            if batch.len() < self.pace.most && !repeated { batch.push(job) } else { rest.push_back(job) }
        }
        state.waiting = rest;
        if batch.is_empty() {
            // under the same lock: who comes after this begins anew
            state.at_work = false;
            return None;
        }
        state.last = Some(Instant::now());
        Some(batch)
    }
}
