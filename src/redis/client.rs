//! The client for whatever answers at the configured addresses: one server, a master that Sentinels name, or a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::select_ok;
use redis::{FromRedisValue, Pipeline};
use tokio::sync::{OnceCell, watch};

use super::address::Address;
use super::breaker::{Breaker, Signs, Use};
use super::cluster::Cluster;
use super::connect::{ConnectError, Connector, ServerKind};
use super::node::{CommandError, Node};
use super::sentinel::Sentinels;
use super::server::Route;
use super::settings::{Mode, Settings};

/// The interval between two checks of which servers are masters.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// The connections to all servers that hold records.
pub(super) struct RedisClient {
    pub(super) connector: Connector,
    pub(super) settings: Settings,
    /// The number of changes of the set of masters so far.
    pub(super) changes: watch::Sender<u64>,
    /// Set by the first answer of a server, or by the configuration.
    topology: OnceCell<Topology>,
    /// Open while no server has answered what it is.
    discovery: Breaker,
    pub(super) signs: Signs,
    /// Whether reports of changes have been received before.
    tracked: AtomicBool,
}

/// How the servers belong together.
pub(super) enum Topology {
    /// One server, perhaps at a name that moves with the master.
    Single(Node, Address),
    /// A master with replicas; Sentinels elect the master.
    Elected(Node, Arc<Sentinels>),
    /// Several masters, each of which owns some of the slots.
    Cluster(Arc<Cluster>),
}

impl RedisClient {
    pub(super) fn new(settings: Settings) -> Self {
        let (connector, changes) = (Connector::new(&settings), watch::Sender::new(0));
        let signs = Signs::default();
        let discovery = Breaker::new(settings.addresses(), settings.command_timeout * 2, signs.clone());
        let (topology, tracked) = (OnceCell::new(), AtomicBool::new(false));
        Self { connector, settings, changes, topology, discovery, signs, tracked }
    }

    /// The topology: the one that the configuration names, or else the one that the first answer of a server showed. While no
    /// server answers, that is asked in the background alone.
    pub(super) async fn topology(self: &Arc<Self>) -> Result<&Topology, ConnectError> {
        if let Some(topology) = self.topology.get() {
            return Ok(topology);
        }
        if let Some(why) = self.discovery.why() {
            return Err(ConnectError::Known(why));
        }
        // boxed: this future is large, and the one of each command, which contains it, need not be
        Box::pin(self.topology.get_or_try_init(|| self.find_first())).await
    }

    async fn find_first(self: &Arc<Self>) -> Result<Topology, ConnectError> {
        // an attempt that was under way may have failed
        if let Some(why) = self.discovery.why() {
            return Err(ConnectError::Known(why));
        }
        let before = self.discovery.before();
        let found = self.find().await;
        if let Err(error) = &found
            && self.discovery.no_connection(before, &error.to_string())
        {
            Breaker::probe(self, |servers| &servers.discovery, Self::is_found);
        }
        found
    }

    async fn is_found(self: Arc<Self>) -> bool {
        Box::pin(self.topology.get_or_try_init(|| self.find())).await.is_ok()
    }

    /// Whether every server is asked at present, as far as they are known.
    pub(super) fn all_asked(&self) -> bool {
        match self.topology.get() {
            None => self.discovery.why().is_none(),
            Some(Topology::Single(node, _) | Topology::Elected(node, _)) => node.is_asked(),
            Some(Topology::Cluster(cluster)) => cluster.all_asked(),
        }
    }

    async fn find(&self) -> Result<Topology, ConnectError> {
        let kind = match self.settings.mode {
            Mode::Single => ServerKind::Standalone,
            Mode::Sentinel => ServerKind::Sentinel,
            Mode::Cluster => ServerKind::Cluster,
            Mode::Auto => {
                let asked = self.settings.nodes.iter().map(|node| Box::pin(self.kind_of(node)));
                select_ok(asked).await?.0
            }
        };
        self.build(kind)
    }

    /// Asks a server for its kind, first with the account of the servers and then with that of the Sentinels: a Sentinel may
    /// refuse the first.
    async fn kind_of(&self, node: &Address) -> Result<ServerKind, ConnectError> {
        let failed = match self.connector.connect(node).await {
            Ok((_, hello)) => return Ok(hello.kind),
            Err(failed @ ConnectError::Failed(_)) => failed,
            Err(other) => return Err(other),
        };
        match Connector::to_sentinels(&self.settings).connect(node).await {
            Ok((_, hello)) if hello.kind == ServerKind::Sentinel => Ok(ServerKind::Sentinel),
            _ => Err(failed),
        }
    }

