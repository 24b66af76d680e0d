//! Makes a connection to an address: TLS, authentication, the choice of the database, and what kind of server answers there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::Manager as _;
use futures_util::future::select_ok;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, Pipeline,
    ProtocolVersion, RedisConnectionInfo, RedisError, ServerErrorKind, Value, cmd, pipe,
};
use rustls::pki_types::ServerName;
use secrecy::ExposeSecret as _;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::settings::{Account, Settings};
use super::tls::Tls;

/// The oldest major version that has every command in use. `SET … NX GET` is the newest of them.
const OLDEST_VERSION: u32 = 7;

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no connection: {0}")]
    Failed(String),
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    #[error("no connection: select {db} is refused ({why}): grant +select to the user, or set cache.redis_db to 0")]
    Select { db: i64, why: String },
    #[error("Redis 7.0 or later is needed: the server {0}")]
    TooOld(String),
    #[error("no connection: it is a replica, not the master")]
    Replica,
    #[error("no connection: Sentinel {0}: {1}")]
    Sentinel(Address, String),
    /// An earlier attempt has shown this, and the next one is made in the background.
    #[error("{0}")]
    Known(String),
}

/// A server's answer to `HELLO`, which no ACL forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) kind: ServerKind,
    pub(super) master: bool,
    version: String,
}

/// The role of a server, from the field `mode` of its answer to `HELLO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerKind {
    Standalone,
    Sentinel,
    Cluster,
}

/// Makes connections with one account.
#[derive(Clone)]
pub(super) struct Connector {
    account: RedisConnectionInfo,
    db: i64,
    tls: Option<Tls>,
    limit: Duration,
}

impl Connector {
    /// For the servers that hold records.
    pub(super) fn new(settings: &Settings) -> Self {
        Self::with(settings, &settings.account, settings.db)
    }

    /// For Sentinels, which have an account of their own and no databases.
    pub(super) fn to_sentinels(settings: &Settings) -> Self {
        Self::with(settings, &settings.sentinel, 0)
    }

    fn with(settings: &Settings, account: &Account, db: i64) -> Self {
        // CLIENT SETINFO is refused by narrow ACLs, and its information is of no use here
        let mut info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        if let Some(username) = &account.username {
            info = info.set_username(username);
        }
        if let Some(password) = &account.password {
            info = info.set_password(password.expose_secret());
        }
        Self { account: info, db, tls: settings.tls.clone(), limit: settings.connect_timeout }
    }

    /// Connects to a server of any kind, and returns its answer to `HELLO` with the connection.
    pub(super) async fn connect(&self, to: &Address) -> Result<(MultiplexedConnection, Hello), ConnectError> {
        self.connect_with(to, untimed()).await
    }

    /// Connects to a server, and fails with [`ConnectError::Replica`] unless its answer to `HELLO` says that it is a master.
    pub(super) async fn to_master(
        &self,
        to: &Address,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ConnectError> {
        match self.connect_with(to, config.clone()).await? {
            (connection, hello) if hello.master => Ok(connection),
            // a name that moves with the master leads to the old one, or already to the next one
            _ => Err(ConnectError::Replica),
        }
    }

    /// Connects to a server of any kind. The time-out, `cache.redis_connect_timeout`, covers everything up to the answer to
    /// `HELLO`.
    pub(super) async fn connect_with(
        &self,
        to: &Address,
        config: AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Hello), ConnectError> {
        let config = config.set_connection_timeout(None);
        let connecting = async {
            let mut connection = match (to, &self.tls) {
                (Address::Tcp { host, port }, Some(tls)) => self.over_tls(host, *port, tls, config).await,
                (Address::Tcp { .. } | Address::Unix(_), _) => self.without_tls(to, config).await,
            }?;
            let hello = self.hello(&mut connection).await?;
            Ok((connection, hello))
        };
        timeout(self.limit, connecting).await.unwrap_or(Err(ConnectError::TimedOut(self.limit)))
    }

    async fn without_tls(
        &self,
        to: &Address,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ConnectError> {
        let manager = self.info(to).and_then(|info| deadpool_redis::Manager::new_with_config(info, config));
        let manager = manager.map_err(|error| ConnectError::Failed(reason(&error)))?;
        manager.create().await.map_err(|error| hello_failed(&error))
    }

    /// The same over TLS. redis-rs would make a configuration of rustls for each connection, and read the system's authorities
    /// from the disk each time, even where others are configured; so the stream is made here, with one configuration for all.
    async fn over_tls(
        &self,
        host: &str,
        port: u16,
        tls: &Tls,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ConnectError> {
        let failed = |why: String| ConnectError::Failed(why);
        let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(error.to_string()))?;
        let connected = async {
            let addresses = lookup_host((host, port)).await?.map(|address| Box::pin(TcpStream::connect(address)));
            let addresses: Vec<_> = addresses.collect();
            if addresses.is_empty() {
                return Err(std::io::Error::other("the name has no address"));
            }
            let (stream, _) = select_ok(addresses).await?;
            stream.set_nodelay(true)?;
            TlsConnector::from(Arc::clone(&tls.0)).connect(name, stream).await
        };
        let stream = connected.await.map_err(|error| failed(error.to_string()))?;
        let made = MultiplexedConnection::new_with_config(&self.account, stream, config).await;
        let (connection, driver) = made.map_err(|error| hello_failed(&error))?;
        tokio::spawn(driver);
        Ok(connection)
    }

    fn info(&self, to: &Address) -> Result<ConnectionInfo, RedisError> {
        let address = match to {
            Address::Unix(path) => ConnectionAddr::Unix(path.clone()),
            Address::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        };
        Ok(address.into_connection_info()?.set_redis_settings(self.account.clone()))
    }

    async fn hello(&self, connection: &mut MultiplexedConnection) -> Result<Hello, ConnectError> {
        let mut commands = pipe();
        commands.cmd("HELLO");
        if self.db != 0 {
            commands.cmd("SELECT").arg(self.db);
        }
        let answers = send(connection, &commands).await.map_err(|error| ConnectError::Failed(reason(&error)))?;
        let mut answers = answers.into_iter();
        let hello = answers.next().and_then(Hello::read).ok_or_else(|| ConnectError::Failed(NOT_REDIS.into()))?;
        if hello.is_too_old() {
            return Err(ConnectError::TooOld(format!("says that it is {}", hello.version)));
        }
        // a Sentinel has no databases: that it refuses SELECT is no error
        let Some(Value::ServerError(error)) = answers.next().filter(|_| hello.kind != ServerKind::Sentinel) else {
            return Ok(hello);
        };
        let why = RedisError::from(error);
        Err(match why.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => {
                ConnectError::Select { db: self.db, why: reason(&why) }
            }
            _ => ConnectError::Failed(reason(&why)),
        })
    }
}

const NOT_REDIS: &str = "the answer to HELLO is not that of a Redis server";

impl Hello {
    fn read(hello: Value) -> Option<Self> {
        let fields: HashMap<String, Value> = redis::from_redis_value(hello).ok()?;
        let field = |name: &str| fields.get(name).and_then(|value| redis::from_redis_value_ref::<String>(value).ok());
        let kind = match field("mode")?.as_str() {
            "sentinel" => ServerKind::Sentinel,
            "cluster" => ServerKind::Cluster,
            _ => ServerKind::Standalone,
        };
        let version = field("version").unwrap_or_default();
        Some(Self { kind, master: field("role").as_deref() == Some("master"), version })
    }

