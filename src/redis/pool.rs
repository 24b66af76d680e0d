//! The pool of connections to one server: deadpool's pool, connections made by deadpool-redis, and a thin manager between them.
//!
//! deadpool-redis's `Manager` makes every connection ([`Connector::connect_with`] calls its `create`), with the TLS, the
//! account and the time-outs of the configuration in redis-rs's `ConnectionInfo` and `AsyncConnectionConfig`. These parts
//! are elastauth's own:
//!
//! - **[`Manager`]**. deadpool-redis's `recycle` sends `UNWATCH` and `PING` each time that a connection is taken from the pool.
//!   That is one more round trip for each command, and the documented ACL line permits neither of the two. Here a connection
//!   is used until it fails, and `recycle` compares a number.
//! - **Connections are made in tasks of their own** (`server.rs`), which go on when a request does not wait any longer.
//! - **The choice of the server.** deadpool-redis's `Manager` has one address for its whole life. The master that Sentinels
//!   name moves, so the address is chosen each time that a connection is made (`Route` in `server.rs`). For that reason the pool is
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
use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool::managed::{self, RecycleError};
use deadpool_redis::{Metrics, QueueMode, Runtime};
use futures_util::future::join_all;

use super::connect::ConnectError;
use super::server::{Pooled, Server};
use super::settings::Settings;

/// A connection that was taken from the pool. When it is dropped, it goes back.
pub(super) type Connection = managed::Object<Manager>;

/// How many connections are made before the first request: a crowd that comes at once need not wait for the first ones.
const WARM: usize = 4;

/// Makes connections to a server and hands them out again without asking it.
pub(super) struct Manager(Arc<Server>);

impl managed::Manager for Manager {
    type Type = Pooled;
    type Error = ConnectError;

    async fn create(&self) -> Result<Pooled, ConnectError> {
        self.0.connection().await
    }

    async fn recycle(&self, pooled: &mut Pooled, _: &Metrics) -> managed::RecycleResult<ConnectError> {
        if pooled.generation == self.0.generation.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(RecycleError::message("of an earlier generation"))
        }
    }
}

/// The pool of connections to one server.
pub(super) struct Pool {
    connections: managed::Pool<Manager>,
    server: Arc<Server>,
    /// The longest time to wait for a connection, whether another request has it or it is being made.
    wait: Duration,
    /// The same once the server's breaker is open.
    patience: Duration,
    idle: Duration,
    warm: usize,
}

impl Pool {
    pub(super) fn new(server: Arc<Server>, settings: &Settings) -> Result<Self, String> {
        let connections = managed::Pool::builder(Manager(Arc::clone(&server)))
            .max_size(settings.pool_size)
            // connections beyond what the load needs stay unused, so that `close_idle` finds them
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self {
            connections,
            server,
            wait: settings.connect_timeout,
            patience: settings.command_timeout,
            idle: settings.idle_timeout,
            warm: WARM.min(settings.pool_size),
        })
    }

    /// A connection, within `cache.redis_connect_timeout`. Waiting for one opens no breaker; only that none can be made does.
    pub(super) async fn get(&self) -> Result<Connection, ConnectError> {
        let taken = async {
            match self.connections.get().await {
                Ok(connection) => Ok(connection),
                Err(managed::PoolError::Backend(error)) => Err(error),
                Err(other) => Err(ConnectError::Failed(other.to_string())),
            }
        };
        tokio::select! {
            biased;
            taken = taken => taken,
            () = self.server.breaker.stays_open(self.patience) => {
                Err(ConnectError::Known(self.server.breaker.why().unwrap_or_else(|| "no connection".into())))
            }
            () = tokio::time::sleep(self.wait) => Err(self.none_free()),
        }
    }

    fn none_free(&self) -> ConnectError {
        if self.connections.status().size < self.connections.status().max_size {
            ConnectError::TimedOut(self.wait)
        } else {
            ConnectError::Failed("all connections of the pool were in use for too long".into())
        }
    }

    /// Makes the first connections. They are handed to requests afterwards.
    pub(super) async fn warm(&self) -> Result<(), ConnectError> {
        let made = join_all((0..self.warm).map(|_| self.get())).await;
        // one is enough to serve; the others go back to the pool as well
        made.into_iter().reduce(Result::or).map_or(Ok(()), |made| made.map(drop))
    }

    /// Closes a connection that broke, and all others of its generation: see the head of this file.
    pub(super) fn discard(&self, failed: Connection) {
        let failed = managed::Object::take(failed).generation;
        let changed = self.server.generation.compare_exchange(failed, failed + 1, Ordering::AcqRel, Ordering::Acquire);
        if changed.is_ok() {
            self.connections.retain(|_, _| false);
        }
    }

    /// Closes this connection alone: the server answers on others.
    pub(super) fn discard_one(failed: Connection) {
        drop(managed::Object::take(failed));
    }

    /// Closes all connections, those in use when they come back: they lead to a server that is not the master any more.
    pub(super) fn renew(&self) {
        self.server.generation.fetch_add(1, Ordering::AcqRel);
        self.connections.retain(|_, _| false);
    }

    /// Closes connections that have not been used for the idle time-out, five minutes.
    pub(super) fn close_idle(&self) {
        self.connections.retain(|_, metrics| metrics.last_used() < self.idle);
        self.server.close_spare(self.idle);
    }
}
