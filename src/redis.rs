//! The store in Redis 7.0 or later, which all replicas share: one server, a master that Sentinels name, or a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Value, cmd, pipe};

use crate::clock::lifetime_millis;
use crate::credentials::{CacheKey, Entry, Invalidations, MAX_RECORD, Replaced, Store, StoreError};

mod address;
mod breaker;
mod client;
mod cluster;
mod connect;
mod node;
mod pool;
mod rights;
mod scan;
mod scripts;
mod sentinel;
mod server;
mod settings;
mod slots;
mod tls;
mod tracking;

pub use address::Address;
pub use settings::{Account, Mode, Settings};
pub use tls::{Tls, TlsError};

use breaker::Use;
use client::RedisClient;
use connect::ConnectError;
use node::{CommandError, single};
use rights::{PREFIX, Rights};
use scripts::{REMOVE, REPLACE};

/// The answer of Redis shows that this configuration cannot work.
#[derive(Debug, thiserror::Error)]
#[error("Redis {at}: {why}")]
pub struct Error {
    at: String,
    why: String,
}

/// Records in Redis, shared by all replicas.
pub struct RedisStore {
    servers: Arc<RedisClient>,
    /// How long a read for a request waits that can be served otherwise.
    soon: Duration,
    at: String,
    rights: Rights,
    probes: AtomicU64,
}

/// How long start-up waits for an answer of Redis before it goes on without one.
const AT_START: Duration = Duration::from_secs(2);
/// The answer to `PTTL` for a key that does not exist.
const NOT_THERE: i64 = -2;

impl RedisStore {
    /// A store that connects on first use, or by [`RedisStore::try_out`], so that the process starts without Redis.
    pub fn new(settings: Settings) -> Self {
        let at = settings.addresses();
        let (rights, probes) = (Rights::default(), AtomicU64::new(0));
        // a time-out of the command comes first, and shows that the server does not answer
        let soon = settings.command_timeout + Duration::from_millis(50);
        Self { servers: Arc::new(RedisClient::new(settings)), soon, at, rights, probes }
    }

    /// Makes the first connections, so that the first requests need not wait for them, and logs what is wrong. An unreachable
    /// Redis is no error; a user without the right to `select` the configured database is one.
    pub async fn try_out(&self) -> Result<(), Error> {
        match tokio::time::timeout(AT_START, self.servers.warm()).await {
            Ok(Err(error @ ConnectError::Select { .. })) => Err(Error { at: self.at.clone(), why: error.to_string() }),
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ ConnectError::TooOld(_))) => {
                tracing::error!("Redis {}: {error}. Every request will be refused until Redis is upgraded", self.at);
                Ok(())
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "Redis {}: not usable yet; elastauth tries again at the next request", self.at);
                Ok(())
            }
            Err(_) => {
                tracing::warn!("Redis {}: no answer yet; elastauth tries again at the next request", self.at);
                Ok(())
            }
        }
    }

    fn failed(&self, why: impl std::fmt::Display) -> StoreError {
        StoreError::Unavailable(format!("Redis {}: {why}", self.at))
    }

    /// The error of a command that writes. [`StoreError::WriteRefused`] where the server may still answer reads.
    fn not_written(&self, failed: CommandError) -> StoreError {
        let refused = failed.refuses_writes();
        match self.failed(failed) {
            StoreError::Unavailable(why) if refused => StoreError::WriteRefused(why),
            other => other,
        }
    }

    /// Runs one command that writes under one key.
    async fn write<T: redis::FromRedisValue>(&self, key: &CacheKey, command: Cmd) -> Result<T, CommandError> {
        self.servers.run::<(T,)>(Use::Write, key.as_str(), &single(command)).await.map(|(answer,)| answer)
    }

    /// Runs a script about one key; `None` when the server does not permit scripts.
    async fn script(&self, code: &str, key: &CacheKey, args: &[&[u8]]) -> Result<Option<i64>, StoreError> {
        let answer = scripts::run(&self.servers, &self.rights, code, key, args).await;
        answer.map_err(|failed| self.not_written(failed))
    }

    async fn read(&self, what: Use, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        // GETRANGE has a bound, unlike GET. It answers the same for a missing key and for an empty value: PTTL distinguishes them
        let mut read = pipe();
        read.cmd("GETRANGE").arg(key.as_str()).arg(0).arg(MAX_RECORD).cmd("PTTL").arg(key.as_str());
        match self.servers.run::<(Vec<u8>, i64)>(what, key.as_str(), &read).await {
            Ok((_, NOT_THERE)) => Ok(None),
            Ok((bytes, remaining)) => {
                // an entry without expiry was written by hand
                let remaining = u64::try_from(remaining).map_or(Duration::ZERO, Duration::from_millis);
                Ok(Some(Entry { bytes: as_record(bytes), remaining }))
            }
            Err(failed) if failed.is_wrong_type() => Ok(Some(Entry { bytes: Vec::new(), remaining: Duration::ZERO })),
            Err(failed) => Err(self.failed(failed)),
        }
    }

    /// A key that no record has for each master, others at each call; one key where there is one master.
    fn unused_keys(&self) -> Vec<String> {
        let from = self.probes.fetch_add(1, Ordering::Relaxed);
        self.servers.one_each((from..from + TRIES).map(|number| format!("{PREFIX}?{number}")))
    }

    /// Sends a command about a key that does not exist to each master.
    async fn ask_all(&self, what: Use, command: impl Fn(&str) -> Cmd) -> Vec<Result<(), CommandError>> {
        let keys = self.unused_keys();
        join_all(keys.iter().map(|key| {
            let command = single(command(key));
            async move { self.servers.run::<Value>(what, key, &command).await.map(|_nothing| ()) }
        }))
        .await
    }
}

