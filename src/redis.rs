//! Store over one Redis server (7.0 or later), through deadpool-redis.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deadpool_redis::redis::{
    Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisConnectionInfo, RedisError, Script, ServerErrorKind, Value, cmd, pipe,
};
use secrecy::{ExposeSecret, SecretString};

use crate::credentials::near::Link;
use crate::credentials::{CacheKey, Entry, Replaced, Store, StoreError};

mod pool;
mod tracking;

use pool::{Connection, Pool};

/// `cache.redis_*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database number.
    pub db: i64,
    /// ACL user; with a password only, Redis's `default` user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
    /// Time-out of connecting. Default 5 s.
    pub connect_timeout: Duration,
    /// Time-out of a command. Default 250 ms.
    pub command_timeout: Duration,
    /// Connections. Default 10 × CPUs.
    pub pool_size: usize,
}

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// Records in Redis, shared by all replicas.
pub struct RedisStore {
    pool: Pool,
    client: Client,
    address: String,
    connect_timeout: Duration,
    command_timeout: Duration,
    /// The server refuses scripts: compare-and-set falls back to `SET … XX GET`.
    no_scripting: AtomicBool,
    warned: OnceLock<()>,
}

/// What all keys of ours begin with.
const PREFIX: &str = "elastauth-";

/// Answers 1 replaced, 0 other bytes, -1 nothing there.
const REPLACE: &str = "local v = redis.call('GET', KEYS[1]) \
    if not v then return -1 end \
    if v ~= ARGV[1] then return 0 end \
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1";
const REMOVE: &str = "local v = redis.call('GET', KEYS[1]) \
    if not v then return -1 end \
    if v ~= ARGV[1] then return 0 end \
    redis.call('DEL', KEYS[1]) return 1";

impl RedisStore {
    /// Connects on first use: start-up does not need Redis.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let address = format!("{}:{}", settings.host, settings.port);
        let client = Client::open(connection(&settings)?).map_err(|e| Error(e.to_string()))?;
        let pool = Pool::new(client.clone(), &settings).map_err(Error)?;
        let (no_scripting, warned) = (AtomicBool::new(false), OnceLock::new());
        let Settings { connect_timeout, command_timeout, .. } = settings;
        Ok(Self { pool, client, address, connect_timeout, command_timeout, no_scripting, warned })
    }

    fn failed(&self, why: impl std::fmt::Display) -> StoreError {
        StoreError(format!("Redis {}: {why}", self.address))
    }

    async fn connect(&self) -> Result<Connection, StoreError> {
        self.pool.get().await.map_err(|why| self.failed(why))
    }

    /// One command or pipeline in one round trip, under its own time-out. A connection that errs is discarded.
    async fn run<T: FromRedisValue>(&self, pipeline: &Pipeline) -> Result<T, Failed> {
        let mut connection = self.connect().await.map_err(Failed::Store)?;
        let query = pipeline.query_async::<T>(&mut *connection);
        match tokio::time::timeout(self.command_timeout, query).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if refused(&error) => Err(Failed::NoPermission(error)),
            Ok(Err(error)) => {
                self.pool.distrust(connection);
                Err(Failed::Broken(self.failed(kind(&error))))
            }
            Err(_) => {
                self.pool.distrust(connection);
                Err(Failed::Store(self.failed(format!("timed out after {:?}", self.command_timeout))))
            }
        }
    }

    /// Runs a one-key script; `None` when the server does not let us.
    async fn script(&self, code: &str, key: &CacheKey, args: &[&[u8]]) -> Result<Option<i64>, StoreError> {
        if self.no_scripting.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let script = Script::new(code);
        let call = |name: &str, body: &str| {
            let mut command = cmd(name);
            command.arg(body).arg(1).arg(key.as_str());
            for arg in args {
                command.arg(*arg);
            }
            one(command)
        };
        match self.run::<(i64,)>(&call("EVALSHA", script.get_hash())).await {
            Ok((answer,)) => Ok(Some(answer)),
            Err(Failed::NoPermission(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                match self.run::<(i64,)>(&call("EVAL", code)).await {
                    Ok((answer,)) => Ok(Some(answer)),
                    Err(Failed::NoPermission(_)) => Ok(self.without_scripting()),
                    Err(Failed::Broken(error) | Failed::Store(error)) => Err(error),
                }
            }
            Err(Failed::NoPermission(_)) => Ok(self.without_scripting()),
            Err(Failed::Broken(error) | Failed::Store(error)) => Err(error),
        }
    }

    fn without_scripting<T>(&self) -> Option<T> {
        self.no_scripting.store(true, Ordering::Relaxed);
        self.warned.get_or_init(|| {
            tracing::warn!("Redis refuses scripts to this user; grant +eval +evalsha for compare-and-set in one step");
        });
        None
    }
}

