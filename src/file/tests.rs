use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::identity::Username;

fn key(name: &str) -> CacheKey {
    CacheKey::of(&Username::parse(name).unwrap())
}

fn folder() -> (TempDir, Settings) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("elastauth");
    (folder, Settings { path })
}

const LIFE: Duration = Duration::from_secs(100);

#[test]
fn a_path_is_a_folder_as_in_the_go_service_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("there.d")).unwrap();
    fs::write(at("plain"), "").unwrap();
    for (path, expected) in [
        ("new", "new/elastauth.redb"),
        ("there.d", "there.d/elastauth.redb"),
        ("cache.redb", "cache.redb"),
        ("plain", "plain"),
    ] {
        assert_eq!(open::file(&at(path)), at(expected), "{path}");
    }
}

#[tokio::test]
async fn records_survive_a_restart_with_what_remains_of_their_life_in_a_file_for_its_owner_only() {
    let (_folder, settings) = folder();
    let store = FileStore::open(&settings).unwrap();
    store.put_if_absent(&key("ann"), b"sealed", LIFE).await.unwrap();
    let path = store.path().to_owned();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    drop(store);
    let entry = FileStore::open(&settings).unwrap().get(&key("ann")).await.unwrap().unwrap();
    assert_eq!(entry.bytes, b"sealed");
    assert!(entry.remaining <= LIFE && entry.remaining > LIFE / 2);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left behind");
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let (_folder, settings) = folder();
    let _store = FileStore::open(&settings).unwrap();
    let error = FileStore::open(&settings).err().unwrap();
    assert!(matches!(error, Error::InUse(_)) && error.to_string().contains("cache.type: redis"), "{error}");
}

#[test]
fn what_elastauth_did_not_make_is_refused_and_left_as_it_is() {
    let (_folder, settings) = folder();
    let path = open::file(&settings.path);
    fs::create_dir(&settings.path).unwrap();
    let other = tempfile::NamedTempFile::new().unwrap();
    let table: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("theirs");
    let database = Database::create(other.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert("k", 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let theirs = fs::read(other.path()).unwrap();
    for (what, bytes) in [("nothing", vec![]), ("zeros", vec![0; 8192]), ("text", b"a: 1\n".to_vec()), ("redb", theirs)]
    {
        fs::write(&path, &bytes).unwrap();
        let error = FileStore::open(&settings).err().unwrap_or_else(|| panic!("{what} was opened"));
        assert!(matches!(error, Error::Foreign(_)), "{what}: {error}");
        assert!(fs::read(&path).unwrap() == bytes, "{what} was changed");
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_its_cure() {
    let (_folder, settings) = folder();
    let store = FileStore::open(&settings).unwrap();
    for n in 0..200 {
        store.put_if_absent(&key(&format!("u{n}")), &[7; 500], LIFE).await.unwrap();
    }
    let path = store.path().to_owned();
    drop(store);
    let sound = fs::read(&path).unwrap();
    let records: Vec<usize> = (0..sound.len() - 64).filter(|at| sound[*at..*at + 64] == [7; 64]).collect();
    let mut refused = 0;
    for at in records.iter().step_by(records.len() / 20) {
        let mut damaged = sound.clone();
        damaged[*at] ^= 0xff;
        fs::write(&path, &damaged).unwrap();
        match FileStore::open(&settings) {
            Err(error @ Error::Damaged(..)) => {
                assert!(error.to_string().contains("move it away"), "{error}");
                assert!(fs::read(&path).unwrap() == damaged, "a damaged file was changed");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
            // a page that no tree refers to any more
            Ok(_) => {}
        }
    }
    assert!(refused > 0, "no page in use was hit");
    for length in [100, 4096, sound.len() / 2] {
        fs::write(&path, &sound[..length]).unwrap();
        let error = FileStore::open(&settings).err().unwrap_or_else(|| panic!("cut to {length} it was opened"));
        assert!(matches!(error, Error::Damaged(..)), "cut to {length}: {error}");
        assert_eq!(fs::read(&path).unwrap().len(), length);
    }
}

#[tokio::test]
async fn what_has_expired_is_purged_and_nothing_else() {
    let (_folder, settings) = folder();
    let store = FileStore::open(&settings).unwrap();
    for n in 0..50 {
        let life = if n % 2 == 0 { Duration::from_millis(1) } else { LIFE };
        store.put_if_absent(&key(&format!("u{n}")), b"x", life).await.unwrap();
    }
    let mut gone = 0;
    while gone < 25 {
        gone += store.purge().await.unwrap();
    }
    assert_eq!(store.purge().await.unwrap(), 0);
    let left = store.read(|records| Ok(redb::ReadableTableMetadata::len(records)?)).await.unwrap();
    assert_eq!((gone, left), (25, 25));
}

#[tokio::test(start_paused = true)]
async fn a_database_that_failed_is_opened_again_and_has_what_it_had() {
    let (_folder, settings) = folder();
    let store = FileStore::open(&settings).unwrap();
    store.put_if_absent(&key("ann"), b"a", LIFE).await.unwrap();
    for panics in [false, true] {
        let failed = store.change::<()>(move |records| {
            put(records, key("ann").as_str(), b"lost", LIFE)?;
            assert!(!panics, "as redb may over bytes that it did not write");
            Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into())
        });
        assert!(failed.await.is_err());
        assert_eq!(store.get(&key("ann")).await.unwrap().unwrap().bytes, b"a");
        assert!(store.replace(&key("ann"), b"a", b"a", LIFE).await.is_err(), "a write has just failed");
        tokio::time::sleep(PAUSE).await;
        assert_eq!(store.replace(&key("ann"), b"a", b"a", LIFE).await.unwrap(), Replaced::Yes);
    }
    store.reachable().await.unwrap();
}

#[tokio::test]
async fn what_is_longer_than_any_record_is_read_as_empty_bytes_and_exchanged_as_such() {
    let (_folder, settings) = folder();
    let store = FileStore::open(&settings).unwrap();
    store.put_if_absent(&key("ann"), &vec![b'x'; MAX_RECORD + 1], LIFE).await.unwrap();
    assert_eq!(store.get(&key("ann")).await.unwrap().unwrap().bytes, b"");
    assert_eq!(store.replace(&key("ann"), b"a", b"b", LIFE).await.unwrap(), Replaced::Changed);
    assert_eq!(store.replace(&key("ann"), b"", b"b", LIFE).await.unwrap(), Replaced::Yes);
    assert_eq!(store.get(&key("ann")).await.unwrap().unwrap().bytes, b"b");
}