/// How many keys are tried to find one for each master of a cluster.
const TRIES: u64 = 10_000;

/// The bytes of a record; none where there are more than a record can have.
fn as_record(bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() > MAX_RECORD { Vec::new() } else { bytes }
}

impl Store for RedisStore {
    const SYSTEM: Option<&'static str> = Some("redis");

    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        self.read(Use::Read, key).await
    }

    async fn get_soon(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        let read = tokio::time::timeout(self.soon, self.read(Use::Soon, key)).await;
        read.unwrap_or_else(|_| Err(self.failed(format_args!("no answer within {:?}", self.soon))))
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        let mut set = cmd("SET");
        set.arg(key.as_str()).arg(bytes).arg("NX").arg("GET").arg("PX").arg(lifetime_millis(life));
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
        let px = lifetime_millis(life).to_string();
        match self.script(REPLACE, key, &[expected, new, px.as_bytes()]).await? {
            Some(1) => return Ok(Replaced::Yes),
            Some(0) => return Ok(Replaced::Changed),
            Some(_) => return Ok(Replaced::Missing),
            None => {}
        }
        // without scripts, a change between these two commands is overwritten
        match self.get(key).await? {
            None => return Ok(Replaced::Missing),
            Some(entry) if entry.bytes != expected => return Ok(Replaced::Changed),
            Some(_) => {}
        }
        let mut set = cmd("SET");
        set.arg(key.as_str()).arg(new).arg("XX").arg("PX").arg(&px);
        if expected.is_empty() {
            // the option GET would fail for a value of another type, and return all of a long one. A replica with a new record
            // that is overwritten here detects that by its own comparison
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

    async fn touch(&self, key: &CacheKey) -> Result<(), StoreError> {
        let mut touch = cmd("TOUCH");
        touch.arg(key.as_str());
        let answer = self.servers.run::<Value>(Use::Soon, key.as_str(), &single(touch)).await;
        answer.map(|_count| ()).map_err(|failed| self.failed(failed))
    }

    async fn watch(&self, invalidations: Arc<Invalidations>) {
        self.servers.signs.watch(&invalidations);
        tokio::join!(tracking::run(&self.servers, &self.rights, invalidations), self.servers.maintain());
    }

    fn is_asked(&self) -> bool {
        self.servers.all_asked()
    }

    /// Reads a key that does not exist, at each master: the documented ACL line does not permit `PING`. One master that answers is
    /// enough.
    async fn reachable(&self) -> Result<(), StoreError> {
        let get = |key: &str| {
            let mut get = cmd("GET");
            get.arg(key);
            get
        };
        let asked = self.ask_all(Use::Read, get).await;
        if asked.iter().any(Result::is_ok) {
            return Ok(());
        }
        match asked.into_iter().next() {
            Some(Err(failed)) => Err(self.failed(failed)),
            Some(Ok(())) | None => Err(self.failed("no master is known")),
        }
    }

    /// Sends a `SET` with `XX` for a key that does not exist to each master. It changes nothing, but the server checks first whether
    /// it could write: to the checks of memory, persistence and replication it is a write.
    async fn writable(&self) -> Result<(), StoreError> {
        let set = |key: &str| {
            let mut set = cmd("SET");
            set.arg(key).arg("").arg("XX").arg("PX").arg(1);
            set
        };
        let failed = self.ask_all(Use::Write, set).await.into_iter().find_map(Result::err);
        failed.map_or(Ok(()), |failed| Err(self.not_written(failed)))
    }
}
