//! What `elastauth users` does: lists, disables, deletes, releases, adopts and rebinds users, and gives them new passwords. Only
//! users that carry the stamp of this deployment are touched, and others only to adopt them.

use std::collections::HashMap;
use std::future::Future;

use crate::credentials::{Day, Password, SealedCopy};
use crate::identity::{Millis, Username};
use crate::roles::{Roles, Version};

mod act;
mod outcome;
mod pattern;
mod recheck;
mod rotation;
mod run;
mod task;

pub use outcome::{Outcome, Progress, UserResult};
pub use pattern::Pattern;
pub use recheck::SettlingWait;
pub use rotation::Rotation;
pub use run::run;
pub use task::{Action, Selection, SubjectSource, Task};

/// A user as the directory has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name as it is there, also if elastauth would not accept it as a username.
    pub name: String,
    /// Whether the user may log in; an administrator can disable it.
    pub enabled: bool,
    /// Whether it is built in, or is the account that elastauth itself uses.
    pub reserved: bool,
    /// The roles that the user has at present.
    pub roles: Roles,
    /// Whether it looks as the Go service made it: `metadata` holds `groups` and nothing else.
    pub of_go_service: bool,
    /// The stamp, if the user is an elastauth's.
    pub stamp: Option<Stamp>,
    /// The sealed password beside the stamp, if there is one.
    pub copy: Option<SealedCopy>,
}

/// The ownership stamp, which elastauth notes with each of its users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// `cluster` of the configuration of the elastauth that wrote it.
    pub cluster: String,
    /// The issuer that the user belongs to.
    pub issuer: String,
    /// The subject that the user belongs to; none for a user that was handed over without one: the first subject that comes
    /// gets it.
    pub subject: Option<String>,
    /// When the token or the headers were made that the roles come from, in milliseconds since 1970.
    pub as_of: Millis,
    /// The configuration that turned the user's groups into the roles.
    pub mapping: Version,
    /// The last day on which it was written or confirmed.
    pub last_seen: Option<Day>,
    /// The cache of the elastauth that last wrote it: a digest of its name.
    pub store: Option<String>,
}

impl Stamp {
    /// The last day on which the user was seen, as far as that is known.
    #[must_use]
    pub fn day(&self) -> Day {
        self.last_seen.unwrap_or(Day::of(self.as_of))
    }
}

/// That the directory does not answer, or refuses.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct DirectoryError(pub String);

/// The back end that holds the users. Implemented by edges.
pub trait Directory: Send + Sync + 'static {
    /// All users, also those that are not elastauth's.
    fn list(&self) -> impl Future<Output = Result<Vec<Account>, DirectoryError>> + Send;

    /// The user of this name, if there is one.
    fn find(&self, name: &Username) -> impl Future<Output = Result<Option<Account>, DirectoryError>> + Send;

    /// Locks the user out, and keeps it.
    fn disable(&self, name: &Username) -> impl Future<Output = Result<(), DirectoryError>> + Send;

    /// Removes the user. It is no error if there is none.
    fn delete(&self, name: &Username) -> impl Future<Output = Result<(), DirectoryError>> + Send;

    /// Puts a stamp on the user, or takes ours off. Its password, its roles and whether it is enabled stay as they are.
    fn mark(&self, name: &Username, stamp: Option<&Stamp>) -> impl Future<Output = Result<(), DirectoryError>> + Send;

    /// Gives the user this password, and keeps this copy with it, or none. Its roles, its stamp and whether it is enabled stay as
    /// they are. Waits for its turn among the writes of this process. After an error the user may have either password.
    fn renew(
        &self,
        name: &Username,
        password: &Password,
        copy: Option<&SealedCopy>,
    ) -> impl Future<Output = Result<(), DirectoryError>> + Send;
}

/// Reads subjects by username from lines `user,subject`. Empty lines and comments, which begin with `#`, are left out.
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
                    return Err(format!("line {}: {user} is listed twice", number + 1));
                }
            }
            _ => return Err(format!("line {}: not of the form user,subject", number + 1)),
        }
    }
    Ok(subjects)
}

#[cfg(test)]
mod tests;