enum Failed {
    /// The server said no, and the connection is fine.
    NoPermission(RedisError),
    /// The connection is gone, at once: it may have been idle for long.
    Broken(StoreError),
    Store(StoreError),
}

impl Failed {
    fn into_store(self, store: &RedisStore) -> StoreError {
        match self {
            Self::NoPermission(error) => store.failed(kind(&error)),
            Self::Broken(error) | Self::Store(error) => error,
        }
    }
}

/// `NOPERM` and `NOSCRIPT` come before anything was done.
fn refused(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::NoScript))
}

/// The kind and, for what the server said, its code; never a key or a value.
fn kind(error: &RedisError) -> String {
    error.code().map_or_else(|| error.category().to_owned(), |code| format!("{} ({code})", error.category()))
}

fn one(command: Cmd) -> Pipeline {
    let mut pipeline = pipe();
    pipeline.add_command(command);
    pipeline
}

fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn connection(settings: &Settings) -> Result<ConnectionInfo, Error> {
    // CLIENT SETINFO is refused by narrow ACLs and tells nobody anything
    let mut redis =
        RedisConnectionInfo::default().set_db(settings.db).set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        redis = redis.set_username(username);
    }
    if let Some(password) = &settings.password {
        redis = redis.set_password(password.expose_secret());
    }
    let address = ConnectionAddr::Tcp(settings.host.clone(), settings.port);
    let info = address.into_connection_info().map_err(|e| Error(e.to_string()))?;
    Ok(info.set_redis_settings(redis))
}

impl Store for RedisStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        let mut read = pipe();
        read.add_command(cmd("GET").arg(key.as_str()).clone()).add_command(cmd("PTTL").arg(key.as_str()).clone());
        let mut answer = self.run::<(Option<Vec<u8>>, i64)>(&read).await;
        if matches!(answer, Err(Failed::Broken(_))) {
            // a read is repeated once, on another connection
            answer = self.run(&read).await;
        }
        let (bytes, remaining) = answer.map_err(|failed| failed.into_store(self))?;
        Ok(bytes.map(|bytes| {
            // no expiry: only a person writes such an entry
            let remaining = u64::try_from(remaining).map_or(Duration::ZERO, Duration::from_millis);
            Entry { bytes, remaining }
        }))
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        let mut set = cmd("SET");
        set.arg(key.as_str()).arg(bytes).arg("NX").arg("GET").arg("PX").arg(millis(life));
        let (before,) = self.run(&one(set)).await.map_err(|failed| failed.into_store(self))?;
        Ok(before)
    }

    async fn replace(
        &self,
        key: &CacheKey,
        expected: &[u8],
        new: &[u8],
        life: Duration,
    ) -> Result<Replaced, StoreError> {
        let px = millis(life).to_string();
        match self.script(REPLACE, key, &[expected, new, px.as_bytes()]).await? {
            Some(1) => return Ok(Replaced::Yes),
            Some(0) => return Ok(Replaced::Changed),
            Some(_) => return Ok(Replaced::Missing),
            None => {}
        }
        let mut set = cmd("SET");
        set.arg(key.as_str()).arg(new).arg("XX").arg("GET").arg("PX").arg(&px);
        let (before,): (Option<Vec<u8>>,) = self.run(&one(set)).await.map_err(|failed| failed.into_store(self))?;
        Ok(match before {
            None => Replaced::Missing,
            Some(before) if before == expected => Replaced::Yes,
            Some(_) => Replaced::Overwrote,
        })
    }

    async fn remove(&self, key: &CacheKey, expected: &[u8]) -> Result<bool, StoreError> {
        if let Some(answer) = self.script(REMOVE, key, &[expected]).await? {
            return Ok(answer == 1);
        }
        let held = self.get(key).await?.is_some_and(|entry| entry.bytes == expected);
        if held {
            let mut del = cmd("DEL");
            del.arg(key.as_str());
            let _: Value = self.run(&one(del)).await.map_err(|failed| failed.into_store(self))?;
        }
        Ok(held)
    }

    async fn watch(&self, link: Arc<Link>) {
        tracking::run(self.client.clone(), self.connect_timeout, self.command_timeout, link).await;
    }

    /// `PING` is refused by the documented ACL line: a read of a key that is nobody's does as well.
    async fn reachable(&self) -> Result<(), StoreError> {
        let mut get = cmd("GET");
        get.arg(PREFIX);
        let _: Value = self.run(&one(get)).await.map_err(|failed| failed.into_store(self))?;
        Ok(())
    }
}
