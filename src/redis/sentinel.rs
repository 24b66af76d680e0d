//! Asks Sentinels for the address of the master. redis-rs's own client for Sentinels sends `ROLE` or `INFO` to the master,
//! which narrow ACLs refuse; the answer to `HELLO` has the same information.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::select_ok;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, cmd};
use tokio::sync::watch;
use tokio::time::timeout;

use super::address::Address;
use super::connect::{ConnectError, Connector, ServerKind, reason};
use super::settings::Settings;

/// The Sentinels of one master.
pub(super) struct Sentinels {
    connector: Connector,
    patience: Duration,
    /// The master's name, from the configuration or from the Sentinels.
    name: OnceLock<String>,
    configured: Vec<Address>,
    /// The configured Sentinels, and those that they named.
    known: Mutex<Vec<Address>>,
    /// The connection to the Sentinel that answered last; it stays open.
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    master: Mutex<Option<Address>>,
    /// The number of changes of the master so far.
    changes: watch::Sender<u64>,
}

impl Sentinels {
    pub(super) fn new(settings: &Settings, changes: watch::Sender<u64>) -> Self {
        let name = settings.master.clone().map_or_else(OnceLock::new, OnceLock::from);
        Self {
            connector: Connector::to_sentinels(settings),
            patience: settings.command_timeout,
            name,
            configured: settings.nodes.clone(),
            known: Mutex::new(settings.nodes.clone()),
            connection: tokio::sync::Mutex::default(),
            master: Mutex::default(),
            changes,
        }
    }

    /// Connects to the master. Its own answer to `HELLO` decides whether it is one, since Sentinels learn of a change late.
    pub(super) async fn connect(
        &self,
        connector: &Connector,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ConnectError> {
        let known = self.master.lock().clone();
        let first = match known {
            Some(master) => master,
            None => self.ask().await?,
        };
        let failed = match connector.to_master(&first, config).await {
            Err(failed @ (ConnectError::Failed(_) | ConnectError::TimedOut(_) | ConnectError::Replica)) => failed,
            other => return other,
        };
        // another Sentinel may have learnt of a change earlier
        *self.connection.lock().await = None;
        let now = self.ask().await?;
        if now == first { Err(failed) } else { connector.to_master(&now, config).await }
    }

    /// Asks for the master: the Sentinel that answered last, or else all of them at once.
    pub(super) async fn ask(&self) -> Result<Address, ConnectError> {
        let mut last = self.connection.lock().await;
        if let Some(connection) = last.as_mut()
            && let Ok(Ok(master)) = timeout(self.patience, self.master_of(connection)).await
        {
            return Ok(self.publish(master));
        }
        *last = None;
        let known = self.known.lock().clone();
        let asked = known.into_iter().map(|sentinel| Box::pin(self.ask_one(sentinel)));
        let ((connection, master), _) = select_ok(asked).await?;
        *last = Some(connection);
        Ok(self.publish(master))
    }

    fn publish(&self, master: Address) -> Address {
        let before = self.master.lock().replace(master.clone());
        if before.as_ref() != Some(&master) {
            self.changes.send_modify(|count| *count += 1);
        }
        master
    }

    async fn ask_one(&self, sentinel: Address) -> Result<(MultiplexedConnection, Address), ConnectError> {
        let failed = |why: ConnectError| ConnectError::Sentinel(sentinel.clone(), why.to_string());
        let (mut connection, hello) = self.connector.connect(&sentinel).await.map_err(failed)?;
        if hello.kind != ServerKind::Sentinel {
            return Err(failed(ConnectError::Failed("it is no Sentinel".into())));
        }
        let asked = async {
            let master = self.master_of(&mut connection).await?;
            self.learn_others(&mut connection).await;
            Ok((connection, master))
        };
        let asked = timeout(self.patience * 4, asked).await;
        asked.unwrap_or_else(|_| Err(ConnectError::TimedOut(self.patience * 4))).map_err(failed)
    }

    async fn master_of(&self, connection: &mut MultiplexedConnection) -> Result<Address, ConnectError> {
        let name = match self.name.get() {
            Some(name) => name.clone(),
            None => self.only_name(connection).await?,
        };
        let found: Option<(String, u16)> =
            query(connection, cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&name)).await?;
        match found {
            Some((host, port)) => Ok(Address::Tcp { host, port }),
            None => Err(ConnectError::Failed(format!("it knows no master named {name}: look at cache.redis_master"))),
        }
    }

    /// The name of the only master that the Sentinel watches; an error when it watches several and no name is configured.
    async fn only_name(&self, connection: &mut MultiplexedConnection) -> Result<String, ConnectError> {
        let masters: Vec<HashMap<String, String>> = query(connection, cmd("SENTINEL").arg("MASTERS")).await?;
        let mut names: Vec<_> = masters.into_iter().filter_map(|mut master| master.remove("name")).collect();
        match (names.pop(), names.is_empty()) {
            (Some(name), true) => Ok(self.name.get_or_init(|| name).clone()),
            (Some(_), false) => Err(ConnectError::Failed("it knows several masters: set cache.redis_master".into())),
            (None, _) => Err(ConnectError::Failed("it knows no master".into())),
        }
    }

    /// Asks for the addresses of the other Sentinels, so that one address in the configuration is enough while that Sentinel
    /// lives. A failure or a refusal is no error.
    async fn learn_others(&self, connection: &mut MultiplexedConnection) {
        let Some(name) = self.name.get() else { return };
        let others =
            query::<Vec<HashMap<String, String>>>(connection, cmd("SENTINEL").arg("SENTINELS").arg(name)).await;
        let others = others.unwrap_or_default().into_iter().filter_map(|mut other| {
            Some(Address::Tcp { host: other.remove("ip")?, port: other.get("port")?.parse().ok()? })
        });
        let mut known = self.configured.clone();
        known.extend(others.filter(|other| !self.configured.contains(other)));
        *self.known.lock() = known;
    }
}

async fn query<T: FromRedisValue>(connection: &mut MultiplexedConnection, command: &Cmd) -> Result<T, ConnectError> {
    command.query_async(connection).await.map_err(|error| ConnectError::Failed(reason(&error)))
}
