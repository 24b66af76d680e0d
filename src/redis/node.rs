//! Runs commands at one server, through its pool of connections, and classifies the errors.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind, Value, pipe};

use super::address::Address;
use super::breaker::{Signs, Use};
use super::connect::{ConnectError, Connector, is_master, lacks_permission, reason, refusal_of_writes, send};
use super::pool::Pool;
use super::server::{Route, Server};
use super::settings::Settings;

/// One server and its connections.
pub(super) struct Node {
    pool: Pool,
    server: Arc<Server>,
    command_timeout: Duration,
}

/// Why a command has no result.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The server answered with an error and did nothing; the connection can be used again.
    Refused(RedisError),
    /// The connection broke at once, as one does that was idle for long and had been closed by the server.
    Connection(String),
    /// The server is a replica: its answer was not used.
    Replica,
    /// A connection is there, and no answer came in time.
    Silence(String),
    /// There was no connection, or the server is not asked at present.
    Timeout(String),
}

impl From<ConnectError> for CommandError {
    fn from(error: ConnectError) -> Self {
        Self::Timeout(error.to_string())
    }
}

impl CommandError {
    /// Whether the command is not permitted, or is unknown because `rename-command` took it away.
    pub(super) fn is_lack_of_permission(&self) -> bool {
        match self {
            Self::Refused(error) => lacks_permission(error),
            Self::Connection(_) | Self::Replica | Self::Silence(_) | Self::Timeout(_) => false,
        }
    }

    /// Whether the server refuses writes, from this user or from all, and may answer reads all the same.
    pub(super) fn refuses_writes(&self) -> bool {
        match self {
            Self::Refused(error) => {
                refusal_of_writes(error).is_some() || error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
            }
            Self::Connection(_) | Self::Replica | Self::Silence(_) | Self::Timeout(_) => false,
        }
    }

    /// Whether the key holds a value of another type than a string of bytes.
    pub(super) fn is_wrong_type(&self) -> bool {
        match self {
            Self::Refused(error) => error.code() == Some("WRONGTYPE"),
            Self::Connection(_) | Self::Replica | Self::Silence(_) | Self::Timeout(_) => false,
        }
    }

    /// Whether the server is a replica and not the master.
    fn is_of_replica(&self) -> bool {
        match self {
            Self::Refused(error) => error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly),
            Self::Replica => true,
            Self::Connection(_) | Self::Silence(_) | Self::Timeout(_) => false,
        }
    }

    /// The same error with the server's address before it, for one server of several.
    pub(super) fn at(self, address: &Address) -> Self {
        match self {
            Self::Refused(error) => Self::Refused(error),
            Self::Replica => Self::Replica,
            Self::Connection(why) => Self::Connection(format!("{address}: {why}")),
            Self::Silence(why) => Self::Silence(format!("{address}: {why}")),
            Self::Timeout(why) => Self::Timeout(format!("{address}: {why}")),
        }
    }
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => f.write_str(&reason(error)),
            Self::Replica => write!(f, "{}", ConnectError::Replica),
            Self::Connection(why) | Self::Silence(why) | Self::Timeout(why) => f.write_str(why),
        }
    }
}

impl Node {
    pub(super) fn new(connector: Connector, route: Route, settings: &Settings, signs: Signs) -> Result<Self, String> {
        let server = Arc::new(Server::new(connector, route, settings, signs));
        let pool = Pool::new(Arc::clone(&server), settings)?;
        Ok(Self { pool, server, command_timeout: settings.command_timeout })
    }

    /// Makes the first connections.
    pub(super) async fn warm(&self) -> Result<(), ConnectError> {
        self.pool.warm().await
    }

    /// Whether commands of all kinds are sent to this server at present.
    pub(super) fn is_asked(&self) -> bool {
        !self.server.breaker.is_open()
    }

    /// Runs commands in one round trip. When the server has become a replica, its answer does not count, and they are sent once
    /// more, over a new connection.
    pub(super) async fn run<T: FromRedisValue>(&self, what: Use, commands: &Pipeline) -> Result<T, CommandError> {
        match self.once(what, commands).await {
            Err(failed) if failed.is_of_replica() => self.once(what, commands).await,
            other => other,
        }
    }

    /// Runs commands in one round trip, unless the server is known not to answer. A connection is waited for as long as
    /// `cache.redis_connect_timeout`, and the answer as long as `cache.redis_command_timeout`. A read that has no answer is
    /// repeated once, since another connection may have one.
    pub(super) async fn once<T: FromRedisValue>(&self, what: Use, commands: &Pipeline) -> Result<T, CommandError> {
        self.server.breaker.admit(what).map_err(CommandError::Timeout)?;
        match self.attempt(what, commands).await {
            // to wait for another connection ends soon if the breaker opens
            Err(CommandError::Connection(_) | CommandError::Silence(_)) if what != Use::Write => {
                self.attempt(what, commands).await
            }
            other => other,
        }
    }

    async fn attempt<T: FromRedisValue>(&self, what: Use, commands: &Pipeline) -> Result<T, CommandError> {
        let mut pooled = self.pool.get().await.map_err(|error| CommandError::Timeout(error.to_string()))?;
        let needs_master = self.server.route.needs_master();
        let before = self.server.breaker.before();
        let with_hello = needs_master.then(|| after_hello(commands));
        let sent = send(&mut pooled.connection, with_hello.as_ref().unwrap_or(commands));
        match tokio::time::timeout(self.command_timeout, sent).await {
            Ok(Ok(answers)) => {
                self.server.breaker.answered(what);
                let mut answers = answers.into_iter();
                // a name that moves with the master may have led to this server when the connection was made
                if needs_master && !answers.next().is_some_and(|hello| is_master(&hello)) {
                    self.pool.discard(pooled);
                    return Err(CommandError::Replica);
                }
                let read = read(answers.collect());
                if read.as_ref().is_err_and(CommandError::is_of_replica) {
                    self.pool.discard(pooled);
                }
                read
            }
            Ok(Err(error)) => {
                self.pool.discard(pooled);
                Err(CommandError::Connection(reason(&error)))
            }
            Err(_) => {
                let why = format!("timed out after {:?}", self.command_timeout);
                if self.server.no_answer(what, before, &why) {
                    self.pool.discard(pooled);
                } else {
                    Pool::discard_one(pooled);
                }
                Err(CommandError::Silence(why))
            }
        }
    }

    /// Closes all connections: the next command is sent over a new one.
    pub(super) fn renew(&self) {
        self.pool.renew();
    }

    pub(super) fn close_idle(&self) {
        self.pool.close_idle();
    }
}

/// The commands after a `HELLO`: its answer says in the same round trip whether the server is the master.
fn after_hello(commands: &Pipeline) -> Pipeline {
    let mut with_hello = pipe();
    with_hello.cmd("HELLO");
    for command in commands.cmd_iter() {
        with_hello.add_command(command.clone());
    }
    with_hello
}

/// A pipeline of one command.
pub(super) fn single(command: Cmd) -> Pipeline {
    let mut pipeline = pipe();
    pipeline.add_command(command);
    pipeline
}

/// The answers, unless one of them is an error.
fn read<T: FromRedisValue>(answers: Vec<Value>) -> Result<T, CommandError> {
    let error = answers.iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(error.clone()),
        _ => None,
    });
    match error {
        Some(error) => Err(CommandError::Refused(error.into())),
        None => redis::from_redis_value(Value::Array(answers)).map_err(|error| CommandError::Refused(error.into())),
    }
}
