//! Holds the open database, and opens it again after a failure: once an operation on its file has failed, redb refuses all
//! others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use redb::Database;

use super::open::{self, Error};

/// The open database; none between a failure and the next operation.
pub(super) struct Slot {
    path: PathBuf,
    database: RwLock<Option<Database>>,
}

impl Slot {
    pub(super) fn open(path: PathBuf) -> Result<Self, Error> {
        let database = RwLock::new(Some(open::database(&path)?));
        Ok(Self { path, database })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs an operation, and opens the database before if a failure closed it. A failure or a panic of redb closes it.
    pub(super) fn run<T>(&self, operation: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, String> {
        self.reopen().map_err(|error| error.to_string())?;
        let outcome = {
            let database = self.database.read();
            let Some(database) = database.as_ref() else {
                return Err(format!("{}: an operation has just failed and closed it", self.path.display()));
            };
            catch_unwind(AssertUnwindSafe(|| operation(database)))
        };
        let why = match outcome {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error.to_string(),
            Err(_panic) => "it cannot be read".into(),
        };
        self.close();
        Err(format!("{}: {why}", self.path.display()))
    }

    fn reopen(&self) -> Result<(), Error> {
        if self.database.read().is_some() {
            return Ok(());
        }
        let mut database = self.database.write();
        if database.is_none() {
            *database = Some(open::database(&self.path)?);
        }
        Ok(())
    }

    /// Closes the database when the operations under way have ended.
    fn close(&self) {
        *self.database.write() = None;
    }
}
