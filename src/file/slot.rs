//! The open database, or none after a failure: redb answers nothing more once its file has failed, until it is opened
//! again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use redb::Database;

use super::open::{self, Error};

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

    /// Opens the database first if it had to be closed. A failure closes it; so does a panic of redb's.
    pub(super) fn run<T>(&self, operation: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, String> {
        self.reopen().map_err(|error| error.to_string())?;
        let outcome = {
            let database = self.database.read();
            let Some(database) = database.as_ref() else {
                return Err(format!("{} has just failed", self.path.display()));
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

    /// Waits for the operations that are under way.
    fn close(&self) {
        *self.database.write() = None;
    }
}