    /// Whether the server lacks commands in use. A Sentinel holds no records and may be of any version, and so may a server
    /// with a version that is no number.
    fn is_too_old(&self) -> bool {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        self.kind != ServerKind::Sentinel && major.is_some_and(|major| major < OLDEST_VERSION)
    }

    /// Sends `HELLO` over an established connection.
    pub(super) async fn ask(connection: &mut MultiplexedConnection) -> Result<Self, String> {
        let hello = cmd("HELLO").query_async::<Value>(connection).await.map_err(|error| reason(&error))?;
        Self::read(hello).ok_or_else(|| NOT_REDIS.into())
    }
}

/// Whether this answer to `HELLO` is that of a master.
pub(super) fn is_master(hello: &Value) -> bool {
    let text = |value: &Value, text: &str| match value {
        Value::BulkString(bytes) => bytes == text.as_bytes(),
        Value::SimpleString(simple) => simple == text,
        _ => false,
    };
    match hello {
        Value::Map(fields) => fields.iter().any(|(name, value)| text(name, "role") && text(value, "master")),
        _ => false,
    }
}

/// Why the first command, `HELLO 3`, failed. The error text for an unknown command quotes the command's arguments, the
/// password among them, so that it is never repeated here.
fn hello_failed(error: &RedisError) -> ConnectError {
    // in the words of Redis before 6.0, Envoy's proxy and Codis
    let unknown = ["unknown command", "unsupported command", "is not allowed"];
    let detail = error.detail().unwrap_or_default();
    let answer = match error.kind() {
        ErrorKind::RESP3NotSupported => "ERR unknown command",
        ErrorKind::Server(ServerErrorKind::ResponseError) if unknown.iter().any(|text| detail.contains(text)) => {
            "ERR unknown command"
        }
        _ if error.code() == Some("NOPROTO") => "NOPROTO",
        _ => return ConnectError::Failed(reason(error)),
    };
    ConnectError::TooOld(format!("answered {answer} to HELLO 3"))
}

/// A connection without a time-out of redis-rs's: the store has a time-out around each command.
pub(super) fn untimed() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(None)
}

/// Sends a pipeline and returns the answers; an error of a single command is one of them.
pub(super) async fn send(connection: &mut MultiplexedConnection, what: &Pipeline) -> Result<Vec<Value>, RedisError> {
    use redis::aio::ConnectionLike as _;
    connection.req_packed_commands(what, 0, what.len()).await
}

/// What is wrong with a server that answers reads and refuses writes; `None` for other errors.
pub(super) fn refusal_of_writes(error: &RedisError) -> Option<&'static str> {
    match error.code()? {
        "OOM" => Some("it refuses writes (OOM): its memory is full (maxmemory), and it may evict nothing"),
        "MISCONF" => Some("it refuses writes (MISCONF): it could not save to its disk; its own log says why"),
        "NOREPLICAS" => Some("it refuses writes (NOREPLICAS): fewer replicas than min-replicas-to-write are in reach"),
        "READONLY" => Some("it refuses writes (READONLY): it is a replica"),
        _ => None,
    }
}

/// Whether the command is not permitted, or is unknown because `rename-command` took it away.
pub(super) fn lacks_permission(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoPerm) => true,
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            error.detail().is_some_and(|detail| detail.starts_with("unknown command"))
        }
        _ => false,
    }
}

/// Why something failed, for logs. A server's error text may quote a key or a value, so that only its code is repeated.
pub(super) fn reason(error: &RedisError) -> String {
    if let Some(why) = refusal_of_writes(error) {
        return why.into();
    }
    match error.kind() {
        ErrorKind::Io => error.to_string(),
        ErrorKind::Server(ServerErrorKind::NoPerm) => "NOPERM".into(),
        _ => error.code().map_or_else(|| error.category().to_owned(), |code| format!("{} ({code})", error.category())),
    }
}
