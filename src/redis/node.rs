//! Commands to one server.

use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, Pipeline, RedisError, ServerErrorKind, Value};

use super::Settings;
use super::address::Address;
use super::connect::{Connector, reason, refusal_of_writes, send};
use super::pool::{Pool, Route};

/// One server and its connections.
pub(super) struct Node {
    pool: Pool,
    command_timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum CommandError {
    /// The server said no, before it did anything; the connection is fine.
    Refused(RedisError),
    /// The connection is gone, at once: it may have been idle for long.
    Connection(String),
    /// No connection, or no answer in time.
    Timeout(String),
}

impl CommandError {
    /// Not permitted, or not there: a command that was renamed away, as `rename-command` does.
    pub(super) fn is_lack_of_permission(&self) -> bool {
        match self {
            Self::Refused(error) => lacks_permission(error),
            Self::Connection(_) | Self::Timeout(_) => false,
        }
    }

    /// Whether a command that writes met a server that takes none, from us or from anybody, and may answer reads all the same.
    pub(super) fn refuses_writes(&self) -> bool {
        match self {
            Self::Refused(error) => {
                refusal_of_writes(error).is_some() || error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)
            }
            Self::Connection(_) | Self::Timeout(_) => false,
        }
    }

    /// Whether the key holds something else than bytes.
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

    /// With the name of the server, where it is one of several.
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

    /// Commands in one round trip. The role of a master may have moved on, which costs one more: nothing was done.
    pub(super) async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, CommandError> {
        match self.once(commands).await {
            Err(failed) if failed.is_read_only() => self.once(commands).await,
            other => other,
        }
    }

    /// Under their own time-out. A connection that errs is discarded.
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

    /// Connects anew from now on.
    pub(super) fn renew(&self) {
        self.pool.renew();
    }

    pub(super) fn close_idle(&self) {
        self.pool.close_idle();
    }
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
