//! Opens the database file, or makes it, and refuses files that elastauth did not make.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadableDatabase, ReadableTable as _, StorageError, TableDefinition};
use redb::{TableHandle as _, WriteTransaction, backends::FileBackend};

/// By key: the end of the record's life, in milliseconds since the Unix epoch, and its sealed bytes. The number at the end of the
/// name is the version of the format.
pub(super) const RECORDS: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("elastauth-records-1");
/// The size of redb's own cache. Records have half a kilobyte each, and most reads are answered by the near cache before.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
const NAME: &str = "elastauth.redb";
/// A single counter, for [`probe`].
const PROBE: TableDefinition<(), u64> = TableDefinition::new("elastauth-probe");

/// Why the file is not used. It was not changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has it.
    #[error(
        "{0} is in use by another process: a file cache is for one at a time; stop that one first, or, for several replicas, use \
         cache.type: redis"
    )]
    InUse(PathBuf),
    /// The file was not made by elastauth.
    #[error("{0} is not a cache of elastauth; it was left as it is: move it away, or set cache.path to another place")]
    Foreign(PathBuf),
    /// A file cache with bytes that elastauth did not write.
    #[error(
        "{0} is damaged ({1}); it was left as it is: move it away and start again, and each user gets a new password at \
         the next request"
    )]
    Damaged(PathBuf, String),
    /// An error of the file system.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// The file that a configured path means: in a folder it is `elastauth.redb`. A path that does not exist yet is a folder
/// unless it has an extension, since the Go service's `cache.path` named a folder.
pub(super) fn file(path: &Path) -> PathBuf {
    let is_file = if path.exists() { !path.is_dir() } else { path.extension().is_some() };
    if is_file { path.to_owned() } else { path.join(NAME) }
}

/// Opens the database, or makes it.
pub(super) fn database(path: &Path) -> Result<Database, Error> {
    if path.exists() {
        return existing(path);
    }
    let io = |error| Error::Io(path.into(), error);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    }
    // made under another name and linked when complete: a process killed here must not leave half a database
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let made = create(&draft).and_then(|()| fs::hard_link(&draft, path).map_err(io));
    let removed = fs::remove_file(&draft);
    match made {
        // another process has made it meanwhile
        Err(Error::Io(_, error)) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => {
            other?;
            removed.map_err(io)?;
        }
    }
    existing(path)
}

fn create(draft: &Path) -> Result<(), Error> {
    let io = |error| Error::Io(draft.into(), error);
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(draft).map_err(io)?;
    let made = || -> Result<(), redb::Error> {
        let database = Builder::new().create_with_backend(FileBackend::new(file)?)?;
        let transaction = begin(&database)?;
        transaction.open_table(RECORDS)?;
        transaction.commit()?;
        database.close()?;
        Ok(())
    };
    made().map_err(|error| io(io::Error::other(error)))
}

/// Opens a file that exists. A first look without writing finds out whether elastauth made it; then redb checks every page.
/// redb may panic on bytes that it did not write.
fn existing(path: &Path) -> Result<Database, Error> {
    let looked = std::panic::catch_unwind(|| ours(&Builder::new().set_cache_size(CACHE_BYTES).open_read_only(path)?));
    if let Ok(Ok(false)) = looked {
        return Err(Error::Foreign(path.into()));
    }
    let opened = std::panic::catch_unwind(|| {
        Builder::new().set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true).open(path)
    });
    let damaged = |why: String| Error::Damaged(path.into(), why);
    let database =
        opened.map_err(|_panic| damaged("it cannot be read".into()))?.map_err(|error| refused(path, error))?;
    let ours = ours(&database).map_err(|error| damaged(error.to_string()))?;
    if !ours {
        return Err(Error::Foreign(path.into()));
    }
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|error| Error::Io(path.into(), error))?;
    Ok(database)
}

fn refused(path: &Path, error: DatabaseError) -> Error {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::InUse(path),
        // redb's error for a file without its signature
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Error::Foreign(path)
        }
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Error::Io(path, error)
        }
        other => Error::Damaged(path, other.to_string()),
    }
}

/// Whether elastauth made this database: those of other programs have other tables.
fn ours(database: &impl ReadableDatabase) -> Result<bool, redb::Error> {
    let transaction = database.begin_read()?;
    let mut tables = transaction.list_tables()?;
    Ok(tables.any(|table| table.name() == RECORDS.name()))
}

/// Begins a transaction that is written completely or not at all, however the process ends.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Increments the counter, which has no other purpose than a write.
pub(super) fn probe(database: &Database) -> Result<(), redb::Error> {
    let transaction = begin(database)?;
    let count = transaction.open_table(PROBE)?.get(())?.map_or(0, |count| count.value());
    transaction.open_table(PROBE)?.insert((), count.wrapping_add(1))?;
    transaction.commit()?;
    Ok(())
}
