//! Removes the records that no configured key opens: those of a key that is no longer used, and what another program left there.
//! On demand it also removes those of another cluster, which are of no use after a migration.

use super::record::Written;
use super::seal::{OpenError, Seal};
use super::{Belongs, CacheKey, Cluster, Keys, StoreError};

/// The records of a store, by whether they open.
#[derive(Debug)]
pub struct Found {
    /// How many records open.
    pub sound: usize,
    /// The records that do not open, or are of another cluster.
    pub unreadable: Vec<Unreadable>,
}

/// A record that is of no use.
#[derive(Debug)]
pub struct Unreadable {
    /// The name of the record in the store.
    pub key: CacheKey,
    /// Why the record is of no use.
    pub why: Why,
    bytes: Vec<u8>,
}

/// Why a record is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No configured key opens it.
    #[error("{0}")]
    Sealed(#[from] OpenError),
    /// It is of a user of another cluster.
    #[error("the record belongs to another cluster")]
    OtherCluster,
}

/// Reads every record. A record that is created or removed meanwhile may be missed. Those of other clusters than `only`, if one
/// is given, count as records that do not open.
pub async fn find<S: Keys>(store: &S, seal: &Seal, only: Option<&Cluster>) -> Result<Found, StoreError> {
    let elsewhere = |plain: &[u8]| {
        let written = only.zip(Written::decode(plain).ok());
        written.is_some_and(|(only, written)| only.relation(&written.cluster) != Belongs::Here)
    };
    let mut found = Found { sound: 0, unreadable: Vec::new() };
    for key in store.all_keys().await? {
        // removed meanwhile
        let Some(entry) = store.get(&key).await? else { continue };
        match seal.open(&key, &entry.bytes) {
            Ok(plain) if elsewhere(&plain) => {
                found.unreadable.push(Unreadable { key, why: Why::OtherCluster, bytes: entry.bytes });
            }
            Ok(_plain) => found.sound += 1,
            Err(why) => found.unreadable.push(Unreadable { key, why: why.into(), bytes: entry.bytes }),
        }
    }
    Ok(found)
}

/// Removes the records that were found, unless they have changed since; answers how many were removed.
pub async fn remove<S: Keys>(store: &S, unreadable: &[Unreadable]) -> Result<usize, StoreError> {
    let mut gone = 0;
    for record in unreadable {
        gone += usize::from(store.remove(&record.key, &record.bytes).await?);
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::credentials::Store as _;
    use crate::credentials::seal::{self, Key};
    use crate::file::{self, FileStore};
    use crate::identity::Username;

    fn seal(key: u8) -> Seal {
        let key = Key::Given(Box::new([key; 32]).into());
        Seal::new(&seal::Settings { key, previous: Vec::new(), cluster: "c".into() }).unwrap()
    }

    #[tokio::test]
    async fn what_no_key_opens_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(&file::Settings { path: folder.path().into() }).unwrap();
        let key = |n: usize| CacheKey::of(&Username::parse(&format!("u{n}")).unwrap());
        let (ours, given_up) = (seal(1), seal(2));
        // more than one page
        for n in 0..2500 {
            let bytes = match n % 5 {
                0 => given_up.seal(&key(n), b"x").unwrap(),
                1 => b"4fa20e, as the Go service wrote".to_vec(),
                _ => ours.seal(&key(n), b"x").unwrap(),
            };
            store.put_if_absent(&key(n), &bytes, Duration::from_secs(100)).await.unwrap();
        }
        let found = find(&store, &ours, None).await.unwrap();
        assert_eq!((found.sound, found.unreadable.len()), (1500, 1000));
        // one record changes between the search and the removal
        let changed = &found.unreadable[0];
        let sound = ours.seal(&changed.key, b"y").unwrap();
        store.replace(&changed.key, &changed.bytes, &sound, Duration::from_secs(100)).await.unwrap();
        assert_eq!(remove(&store, &found.unreadable).await.unwrap(), 999);
        let found = find(&store, &ours, None).await.unwrap();
        assert_eq!((found.sound, found.unreadable.len()), (1501, 0));
    }
}
