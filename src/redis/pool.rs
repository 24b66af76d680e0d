//! The connections to one server. A connection is trusted until it errs: asking whether it still lives would be one more
//! round trip.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool::managed::{self, QueueMode, RecycleError};
use deadpool::{Runtime, managed::Metrics};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::Settings;
use super::address::Address;
use super::connect::{ConnectError, Connector, untimed};
use super::sentinel::Sentinels;

/// A checked-out connection.
pub(super) type Connection = managed::Object<Manager>;

/// A connection, and when it was made: those of an earlier generation are out of use.
pub(super) struct Pooled {
    pub(super) connection: MultiplexedConnection,
    generation: u64,
}

/// How to the server that is meant.
#[derive(Clone)]
pub(super) enum Route {
    /// To the only one, or the one behind a name; it must be a master.
    Master(Address),
    /// To the one that the Sentinels name.
    Elected(Arc<Sentinels>),
    /// To a node of a cluster, which says itself what it is not there for.
    Member(Address),
}

impl Route {
    pub(super) async fn connect(
        &self,
        connector: &Connector,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ConnectError> {
        match self {
            Self::Master(address) => connector.to_master(address, config).await,
            Self::Elected(sentinels) => sentinels.connect(connector, config).await,
            Self::Member(address) => {
                connector.connect_with(address, config.clone()).await.map(|(connection, _)| connection)
            }
        }
    }
}

/// Makes connections.
pub(super) struct Manager {
    connector: Connector,
    route: Route,
    generation: Arc<AtomicU64>,
}

impl managed::Manager for Manager {
    type Type = Pooled;
    type Error = ConnectError;

    async fn create(&self) -> Result<Pooled, ConnectError> {
        let generation = self.generation.load(Ordering::Acquire);
        // rare, and long
        let connection = Box::pin(self.route.connect(&self.connector, &untimed())).await?;
        Ok(Pooled { connection, generation })
    }

    async fn recycle(&self, pooled: &mut Pooled, _: &Metrics) -> managed::RecycleResult<ConnectError> {
        if pooled.generation == self.generation.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(RecycleError::message("of an earlier generation"))
        }
    }
}

/// The pool.
pub(super) struct Pool {
    connections: managed::Pool<Manager>,
    generation: Arc<AtomicU64>,
    idle: Duration,
}

impl Pool {
    pub(super) fn new(connector: Connector, route: Route, settings: &Settings) -> Result<Self, String> {
        let generation = Arc::<AtomicU64>::default();
        let manager = Manager { connector, route, generation: Arc::clone(&generation) };
        let connections = managed::Pool::builder(manager)
            .max_size(settings.pool_size)
            .wait_timeout(Some(settings.connect_timeout))
            .create_timeout(Some(settings.connect_timeout))
            // the surplus becomes idle, and is closed
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { connections, generation, idle: settings.idle_timeout })
    }

    pub(super) async fn get(&self) -> Result<Connection, ConnectError> {
        self.connections.get().await.map_err(|error| match error {
            managed::PoolError::Timeout(_) => ConnectError::CommandError("none is free in time".into()),
            managed::PoolError::Backend(error) => error,
            other => ConnectError::CommandError(other.to_string()),
        })
    }

    /// Gives up a connection that failed, and all others of its generation: whatever befell it, such as a restart of the
    /// server, befell them too, and each would cost somebody an error to find out.
    pub(super) fn discard(&self, failed: Connection) {
        let failed = managed::Object::take(failed).generation;
        if self.generation.compare_exchange(failed, failed + 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.connections.retain(|_, _| false);
        }
    }

    /// Gives up all connections: they lead to the wrong server.
    pub(super) fn renew(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.connections.retain(|_, _| false);
    }

    /// Closes connections that nobody used for a while.
    pub(super) fn close_idle(&self) {
        self.connections.retain(|_, metrics| metrics.last_used() < self.idle);
    }
}
