//! One suite of tests for every store: the behaviour that the agreement of replicas relies on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use elastauth::credentials::{CacheKey, Replaced, Store};
use elastauth::file::{self, FileStore};
use elastauth::identity::Username;
use elastauth::memory::{self, MemoryStore};
use elastauth_support::process::until;

#[path = "stores/redis.rs"]
mod redis;

const LIFE: Duration = Duration::from_secs(100);

fn key(name: &str) -> CacheKey {
    CacheKey::of(&Username::parse(name).unwrap())
}

async fn suite(store: impl Store) {
    store.reachable().await.unwrap();
    what_is_put_is_there_and_the_first_one_wins(&store).await;
    replace_compares(&store).await;
    remove_compares(&store).await;
    lives_end_and_begin_anew(&store).await;
    bytes_are_kept_as_they_are(&store).await;
    of_many_that_put_at_once_one_wins(Arc::new(store)).await;
}

async fn what_is_put_is_there_and_the_first_one_wins(store: &impl Store) {
    let key = key("put");
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert_eq!(store.put_if_absent(&key, b"first", LIFE).await.unwrap(), None);
    let entry = store.get(&key).await.unwrap().unwrap();
    assert_eq!(entry.bytes, b"first");
    assert!(entry.remaining <= LIFE && entry.remaining > LIFE / 2, "{:?}", entry.remaining);
    assert_eq!(store.put_if_absent(&key, b"second", LIFE).await.unwrap().unwrap(), b"first");
    store.touch(&key).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, b"first");
}

async fn replace_compares(store: &impl Store) {
    let key = key("replace");
    assert_eq!(store.replace(&key, b"a", b"b", LIFE).await.unwrap(), Replaced::Missing);
    assert_eq!(store.get(&key).await.unwrap(), None, "a replacement never creates");
    store.put_if_absent(&key, b"a", LIFE).await.unwrap();
    assert_eq!(store.replace(&key, b"a", b"b", LIFE).await.unwrap(), Replaced::Yes);
    assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, b"b");
    assert_eq!(store.replace(&key, b"a", b"c", LIFE).await.unwrap(), Replaced::Changed);
    assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, b"b");
}

async fn remove_compares(store: &impl Store) {
    let key = key("remove");
    assert!(!store.remove(&key, b"a").await.unwrap());
    store.put_if_absent(&key, b"a", LIFE).await.unwrap();
    assert!(!store.remove(&key, b"b").await.unwrap());
    assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, b"a");
    assert!(store.remove(&key, b"a").await.unwrap());
    assert_eq!(store.get(&key).await.unwrap(), None);
}

async fn lives_end_and_begin_anew(store: &impl Store) {
    let (short, long) = (key("short"), key("long"));
    let moment = Duration::from_millis(20);
    store.put_if_absent(&short, b"a", moment).await.unwrap();
    store.put_if_absent(&long, b"a", LIFE / 2).await.unwrap();
    assert_eq!(store.replace(&long, b"a", b"a", LIFE).await.unwrap(), Replaced::Yes);
    assert!(store.get(&long).await.unwrap().unwrap().remaining > LIFE / 2, "a replacement has its own life");
    until("the end of a life", || async { store.get(&short).await.unwrap().is_none() }).await;
    assert_eq!(store.put_if_absent(&short, b"b", LIFE).await.unwrap(), None);
}

async fn bytes_are_kept_as_they_are(store: &impl Store) {
    let key = key("a.name_with-every+kind@of.character");
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    store.put_if_absent(&key, &bytes, LIFE).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, bytes);
    assert_eq!(store.replace(&key, &bytes, b"", LIFE).await.unwrap(), Replaced::Yes);
    assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, b"");
}

async fn of_many_that_put_at_once_one_wins(store: Arc<impl Store>) {
    let tasks: Vec<_> = (0..50_u8)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.put_if_absent(&key("race"), &[n], LIFE).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    let winner = store.get(&key("race")).await.unwrap().unwrap().bytes;
    assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 1, "one made it");
    assert!(answers.iter().flatten().all(|there| *there == winner), "the others learn what it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_rules_of_a_store() {
    suite(MemoryStore::new(memory::Settings { max_entries: 1000 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_the_rules_of_a_store() {
    let folder = tempfile::tempdir().unwrap();
    suite(FileStore::open(&file::Settings { path: folder.path().into() }).unwrap()).await;
}
