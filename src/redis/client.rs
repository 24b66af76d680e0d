//! What stands behind the configured addresses: one server, one that Sentinels name, or a cluster.

use std::sync::Arc;

use futures_util::future::select_ok;
use redis::{FromRedisValue, Pipeline};
use tokio::sync::{OnceCell, watch};

use super::address::Address;
use super::cluster::Cluster;
use super::connect::{ConnectError, Connector, Kind, untimed};
use super::node::{CommandError, Node};
use super::pool::Route;
use super::sentinel::Sentinels;
use super::tracking::HEARTBEAT;
use super::{Mode, Settings};

/// The servers that hold records.
pub(super) struct RedisClient {
    pub(super) connector: Connector,
    pub(super) settings: Settings,
    /// Counts changes of the set of masters.
    pub(super) changes: watch::Sender<u64>,
    /// Known from the first answer on.
    topology: OnceCell<Topology>,
}

/// How they hang together.
pub(super) enum Topology {
    /// One, perhaps behind a name that moves with the master.
    Single(Node, Address),
    /// One that others elect.
    Elected(Node, Arc<Sentinels>),
    /// Several, each with slots of its own.
    Cluster(Arc<Cluster>),
}

impl RedisClient {
    pub(super) fn new(settings: Settings) -> Self {
        let (connector, changes) = (Connector::new(&settings), watch::Sender::new(0));
        Self { connector, settings, changes, topology: OnceCell::new() }
    }

    /// Asks, unless the configuration or an earlier answer says.
    pub(super) async fn topology(&self) -> Result<&Topology, ConnectError> {
        match self.topology.get() {
            Some(topology) => Ok(topology),
            // rare, and long
            None => Box::pin(self.topology.get_or_try_init(|| self.find())).await,
        }
    }

    async fn find(&self) -> Result<Topology, ConnectError> {
        let kind = match self.settings.mode {
            Mode::Single => Kind::Standalone,
            Mode::Sentinel => Kind::Sentinel,
            Mode::Cluster => Kind::Cluster,
            Mode::Auto => {
                let asked = self.settings.nodes.iter().map(|node| Box::pin(self.kind_of(node)));
                select_ok(asked).await?.0
            }
        };
        self.build(kind)
    }

    /// A Sentinel may know nobody by the name and the password of the servers.
    async fn kind_of(&self, node: &Address) -> Result<Kind, ConnectError> {
        let failed = match self.connector.connect(node).await {
            Ok((_, greeting)) => return Ok(greeting.kind),
            Err(failed @ ConnectError::CommandError(_)) => failed,
            Err(other) => return Err(other),
        };
        match Connector::to_sentinels(&self.settings).connect(node).await {
            Ok((_, greeting)) if greeting.kind == Kind::Sentinel => Ok(Kind::Sentinel),
            _ => Err(failed),
        }
    }

    fn build(&self, kind: Kind) -> Result<Topology, ConnectError> {
        let node = |route| Node::new(self.connector.clone(), route, &self.settings).map_err(ConnectError::CommandError);
        match (kind, self.settings.nodes.as_slice()) {
            (Kind::Standalone, [address]) => {
                Ok(Topology::Single(node(Route::Master(address.clone()))?, address.clone()))
            }
            (Kind::Standalone, _) => Err(ConnectError::CommandError(
                "cache.redis_nodes names several servers that are neither Sentinels nor a cluster".into(),
            )),
            (Kind::Sentinel, _) => {
                let sentinels = Arc::new(Sentinels::new(&self.settings, self.changes.clone()));
                Ok(Topology::Elected(node(Route::Elected(Arc::clone(&sentinels)))?, sentinels))
            }
            (Kind::Cluster, _) => {
                Ok(Topology::Cluster(Arc::new(Cluster::new(&self.connector, &self.settings, self.changes.clone()))))
            }
        }
    }

    /// Commands about one key, in one round trip.
    pub(super) async fn run<T: FromRedisValue>(&self, key: &str, commands: &Pipeline) -> Result<T, CommandError> {
        match self.topology().await.map_err(|error| CommandError::Timeout(error.to_string()))? {
            Topology::Single(node, _) | Topology::Elected(node, _) => node.run(commands).await,
            Topology::Cluster(cluster) => Box::pin(cluster.run(key, commands)).await,
        }
    }

    /// Connects once, to see that nothing definite is against it.
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

    /// Closes idle connections and looks who the masters are, for ever: the ends of connections alone do not tell when
    /// a server is cut off, or stalls.
    pub(super) async fn keep_up(&self) {
        let mut changes = self.changes.subscribe();
        loop {
            let topology = self.topology().await.ok();
            tokio::select! {
                _ = changes.changed() => match topology {
                    Some(Topology::Elected(node, _)) => node.renew(),
                    Some(Topology::Single(..) | Topology::Cluster(_)) | None => {}
                },
                () = tokio::time::sleep(HEARTBEAT) => if let Some(topology) = topology {
                    topology.keep_up().await;
                },
            }
        }
    }

    /// Where changes of records are told: at every master. When these are others, `changes` tells.
    pub(super) async fn masters(&self, changes: &mut watch::Receiver<u64>) -> Result<Vec<Route>, CommandError> {
        let topology = self.topology().await.map_err(|error| CommandError::Timeout(error.to_string()))?;
        topology.look().await?;
        changes.mark_unchanged();
        Ok(match topology {
            Topology::Single(_, address) => vec![Route::Master(address.clone())],
            Topology::Elected(_, sentinels) => vec![Route::Elected(Arc::clone(sentinels))],
            Topology::Cluster(cluster) => cluster.masters().into_iter().map(Route::Master).collect(),
        })
    }
}

impl Topology {
    /// Looks who the masters are.
    async fn look(&self) -> Result<(), CommandError> {
        match self {
            Self::Single(..) => Ok(()),
            Self::Elected(_, sentinels) => {
                sentinels.ask().await.map(|_| ()).map_err(|error| CommandError::Timeout(error.to_string()))
            }
            Self::Cluster(cluster) => cluster.look().await,
        }
    }

    async fn keep_up(&self) {
        match self {
            Self::Single(node, _) | Self::Elected(node, _) => node.close_idle(),
            Self::Cluster(cluster) => cluster.close_idle(),
        }
        if let Err(why) = self.look().await {
            tracing::debug!(%why, "Who the masters of Redis are is not to be had now");
        }
    }
}
