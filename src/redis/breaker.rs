//! A circuit breaker for one server: once it has not answered, it is not asked for a while, instead of costing each request a
//! time-out.
//!
//! When there is no connection, or no answer in time, the server is probed in the background over a new connection, and the
//! breaker opens if the probe is not answered soon. An error that the server answers is an answer, and the error of that
//! request alone; and one silent connection is not the server. Writes have a circuit of their own: a server may hold writes
//! back and answer reads, as Redis does during `FAILOVER` and `CLIENT PAUSE … WRITE`. Writes that were not answered are tried
//! again by a write that is due anyway, one at a time.

use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::credentials::Invalidations;

/// Between the first two probes or attempts; doubles up to [`MAX_BACK_OFF`].
const BACK_OFF: Duration = Duration::from_millis(50);
/// The longest time between two probes or attempts.
const MAX_BACK_OFF: Duration = Duration::from_secs(1);
/// The least time between the log lines of two outages of one server. An outage that lasts is logged when this has passed.
const QUIET: Duration = Duration::from_secs(30);

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A read for a request that cannot be served otherwise. The server is asked even while the circuit is open, if a server has
    /// shown a sign of life since: after a fail-over another replica of elastauth may write before the next probe of this one.
    Read,
    /// A read for a request that can be served otherwise.
    Soon,
    /// A write, or a script.
    Write,
}

/// Where servers show signs of life: their reports of changes. Set when the reports are first asked for.
#[derive(Clone, Default)]
pub(super) struct Signs(Arc<OnceLock<Arc<Invalidations>>>);

impl Signs {
    pub(super) fn watch(&self, invalidations: &Arc<Invalidations>) {
        self.0.get_or_init(|| Arc::clone(invalidations));
    }

    fn count(&self) -> u64 {
        self.0.get().map_or(0, |invalidations| invalidations.signs())
    }
}

/// How many answers there had been when something began, and how many signs of life.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    answers: u64,
    writes: u64,
    signs: u64,
}

/// The circuits of one server.
pub(super) struct Breaker {
    /// The server, as log lines name it.
    name: String,
    /// How long the first probe is waited for before the circuit opens.
    patience: Duration,
    signs: Signs,
    state: Mutex<State>,
    /// Whether the circuit of the whole server is open.
    open: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    server: Circuit,
    writes: Circuit,
    /// The number of answers so far, and of those to writes.
    answers: u64,
    written: u64,
    /// A failure that the next probe is to confirm: why, and how many signs of life there had been.
    doubt: Option<(String, u64)>,
    /// Whether the server is being probed in the background.
    probed: bool,
}

#[derive(Default)]
struct Circuit {
    open: Option<Open>,
    /// Whether the log says that it is open.
    told: bool,
    /// When the log last said so.
    line: Option<Instant>,
}

/// Why a circuit is open, and since when.
struct Open {
    why: String,
    /// How many signs of life there had been when what failed last began.
    signs: u64,
    /// When the next write is let through, and the pause after it.
    next: Instant,
    pause: Duration,
}

impl Circuit {
    /// Opens the circuit, or notes another failure.
    fn fail(&mut self, why: &str, signs: u64) {
        let pause = self.open.as_ref().map_or(BACK_OFF, |open| (open.pause * 2).min(MAX_BACK_OFF));
        self.open = Some(Open { why: why.to_owned(), signs, next: Instant::now() + pause, pause });
    }

    /// Whether the log is to say now that the circuit is open.
    fn tell(&mut self) -> Option<&str> {
        let open = self.open.as_ref().filter(|_| !self.told && self.line.is_none_or(|line| line.elapsed() >= QUIET))?;
        (self.told, self.line) = (true, Some(Instant::now()));
        Some(&open.why)
    }

    /// Closes the circuit. Returns whether the log is to say so.
    fn close(&mut self) -> bool {
        self.open = None;
        std::mem::take(&mut self.told)
    }
}

impl Breaker {
    /// `patience` is how long a probe is waited for before the server is not asked any more.
    pub(super) fn new(name: String, patience: Duration, signs: Signs) -> Self {
        Self { name, patience, signs, state: Mutex::default(), open: watch::Sender::new(false) }
    }

    /// Whether the server may be asked now; otherwise why not.
    pub(super) fn admit(&self, what: Use) -> Result<(), String> {
        let mut state = self.state.lock();
        if let Some(open) = &state.server.open
            && (what != Use::Read || open.signs == self.signs.count())
        {
            return Err(open.why.clone());
        }
        if what == Use::Write
            && let Some(open) = &mut state.writes.open
        {
            let now = Instant::now();
            if now < open.next {
                return Err(open.why.clone());
            }
            // this write tries whether the server takes writes again
            open.next = now + MAX_BACK_OFF;
        }
        Ok(())
    }