    fn build(&self, kind: ServerKind) -> Result<Topology, ConnectError> {
        let node = |route| {
            let node = Node::new(self.connector.clone(), route, &self.settings, self.signs.clone());
            node.map_err(ConnectError::Failed)
        };
        match (kind, self.settings.nodes.as_slice()) {
            (ServerKind::Standalone, [address]) => {
                Ok(Topology::Single(node(Route::Master(address.clone()))?, address.clone()))
            }
            (ServerKind::Standalone, _) => Err(ConnectError::Failed(
                "cache.redis_nodes names several servers that are neither Sentinels nor a cluster".into(),
            )),
            (ServerKind::Sentinel, _) => {
                let sentinels = Arc::new(Sentinels::new(&self.settings, self.changes.clone()));
                Ok(Topology::Elected(node(Route::Elected(Arc::clone(&sentinels)))?, sentinels))
            }
            (ServerKind::Cluster, _) => {
                let (changes, signs) = (self.changes.clone(), self.signs.clone());
                Ok(Topology::Cluster(Arc::new(Cluster::new(&self.connector, &self.settings, changes, signs))))
            }
        }
    }

    /// Runs commands about one key, in one round trip.
    pub(super) async fn run<T: FromRedisValue>(
        self: &Arc<Self>,
        what: Use,
        key: &str,
        commands: &Pipeline,
    ) -> Result<T, CommandError> {
        match self.topology().await? {
            Topology::Single(node, _) | Topology::Elected(node, _) => node.run(what, commands).await,
            Topology::Cluster(cluster) => Box::pin(cluster.run(what, key, commands)).await,
        }
    }

    /// Makes the first connections. The error is that of the one server, or of all members of a cluster.
    pub(super) async fn warm(self: &Arc<Self>) -> Result<(), ConnectError> {
        match self.topology().await? {
            Topology::Single(node, _) | Topology::Elected(node, _) => node.warm().await,
            Topology::Cluster(cluster) => {
                let members = self.settings.nodes.iter().map(|node| Box::pin(self.connector.connect(node)));
                select_ok(members).await?;
                // a node that is down is no error: the others serve their users
                let _ = cluster.refresh().await;
                cluster.warm().await;
                Ok(())
            }
        }
    }

    /// For each master one of these keys that it owns; the first key where there is one master, or none is known yet.
    pub(super) fn one_each(&self, mut keys: impl Iterator<Item = String>) -> Vec<String> {
        let each = match self.topology.get() {
            Some(Topology::Cluster(cluster)) => cluster.one_each(&mut keys),
            Some(Topology::Single(..) | Topology::Elected(..)) | None => Vec::new(),
        };
        if each.is_empty() { keys.next().into_iter().collect() } else { each }
    }

    /// Closes the connections of before, when reports of changes begin again. The connection that brings them was just made, and
    /// at a name that moves with the master it may lead to another server than those of before.
    pub(super) fn renew_after_first(&self) {
        let again = self.tracked.swap(true, Ordering::AcqRel);
        if let Some(Topology::Single(node, _) | Topology::Elected(node, _)) = self.topology.get().filter(|_| again) {
            node.renew();
        }
    }

    /// Closes idle connections and finds out which servers are masters, for as long as the process lives. Closed connections
    /// alone would not show that a server is cut off, or stalls.
    pub(super) async fn maintain(self: &Arc<Self>) {
        let mut changes = self.changes.subscribe();
        loop {
            let topology = self.topology().await.ok();
            tokio::select! {
                _ = changes.changed() => match topology {
                    Some(Topology::Elected(node, _)) => node.renew(),
                    Some(Topology::Single(..) | Topology::Cluster(_)) | None => {}
                },
                () = tokio::time::sleep(HEARTBEAT) => if let Some(topology) = topology {
                    topology.maintain().await;
                },
            }
        }
    }

    /// The routes to all masters. Each master reports changes of its own records. `changes` is notified when the masters are
    /// others than these.
    pub(super) async fn masters(
        self: &Arc<Self>,
        changes: &mut watch::Receiver<u64>,
    ) -> Result<Vec<Route>, CommandError> {
        let topology = self.topology().await?;
        topology.find_masters().await?;
        changes.mark_unchanged();
        Ok(match topology {
            Topology::Single(_, address) => vec![Route::Master(address.clone())],
            Topology::Elected(_, sentinels) => vec![Route::Elected(Arc::clone(sentinels))],
            Topology::Cluster(cluster) => cluster.masters().into_iter().map(Route::Master).collect(),
        })
    }
}

impl Topology {
    /// Asks the Sentinels or the cluster which servers are masters.
    async fn find_masters(&self) -> Result<(), CommandError> {
        match self {
            Self::Single(..) => Ok(()),
            Self::Elected(_, sentinels) => {
                sentinels.ask().await?;
                Ok(())
            }
            Self::Cluster(cluster) => cluster.refresh().await,
        }
    }

    async fn maintain(&self) {
        match self {
            Self::Single(node, _) | Self::Elected(node, _) => node.close_idle(),
            Self::Cluster(cluster) => cluster.close_idle(),
        }
        if let Err(why) = self.find_masters().await {
            tracing::debug!(%why, "No server says at present which Redis servers are masters");
        }
    }
}
