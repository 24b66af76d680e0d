//! The seam to the store in which replicas agree on records.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::CacheKey;
use super::invalidation::Invalidations;

/// The longest record, in bytes: most have half a kilobyte, and a thousand roles with long names still fit. A longer value was
/// written by another program, and is never read in full.
pub const MAX_RECORD: usize = 256 * 1024;

/// What a store holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sealed record. It is empty for a value that cannot be a record: one of another type, or one longer than
    /// [`MAX_RECORD`]. Compare-and-set and compare-and-delete take the empty bytes for any such value.
    pub bytes: Vec<u8>,
    /// How much longer the store will keep it.
    pub remaining: Duration,
}

/// How a compare-and-set ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Replaced {
    /// The expected bytes were there, and are gone.
    Yes,
    /// These bytes were there instead, and are gone: a store without scripting finds out too late.
    Overwrote(Vec<u8>),
    /// Other bytes were there, and still are.
    Changed,
    /// Nothing was there, and nothing was written.
    Missing,
}

/// Why an operation of a store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store does not answer, or not usefully. The outcome of a write is unknown.
    #[error("{0}")]
    Unavailable(String),
    /// The store answers, and refused to write: nothing was changed, and reads go on.
    #[error("{0}")]
    WriteRefused(String),
}

/// The place at which a listing goes on; only its store understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(pub String);

/// A store that can list its records: for commands, never for a request.
pub trait Keys: Store {
    /// One page of keys, from a cursor or from the beginning, and the cursor of the next one, if there is one. A key may be
    /// listed twice, and one that is written or removed meanwhile may be missed.
    fn keys(
        &self,
        cursor: Option<Cursor>,
    ) -> impl Future<Output = Result<(Vec<CacheKey>, Option<Cursor>), StoreError>> + Send;

    /// All keys, each once and in order. One that is written or removed meanwhile may be missed.
    fn all_keys(&self) -> impl Future<Output = Result<Vec<CacheKey>, StoreError>> + Send {
        async {
            let (mut all, mut cursor) = (Vec::new(), None);
            loop {
                let (keys, next) = self.keys(cursor).await?;
                all.extend(keys);
                if next.is_none() {
                    break;
                }
                cursor = next;
            }
            all.sort_by(|a, b| a.as_str().cmp(b.as_str()));
            all.dedup();
            Ok(all)
        }
    }
}

/// Parts of the process share one store: its connections, and what it knows of its servers.
impl<S: Store> Store for Arc<S> {
    const SYSTEM: Option<&'static str> = S::SYSTEM;

    fn get(&self, key: &CacheKey) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send {
        (**self).get(key)
    }

    fn get_soon(&self, key: &CacheKey) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send {
        (**self).get_soon(key)
    }

    fn put_if_absent(
        &self,
        key: &CacheKey,
        bytes: &[u8],
        life: Duration,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send {
        (**self).put_if_absent(key, bytes, life)
    }

    fn replace(
        &self,
        key: &CacheKey,
        expected: &[u8],
        new: &[u8],
        life: Duration,
    ) -> impl Future<Output = Result<Replaced, StoreError>> + Send {
        (**self).replace(key, expected, new, life)
    }

    fn remove(&self, key: &CacheKey, expected: &[u8]) -> impl Future<Output = Result<bool, StoreError>> + Send {
        (**self).remove(key, expected)
    }

    fn touch(&self, key: &CacheKey) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).touch(key)
    }

    fn watch(&self, invalidations: Arc<Invalidations>) -> impl Future<Output = ()> + Send {
        (**self).watch(invalidations)
    }

    fn is_asked(&self) -> bool {
        (**self).is_asked()
    }

    fn reachable(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).reachable()
    }

    fn writable(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        (**self).writable()
    }
}

/// Holds sealed records, with compare-and-set. It moves opaque bytes and knows no cryptography. Implemented by edges.
pub trait Store: Send + Sync + 'static {
    /// The `db.system.name` of its spans, where it is a server of its own.
    const SYSTEM: Option<&'static str> = None;

    /// Reads a record and its remaining life, in one round trip.
    fn get(&self, key: &CacheKey) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;

    /// The same for a request that can be served otherwise: fails soon where the store may have to be waited for.
    fn get_soon(&self, key: &CacheKey) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send {
        self.get(key)
    }

    /// Writes only if nothing is there; otherwise answers the bytes that are there, and leaves them.
    fn put_if_absent(
        &self,
        key: &CacheKey,
        bytes: &[u8],
        life: Duration,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// Compare-and-set: writes `new` with this life only if exactly `expected` is there.
    fn replace(
        &self,
        key: &CacheKey,
        expected: &[u8],
        new: &[u8],
        life: Duration,
    ) -> impl Future<Output = Result<Replaced, StoreError>> + Send;

    /// Compare-and-delete: `false` when other bytes or none were there.
    fn remove(&self, key: &CacheKey, expected: &[u8]) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Notes that the record is in use, without reading it. The default suits a store that evicts nothing because it was not used
    /// for long.
    fn touch(&self, _key: &CacheKey) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }

    /// Reports every change that others make to records, for as long as the process lives.
    fn watch(&self, invalidations: Arc<Invalidations>) -> impl Future<Output = ()> + Send;

    /// Whether all of the store is asked at present. A server that does not answer is left alone for a while.
    fn is_asked(&self) -> bool {
        true
    }

    /// Whether the store answers reads, or a part of it that has records of its own; for `/ready`.
    fn reachable(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether all of the store takes writes as well; for `/ready`, after [`Store::reachable`]. Asking changes nothing.
    fn writable(&self) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }
}
