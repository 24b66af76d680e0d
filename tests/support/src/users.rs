//! Elasticsearch's native users: what a PUT does, by the rules of `PutUserRequestBuilder` and `NativeUsersStore`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// The names of the built-in users, which cannot be written.
pub const RESERVED: [&str; 7] =
    ["elastic", "kibana", "kibana_system", "logstash_system", "beats_system", "apm_system", "remote_monitoring_user"];

/// A native user, as Elasticsearch keeps it.
#[derive(Clone)]
pub struct User {
    /// The password in the clear, since this is a stand-in.
    pub password: String,
    /// The names of the user's roles.
    pub roles: Vec<String>,
    /// A text, or null when it was not given.
    pub full_name: Value,
    /// A text, or null when it was not given.
    pub email: Value,
    /// The user's `metadata`, which is an object.
    pub metadata: Map<String, Value>,
    /// A user that is not enabled cannot log in.
    pub enabled: bool,
}

impl User {
    /// The user as GET returns it.
    #[must_use]
    pub fn shown(&self, name: &str) -> Value {
        json!({ "username": name, "roles": self.roles, "full_name": self.full_name, "email": self.email,
                "metadata": self.metadata, "enabled": self.enabled })
    }
}

/// One write that was applied, whether it was answered or not.
#[derive(Clone)]
pub struct Write {
    /// The name of the written user.
    pub user: String,
    /// The password that was written; `None` when only the roles were.
    pub password: Option<String>,
    /// The names of the roles that were written.
    pub roles: Vec<String>,
}

/// All users, and what was written.
#[derive(Default)]
pub struct Users {
    /// The users by their names.
    pub all: HashMap<String, User>,
    /// Every write that was applied, in order.
    pub history: Vec<Write>,
}

const FIELDS: [&str; 7] = ["username", "password", "password_hash", "roles", "full_name", "email", "metadata"];

/// Why a request is answered with 400.
pub struct Refused {
    /// The `error.type` of the answer.
    pub kind: &'static str,
    /// The `error.reason` of the answer.
    pub reason: String,
}

fn illegal(reason: &str) -> Refused {
    let reason = format!("Validation Failed: 1: {reason};");
    Refused { kind: "action_request_validation_exception", reason }
}

fn parse_error(reason: &str) -> Refused {
    Refused { kind: "parse_exception", reason: reason.into() }
}

fn argument(reason: &str) -> Refused {
    Refused { kind: "illegal_argument_exception", reason: reason.into() }
}

/// A name is printable ASCII without spaces at either end. `limit` is 507 since 8.x, and was 1024 before.
#[must_use]
pub fn is_valid_name(name: &str, limit: usize) -> bool {
    let printable = name.bytes().all(|b| (b' '..=b'~').contains(&b)) && name.trim() == name;
    !name.is_empty() && name.len() <= limit && printable
}

/// What to store for `password` or `password_hash`, if either is given. The hash has to be of the configured algorithm, which is
/// Elasticsearch's default here: bcrypt with cost 10.
fn secret(body: &Map<String, Value>) -> Result<Option<String>, Refused> {
    match (body.get("password"), body.get("password_hash")) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(argument("password_hash has already been set")),
        (Some(Value::String(text)), None) if text.len() >= 6 => Ok(Some(text.clone())),
        (Some(Value::String(_)), None) => Err(illegal("passwords must be at least [6] characters long")),
        (None, Some(Value::String(hash))) => hash_of_ten_rounds(hash).map(Some),
        (Some(_), None) => Err(parse_error("expected field [password] of type string")),
        (None, Some(_)) => Err(parse_error("expected field [password_hash] of type string")),
    }
}

fn hash_of_ten_rounds(hash: &str) -> Result<String, Refused> {
    let parts: Vec<&str> = hash.split('$').collect();
    match parts.as_slice() {
        ["", "2a" | "2b" | "2y", "10", rest] if rest.len() == 53 => Ok(hash.to_owned()),
        // 7.17 accepts only the configured algorithm; 8.17 accepts any that it knows
        ["", "2a" | "2b" | "2y", cost, rest] if rest.len() == 53 => Err(argument(&format!(
            "Provided password hash uses [BCRYPT{cost}] but the configured hashing algorithm is [BCRYPT]"
        ))),
        _ => Err(argument(
            "The provided password hash is not a hash or it could not be resolved to a supported hash algorithm.",
        )),
    }
}

/// As an update of a document merges (`XContentHelper.update`): objects within objects, too.
fn merged(mut before: Map<String, Value>, changes: Map<String, Value>) -> Map<String, Value> {
    for (key, change) in changes {
        let change = match (before.remove(&key), change) {
            (Some(Value::Object(before)), Value::Object(changes)) => merged(before, changes).into(),
            (_, change) => change,
        };
        before.insert(key, change);
    }
    before
}

impl Users {
    /// Applies a PUT. Returns whether the user was created, or why the PUT is refused.
    pub fn put(&mut self, name: &str, body: &Value) -> Result<bool, Refused> {
        let body = body.as_object().ok_or_else(|| parse_error("expected an object"))?;
        if let Some(unknown) = body.keys().find(|k| *k != "enabled" && !FIELDS.contains(&k.as_str())) {
            return Err(parse_error(&format!("failed to parse add user request. unexpected field [{unknown}]")));
        }
        if !is_valid_name(name, 507) {
            return Err(illegal("names must be printable ASCII"));
        }
        if RESERVED.contains(&name) {
            return Err(argument(&format!("user [{name}] is reserved and only the password can be changed")));
        }
        if body.get("username").is_some_and(|username| username != name) {
            return Err(argument("[username] in source does not match the username provided"));
        }
        let roles = body.get("roles").ok_or_else(|| illegal("roles are missing"))?;
        let roles: Vec<String> = match roles {
            Value::String(text) => text.split(',').map(str::to_owned).collect(),
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => return Err(parse_error("could not parse [roles] field. expected a string array")),
        };
        let has = |key: &str, fits: fn(&Value) -> bool| body.get(key).is_none_or(fits);
        let texts =
            ["full_name", "email"].into_iter().all(|key| has(key, |value| value.is_string() || value.is_null()));
        if !texts || !has("enabled", Value::is_boolean) || !has("metadata", Value::is_object) {
            return Err(parse_error("expected field to be of another type"));
        }
        let password = secret(body)?;
        let metadata = body.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
        if metadata.keys().any(|key| key.starts_with('_')) {
            return Err(illegal("metadata keys may not start with [_]"));
        }
        let before = self.all.get(name);
        let merged = match (&password, before) {
            (None, None) => {
                return Err(illegal("password must be specified unless you are updating an existing user"));
            }
            // an update without a password merges, a write with one replaces the whole document
            (None, Some(before)) => merged(before.metadata.clone(), metadata),
            (Some(_), _) => metadata,
        };
        let user = User {
            password: password.clone().or_else(|| before.map(|user| user.password.clone())).unwrap(),
            roles: roles.clone(),
            full_name: body.get("full_name").cloned().unwrap_or_default(),
            email: body.get("email").cloned().unwrap_or_default(),
            metadata: merged,
            enabled: body.get("enabled").and_then(Value::as_bool).unwrap_or(true),
        };
        self.history.push(Write { user: name.to_owned(), password, roles });
        Ok(self.all.insert(name.to_owned(), user).is_none())
    }
}
