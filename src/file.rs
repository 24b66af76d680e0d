//! The store for a single process that keeps records over a restart: an embedded database (redb) in one file.
//!
//! A write returns when it is on the disk, in two phases: if the process is killed in the middle, the record is as it was
//! before. A failure closes the database, and the next operation opens it again, so that a disk that was full for a while
//! needs no restart.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use redb::{Database, ReadableDatabase as _, Table};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::clock::{lifetime_millis, now_millis};
use crate::credentials::{CacheKey, Cursor, Entry, Invalidations, Keys, MAX_RECORD, Replaced, Store, StoreError};

mod open;
mod slot;

pub use open::Error;
use open::RECORDS;
use slot::Slot;

/// The settings of the store in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `cache.path`: a folder, as in the Go service, in which `elastauth.redb` is made; or a file. Default
    /// `/var/cache/elastauth`.
    pub path: PathBuf,
}

impl Settings {
    /// The name of this store in ownership stamps. The host is part of it: the same path on another machine is another store.
    #[must_use]
    pub(crate) fn name(&self, host: &str) -> String {
        format!("file {host}:{}", open::file(&self.path).display())
    }
}

/// The most operations at once. Each takes a thread, and writes wait for one another in any case.
const CONCURRENT: usize = 32;
/// The number of keys in one page of the list for administrators' commands.
const PAGE: usize = 1000;
/// The interval between two purges of expired records.
const PURGE: Duration = Duration::from_secs(5 * 60);

/// How long no further write is tried after one has failed. Each failure closes the database, under the reads that are going on.
const PAUSE: Duration = Duration::from_millis(250);
/// How often a read is tried: a write that fails meanwhile makes it fail, too.
const READS: usize = 4;

/// Records in a file of this machine.
pub struct FileStore {
    slot: Arc<Slot>,
    permits: Arc<Semaphore>,
    /// The last failure of a write, and when it was.
    failed: Mutex<Option<(Instant, StoreError)>>,
}

type Records<'a> = Table<'a, &'static str, (u64, &'static [u8])>;

/// Whether a change wrote anything, and its result.
enum Changed<T> {
    Yes(T),
    No(T),
}

impl FileStore {
    /// Opens the file, or makes it. A file that is not an undamaged database of elastauth is refused and not changed.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        let slot = Arc::new(Slot::open(open::file(&settings.path))?);
        Ok(Self { slot, permits: Arc::new(Semaphore::new(CONCURRENT)), failed: Mutex::default() })
    }

    /// The path of the database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.slot.path()
    }

    /// Runs something on a thread that may block. It runs to its end even when the caller has stopped waiting.
    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Slot) -> Result<T, String> + Send + 'static,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the file cache is closed".into());
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| closed())?;
        let slot = Arc::clone(&self.slot);
        let outcome = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            operation(&slot)
        });
        outcome.await.map_err(|_| closed())?.map_err(StoreError::Unavailable)
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&redb::ReadOnlyTable<&'static str, (u64, &'static [u8])>) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(move |slot| {
            let once = || slot.run(|database| read(&database.begin_read()?.open_table(RECORDS)?));
            (1..READS).fold(once(), |answer, _| answer.or_else(|_| once()))
        })
        .await
    }

    /// Runs an operation that writes, unless one has just failed.
    async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        if let Some((_, why)) = self.failed.lock().as_ref().filter(|(at, _)| at.elapsed() < PAUSE) {
            return Err(why.clone());
        }
        let outcome = self.run(move |slot| slot.run(operation)).await;
        *self.failed.lock() = outcome.as_ref().err().map(|why| (Instant::now(), why.clone()));
        outcome
    }

    /// Runs one transaction; nothing is written when nothing changed.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Records<'_>) -> Result<Changed<T>, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write(move |database| {
            let transaction = open::begin(database)?;
            let changed = change(&mut transaction.open_table(RECORDS)?)?;
            match changed {
                Changed::Yes(answer) => {
                    transaction.commit()?;
                    Ok(answer)
                }
                Changed::No(answer) => {
                    transaction.abort()?;
                    Ok(answer)
                }
            }
        })
        .await
    }

    /// Removes expired records, and returns how many there were.
    async fn purge(&self) -> Result<usize, StoreError> {
        self.change(|records| {
            let now = now_millis();
            let mut gone = 0;
            records.retain(|_, (ends, _)| {
                gone += usize::from(ends <= now);
                ends > now
            })?;
            Ok(if gone == 0 { Changed::No(0) } else { Changed::Yes(gone) })
        })
        .await
    }
}

