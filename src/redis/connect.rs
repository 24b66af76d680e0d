//! From an address to a connection that is greeted, authenticated and on its database.

use std::collections::HashMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, Pipeline, ProtocolVersion,
    RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, Value, cmd, pipe,
};
use secrecy::ExposeSecret as _;
use tokio::time::timeout;

use super::address::Address;
use super::{Account, Settings};

/// The first major version that has all that is used: `SET … NX GET` is the newest of it.
const LEAST: u32 = 7;

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no connection: {0}")]
    CommandError(String),
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
}

/// What a server says of itself in its answer to `HELLO`, which no ACL forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) kind: Kind,
    pub(super) master: bool,
    version: String,
}

/// What a server is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Standalone,
    Sentinel,
    Cluster,
}

/// Makes connections, for one account.
#[derive(Clone)]
pub(super) struct Connector {
    account: RedisConnectionInfo,
    db: i64,
    tls: Option<TlsCertificates>,
    limit: Duration,
}

impl Connector {
    /// To the servers that hold records.
    pub(super) fn new(settings: &Settings) -> Self {
        Self::with(settings, &settings.account, settings.db)
    }

    /// To Sentinels.
    pub(super) fn to_sentinels(settings: &Settings) -> Self {
        Self::with(settings, &settings.sentinel, 0)
    }

    fn with(settings: &Settings, account: &Account, db: i64) -> Self {
        // CLIENT SETINFO is refused by narrow ACLs and tells nobody anything
        let mut info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        if let Some(username) = &account.username {
            info = info.set_username(username);
        }
        if let Some(password) = &account.password {
            info = info.set_password(password.expose_secret());
        }
        let tls = settings.tls.as_ref().map(|tls| tls.0.clone());
        Self { account: info, db, tls, limit: settings.connect_timeout }
    }

    /// To any server.
    pub(super) async fn connect(&self, to: &Address) -> Result<(MultiplexedConnection, Greeting), ConnectError> {
        self.connect_with(to, untimed()).await
    }

    /// To a server that says that it is a master.
    pub(super) async fn to_master(
        &self,
        to: &Address,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ConnectError> {
        match self.connect_with(to, config.clone()).await? {
            (connection, greeting) if greeting.master => Ok(connection),
            // behind a name that moves with the master, this one's time is over, or has not come yet
            _ => Err(ConnectError::Replica),
        }
    }

    pub(super) async fn connect_with(
        &self,
        to: &Address,
        config: AsyncConnectionConfig,
    ) -> Result<(MultiplexedConnection, Greeting), ConnectError> {
        let config = config.set_connection_timeout(None);
        let connecting = async {
            let client = self.client(to).map_err(|error| ConnectError::CommandError(reason(&error)))?;
            let connection = client.get_multiplexed_async_connection_with_config(&config).await;
            let mut connection = connection.map_err(|error| not_greeted(&error))?;
            let greeting = self.greet(&mut connection).await?;
            Ok((connection, greeting))
        };
        timeout(self.limit, connecting).await.unwrap_or(Err(ConnectError::TimedOut(self.limit)))
    }

    fn client(&self, to: &Address) -> Result<Client, RedisError> {
        let address = match (to, &self.tls) {
            (Address::Unix(path), _) => ConnectionAddr::Unix(path.clone()),
            (Address::Tcp { host, port }, None) => ConnectionAddr::Tcp(host.clone(), *port),
            (Address::Tcp { host, port }, Some(_)) => {
                ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
            }
        };
        let tls = self.tls.as_ref().filter(|_| matches!(to, Address::Tcp { .. }));
        let info = address.into_connection_info()?.set_redis_settings(self.account.clone());
        tls.map_or_else(|| Client::open(info.clone()), |tls| Client::build_with_tls(info.clone(), tls.clone()))
    }

    async fn greet(&self, connection: &mut MultiplexedConnection) -> Result<Greeting, ConnectError> {
        let mut greeting = pipe();
        greeting.cmd("HELLO");
        if self.db != 0 {
            greeting.cmd("SELECT").arg(self.db);
        }
        let answers = send(connection, &greeting).await.map_err(|error| ConnectError::CommandError(reason(&error)))?;
        let mut answers = answers.into_iter();
        let greeting = answers.next().and_then(Greeting::read);
        let greeting = greeting.ok_or_else(|| ConnectError::CommandError("its greeting is not Redis's".into()))?;
        if greeting.is_too_old() {
            return Err(ConnectError::TooOld(format!("says that it is {}", greeting.version)));
        }
        // Sentinels have no databases, and none of ours
        let Some(Value::ServerError(error)) = answers.next().filter(|_| greeting.kind != Kind::Sentinel) else {
            return Ok(greeting);
        };
        let why = RedisError::from(error);
        Err(match why.kind() {
            ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::ResponseError) => {
                ConnectError::Select { db: self.db, why: reason(&why) }
            }
            _ => ConnectError::CommandError(reason(&why)),
        })
    }
}

