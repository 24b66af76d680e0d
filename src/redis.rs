//! Store over Redis 7.0 or later, through redis-rs and a pool of connections for each server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value, cmd, pipe};

use crate::clock::millis;
use crate::credentials::Invalidations;
use crate::credentials::{CacheKey, Entry, MAX_RECORD, Replaced, Store, StoreError};

mod address;
mod client;
mod cluster;
mod connect;
mod node;
mod pool;
mod rights;
mod scan;
mod scripts;
mod sentinel;
mod settings;
mod slots;
mod tls;
mod tracking;

pub use address::Address;
pub use settings::{Account, Mode, Settings};
pub use tls::{Tls, TlsError};

use client::RedisClient;
use connect::ConnectError;
use node::CommandError;
use rights::Rights;
use scripts::{REMOVE, REPLACE};

/// Redis answers, and its answer is that this configuration can never work.
#[derive(Debug, thiserror::Error)]
#[error("Redis {at}: {why}")]
pub struct Error {
    at: String,
    why: String,
}

/// Records in Redis, shared by all replicas.
pub struct RedisStore {
    servers: RedisClient,
    at: String,
    rights: Rights,
    probes: AtomicU64,
}

/// How long start-up waits for Redis, which it does not need.
const AT_START: Duration = Duration::from_secs(2);
/// What `PTTL` answers for a key that is not there.
const NOT_THERE: i64 = -2;
/// What all keys of ours begin with.
const PREFIX: &str = "elastauth-";

impl RedisStore {
    /// Connects on first use: start-up does not need Redis.
    pub fn new(settings: Settings) -> Self {
        let at = settings.nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (rights, probes) = (Rights::default(), AtomicU64::new(0));
        Self { servers: RedisClient::new(settings), at, rights, probes }
    }

    /// Looks at Redis at start. That it cannot be reached is no error; that the user may not `select` the database is.
    pub async fn try_out(&self) -> Result<(), Error> {
        match tokio::time::timeout(AT_START, self.servers.try_out()).await {
            Ok(Err(error @ ConnectError::Select { .. })) => Err(Error { at: self.at.clone(), why: error.to_string() }),
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ ConnectError::TooOld(_))) => {
                tracing::error!("Redis {}: {error}. With this one nobody can be served", self.at);
                Ok(())
            }
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
        StoreError::Unavailable(format!("Redis {}: {why}", self.at))
    }

    /// Of a command that writes: it may be refused where a read is answered.
    fn not_written(&self, failed: CommandError) -> StoreError {
        let refused = failed.refuses_writes();
        match self.failed(failed) {
            StoreError::Unavailable(why) if refused => StoreError::WriteRefused(why),
            other => other,
        }
    }

    /// A command that writes under one key.
    async fn write<T: redis::FromRedisValue>(&self, key: &CacheKey, command: Cmd) -> Result<T, CommandError> {
        self.servers.run::<(T,)>(key.as_str(), &one(command)).await.map(|(answer,)| answer)
    }

    /// A key that no record has. It is another one each time: in a cluster one node may be lost while the others serve.
    fn unused_key(&self) -> String {
        format!("{PREFIX}?{}", self.probes.fetch_add(1, Ordering::Relaxed))
    }
}

fn one(command: Cmd) -> Pipeline {
    let mut pipeline = pipe();
    pipeline.add_command(command);
    pipeline
}

/// Empty where it is longer than any record.
fn as_record(bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() > MAX_RECORD { Vec::new() } else { bytes }
}

fn px(life: Duration) -> u64 {
    millis(life).max(1)
}

impl Store for RedisStore {
    const SYSTEM: Option<&'static str> = Some("redis");

    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        // unlike GET it has a bound; it answers nothing at all for a key that is not there, and PTTL tells that apart
        let mut read = pipe();
        read.cmd("GETRANGE").arg(key.as_str()).arg(0).arg(MAX_RECORD).cmd("PTTL").arg(key.as_str());
        let mut answer = self.servers.run::<(Vec<u8>, i64)>(key.as_str(), &read).await;
        if matches!(answer, Err(CommandError::Connection(_))) {
            // a read is repeated once, on another connection
            answer = self.servers.run(key.as_str(), &read).await;
        }
        match answer {
            Ok((_, NOT_THERE)) => Ok(None),
            Ok((bytes, remaining)) => {
                // no expiry: only a person writes such an entry
                let remaining = u64::try_from(remaining).map_or(Duration::ZERO, Duration::from_millis);
                Ok(Some(Entry { bytes: as_record(bytes), remaining }))
            }
            Err(failed) if failed.is_wrong_type() => Ok(Some(Entry { bytes: Vec::new(), remaining: Duration::ZERO })),
            Err(failed) => Err(self.failed(failed)),
        }
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        let mut set = cmd("SET");
        set.arg(key.as_str()).arg(bytes).arg("NX").arg("GET").arg("PX").arg(px(life));
        match self.write::<Option<Vec<u8>>>(key, set).await {
            Ok(before) => Ok(before.map(as_record)),
            Err(failed) if failed.is_wrong_type() => Ok(Some(Vec::new())),
            Err(failed) => Err(self.not_written(failed)),
        }
    }

    async fn replace(
        &self,
        key: &CacheKey,
        expected: &[u8],
        new: &[u8],
        life: Duration,
    ) -> Result<Replaced, StoreError> {
        let px = px(life).to_string();
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
        set.arg(key.as_str()).arg(new).arg("XX").arg("PX").arg(&px);
        if expected.is_empty() {
            // GET would refuse another type, and answer all of a long value; a replica whose new record is overwritten here
            // finds that out itself, when it compares
            let set: Option<Value> = self.write(key, set).await.map_err(|failed| self.not_written(failed))?;
            return Ok(set.map_or(Replaced::Missing, |_ok| Replaced::Yes));
        }
        set.arg("GET");
        let before: Option<Vec<u8>> = self.write(key, set).await.map_err(|failed| self.not_written(failed))?;
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
            let _: Value = self.write(key, del).await.map_err(|failed| self.not_written(failed))?;
        }
        Ok(held)
    }

    async fn watch(&self, invalidations: Arc<Invalidations>) {
        tokio::join!(tracking::run(&self.servers, &self.rights, invalidations), self.servers.keep_up());
    }

    /// `PING` is refused by the documented ACL line: a read of a key that is nobody's does as well.
    async fn reachable(&self) -> Result<(), StoreError> {
        let key = self.unused_key();
        let mut get = cmd("GET");
        get.arg(&key);
        let answer = self.servers.run::<Value>(&key, &one(get)).await;
        answer.map(|_nothing| ()).map_err(|failed| self.failed(failed))
    }

    /// With `XX` a `SET` of a key that is not there does nothing, but the server says first whether it would: it counts as a
    /// write that needs memory.
    async fn writable(&self) -> Result<(), StoreError> {
        let key = self.unused_key();
        let mut set = cmd("SET");
        set.arg(&key).arg("").arg("XX").arg("PX").arg(1);
        let answer = self.servers.run::<Value>(&key, &one(set)).await;
        answer.map(|_nothing| ()).map_err(|failed| self.not_written(failed))
    }
}
