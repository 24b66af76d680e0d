//! Users as an administrator looks after them: what `elastauth users` does. Only users that carry this cluster's stamp are
//! touched, and others only to hand them over.

use std::collections::HashMap;
use std::future::Future;

use crate::credentials::Day;
use crate::identity::{Millis, Username};
use crate::roles::{Roles, Version};

mod again;
mod pattern;
mod run;
mod task;

pub use again::Settling;
pub use pattern::Pattern;
pub use run::{Line, Outcome, Progress, run};
pub use task::{Action, Selection, Subjects, Task};

/// A user as the directory has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Not every name is one that elastauth would take.
    pub name: String,
    /// Whether an administrator lets it in.
    pub enabled: bool,
    /// Built in, or the account that elastauth itself uses.
    pub reserved: bool,
    /// What it may do.
    pub roles: Roles,
    /// It looks as the Go service made it: `metadata` holds `groups` and nothing else.
    pub of_go_service: bool,
    /// Whose it is, if an elastauth's.
    pub stamp: Option<Stamp>,
}

/// What an elastauth notes about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The `cluster` of its configuration.
    pub cluster: String,
    /// Whose the user is, in part.
    pub issuer: String,
    /// In full; none for a user that was handed over: the first subject of the issuer who comes has it.
    pub subject: Option<String>,
    /// When the roles were true.
    pub as_of: Millis,
    /// The configuration that turned the user's groups into them.
    pub mapping: Version,
    /// The last day on which it was written or confirmed.
    pub last_seen: Option<Day>,
    /// The cache of the elastauth that last wrote it: a digest of its name.
    pub store: Option<String>,
}

impl Stamp {
    /// The last day of which anything is known.
    #[must_use]
    pub fn day(&self) -> Day {
        self.last_seen.unwrap_or(Day::of(self.as_of))
    }
}

/// The directory does not answer, or says no.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct DirectoryError(pub String);

/// Where users are. Implemented by edges.
pub trait Directory: Send + Sync + 'static {
    /// All of them.
    fn list(&self) -> impl Future<Output = Result<Vec<Account>, DirectoryError>> + Send;

    /// One of them.
    fn find(&self, name: &Username) -> impl Future<Output = Result<Option<Account>, DirectoryError>> + Send;

    /// Locks it out, and keeps it.
    fn disable(&self, name: &Username) -> impl Future<Output = Result<(), DirectoryError>> + Send;

    /// Removes it; no error when it is gone already.
    fn delete(&self, name: &Username) -> impl Future<Output = Result<(), DirectoryError>> + Send;

    /// Puts a stamp on it, or takes ours off. Password, roles and whether it is enabled stay.
    fn mark(&self, name: &Username, stamp: Option<&Stamp>) -> impl Future<Output = Result<(), DirectoryError>> + Send;
}

/// Subjects by username, one `user,subject` a line; empty lines and `#` comments are left out.
pub fn subjects(text: &str) -> Result<HashMap<String, String>, String> {
    let mut subjects = HashMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let parts = line.split_once(',').map(|(user, subject)| (user.trim(), subject.trim()));
        match parts {
            Some((user, subject)) if !user.is_empty() && !subject.is_empty() => {
                if subjects.insert(user.to_owned(), subject.to_owned()).is_some() {
                    return Err(format!("line {}: {user} is there twice", number + 1));
                }
            }
            _ => return Err(format!("line {}: not user,subject", number + 1)),
        }
    }
    Ok(subjects)
}

#[cfg(test)]
mod tests;
