//! What happens instead of a write where `elasticsearch.dry_run` is on.

use crate::credentials::{Refused, UserSpec, WriteError};
use crate::users::DirectoryError;

/// Logs the user that would be written, and refuses the write.
pub(crate) fn instead_of_write(user: &UserSpec) -> WriteError {
    tracing::info!(user = user.username.as_str(), roles = %user.roles, "Dry run: the user is not written");
    WriteError::Refused { refused: Refused::DryRun, detail: String::new() }
}

/// Refuses a change that the command `elastauth users` asks for.
pub(crate) fn instead_of_change() -> DirectoryError {
    DirectoryError("elasticsearch.dry_run is on".into())
}
