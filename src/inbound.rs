//! Accepts connections and bounds their number: when there are too many, it chooses which one is closed.
//!
//! A connection costs the peer nothing and this process a file descriptor. Connections without any request so far are closed
//! first, the oldest before the others, so that many silent ones do not keep others out. Each port has descriptors of its own,
//! so that many connections to one do not take those of the other.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

mod bind;

pub(crate) use bind::bind;

/// The most connections to the port of health and metrics: probes and scrapes are few and short.
const OPERATORS: usize = 64;

/// The most connections to the gRPC port. An Envoy opens one for each of its workers. An idle one takes some 20 kB.
const CALLERS: usize = 2048;

/// The fewest connections to the gRPC port, even when there are not enough descriptors for them.
const FEWEST: usize = 64;

/// The descriptors that are kept for Redis, Elasticsearch, the identity provider and files.
const RESERVED: u64 = 256;

/// The shortest time between two log lines about connections that were closed at once.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// How many connections each port takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The most connections to the gRPC port.
    pub(crate) callers: usize,
    /// The most connections to the port of health and metrics.
    pub(crate) operators: usize,
}

impl Limits {
    /// The numbers that this process's limit of open files (`ulimit -n`) permits.
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

    /// The numbers that a limit of open files permits; `None` is no limit.
    fn of(files: Option<u64>) -> Self {
        let rest = files.unwrap_or(u64::MAX).saturating_sub(RESERVED + OPERATORS as u64);
        Self { callers: usize::try_from(rest).unwrap_or(usize::MAX).clamp(FEWEST, CALLERS), operators: OPERATORS }
    }
}

/// The open connections of one port, and their bound.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Without those that are being closed to make room.
    count: usize,
    next: u64,
    /// The connections without a request so far, the oldest first, and the handle that ends each.
    silent: BTreeMap<u64, Option<AbortHandle>>,
    warned: Option<Instant>,
}

/// The permit of one connection to be open, until this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    of: Arc<Connections>,
    number: u64,
    used: AtomicBool,
}

impl Connections {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// Accepts connections until `stopped`, and runs `serve` as a task for each. Such a task is ended when the connection has to
    /// make room.
    pub(crate) async fn accept_until<IO, F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        stopped: impl Future<Output = ()>,
        mut accept: impl AsyncFnMut() -> io::Result<IO>,
        serve: impl Fn(IO, ConnectionPermit) -> F,
    ) {
        let mut stopped = pin!(stopped);
        loop {
            let accepted = tokio::select! {
                () = &mut stopped => return,
                accepted = accept() => accepted,
            };
            match accepted {
                Ok(io) => {
                    if let Some(permit) = self.admit() {
                        let number = permit.number;
                        let task = tokio::spawn(serve(io, permit));
                        self.may_end(number, task.abort_handle());
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "A connection was not accepted");
                    // most likely there is no file descriptor left, until another connection ends
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// A permit for one more connection. At the bound, the oldest connection without a request is ended for it; `None` when all
    /// have had requests.
    pub(crate) fn admit(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let mut open = self.open.lock();
        if open.count >= self.most && !open.end_a_silent_one() {
            if open.warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL) {
                open.warned = Some(Instant::now());
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
        Some(ConnectionPermit { of: Arc::clone(self), number, used: AtomicBool::new(false) })
    }

    /// Makes a connection one that can be ended, unless it has had a request meanwhile.
    fn may_end(&self, number: u64, task: AbortHandle) {
        if let Some(end) = self.open.lock().silent.get_mut(&number) {
            *end = Some(task);
        }
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

impl ConnectionPermit {
    /// To be called for each request. After the first one, the connection is not ended for others any more.
    pub(crate) fn request_received(&self) {
        if !self.used.load(Ordering::Relaxed) && !self.used.swap(true, Ordering::Relaxed) {
            self.of.open.lock().silent.remove(&self.number);
        }
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = self.of.open.lock();
        // one without a request that is not in the list was ended to make room, and is not counted any more
        if open.silent.remove(&self.number).is_some() || *self.used.get_mut() {
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

    /// Whether a connection sends a request.
    enum Peer {
        Asks,
        IsSilent,
    }

    type Connecting = (Peer, mpsc::Sender<()>);

    /// Serves connections from this channel. A connection that ends closes its sender.
    async fn serve(connections: &Arc<Connections>, mut incoming: mpsc::Receiver<Connecting>) {
        let accept = async || match incoming.recv().await {
            Some(peer) => Ok(peer),
            None => std::future::pending().await,
        };
        let serve = |(peer, open): Connecting, permit: ConnectionPermit| async move {
            if matches!(peer, Peer::Asks) {
                permit.request_received();
            }
            // until the peer closes the connection
            open.closed().await;
        };
        connections.accept_until(std::future::pending(), accept, serve).await;
    }

    /// Runs beside a port with this bound.
    async fn beside_a_port(most: usize, run: impl AsyncFnOnce(mpsc::Sender<Connecting>, &Connections)) {
        let (connect, incoming) = mpsc::channel(1);
        let connections = Connections::new(most);
        tokio::select! {
            () = serve(&connections, incoming) => panic!("it accepts for ever"),
            () = run(connect, &connections) => {}
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
        beside_a_port(3, async |connect, connections| {
            let mut peers = Vec::new();
            for peer in [IsSilent, Asks, IsSilent, IsSilent, Asks, Asks, Asks] {
                let (open, closed) = mpsc::channel::<()>(1);
                connect.send((peer, open)).await.unwrap();
                settle().await;
                peers.push(closed);
            }
            let gone = peers.iter_mut().map(|closed| closed.try_recv() == Err(mpsc::error::TryRecvError::Disconnected));
            let gone: Vec<_> = gone.collect();
            assert_eq!(gone, [true, false, true, true, false, false, true], "at last all of them are in use");
            assert_eq!(connections.open.lock().count, 3);
        })
        .await;
    }

    #[tokio::test]
    async fn a_permit_is_free_again_when_its_connection_ends_by_itself_or_for_another() {
        beside_a_port(2, async |connect, connections| {
            let mut peers = Vec::new();
            for n in 0..100 {
                let (open, closed) = mpsc::channel::<()>(1);
                connect.send((Peer::IsSilent, open)).await.unwrap();
                settle().await;
                assert!(connections.open.lock().count <= 2);
                peers.push(closed);
                if n % 3 == 0 {
                    peers.clear();
                }
            }
            drop(peers);
            settle().await;
            let open = connections.open.lock();
            assert_eq!((open.count, open.silent.len()), (0, 0));
        })
        .await;
    }
}
