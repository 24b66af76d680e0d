//! What stands behind the configured addresses: one server, one that Sentinels name, or a cluster.

use std::sync::Arc;

use futures_util::future::select_ok;
use redis::{FromRedisValue, Pipeline};
use tokio::sync::{OnceCell, watch};

use super::address::Address;
use super::cluster::Cluster;
use super::connect::{ConnectError, Connector, Kind, untimed};
use super::node::{Failed, Node};
use super::pool::Route;
use super::sentinel::Sentinels;
use super::tracking::HEARTBEAT;
use super::{Mode, Settings};

/// The servers that hold records.
pub(super) struct Servers {
    pub(super) connector: Connector,
    pub(super) settings: Settings,
    /// Counts changes of the set of masters.
    pub(super) changes: watch::Sender<u64>,
    /// Known from the first answer on.
    shape: OnceCell<Shape>,
}

/// How they hang together.
pub(super) enum Shape {
    /// One, perhaps behind a name that moves with the master.
    Single(Node, Address),
    /// One that others elect.
    Elected(Node, Arc<Sentinels>),
    /// Several, each with slots of its own.
    Cluster(Arc<Cluster>),
}

impl Servers {
    pub(super) fn new(settings: Settings) -> Self {
        let (connector, changes) = (Connector::new(&settings), watch::Sender::new(0));
        Self { connector, settings, changes, shape: OnceCell::new() }
    }

    /// Asks, unless the configuration or an earlier answer says.
    pub(super) async fn shape(&self) -> Result<&Shape, ConnectError> {
        match self.shape.get() {
            Some(shape) => Ok(shape),
            // rare, and long
            None => Box::pin(self.shape.get_or_try_init(|| self.find())).await,
        }
    }

    async fn find(&self) -> Result<Shape, ConnectError> {
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
            Err(failed @ ConnectError::Failed(_)) => failed,
            Err(other) => return Err(other),
        };
        match Connector::to_sentinels(&self.settings).connect(node).await {
            Ok((_, greeting)) if greeting.kind == Kind::Sentinel => Ok(Kind::Sentinel),
            _ => Err(failed),
        }
    }

    fn build(&self, kind: Kind) -> Result<Shape, ConnectError> {
        let node = |route| Node::new(self.connector.clone(), route, &self.settings).map_err(ConnectError::Failed);
        match (kind, self.settings.nodes.as_slice()) {
            (Kind::Standalone, [address]) => Ok(Shape::Single(node(Route::Master(address.clone()))?, address.clone())),
            (Kind::Standalone, _) => Err(ConnectError::Failed(
                "cache.redis_nodes names several servers that are neither Sentinels nor a cluster".into(),
            )),
            (Kind::Sentinel, _) => {
                let sentinels = Arc::new(Sentinels::new(&self.settings, self.changes.clone()));
                Ok(Shape::Elected(node(Route::Elected(Arc::clone(&sentinels)))?, sentinels))
            }
            (Kind::Cluster, _) => {
                Ok(Shape::Cluster(Arc::new(Cluster::new(&self.connector, &self.settings, self.changes.clone()))))
            }
        }
    }

    /// Commands about one key, in one round trip.
    pub(super) async fn run<T: FromRedisValue>(&self, key: &str, commands: &Pipeline) -> Result<T, Failed> {
        match self.shape().await.map_err(|error| Failed::Silent(error.to_string()))? {
            Shape::Single(node, _) | Shape::Elected(node, _) => node.run(commands).await,
            Shape::Cluster(cluster) => Box::pin(cluster.run(key, commands)).await,
        }
    }

    /// Connects once, to see that nothing definite is against it.
    pub(super) async fn try_out(&self) -> Result<(), ConnectError> {
        let route = match self.shape().await? {
            Shape::Single(_, address) => Route::Master(address.clone()),
            Shape::Elected(_, sentinels) => Route::Elected(Arc::clone(sentinels)),
            Shape::Cluster(_) => {
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
            let shape = self.shape().await.ok();
            tokio::select! {
                _ = changes.changed() => match shape {
                    Some(Shape::Elected(node, _)) => node.renew(),
                    Some(Shape::Single(..) | Shape::Cluster(_)) | None => {}
                },
                () = tokio::time::sleep(HEARTBEAT) => if let Some(shape) = shape {
                    shape.keep_up().await;
                },
            }
        }
    }

    /// Where changes of records are told: at every master. When these are others, `changes` tells.
    pub(super) async fn masters(&self, changes: &mut watch::Receiver<u64>) -> Result<Vec<Route>, Failed> {
        let shape = self.shape().await.map_err(|error| Failed::Silent(error.to_string()))?;
        shape.look().await?;
        changes.mark_unchanged();
        Ok(match shape {
            Shape::Single(_, address) => vec![Route::Master(address.clone())],
            Shape::Elected(_, sentinels) => vec![Route::Elected(Arc::clone(sentinels))],
            Shape::Cluster(cluster) => cluster.masters().into_iter().map(Route::Master).collect(),
        })
    }
}

impl Shape {
    /// Looks who the masters are.
    async fn look(&self) -> Result<(), Failed> {
        match self {
            Self::Single(..) => Ok(()),
            Self::Elected(_, sentinels) => {
                sentinels.ask().await.map(|_| ()).map_err(|error| Failed::Silent(error.to_string()))
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