/// The record under this key, unless it has expired.
fn unexpired(
    records: &impl redb::ReadableTable<&'static str, (u64, &'static [u8])>,
    key: &str,
) -> Result<Option<Entry>, redb::Error> {
    let now = now_millis();
    let found = records.get(key)?;
    Ok(found.and_then(|found| {
        let (ends, bytes) = found.value();
        let remaining = ends.checked_sub(now).filter(|left| *left > 0).map(Duration::from_millis)?;
        let bytes = if bytes.len() > MAX_RECORD { Vec::new() } else { bytes.to_vec() };
        Some(Entry { bytes, remaining })
    }))
}

/// Writes a record. Its end is a time of the wall clock, since the file outlives the process. A clock that is set back makes
/// lives longer, and the agreement then treats the record as restored from a backup.
fn put(records: &mut Records<'_>, key: &str, bytes: &[u8], life: Duration) -> Result<(), redb::Error> {
    let ends = now_millis().saturating_add(lifetime_millis(life));
    records.insert(key, (ends, bytes))?;
    Ok(())
}

impl Store for FileStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        let key = key.clone();
        self.read(move |records| unexpired(records, key.as_str())).await
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        let (key, bytes) = (key.clone(), bytes.to_vec());
        self.change(move |records| {
            if let Some(entry) = unexpired(records, key.as_str())? {
                return Ok(Changed::No(Some(entry.bytes)));
            }
            put(records, key.as_str(), &bytes, life)?;
            Ok(Changed::Yes(None))
        })
        .await
    }

    async fn replace(
        &self,
        key: &CacheKey,
        expected: &[u8],
        new: &[u8],
        life: Duration,
    ) -> Result<Replaced, StoreError> {
        let (key, expected, new) = (key.clone(), expected.to_vec(), new.to_vec());
        self.change(move |records| match unexpired(records, key.as_str())? {
            None => Ok(Changed::No(Replaced::Missing)),
            Some(entry) if entry.bytes != expected => Ok(Changed::No(Replaced::Changed)),
            Some(_) => {
                put(records, key.as_str(), &new, life)?;
                Ok(Changed::Yes(Replaced::Yes))
            }
        })
        .await
    }

    async fn remove(&self, key: &CacheKey, expected: &[u8]) -> Result<bool, StoreError> {
        let (key, expected) = (key.clone(), expected.to_vec());
        self.change(move |records| {
            let same = unexpired(records, key.as_str())?.is_some_and(|entry| entry.bytes == expected);
            if !same {
                return Ok(Changed::No(false));
            }
            records.remove(key.as_str())?;
            Ok(Changed::Yes(true))
        })
        .await
    }

    /// There is nothing to watch, since no other process writes to the file; expired records are removed from time to time.
    async fn watch(&self, invalidations: Arc<Invalidations>) {
        invalidations.begun();
        let mut ticks = tokio::time::interval(PURGE);
        loop {
            ticks.tick().await;
            match self.purge().await {
                Ok(0) => {}
                Ok(gone) => tracing::debug!(gone, "Expired records were removed from the file"),
                Err(error) => tracing::warn!(%error, "Expired records were not removed from the file"),
            }
        }
    }

    async fn reachable(&self) -> Result<(), StoreError> {
        self.read(|_records| Ok(())).await
    }

    /// Writes a counter: only a write shows that the disk is full, and that it has room again.
    async fn writable(&self) -> Result<(), StoreError> {
        self.write(open::probe).await
    }
}

impl Keys for FileStore {
    async fn keys(&self, cursor: Option<Cursor>) -> Result<(Vec<CacheKey>, Option<Cursor>), StoreError> {
        let from = cursor.map_or_else(String::new, |cursor| cursor.0);
        self.read(move |records| {
            let (mut page, now) = (Vec::new(), now_millis());
            for record in records.range::<&str>((Bound::Excluded(from.as_str()), Bound::Unbounded))? {
                let (key, value) = record?;
                let (ends, _) = value.value();
                if ends > now {
                    page.extend(CacheKey::known(key.value()));
                }
                if page.len() == PAGE {
                    return Ok((page, Some(Cursor(key.value().to_owned()))));
                }
            }
            Ok((page, None))
        })
        .await
    }
}

#[cfg(test)]
mod tests;
