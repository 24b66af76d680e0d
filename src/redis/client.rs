//! The client for whatever answers at the configured addresses: one server, a master that Sentinels name, or a cluster.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_ok;
use redis::{FromRedisValue, Pipeline};
use tokio::sync::{OnceCell, watch};

use super::address::Address;
use super::cluster::Cluster;
use super::connect::{ConnectError, Connector, ServerKind, untimed};
use super::node::{CommandError, Node};
use super::pool::Route;
use super::sentinel::Sentinels;
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
        Self { connector, settings, changes, topology: OnceCell::new() }
    }

    /// The topology: the one that the configuration names, or else the one that the first answer of a server showed.
    pub(super) async fn topology(&self) -> Result<&Topology, ConnectError> {
        match self.topology.get() {
            Some(topology) => Ok(topology),
            // boxed: this future is large, and the one of each command, which contains it, need not be
            None => Box::pin(self.topology.get_or_try_init(|| self.find())).await,
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
        let node = |route| Node::new(self.connector.clone(), route, &self.settings).map_err(ConnectError::Failed);
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
                Ok(Topology::Cluster(Arc::new(Cluster::new(&self.connector, &self.settings, self.changes.clone()))))
            }
        }
    }

    /// Runs commands about one key, in one round trip.
    pub(super) async fn run<T: FromRedisValue>(&self, key: &str, commands: &Pipeline) -> Result<T, CommandError> {
        match self.topology().await? {
            Topology::Single(node, _) | Topology::Elected(node, _) => node.run(commands).await,
            Topology::Cluster(cluster) => Box::pin(cluster.run(key, commands)).await,
        }
    }

    /// Connects once, for errors that only another configuration can end.
    pub(super) async fn try_out(&self) -> Result<(), ConnectError> {
        let route = match self.topology().await? {
            Topology::Single(_, address) => Route::Master(address.clone()),
            Topology::Elected(_, sentinels) => Route::Elected(Arc::clone(sentinels)),
            Topology::Cluster(_) => {
                let members = self.settings.nodes.iter().map(|node| Box::pin(self.connector.connect(node)));
                return select_ok(members).await.map(|_| ());
            }
        };
        route.connect(&self.connector, &untimed()).await.map(|_| ())
    }

    /// Closes idle connections and finds out which servers are masters, for as long as the process lives. Closed connections
    /// alone would not show that a server is cut off, or stalls.
    pub(super) async fn maintain(&self) {
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
    pub(super) async fn masters(&self, changes: &mut watch::Receiver<u64>) -> Result<Vec<Route>, CommandError> {
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
