//! Store over Redis 7.0 or later, through redis-rs and a pool of connections for each server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, ErrorKind, Pipeline, Script, ServerErrorKind, Value, cmd, pipe};

use crate::credentials::near::Link;
use crate::credentials::{CacheKey, Entry, Replaced, Store, StoreError};

mod address;
mod cluster;
mod connect;
mod node;
mod pool;
mod rights;
mod scan;
mod sentinel;
mod servers;
mod settings;
mod slots;
mod tls;
mod tracking;

pub use address::Address;
pub use settings::{Account, Mode, Settings};
pub use tls::{Tls, TlsError};

use connect::ConnectError;
use node::Failed;
use rights::Rights;
use servers::Servers;

/// Redis answers, and its answer is that this configuration can never work.
#[derive(Debug, thiserror::Error)]
#[error("Redis {at}: {why}")]
pub struct Error {
    at: String,
    why: String,
}

/// Records in Redis, shared by all replicas.
pub struct RedisStore {
    servers: Servers,
    at: String,
    rights: Rights,
    probes: AtomicU64,
}

/// How long start-up waits for Redis, which it does not need.
const AT_START: Duration = Duration::from_secs(2);
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
    pub fn new(settings: Settings) -> Self {
        let at = settings.nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (rights, probes) = (Rights::default(), AtomicU64::new(0));
        Self { servers: Servers::new(settings), at, rights, probes }
    }

    /// Looks at Redis at start. That it cannot be reached is no error; that the user may not `select` the database is.
    pub async fn try_out(&self) -> Result<(), Error> {
        match tokio::time::timeout(AT_START, self.servers.try_out()).await {
            Ok(Err(error @ ConnectError::Select { .. })) => Err(Error { at: self.at.clone(), why: error.to_string() }),
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "Redis {}: it serves nobody yet", self.at);
                Ok(())
            }
            Err(_) => {
                tracing::warn!("Redis {}: no answer yet", self.at);
                Ok(())
            }
        }
    }

    fn failed(&self, why: impl std::fmt::Display) -> StoreError {
        StoreError(format!("Redis {}: {why}", self.at))
    }

    /// Commands about one key, in one round trip.
    async fn run<T: redis::FromRedisValue>(&self, key: &str, commands: &Pipeline) -> Result<T, StoreError> {
        self.servers.run(key, commands).await.map_err(|failed| self.failed(failed))
    }

    /// Runs a one-key script; `None` when the server does not let us.
    async fn script(&self, code: &str, key: &CacheKey, args: &[&[u8]]) -> Result<Option<i64>, StoreError> {
        if !self.rights.scripts() {
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
        let mut answer = self.servers.run::<(i64,)>(key.as_str(), &call("EVALSHA", script.get_hash())).await;
        if let Err(Failed::Refused(error)) = &answer
            && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        {
            answer = self.servers.run(key.as_str(), &call("EVAL", code)).await;
        }
        match answer {
            Ok((answer,)) => Ok(Some(answer)),
            Err(failed) if failed.is_lack_of_permission() => {
                self.rights.without_scripts();
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
    const SYSTEM: Option<&'static str> = Some("redis");

    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        let mut read = pipe();
        read.cmd("GET").arg(key.as_str()).cmd("PTTL").arg(key.as_str());
        let mut answer = self.servers.run::<(Option<Vec<u8>>, i64)>(key.as_str(), &read).await;
        if matches!(answer, Err(Failed::Broken(_))) {
            // a read is repeated once, on another connection
            answer = self.servers.run(key.as_str(), &read).await;
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
        let (before,) = self.run(key.as_str(), &one(set)).await?;
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
        let (before,): (Option<Vec<u8>>,) = self.run(key.as_str(), &one(set)).await?;
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
            let _: Value = self.run(key.as_str(), &one(del)).await?;
        }
        Ok(held)
    }

    async fn watch(&self, link: Arc<Link>) {
        tokio::join!(tracking::run(&self.servers, &self.rights, link), self.servers.keep_up());
    }

    /// `PING` is refused by the documented ACL line: a read of a key that is nobody's does as well. It is another key each
    /// time: in a cluster one node may be lost while the others serve.
    async fn reachable(&self) -> Result<(), StoreError> {
        let key = format!("{PREFIX}?{}", self.probes.fetch_add(1, Ordering::Relaxed));
        let mut get = cmd("GET");
        get.arg(&key);
        let _: Value = self.run(&key, &one(get)).await?;
        Ok(())
    }
}
