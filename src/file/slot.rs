//! Holds the open database, and opens it again after a failure: once an operation on its file has failed, redb refuses all
//! others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::{MappedRwLockReadGuard, RwLock, RwLockReadGuard};
use redb::Database;

use super::open::{self, Error};

/// The open database; none between a failure and the next operation.
pub(super) struct Slot {
    path: PathBuf,
    /// The database, and how often one was opened before.
    database: RwLock<(Option<Database>, u64)>,
}

impl Slot {
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let database = RwLock::new((Some(open::database(&path)?), 0));
        Ok(Self { path, database })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs an operation, and opens the database before if a failure closed it. A failure or a panic of redb closes it.
    pub(super) fn run<T>(&self, operation: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, String> {
        let (outcome, number) = {
            let (database, number) = self.opened().map_err(|error| error.to_string())?;
            (catch_unwind(AssertUnwindSafe(|| operation(&database))), number)
        };
        let why = match outcome {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_panic) => "it cannot be read".into(),
        };
        self.close(number);
        Err(format!("{}: {why}", self.path.display()))
    }

    /// The open database and its number.
    fn opened(&self) -> Result<(MappedRwLockReadGuard<'_, Database>, u64), Error> {
        loop {
            let held = self.database.read();
            let number = held.1;
            if let Ok(database) = RwLockReadGuard::try_map(held, |(database, _)| database.as_ref()) {
                return Ok((database, number));
            }
            let mut held = self.database.write();
            if held.0.is_none() {
                *held = (Some(open::database(&self.path)?), number + 1);
            }
        }
    }

    /// Closes this database when the operations under way have ended, unless it was opened again since.
    fn close(&self, number: u64) {
        let mut held = self.database.write();
        if held.1 == number {
            held.0 = None;
        }
    }
}
