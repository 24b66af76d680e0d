//! Makes caches with a bound on the number of entries and on their bytes.
//!
//! A bound on entries alone does not bound memory, since a caller chooses how long its token and its names are. A bound on bytes
//! alone does not bound the number of entries, which the configuration states.

use std::hash::Hash;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// A value of which a cache knows how much memory it takes.
pub(crate) trait Size {
    /// About how many bytes the value takes, with its place in the cache. It must not change while the value is cached.
    fn size(&self) -> usize;
}

/// The weight of entries: the bytes of the entry, but no less than its share of the cache. So one bound on the total weight
/// bounds both the bytes and the number of entries.
#[derive(Clone, Debug)]
pub(crate) struct Share(u64);

/// The cache that [`bounded`] makes.
pub(crate) type BoundedCache<K, V> = Cache<K, V, Share>;

/// A cache of at most so many entries, which take no more than so many bytes each on average. Where entries are larger it holds
/// fewer of them.
pub(crate) fn bounded<K: Eq + Hash, V: Clone + Size>(entries: usize, bytes_each: usize) -> BoundedCache<K, V> {
    let share = weight(bytes_each);
    Cache::with_weighter(entries, weight(entries).saturating_mul(share), Share(share))
}

impl<K, V: Size> Weighter<K, V> for Share {
    fn weight(&self, _: &K, value: &V) -> u64 {
        weight(value.size()).max(self.0)
    }
}

fn weight(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Bytes(usize);

    impl Size for Bytes {
        fn size(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn a_cache_is_bounded_in_entries_and_in_bytes() {
        for (size, most) in [(1, 1000), (100, 1000), (1000, 100), (10_000, 10), (200_000, 0)] {
            let cache = bounded(1000, 100);
            for n in 0..5000 {
                cache.insert(n, Bytes(size));
            }
            let (entries, bytes) = (cache.len(), cache.len() * size);
            assert!(entries <= most && bytes <= 100_000, "{entries} entries of {size} bytes");
            assert!(entries >= most / 2, "{entries} entries of {size} bytes, where {most} have room");
        }
    }
}
