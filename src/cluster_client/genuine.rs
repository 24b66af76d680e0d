//! Decides whether an answer is genuine, that is, the own answer of the system that was asked. A load balancer, an ingress, a
//! login page or a firewall on the way can answer in its place, with any status and any body. Nothing may be concluded from
//! such a foreign answer: not that a user is absent, not that a write was applied or refused, not that a password is wrong.
//! Every answer of both back ends is checked here.

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::answer::Answer;
use super::system::System;

/// What the answer to a call looks like unless it is an error.
#[derive(Clone, Copy, Debug)]
pub enum ExpectedAnswer<'a> {
    /// Any JSON object with a 2xx, which a call expects unless it sets another.
    Object,
    /// The user of this name, or an answer that there is none.
    User(&'a str),
    /// All users, by their names.
    Users,
    /// The account that a credential belongs to.
    Account,
    /// The privileges of the account.
    Privileges,
    /// All roles, by their names.
    Roles,
    /// The confirmation that a user was written.
    Written,
    /// The confirmation that a user was enabled or disabled.
    Switched,
    /// The confirmation that a user was deleted, or did not exist.
    Deleted,
}

impl System {
    /// Whether this is the expected answer, in the form that the system gives it. Errors are not.
    pub(super) fn expects(self, expected: ExpectedAnswer<'_>, answer: &Answer) -> bool {
        let (status, Some(body)) = (answer.status, answer.body().as_object()) else { return false };
        if let ExpectedAnswer::Object = expected {
            return status.is_success();
        }
        match self {
            Self::Elasticsearch => elasticsearch(expected, status, body),
            Self::OpenSearch => opensearch(expected, status, body),
            Self::Either => elasticsearch(expected, status, body) || opensearch(expected, status, body),
        }
    }

    /// Whether this is an error, in a form in which the system reports errors.
    pub(super) fn reports_error(self, answer: &Answer) -> bool {
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

/// As Elasticsearch's `RestGetUsersAction`, `RestPutUserAction` and their neighbours answer. For a user that does not exist
/// this is 404 with `{}`.
fn elasticsearch(expected: ExpectedAnswer<'_>, status: StatusCode, body: &Map<String, Value>) -> bool {
    let user = |user: &Value| user["roles"].is_array() && user["metadata"].is_object() && user["enabled"].is_boolean();
    let is = |key: &str, test: fn(&Value) -> bool| body.get(key).is_some_and(test);
    match (status, expected) {
        (StatusCode::NOT_FOUND, ExpectedAnswer::User(_) | ExpectedAnswer::Users)
        | (StatusCode::OK, ExpectedAnswer::Switched) => body.is_empty(),
        (StatusCode::NOT_FOUND, ExpectedAnswer::Deleted) => body.len() == 1 && is("found", |found| *found == false),
        (StatusCode::OK, ExpectedAnswer::User(name)) => body.len() == 1 && body.get(name).is_some_and(user),
        (StatusCode::OK, ExpectedAnswer::Users) => body.values().all(user),
        (StatusCode::OK, ExpectedAnswer::Account) => is("username", Value::is_string) && is("roles", Value::is_array),
        (StatusCode::OK, ExpectedAnswer::Privileges) => {
            is("has_all_requested", Value::is_boolean) && is("cluster", Value::is_object)
        }
        (StatusCode::OK, ExpectedAnswer::Roles) => body.values().all(Value::is_object),
        (StatusCode::OK, ExpectedAnswer::Written) => is("created", Value::is_boolean),
        (StatusCode::OK, ExpectedAnswer::Deleted) => is("found", Value::is_boolean),
        _ => false,
    }
}

/// As the REST API of OpenSearch's security plugin answers. For a user that does not exist this is an error like others, which
/// has to name the user, as gateways answer `{"status":"NOT_FOUND"}`, too.
fn opensearch(expected: ExpectedAnswer<'_>, status: StatusCode, body: &Map<String, Value>) -> bool {
    let user = |user: &Value| user["attributes"].is_object() || user["reserved"].is_boolean();
    let is = |key: &str, test: fn(&Value) -> bool| body.get(key).is_some_and(test);
    match (status, expected) {
        (StatusCode::OK, ExpectedAnswer::User(name)) => body.len() == 1 && body.get(name).is_some_and(user),
        (StatusCode::OK, ExpectedAnswer::Users) => body.values().all(user),
        (StatusCode::OK, ExpectedAnswer::Account) => is("user_name", Value::is_string),
        (StatusCode::OK, ExpectedAnswer::Privileges) => is("has_api_access", Value::is_boolean),
        (StatusCode::OK, ExpectedAnswer::Roles) => body.values().all(Value::is_object),
        (StatusCode::OK, ExpectedAnswer::Written | ExpectedAnswer::Switched | ExpectedAnswer::Deleted) => {
            is("status", |status| status == "OK") && is("message", Value::is_string)
        }
        (StatusCode::CREATED, ExpectedAnswer::Written) => {
            is("status", |status| status == "CREATED") && is("message", Value::is_string)
        }
        _ => false,
    }
}

/// `{"error":{"type":…,"reason":…},"status":n}`, of both systems. A request that reached no handler gets a text for `error`,
/// in which values are in brackets: `no handler found for uri [/x]`. The brackets tell it from Spring's
/// `{"status":404,"error":"Not Found"}`.
fn exception(status: StatusCode, body: &Value) -> bool {
    let error = &body["error"];
    let same = body["status"] == status.as_u16();
    if let Some(text) = error.as_str() {
        let members = body.as_object().map_or(0, Map::len);
        return text.contains('[') && members == 1 + usize::from(same);
    }
    same && (error["type"].is_string() || error["root_cause"].is_array())
}

/// `{"status":"NOT_FOUND","message":…}` or `{"status":"error","reason":…}`, as OpenSearch's security plugin reports errors.
fn message(status: StatusCode, body: &Value) -> bool {
    let Some(said) = body["status"].as_str() else { return false };
    let named = status.canonical_reason().unwrap_or_default().to_uppercase().replace(' ', "_");
    (said == named && body["message"].is_string()) || (said == "error" && body["reason"].is_string())
}

/// A plain text, with which OpenSearch's security plugin answers before it passes a request on.
fn opensearch_text(status: StatusCode, text: &str) -> bool {
    match status {
        StatusCode::UNAUTHORIZED => matches!(text, "Unauthorized" | "Authentication finally failed"),
        StatusCode::SERVICE_UNAVAILABLE => text.starts_with("OpenSearch Security not initialized"),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
