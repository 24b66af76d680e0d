//! The connection pool. deadpool-redis's own manager sends `UNWATCH` and `PING` at every checkout: one more round trip,
//! and refused by the documented ACL line. Ours trusts a connection until it errs.

use std::time::Duration;

use deadpool::{Runtime, managed};
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Client, RedisError};

use super::Settings;

/// A checked-out connection.
pub(super) type Connection = managed::Object<Manager>;

/// Makes connections.
pub(super) struct Manager {
    client: Client,
    connect_timeout: Duration,
}

impl managed::Manager for Manager {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            // the store has one time-out for each command of its own
            .set_response_timeout(None);
        self.client.get_multiplexed_async_connection_with_config(&config).await
    }

    async fn recycle(&self, _: &mut MultiplexedConnection, _: &managed::Metrics) -> managed::RecycleResult<RedisError> {
        Ok(())
    }
}

/// The pool.
pub(super) struct Pool(managed::Pool<Manager>);

impl Pool {
    pub(super) fn new(client: Client, settings: &Settings) -> Result<Self, String> {
        let connect_timeout = settings.connect_timeout;
        let pool = managed::Pool::builder(Manager { client, connect_timeout })
            .max_size(settings.pool_size)
            .wait_timeout(Some(connect_timeout))
            .create_timeout(Some(connect_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self(pool))
    }

    pub(super) async fn get(&self) -> Result<Connection, String> {
        self.0.get().await.map_err(|error| match error {
            managed::PoolError::Timeout(_) => "no connection in time".to_owned(),
            managed::PoolError::Backend(error) => format!("no connection: {}", super::kind(&error)),
            other => other.to_string(),
        })
    }

    /// Gives up a connection that failed, and the idle ones with it: whatever befell it, such as a restart of the server,
    /// befell them too, and each would cost somebody an error to find out.
    pub(super) fn distrust(&self, connection: Connection) {
        drop(managed::Object::take(connection));
        self.0.retain(|_, _| false);
    }
}
