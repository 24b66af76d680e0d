//! The store for a single process that forgets everything at its end: records in memory, bounded in number, with expiry.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::credentials::{CacheKey, Entry, Invalidations, Replaced, Store, StoreError};
use crate::sweep;

/// The settings of the store in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `cache.memory_max_entries`: the most records kept; those that end first are removed for others. Default 100,000.
    pub max_entries: usize,
}

impl Settings {
    /// The name of this store in ownership stamps, another one for each process.
    #[must_use]
    pub fn name(&self, host: &str) -> String {
        format!("memory of {host}, process {}", std::process::id())
    }
}

/// Records in the memory of this process. It is for a single process: two replicas, each with a store of its own, would set
/// different passwords for the same user.
pub struct MemoryStore {
    settings: Settings,
    entries: Entries,
}

type Entries = Arc<Mutex<HashMap<CacheKey, Held>>>;

struct Held {
    bytes: Vec<u8>,
    ends: Instant,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, entries: Entries::default() }
    }

    /// Loses everything.
    #[cfg(test)]
    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }

    /// Runs an operation on the entries, after removing the one under this key if it has expired.
    fn with<T>(&self, key: &CacheKey, run: impl FnOnce(&mut HashMap<CacheKey, Held>) -> T) -> T {
        let mut entries = self.entries.lock();
        if entries.get(key).is_some_and(|held| held.ends <= Instant::now()) {
            entries.remove(key);
        }
        run(&mut entries)
    }

    /// Makes room for one more entry: removes the expired ones, or else the tenth that ends first, so that the search is rare.
    fn make_room(&self, entries: &mut HashMap<CacheKey, Held>) {
        if entries.len() < self.settings.max_entries {
            return;
        }
        let now = Instant::now();
        entries.retain(|_, held| held.ends > now);
        if entries.len() < self.settings.max_entries {
            return;
        }
        let mut ends: Vec<Instant> = entries.values().map(|held| held.ends).collect();
        let tenth = ends.len() / 10;
        let (_, last, _) = ends.select_nth_unstable(tenth);
        let last = *last;
        entries.retain(|_, held| held.ends > last);
    }
}

impl Store for MemoryStore {
    async fn get(&self, key: &CacheKey) -> Result<Option<Entry>, StoreError> {
        Ok(self.with(key, |entries| {
            let held = entries.get(key)?;
            let remaining = held.ends.saturating_duration_since(Instant::now());
            Some(Entry { bytes: held.bytes.clone(), remaining })
        }))
    }

    async fn put_if_absent(&self, key: &CacheKey, bytes: &[u8], life: Duration) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.with(key, |entries| {
            if let Some(held) = entries.get(key) {
                return Some(held.bytes.clone());
            }
            self.make_room(entries);
            entries.insert(key.clone(), Held { bytes: bytes.to_vec(), ends: Instant::now() + life });
            None
        }))
    }

    async fn replace(
        &self,
        key: &CacheKey,
        expected: &[u8],
        new: &[u8],
        life: Duration,
    ) -> Result<Replaced, StoreError> {
        Ok(self.with(key, |entries| match entries.get_mut(key) {
            None => Replaced::Missing,
            Some(held) if held.bytes != expected => Replaced::Changed,
            Some(held) => {
                *held = Held { bytes: new.to_vec(), ends: Instant::now() + life };
                Replaced::Yes
            }
        }))
    }

    async fn remove(&self, key: &CacheKey, expected: &[u8]) -> Result<bool, StoreError> {
        Ok(self.with(key, |entries| {
            let same = entries.get(key).is_some_and(|held| held.bytes == expected);
            same && entries.remove(key).is_some()
        }))
    }

    /// There is nothing to watch, since no other process writes here; expired records are removed from time to time.
    async fn watch(&self, invalidations: Arc<Invalidations>) {
        invalidations.begun();
        let entries = Arc::clone(&self.entries);
        sweep::every_pause(move || {
            let now = Instant::now();
            let mut entries = entries.lock();
            entries.retain(|_, held| held.ends > now);
        })
        .await;
    }

    async fn reachable(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Username;

    #[tokio::test(start_paused = true)]
    async fn expired_records_go_without_being_looked_up() {
        let store = Arc::new(MemoryStore::new(Settings { max_entries: 20 }));
        let key = |name: &str| CacheKey::of(&Username::parse(name).unwrap());
        store.put_if_absent(&key("ann"), b"x", sweep::PAUSE / 2).await.unwrap();
        store.put_if_absent(&key("bob"), b"x", sweep::PAUSE * 10).await.unwrap();
        let watching = store.watch(Arc::default());
        assert!(tokio::time::timeout(sweep::PAUSE * 3 / 2, watching).await.is_err(), "it goes on");
        assert!(store.entries.lock().keys().eq([&key("bob")]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_records_is_bounded_and_the_nearest_to_their_end_go_first() {
        let store = MemoryStore::new(Settings { max_entries: 20 });
        let key = |n: u64| CacheKey::of(&Username::parse(&format!("u{n}")).unwrap());
        for n in 0..100 {
            store.put_if_absent(&key(n), b"x", Duration::from_secs(100 + n)).await.unwrap();
            assert!(store.entries.lock().len() <= 20);
        }
        assert!(store.get(&key(99)).await.unwrap().is_some());
        assert!(store.get(&key(0)).await.unwrap().is_none());
    }
}
