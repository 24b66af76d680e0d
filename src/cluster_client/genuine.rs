//! Whether an answer is the system's own that was asked. A load balancer, an ingress, a login page or a firewall on the way
//! can answer in its place, with any status and any body; nothing may be concluded from that: not that a user is absent,
//! not that a write was applied or refused, not that a password is wrong. Every call to both back ends passes through here.

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::Answer;

/// Whose answers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    /// Not known yet: either of the two.
    Either,
    /// Elasticsearch, 7.10 or later.
    Elasticsearch,
    /// OpenSearch, 1 or later, with its security plugin.
    OpenSearch,
}

/// What a call is answered with where it is no error.
#[derive(Clone, Copy, Debug)]
pub enum Shape<'a> {
    /// A JSON object with a 2xx. What a call expects unless it says more.
    Object,
    /// The user of this name, or that there is none.
    User(&'a str),
    /// All users by name.
    Users,
    /// Whose the credential is.
    Account,
    /// What the account may do.
    Privileges,
    /// Roles by name.
    Roles,
    /// A user was written.
    Written,
    /// A user was enabled or disabled.
    Switched,
    /// A user was deleted, or was not there.
    Deleted,
}

impl System {
    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Either => "the cluster",
            Self::Elasticsearch => "Elasticsearch",
            Self::OpenSearch => "OpenSearch",
        }
    }

    /// Whether the system answers a call of this shape so, errors left aside.
    pub(super) fn expects(self, shape: Shape<'_>, answer: &Answer) -> bool {
        let (status, Some(body)) = (answer.status, answer.body().as_object()) else { return false };
        if let Shape::Object = shape {
            return status.is_success();
        }
        match self {
            Self::Elasticsearch => elasticsearch(shape, status, body),
            Self::OpenSearch => opensearch(shape, status, body),
            Self::Either => elasticsearch(shape, status, body) || opensearch(shape, status, body),
        }
    }

    /// Whether the system reports errors so.
    pub(super) fn reports(self, answer: &Answer) -> bool {
        let status = answer.status;
        if status.is_success() {
            return false;
        }
        let plain = answer.text().is_some_and(|text| opensearch_text(status, text));
        let body = answer.body();
        match self {
            Self::Elasticsearch => exception(status, body),
            Self::OpenSearch | Self::Either => exception(status, body) || message(status, body) || plain,
        }
    }
}

/// `RestGetUsersAction`, `RestPutUserAction` and their neighbours. With a name that is not there the answer is 404 and `{}`.
fn elasticsearch(shape: Shape<'_>, status: StatusCode, body: &Map<String, Value>) -> bool {
    let user = |user: &Value| user["roles"].is_array() && user["metadata"].is_object() && user["enabled"].is_boolean();
    let is = |key: &str, test: fn(&Value) -> bool| body.get(key).is_some_and(test);
    match (status, shape) {
        (StatusCode::NOT_FOUND, Shape::User(_) | Shape::Users) | (StatusCode::OK, Shape::Switched) => body.is_empty(),
        (StatusCode::NOT_FOUND, Shape::Deleted) => body.len() == 1 && is("found", |found| *found == false),
        (StatusCode::OK, Shape::User(name)) => body.len() == 1 && body.get(name).is_some_and(user),
        (StatusCode::OK, Shape::Users) => body.values().all(user),
        (StatusCode::OK, Shape::Account) => is("username", Value::is_string) && is("roles", Value::is_array),
        (StatusCode::OK, Shape::Privileges) => {
            is("has_all_requested", Value::is_boolean) && is("cluster", Value::is_object)
        }
        (StatusCode::OK, Shape::Roles) => body.values().all(Value::is_object),
        (StatusCode::OK, Shape::Written) => is("created", Value::is_boolean),
        (StatusCode::OK, Shape::Deleted) => is("found", Value::is_boolean),
        _ => false,
    }
}

/// The security plugin's REST API. That a user is absent is an error like others, and must name the user: gateways, too,
/// answer `{"status":"NOT_FOUND"}`.
fn opensearch(shape: Shape<'_>, status: StatusCode, body: &Map<String, Value>) -> bool {
    let user = |user: &Value| user["attributes"].is_object() || user["reserved"].is_boolean();
    let is = |key: &str, test: fn(&Value) -> bool| body.get(key).is_some_and(test);
    match (status, shape) {
        (StatusCode::OK, Shape::User(name)) => body.len() == 1 && body.get(name).is_some_and(user),
        (StatusCode::OK, Shape::Users) => body.values().all(user),
        (StatusCode::OK, Shape::Account) => is("user_name", Value::is_string),
        (StatusCode::OK, Shape::Privileges) => is("has_api_access", Value::is_boolean),
        (StatusCode::OK, Shape::Roles) => body.values().all(Value::is_object),
        (StatusCode::OK, Shape::Written | Shape::Switched | Shape::Deleted) => {
            is("status", |status| status == "OK") && is("message", Value::is_string)
        }
        (StatusCode::CREATED, Shape::Written) => {
            is("status", |status| status == "CREATED") && is("message", Value::is_string)
        }
        _ => false,
    }
}

/// `{"error":{"type":…,"reason":…},"status":n}`, of both systems. What never reached a handler has a bare text for `error`,
/// and values stand in brackets in it: `no handler found for uri [/x]`; Spring's `{"status":404,"error":"Not Found"}` has none.
fn exception(status: StatusCode, body: &Value) -> bool {
    let error = &body["error"];
    let same = body["status"] == status.as_u16();
    if let Some(text) = error.as_str() {
        let members = body.as_object().map_or(0, Map::len);
        return text.contains('[') && members == 1 + usize::from(same);
    }
    same && (error["type"].is_string() || error["root_cause"].is_array())
}

/// `{"status":"NOT_FOUND","message":…}` and `{"status":"error","reason":…}`, of OpenSearch's security plugin.
fn message(status: StatusCode, body: &Value) -> bool {
    let Some(said) = body["status"].as_str() else { return false };
    let named = status.canonical_reason().unwrap_or_default().to_uppercase().replace(' ', "_");
    (said == named && body["message"].is_string()) || (said == "error" && body["reason"].is_string())
}

/// What the security plugin answers before anything of OpenSearch is asked.
fn opensearch_text(status: StatusCode, text: &str) -> bool {
    match status {
        StatusCode::UNAUTHORIZED => matches!(text, "Unauthorized" | "Authentication finally failed"),
        StatusCode::SERVICE_UNAVAILABLE => text.starts_with("OpenSearch Security not initialized"),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
