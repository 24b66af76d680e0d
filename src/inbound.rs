//! Connections that come in: how many there are at most, and which one goes when there are more.
//!
//! A connection costs the peer nothing and this process a file descriptor. Those that have not asked anything yet go first, the
//! oldest before the others, so that a crowd of silent ones keeps nobody out; and each port has descriptors of its own, so that a
//! crowd on one does not take those of the other.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Resource, getrlimit};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

mod bind;

pub use bind::bind;

/// Of the operator's port: probes and scrapes are few and short.
const OPERATORS: usize = 64;

/// Of the gRPC port: an Envoy opens one for each of its workers. An idle one takes some 20 kB.
const CALLERS: usize = 2048;

/// However few descriptors there are.
const FEWEST: usize = 64;

/// Descriptors for Redis, Elasticsearch, the identity provider and files.
const OURS: u64 = 256;

/// Between two lines of the log about connections that were closed at once.
const TOLD: Duration = Duration::from_secs(10);

/// How many connections each port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The gRPC port.
    pub(crate) callers: usize,
    /// The port of health and metrics.
    pub(crate) operators: usize,
}

impl Limits {
    /// As the limit of open files permits (`ulimit -n`).
    pub(crate) fn of_this_process() -> Self {
        let limits = Self::of(getrlimit(Resource::Nofile).current);
        if limits.callers < CALLERS / 8 {
            tracing::warn!(
                connections = limits.callers,
                "The limit of open files is low (ulimit -n): the gRPC port takes no more connections than this. Raise it to 4096"
            );
        }
        limits
    }

    /// None for no limit.
    fn of(files: Option<u64>) -> Self {
        let rest = files.unwrap_or(u64::MAX).saturating_sub(OURS + OPERATORS as u64);
        Self { callers: usize::try_from(rest).unwrap_or(usize::MAX).clamp(FEWEST, CALLERS), operators: OPERATORS }
    }
}

/// The connections of one port.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// But for those that were told to go.
    count: usize,
    next: u64,
    /// Those that have not asked anything yet, the oldest first, and what ends each.
    silent: BTreeMap<u64, Option<AbortHandle>>,
    told: Option<Instant>,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    of: Arc<Connections>,
    number: u64,
    asked: AtomicBool,
}

impl Connections {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// Accepts until `stopped`, and runs `serve` as a task for each connection. Such a task is ended where it has to make room.
    pub(crate) async fn accept_until<IO, F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        stopped: impl Future<Output = ()>,
        mut accept: impl AsyncFnMut() -> io::Result<IO>,
        serve: impl Fn(IO, Place) -> F,
    ) {
        let mut stopped = pin!(stopped);
        loop {
            let accepted = tokio::select! {
                () = &mut stopped => return,
                accepted = accept() => accepted,
            };
            match accepted {
                Ok(io) => {
                    if let Some(place) = self.enter() {
                        let number = place.number;
                        let task = tokio::spawn(serve(io, place));
                        self.may_end(number, task.abort_handle());
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "A connection was not accepted");
                    // out of file descriptors, most likely: others must end first
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// A place, if need be that of the connection that has been silent for the longest time; none where all have asked something.
    pub(crate) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.lock();
        if open.count >= self.most && !open.end_a_silent_one() {
            if open.told.is_none_or(|told| told.elapsed() >= TOLD) {
                open.told = Some(Instant::now());
                tracing::warn!(
                    connections = self.most,
                    "A connection was closed at once: there are as many as this process takes, and all of them are in use"
                );
            }
            return None;
        }
        open.count += 1;
        open.next += 1;
        let number = open.next;
        open.silent.insert(number, None);
        Some(Place { of: Arc::clone(self), number, asked: AtomicBool::new(false) })
    }

    /// From now on it can be ended, unless it has asked something by now.
    fn may_end(&self, number: u64, task: AbortHandle) {
        if let Some(end) = self.lock().silent.get_mut(&number) {
            *end = Some(task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock()
    }
}

impl Open {
    fn end_a_silent_one(&mut self) -> bool {
        let Some(oldest) = self.silent.first_entry().filter(|oldest| oldest.get().is_some()) else { return false };
        if let Some(task) = oldest.remove() {
            task.abort();
        }
        self.count -= 1;
        true
    }
}

impl Place {
    /// The peer has asked something: it is not ended for others any more.
    pub(crate) fn asked(&self) {
        if !self.asked.load(Ordering::Relaxed) && !self.asked.swap(true, Ordering::Relaxed) {
            self.of.lock().silent.remove(&self.number);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.of.lock();
        // one that was silent and is not in the list was told to go, and is not counted any more
        if open.silent.remove(&self.number).is_some() || *self.asked.get_mut() {
            open.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn descriptors_are_left_for_everything_else() {
        for (files, callers) in
            [(Some(1024), 704), (Some(4096), CALLERS), (Some(1 << 20), CALLERS), (None, CALLERS), (Some(256), FEWEST)]
        {
            assert_eq!(Limits::of(files), Limits { callers, operators: OPERATORS });
        }
    }

    /// What a connection is to do.
    enum Peer {
        Asks,
        IsSilent,
    }

    type Dialled = (Peer, mpsc::Sender<()>);

    /// Serves what is dialled. A connection that ends closes its channel.
    async fn serve(connections: &Arc<Connections>, mut dialled: mpsc::Receiver<Dialled>) {
        let accept = async || match dialled.recv().await {
            Some(peer) => Ok(peer),
            None => std::future::pending().await,
        };
        let serve = |(peer, open): Dialled, place: Place| async move {
            if matches!(peer, Peer::Asks) {
                place.asked();
            }
            // until the peer has gone
            open.closed().await;
        };
        connections.accept_until(std::future::pending(), accept, serve).await;
    }

    /// Runs beside a port for so many.
    async fn beside_a_port(most: usize, run: impl AsyncFnOnce(mpsc::Sender<Dialled>, &Connections)) {
        let (dial, dialled) = mpsc::channel(1);
        let connections = Connections::new(most);
        tokio::select! {
            () = serve(&connections, dialled) => panic!("it accepts for ever"),
            () = run(dial, &connections) => {}
        }
    }

    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn silent_connections_make_room_the_oldest_first_and_those_that_ask_stay() {
        use Peer::{Asks, IsSilent};
        beside_a_port(3, async |dial, connections| {
            let mut peers = Vec::new();
            for peer in [IsSilent, Asks, IsSilent, IsSilent, Asks, Asks, Asks] {
                let (open, closed) = mpsc::channel::<()>(1);
                dial.send((peer, open)).await.unwrap();
                settle().await;
                peers.push(closed);
            }
            let gone = peers.iter_mut().map(|closed| closed.try_recv() == Err(mpsc::error::TryRecvError::Disconnected));
            let gone: Vec<_> = gone.collect();
            assert_eq!(gone, [true, false, true, true, false, false, true], "at last all of them are in use");
            assert_eq!(connections.lock().count, 3);
        })
        .await;
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_connection_ends_by_itself_or_for_another() {
        beside_a_port(2, async |dial, connections| {
            let mut peers = Vec::new();
            for n in 0..100 {
                let (open, closed) = mpsc::channel::<()>(1);
                dial.send((Peer::IsSilent, open)).await.unwrap();
                settle().await;
                assert!(connections.lock().count <= 2);
                peers.push(closed);
                if n % 3 == 0 {
                    peers.clear();
                }
            }
            drop(peers);
            settle().await;
            let open = connections.lock();
            assert_eq!((open.count, open.silent.len()), (0, 0));
        })
        .await;
    }
}
