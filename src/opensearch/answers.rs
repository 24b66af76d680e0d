//! What OpenSearch's answers mean; what something else answers in its place does not come here. Errors come in four shapes,
//! `{"status","message"}`, `{"status":"error","reason"}`, `{"error":…}` and plain text, so they are read by their status first;
//! [`Answer::reason`] finds the text in all of them.

use reqwest::StatusCode;

use crate::cluster_client::{Answer, NoResponse};
use crate::credentials::{Refused, WriteError};
use crate::identity::Username;

/// What became of a write.
#[derive(Debug, Clone)]
pub(super) enum Written {
    /// 200 or 201, alike: two writers at once can both get 201.
    Applied,
    /// Another write of any user came between: all users are one document.
    Conflict(String),
    /// OpenSearch says no to something in it, or fails on it. What it was part of is not applied.
    Refused(WriteError),
    /// Nothing that has to do with what was written.
    Failed(WriteError),
}

/// Reads the answer to a PUT of this one user, or to a PATCH of several.
pub(super) fn of_a_write(sent: Result<Answer, NoResponse>, one: Option<&Username>) -> Written {
    let answer = match sent {
        Ok(answer) => answer,
        Err(NoResponse { why, sent: false }) => return Written::Failed(WriteError::Unavailable(why)),
        Err(NoResponse { why, sent: true }) => return Written::Failed(WriteError::Unknown(why)),
    };
    let (reason, described) = (answer.reason(), answer.describe());
    let refused = |refused| Written::Refused(WriteError::Refused { refused, detail: described.clone() });
    let read = match answer.status {
        status if status.is_success() => Written::Applied,
        StatusCode::CONFLICT => Written::Conflict(described),
        // before security#538 was mended
        StatusCode::INTERNAL_SERVER_ERROR if reason.contains("version conflict") => Written::Conflict(described),
        // where OpenSearch is not, or not with its security plugin
        StatusCode::BAD_REQUEST if reason.contains("no handler found") => {
            Written::Failed(WriteError::Unavailable(described))
        }
        // a PUT without a password, and a PATCH of a part, of a user who is not there
        StatusCode::BAD_REQUEST if reason.contains("Please specify") || reason.starts_with("Missing field") => {
            Written::Refused(WriteError::Missing)
        }
        StatusCode::BAD_REQUEST => refused(Refused::Rejected),
        // reserved and hidden users, but also reserved, hidden and unknown roles
        StatusCode::FORBIDDEN if reason.ends_with(" is reserved.") => refused(user_or_role(&reason, one)),
        StatusCode::NOT_FOUND if reason.ends_with(" is not available.") => refused(user_or_role(&reason, one)),
        StatusCode::NOT_FOUND if reason.starts_with("role ") => refused(Refused::Rejected),
        // a DELETE of nobody
        StatusCode::NOT_FOUND if reason.starts_with("user ") => Written::Refused(WriteError::Missing),
        StatusCode::INTERNAL_SERVER_ERROR => Written::Refused(WriteError::Unknown(described)),
        status if status.is_server_error() => Written::Failed(WriteError::Unknown(described)),
        // the administrator's 401 and 403 are an outage, never the user's fault
        _ => Written::Failed(WriteError::Unavailable(described)),
    };
    match read {
        // the attempt before this one may have been carried out, and may be yet
        Written::Refused(_) | Written::Failed(_) if answer.after_unknown() => {
            Written::Failed(WriteError::Unknown(answer.describe()))
        }
        read => read,
    }
}

/// `user 'x' not found.`, in earlier versions `Resource 'x' not found.`. It must name the user: the answer of a gateway can have
/// all the rest.
pub(super) fn says_absent(answer: &Answer, name: &Username) -> bool {
    let body = answer.body();
    body["status"] == "NOT_FOUND" && body["message"].as_str().is_some_and(|said| said.contains(&format!("'{name}'")))
}

/// `Resource 'x' is …`: of a user, or of a role that the user is to have.
fn user_or_role(reason: &str, one: Option<&Username>) -> Refused {
    let named = |user: &Username| reason.starts_with(&format!("Resource '{user}' "));
    if one.is_some_and(named) { Refused::Reserved } else { Refused::Rejected }
}
