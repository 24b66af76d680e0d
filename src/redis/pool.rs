//! The pool of connections to one server: deadpool's pool, connections made by deadpool-redis, and a thin manager between them.
//!
//! deadpool-redis's `Manager` makes every connection ([`Connector::connect_with`] calls its `create`), with the TLS, the
//! account and the time-outs of the configuration in redis-rs's `ConnectionInfo` and `AsyncConnectionConfig`. These parts
//! are elastauth's own:
//!
//! - **[`Manager`]**. deadpool-redis's `recycle` sends `UNWATCH` and `PING` each time that a connection is taken from the pool.
//!   That is one more round trip for each command, and the documented ACL line permits neither of the two. Here a connection
//!   is used until it fails, and `recycle` compares a number.
//! - **The choice of the server.** deadpool-redis's `Manager` has one address for its whole life. The master that Sentinels
//!   name moves, so the address is chosen each time that a connection is made ([`Route`]). For that reason the pool is
//!   `deadpool::managed::Pool` over the manager of this file, and deadpool-redis's `Pool` and `Connection`, which are aliases
//!   and wrappers for its own manager, do not fit. Its features for Sentinel and Cluster are off: redis-rs's clients behind
//!   them send `ROLE`, `INFO` or `PING`, see `sentinel.rs` and `cluster.rs`.
//! - **The questions after `HELLO 3`.** redis-rs sends `HELLO 3` with the account. A second `HELLO` and `SELECT` follow from
//!   `connect.rs`, in one round trip: their answers say whether the server is a master, a Sentinel or a node of a cluster, and a
//!   refused `SELECT` is told apart from other failures. redis-rs does not report the answer to its own `HELLO`.
//! - **Generations.** What breaks one connection, such as a restart of the server, breaks the others too. After the first
//!   failure all connections of that age are closed, so that not each of them costs a request an error.
//!
//! `deadpool` is a dependency of its own because deadpool-redis does not re-export the trait `managed::Manager`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool::managed::{self, RecycleError};
use deadpool_redis::{Metrics, QueueMode, Runtime};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;

use super::address::Address;
use super::connect::{ConnectError, Connector, untimed};
use super::sentinel::Sentinels;
use super::settings::Settings;

/// A connection that was taken from the pool. When it is dropped, it goes back.
pub(super) type Connection = managed::Object<Manager>;

/// A connection and the generation in which it was made: those of an earlier generation are not used again.
pub(super) struct Pooled {
    pub(super) connection: MultiplexedConnection,
    generation: u64,
}

/// Which server a connection leads to.
#[derive(Clone)]
pub(super) enum Route {
    /// The server at this address, perhaps a name that moves with the master. It must be a master.
    Master(Address),
    /// The server that the Sentinels name as the master.
    Elected(Arc<Sentinels>),
    /// This node of a cluster, master or replica: it redirects commands that it does not serve.
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

/// Makes connections along a route and hands them out again without asking the server.
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
        // boxed: this future is large, and the one of a command, which contains it, need not be
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

/// The pool of connections to the server at the end of one route.
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
            // connections beyond what the load needs stay unused, so that `close_idle` finds them
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { connections, generation, idle: settings.idle_timeout })
    }

    pub(super) async fn get(&self) -> Result<Connection, ConnectError> {
        self.connections.get().await.map_err(|error| match error {
            managed::PoolError::Timeout(_) => {
                ConnectError::Failed("all connections of the pool were in use for too long".into())
            }
            managed::PoolError::Backend(error) => error,
            other => ConnectError::Failed(other.to_string()),
        })
    }

    /// Closes a connection that failed, and all others of its generation: see the head of this file.
    pub(super) fn discard(&self, failed: Connection) {
        let failed = managed::Object::take(failed).generation;
        if self.generation.compare_exchange(failed, failed + 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.connections.retain(|_, _| false);
        }
    }

    /// Closes all connections, those in use when they come back: they lead to a server that is not the master any more.
    pub(super) fn renew(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.connections.retain(|_, _| false);
    }

    /// Closes connections that have not been used for the idle time-out, five minutes.
    pub(super) fn close_idle(&self) {
        self.connections.retain(|_, metrics| metrics.last_used() < self.idle);
    }
}
