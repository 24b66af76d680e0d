//! Store over Redis 7.0 or later, through redis-rs and a pool of connections for each server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Cmd, ErrorKind, Pipeline, Script, ServerErrorKind, Value, cmd, pipe};
use secrecy::SecretString;

use crate::credentials::near::Link;
use crate::credentials::{CacheKey, Entry, Replaced, Store, StoreError};

mod address;
mod connect;
mod node;
mod pool;
mod scan;
mod tls;
mod tracking;

pub use address::Address;
pub use tls::{Tls, TlsError};

use connect::Connector;
use node::{Failed, Node};

/// `cache.redis_*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to ask first.
    pub address: Address,
    /// Database number.
    pub db: i64,
    /// Whom the servers know.
    pub account: Account,
    /// TLS, if any.
    pub tls: Option<Tls>,
    /// Time-out of connecting. Default 5 s.
    pub connect_timeout: Duration,
    /// Time-out of a command. Default 250 ms.
    pub command_timeout: Duration,
    /// Unused for so long, a connection is closed. Default 5 min.
    pub idle_timeout: Duration,
    /// Connections to one server. Default 10 × CPUs.
    pub pool_size: usize,
}

/// Whom a server knows.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// ACL user; with a password only, Redis's `default` user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
}

impl Settings {
    /// What the ownership stamp calls this store: where it is, without credentials.
    #[must_use]
    pub fn name(&self) -> String {
        format!("redis {}/{}", self.address, self.db)
    }
}

/// The client could not be built.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// Records in Redis, shared by all replicas.
pub struct RedisStore {
    node: Node,
    connector: Connector,
    settings: Settings,
    /// The server refuses scripts: compare-and-set falls back to `SET … XX GET`.
    no_scripting: AtomicBool,
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
        let connector = Connector::new(&settings);
        let node = Node::new(connector.clone(), settings.address.clone(), &settings).map_err(Error)?;
        Ok(Self { node, connector, settings, no_scripting: AtomicBool::new(false) })
    }

    fn failed(&self, why: impl std::fmt::Display) -> StoreError {
        StoreError(format!("Redis {}: {why}", self.settings.address))
    }

    /// Commands about one key, in one round trip.
    async fn run<T: redis::FromRedisValue>(&self, commands: &Pipeline) -> Result<T, StoreError> {
        self.node.run(commands).await.map_err(|failed| self.failed(failed))
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
        let mut answer = self.node.run::<(i64,)>(&call("EVALSHA", script.get_hash())).await;
        if let Err(Failed::Refused(error)) = &answer
            && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        {
            answer = self.node.run(&call("EVAL", code)).await;
        }
        match answer {
            Ok((answer,)) => Ok(Some(answer)),
            Err(failed) if failed.is_lack_of_permission() => {
                self.no_scripting.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(failed) => Err(self.failed(failed)),
        }
    }
}

fn one(command: Cmd) -> Pipeline {
    let mut pipeline = pipe();
    pipeline.add_command(command);
    pipeline
}

fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Store for RedisStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        let mut read = pipe();
        read.cmd("GET").arg(key.as_str()).cmd("PTTL").arg(key.as_str());
        let mut answer = self.node.run::<(Option<Vec<u8>>, i64)>(&read).await;
        if matches!(answer, Err(Failed::Broken(_))) {
            // a read is repeated once, on another connection
            answer = self.node.run(&read).await;
        }
        let (bytes, remaining) = answer.map_err(|failed| self.failed(failed))?;
        Ok(bytes.map(|bytes| {
            // no expiry: only a person writes such an entry
            let remaining = u64::try_from(remaining).map_or(Duration::ZERO, Duration::from_millis);
            Entry { bytes, remaining }
        }))
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        let mut set = cmd("SET");
        set.arg(key.as_str()).arg(bytes).arg("NX").arg("GET").arg("PX").arg(millis(life));
        let (before,) = self.run(&one(set)).await?;
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
        // only what changes between these two commands is overwritten
        match self.get(key).await? {
            None => return Ok(Replaced::Missing),
            Some(entry) if entry.bytes != expected => return Ok(Replaced::Changed),
            Some(_) => {}
        }
        let mut set = cmd("SET");
        set.arg(key.as_str()).arg(new).arg("XX").arg("GET").arg("PX").arg(&px);
        let (before,): (Option<Vec<u8>>,) = self.run(&one(set)).await?;
        Ok(match before {
            None => Replaced::Missing,
            Some(before) if before == expected => Replaced::Yes,
            Some(before) => Replaced::Overwrote(before),
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
            let _: Value = self.run(&one(del)).await?;
        }
        Ok(held)
    }

    async fn watch(&self, link: Arc<Link>) {
        let tracking = tracking::run(&self.connector, &self.settings, &self.no_scripting, link);
        let upkeep = async {
            loop {
                tokio::time::sleep(tracking::HEARTBEAT).await;
                self.node.close_idle();
            }
        };
        tokio::join!(tracking, upkeep);
    }

    /// `PING` is refused by the documented ACL line: a read of a key that is nobody's does as well.
    async fn reachable(&self) -> Result<(), StoreError> {
        let mut get = cmd("GET");
        get.arg(PREFIX);
        let _: Value = self.run(&one(get)).await?;
        Ok(())
    }
}