    /// What there is before something that may fail, for [`Breaker::no_connection`] and [`Breaker::no_answer`].
    pub(super) fn before(&self) -> Before {
        let signs = self.signs.count();
        let state = self.state.lock();
        Before { answers: state.answers, writes: state.written, signs }
    }

    /// Notes an answer, an error among them, and closes what it shows to be well.
    pub(super) fn answered(&self, what: Use) {
        let mut state = self.state.lock();
        state.answers += 1;
        state.doubt = None;
        let server = self.close_server(&mut state);
        let mut writes = false;
        if what == Use::Write {
            state.written += 1;
            writes = state.writes.close();
        }
        drop(state);
        if server {
            tracing::info!(server = self.name, "The cache answers again");
        }
        if writes {
            tracing::info!(server = self.name, "The cache answers writes again");
        }
    }

    /// Notes that no connection could be made. Returns whether the server is to be probed: not if it has answered on another
    /// connection since `before`.
    pub(super) fn no_connection(&self, before: Before, why: &str) -> bool {
        let mut state = self.state.lock();
        if state.answers != before.answers {
            return false;
        }
        if state.server.open.is_some() {
            state.server.fail(why, before.signs);
        } else {
            state.doubt = Some((why.to_owned(), before.signs));
        }
        true
    }

    /// Notes that a command was not answered in time. Returns whether the server is to be probed.
    pub(super) fn no_answer(&self, what: Use, before: Before, why: &str) -> bool {
        match what {
            Use::Read | Use::Soon => self.no_connection(before, why),
            Use::Write => {
                self.fail_writes(before, why);
                false
            }
        }
    }

    /// Opens the circuit when a probe was not answered either.
    fn confirm(&self) {
        let mut state = self.state.lock();
        if let Some((why, signs)) = state.doubt.take() {
            state.server.fail(&why, signs);
            self.open.send_if_modified(|open| !std::mem::replace(open, true));
        }
        self.tell(&mut state);
    }

    fn fail_writes(&self, before: Before, why: &str) {
        let mut state = self.state.lock();
        // where the server does not answer at all, its writes are not asked about
        if state.server.open.is_some() || state.written != before.writes {
            return;
        }
        state.writes.fail(why, before.signs);
        if let Some(error) = state.writes.tell() {
            tracing::warn!(error, server = self.name, "The cache does not answer writes");
        }
    }

    fn tell(&self, state: &mut State) {
        if let Some(why) = state.server.tell() {
            let error = format!("Redis {}: {why}", self.name);
            tracing::warn!(error, server = self.name, "The cache does not answer");
        }
    }

    fn close_server(&self, state: &mut State) -> bool {
        self.open.send_if_modified(|open| std::mem::replace(open, false));
        state.server.close()
    }

    /// Why the server is not asked at present, if it is not.
    pub(super) fn why(&self) -> Option<String> {
        self.state.lock().server.open.as_ref().map(|open| open.why.clone())
    }

    /// Whether one of the circuits is open.
    pub(super) fn is_open(&self) -> bool {
        let state = self.state.lock();
        state.server.open.is_some() || state.writes.open.is_some()
    }

    /// Returns when the server has not been asked for this long. A request for which a connection is being made has nothing to
    /// wait for then.
    pub(super) async fn stays_open(&self, patience: Duration) {
        let mut open = self.open.subscribe();
        // an error would mean that this breaker is gone
        while open.wait_for(|open| *open).await.is_ok() {
            if timeout(patience, open.wait_for(|open| !open)).await.is_err() {
                return;
            }
        }
    }

    /// Probes the server in the background, unless that is under way, until a probe is answered or the owner is gone; at once the
    /// first time, because only one connection may have failed.
    pub(super) fn probe<T, F>(owner: &Arc<T>, breaker: fn(&T) -> &Self, probe: fn(Arc<T>) -> F)
    where
        T: Send + Sync + 'static,
        F: Future<Output = bool> + Send + 'static,
    {
        if std::mem::replace(&mut breaker(owner).state.lock().probed, true) {
            return;
        }
        let owner: Weak<T> = Arc::downgrade(owner);
        tokio::spawn(async move {
            let mut back_off = BACK_OFF;
            while let Some(owner) = owner.upgrade() {
                let breaker = breaker(&owner);
                let mut probing = Box::pin(probe(Arc::clone(&owner)));
                let answered = match timeout(breaker.patience, &mut probing).await {
                    Ok(answered) => answered,
                    Err(_) => {
                        breaker.confirm();
                        probing.await
                    }
                };
                if answered {
                    breaker.state.lock().probed = false;
                    breaker.answered(Use::Read);
                    return;
                }
                breaker.confirm();
                drop(owner);
                tokio::time::sleep(back_off).await;
                back_off = (back_off * 2).min(MAX_BACK_OFF);
            }
        });
    }
}

#[cfg(test)]
mod tests;
