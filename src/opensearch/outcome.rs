//! Reads the outcome of a write off OpenSearch's answer; foreign answers were sorted out before. Errors come in four forms,
//! `{"status","message"}`, `{"status":"error","reason"}`, `{"error":…}` and plain text, so the status decides first;
//! [`Answer::reason`] finds the text in all of them.

use reqwest::StatusCode;

use crate::cluster_client::{Answer, NoResponse};
use crate::credentials::{Refused, WriteError};
use crate::identity::Username;

/// The outcome of one request that writes.
#[derive(Debug, Clone)]
pub(super) enum WriteOutcome {
    /// After 200 or 201. The two mean the same: two writers at once can both get 201.
    Applied,
    /// Not applied: another write, of any user, came between, as all users are in one document.
    Conflict(String),
    /// OpenSearch refuses something in the request, or fails on it. Nothing in the request is applied.
    Refused(WriteError),
    /// The request failed for a reason that does not depend on what was written.
    Failed(WriteError),
}

/// Reads the answer to a write of this `one` user, or of several.
pub(super) fn write_outcome(sent: Result<Answer, NoResponse>, one: Option<&Username>) -> WriteOutcome {
    let answer = match sent {
        Ok(answer) => answer,
        Err(error) => return WriteOutcome::Failed(error.into()),
    };
    if answer.status.is_success() {
        return WriteOutcome::Applied;
    }
    let (reason, described) = (answer.reason(), answer.describe());
    let refused = |refused| WriteOutcome::Refused(WriteError::Refused { refused, detail: described.clone() });
    let read = match answer.status {
        StatusCode::CONFLICT => WriteOutcome::Conflict(described),
        // from versions before the fix of security#538
        StatusCode::INTERNAL_SERVER_ERROR if reason.contains("version conflict") => WriteOutcome::Conflict(described),
        // there is no OpenSearch, or none with the security plugin
        StatusCode::BAD_REQUEST if reason.contains("no handler found") => {
            WriteOutcome::Failed(WriteError::Unavailable(described))
        }
        // a PUT without a password, or a PATCH of a part, of a user that does not exist
        StatusCode::BAD_REQUEST if reason.contains("Please specify") || reason.starts_with("Missing field") => {
            WriteOutcome::Refused(WriteError::Missing)
        }
        StatusCode::BAD_REQUEST => refused(Refused::Rejected),
        // for reserved and hidden users, but also for reserved, hidden and unknown roles
        StatusCode::FORBIDDEN if reason.ends_with(" is reserved.") => refused(user_or_role(&reason, one)),
        StatusCode::NOT_FOUND if reason.ends_with(" is not available.") => refused(user_or_role(&reason, one)),
        StatusCode::NOT_FOUND if reason.starts_with("role ") => refused(Refused::Rejected),
        // a DELETE of a user that does not exist
        StatusCode::NOT_FOUND if reason.starts_with("user ") => WriteOutcome::Refused(WriteError::Missing),
        StatusCode::INTERNAL_SERVER_ERROR => WriteOutcome::Refused(WriteError::Unknown(described)),
        status if status.is_server_error() => WriteOutcome::Failed(WriteError::Unknown(described)),
        // a 401 or 403 for the administrator is an outage, and never the user's fault
        _ => WriteOutcome::Failed(WriteError::Unavailable(described)),
    };
    match read {
        // the attempt before this one may have had an effect, or may have it yet
        WriteOutcome::Refused(_) | WriteOutcome::Failed(_) if answer.after_unknown() => {
            WriteOutcome::Failed(WriteError::Unknown(answer.describe()))
        }
        read => read,
    }
}

/// Whether the answer is that the user does not exist: `user 'x' not found.`, in earlier versions `Resource 'x' not found.`. It
/// has to name the user, as the answer of a gateway can have all the rest.
pub(super) fn says_absent(answer: &Answer, name: &Username) -> bool {
    let body = answer.body();
    body["status"] == "NOT_FOUND" && body["message"].as_str().is_some_and(|said| said.contains(&format!("'{name}'")))
}

/// `Resource 'x' is …` is about the user, or about one of its roles.
fn user_or_role(reason: &str, one: Option<&Username>) -> Refused {
    let named = |user: &Username| reason.starts_with(&format!("Resource '{user}' "));
    if one.is_some_and(named) { Refused::Reserved } else { Refused::Rejected }
}