impl Greeting {
    fn read(hello: Value) -> Option<Self> {
        let fields: HashMap<String, Value> = redis::from_redis_value(hello).ok()?;
        let field = |name: &str| fields.get(name).and_then(|value| redis::from_redis_value_ref::<String>(value).ok());
        let kind = match field("mode")?.as_str() {
            "sentinel" => Kind::Sentinel,
            "cluster" => Kind::Cluster,
            _ => Kind::Standalone,
        };
        let version = field("version").unwrap_or_default();
        Some(Self { kind, master: field("role").as_deref() == Some("master"), version })
    }

    /// Whether it lacks what is used. A Sentinel holds no records, and a version that is no number tells nothing.
    fn is_too_old(&self) -> bool {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        self.kind != Kind::Sentinel && major.is_some_and(|major| major < LEAST)
    }

    /// Asks a connection that is up; every server answers that to everybody.
    pub(super) async fn ask(connection: &mut MultiplexedConnection) -> Result<Self, String> {
        let hello = cmd("HELLO").query_async::<Value>(connection).await.map_err(|error| reason(&error))?;
        Self::read(hello).ok_or_else(|| "its greeting is not Redis's".into())
    }
}

/// Why the first command, `HELLO 3`, failed. What a server says to a command that it does not know quotes the command's
/// arguments, the password among them: it is not told.
fn not_greeted(error: &RedisError) -> ConnectError {
    // as Redis before 6.0, Envoy's proxy and Codis say it
    let unknown = ["unknown command", "unsupported command", "is not allowed"];
    let detail = error.detail().unwrap_or_default();
    let answer = match error.kind() {
        ErrorKind::RESP3NotSupported => "ERR unknown command",
        ErrorKind::Server(ServerErrorKind::ResponseError) if unknown.iter().any(|text| detail.contains(text)) => {
            "ERR unknown command"
        }
        _ if error.code() == Some("NOPROTO") => "NOPROTO",
        _ => return ConnectError::CommandError(reason(error)),
    };
    ConnectError::TooOld(format!("answered {answer} to HELLO 3"))
}

/// The store has one time-out for each command of its own.
pub(super) fn untimed() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_response_timeout(None)
}

/// A pipeline's answers, errors of single commands among them.
pub(super) async fn send(connection: &mut MultiplexedConnection, what: &Pipeline) -> Result<Vec<Value>, RedisError> {
    use redis::aio::ConnectionLike as _;
    connection.req_packed_commands(what, 0, what.len()).await
}

/// What is wrong with a server that answers reads and refuses writes.
pub(super) fn refusal_of_writes(error: &RedisError) -> Option<&'static str> {
    match error.code()? {
        "OOM" => Some("it refuses writes (OOM): its memory is full (maxmemory), and it may evict nothing"),
        "MISCONF" => Some("it refuses writes (MISCONF): it could not save to its disk; its own log says why"),
        "NOREPLICAS" => Some("it refuses writes (NOREPLICAS): fewer replicas than min-replicas-to-write are in reach"),
        "READONLY" => Some("it refuses writes (READONLY): it is a replica"),
        _ => None,
    }
}

/// Why something failed. What a server says may quote a key or a value: only its code is told, except where it names a
/// command.
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
