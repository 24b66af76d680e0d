//! Which server is the master, as the Sentinels say. redis-rs's own client of Sentinel asks the master `ROLE` or `INFO`,
//! which narrow ACLs refuse; `HELLO` says as much.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::select_ok;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, cmd};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Settings;
use super::address::Address;
use super::connect::{ConnectError, Connector, Kind, reason};

/// The Sentinels of one master.
pub(super) struct Sentinels {
    connector: Connector,
    patience: Duration,
    /// The master's name, once known.
    name: OnceLock<String>,
    configured: Vec<Address>,
    /// Those to ask: the configured ones, and whom these told of.
    known: Mutex<Vec<Address>>,
    /// The one that answered last, on a connection that stays.
    line: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    master: Mutex<Option<Address>>,
    /// Counts changes of the master.
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
            line: tokio::sync::Mutex::default(),
            master: Mutex::default(),
            changes,
        }
    }

    /// A connection to the master; what it says of itself counts, since Sentinels are late now and then.
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
            Err(failed @ (ConnectError::CommandError(_) | ConnectError::TimedOut(_) | ConnectError::Replica)) => failed,
            other => return other,
        };
        // another Sentinel may know better
        *self.line.lock().await = None;
        let now = self.ask().await?;
        if now == first { Err(failed) } else { connector.to_master(&now, config).await }
    }

    /// Asks who the master is, the Sentinel that answered last or else all of them at once.
    pub(super) async fn ask(&self) -> Result<Address, ConnectError> {
        let mut line = self.line.lock().await;
        if let Some(connection) = line.as_mut()
            && let Ok(Ok(master)) = timeout(self.patience, self.master_of(connection)).await
        {
            return Ok(self.publish(master));
        }
        *line = None;
        let known = self.known.lock().clone();
        let asked = known.into_iter().map(|sentinel| Box::pin(self.ask_one(sentinel)));
        let ((connection, master), _) = select_ok(asked).await?;
        *line = Some(connection);
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
        let told = |why: ConnectError| ConnectError::Sentinel(sentinel.clone(), why.to_string());
        let (mut connection, greeting) = self.connector.connect(&sentinel).await.map_err(told)?;
        if greeting.kind != Kind::Sentinel {
            return Err(told(ConnectError::CommandError("it is no Sentinel".into())));
        }
        let asked = async {
            let master = self.master_of(&mut connection).await?;
            self.meet_others(&mut connection).await;
            Ok((connection, master))
        };
        let asked = timeout(self.patience * 4, asked).await;
        asked.unwrap_or_else(|_| Err(ConnectError::TimedOut(self.patience * 4))).map_err(told)
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
            None => {
                Err(ConnectError::CommandError(format!("it knows no master named {name}: look at cache.redis_master")))
            }
        }
    }

    /// Without a name there must be no choice.
    async fn only_name(&self, connection: &mut MultiplexedConnection) -> Result<String, ConnectError> {
        let masters: Vec<HashMap<String, String>> = query(connection, cmd("SENTINEL").arg("MASTERS")).await?;
        let mut names: Vec<_> = masters.into_iter().filter_map(|mut master| master.remove("name")).collect();
        match (names.pop(), names.is_empty()) {
            (Some(name), true) => Ok(self.name.get_or_init(|| name).clone()),
            (Some(_), false) => {
                Err(ConnectError::CommandError("it knows several masters: set cache.redis_master".into()))
            }
            (None, _) => Err(ConnectError::CommandError("it knows no master".into())),
        }
    }

    /// So that one address in the configuration is enough while it lives. That it is refused or fails does not matter.
    async fn meet_others(&self, connection: &mut MultiplexedConnection) {
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
    command.query_async(connection).await.map_err(|error| ConnectError::CommandError(reason(&error)))
}
