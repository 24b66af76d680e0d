//! Runs commands at one server, through its pool of connections, and classifies the errors.

use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind, Value, pipe};

use super::address::Address;
use super::connect::{ConnectError, Connector, reason, refusal_of_writes, send};
use super::pool::{Pool, Route};
use super::settings::Settings;

/// One server and its connections.
pub(super) struct Node {
    pool: Pool,
    command_timeout: Duration,
}

/// Why a command has no result.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The server answered with an error and did nothing; the connection can be used again.
    Refused(RedisError),
    /// The connection broke at once, as one does that was idle for long and had been closed by the server.
    Connection(String),
    /// There was no connection, or no answer in time.
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
            Self::Connection(_) | Self::Timeout(_) => false,
        }
    }

    /// Whether the server refuses writes, from this user or from all, and may answer reads all the same.
    pub(super) fn refuses_writes(&self) -> bool {
        match self {
            Self::Refused(error) => {
                refusal_of_writes(error).is_some() || error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
            }
            Self::Connection(_) | Self::Timeout(_) => false,
        }
    }

    /// Whether the key holds a value of another type than a string of bytes.
    pub(super) fn is_wrong_type(&self) -> bool {
        match self {
            Self::Refused(error) => error.code() == Some("WRONGTYPE"),
            Self::Connection(_) | Self::Timeout(_) => false,
        }
    }

    fn is_read_only(&self) -> bool {
        match self {
            Self::Refused(error) => error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly),
            Self::Connection(_) | Self::Timeout(_) => false,
        }
    }

    /// The same error with the server's address before it, for one server of several.
    pub(super) fn at(self, address: &Address) -> Self {
        match self {
            Self::Refused(error) => Self::Refused(error),
            Self::Connection(why) => Self::Connection(format!("{address}: {why}")),
            Self::Timeout(why) => Self::Timeout(format!("{address}: {why}")),
        }
    }
}

pub(super) fn lacks_permission(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoPerm) => true,
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            error.detail().is_some_and(|detail| detail.starts_with("unknown command"))
        }
        _ => false,
    }
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => f.write_str(&reason(error)),
            Self::Connection(why) | Self::Timeout(why) => f.write_str(why),
        }
    }
}

impl Node {
    pub(super) fn new(connector: Connector, route: Route, settings: &Settings) -> Result<Self, String> {
        let pool = Pool::new(connector, route, settings)?;
        Ok(Self { pool, command_timeout: settings.command_timeout })
    }

    /// Runs commands in one round trip. When the server has become a replica (`READONLY`), nothing was done, and they are sent
    /// once more, over a new connection.
    pub(super) async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, CommandError> {
        match self.once(commands).await {
            Err(failed) if failed.is_read_only() => self.once(commands).await,
            other => other,
        }
    }

    /// Runs commands in one round trip, within `cache.redis_command_timeout`. A connection that fails is discarded.
    pub(super) async fn once<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, CommandError> {
        let mut pooled = self.pool.get().await.map_err(|error| CommandError::Timeout(error.to_string()))?;
        let sent = tokio::time::timeout(self.command_timeout, send(&mut pooled.connection, commands)).await;
        let why = match sent {
            Ok(Ok(answers)) => {
                let read = read(answers);
                if read.as_ref().is_err_and(CommandError::is_read_only) {
                    self.pool.discard(pooled);
                }
                return read;
            }
            Ok(Err(error)) => CommandError::Connection(reason(&error)),
            Err(_) => CommandError::Timeout(format!("timed out after {:?}", self.command_timeout)),
        };
        self.pool.discard(pooled);
        Err(why)
    }

    /// Closes all connections: the next command is sent over a new one.
    pub(super) fn renew(&self) {
        self.pool.renew();
    }

    pub(super) fn close_idle(&self) {
        self.pool.close_idle();
    }
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
