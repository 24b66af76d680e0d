//! The outcome of a task for each user, and the progress of a long one.

use std::time::Duration;

/// The outcome for one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserResult {
    /// The name of the user.
    pub user: String,
    /// Whether the action was done, and why if it was not.
    pub outcome: Outcome,
}

/// Whether an action was done with a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The action was done.
    Done,
    /// The action would be done, if this were not a dry run.
    Planned,
    /// The user already is as the action would leave it.
    Unchanged(&'static str),
    /// The action may not be done with this user.
    Refused(String),
    /// The action could not be done, or not in full.
    Failed(String),
}

impl Outcome {
    /// Whether a person has to look at it.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Failed(_))
    }
}

/// Shows a person how far a long run is.
pub trait Progress: Send + Sync {
    /// The action was done with so many users of all.
    fn at(&self, done: usize, all: usize);

    /// The action was done with so many users, which are checked again after this time.
    fn waits(&self, time: Duration, users: usize);

    /// A late write undid the action for so many users, and it is done again.
    fn undone(&self, users: usize);

    /// The wait was interrupted, and the users are not checked again.
    fn interrupted(&self);
}
