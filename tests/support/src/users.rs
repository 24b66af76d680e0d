//! Elasticsearch's native users: what a PUT does, by the rules of `PutUserRequestBuilder` and `NativeUsersStore`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// Built-in users, which cannot be written.
pub const RESERVED: [&str; 7] =
    ["elastic", "kibana", "kibana_system", "logstash_system", "beats_system", "apm_system", "remote_monitoring_user"];

/// One user.
#[derive(Clone)]
pub struct User {
    /// In the clear: this is a stand-in.
    pub password: String,
    /// Role names.
    pub roles: Vec<String>,
    /// Absent is null.
    pub full_name: Value,
    /// Absent is null.
    pub email: Value,
    /// An object.
    pub metadata: Map<String, Value>,
    /// Disabled users cannot log in.
    pub enabled: bool,
}

impl User {
    /// As GET shows it.
    #[must_use]
    pub fn shown(&self, name: &str) -> Value {
        json!({ "username": name, "roles": self.roles, "full_name": self.full_name, "email": self.email,
                "metadata": self.metadata, "enabled": self.enabled })
    }
}

/// One acknowledged or unacknowledged write, in order.
#[derive(Clone)]
pub struct Write {
    /// Whom.
    pub user: String,
    /// With which password; none for a role-only write.
    pub password: Option<String>,
    /// The roles.
    pub roles: Vec<String>,
}

/// All of them.
#[derive(Default)]
pub struct Users {
    /// By name.
    pub all: HashMap<String, User>,
    /// Every write that was applied.
    pub history: Vec<Write>,
}

const FIELDS: [&str; 7] = ["username", "password", "password_hash", "roles", "full_name", "email", "metadata"];

fn illegal(reason: &str) -> Value {
    json!({ "error": { "root_cause": [], "type": "action_request_validation_exception",
                       "reason": format!("Validation Failed: 1: {reason};") }, "status": 400 })
}

fn parse_error(reason: &str) -> Value {
    json!({ "error": { "root_cause": [], "type": "parse_exception", "reason": reason }, "status": 400 })
}

impl Users {
    /// Applies a PUT: `created`, or the body of a 400.
    pub fn put(&mut self, name: &str, body: &Value) -> Result<bool, Value> {
        let body = body.as_object().ok_or_else(|| parse_error("expected an object"))?;
        if let Some(unknown) = body.keys().find(|k| *k != "enabled" && !FIELDS.contains(&k.as_str())) {
            return Err(parse_error(&format!("failed to parse add user request. unexpected field [{unknown}]")));
        }
        let printable = name.bytes().all(|b| (b' '..=b'~').contains(&b)) && name.trim() == name;
        if name.is_empty() || name.len() > 507 || !printable {
            return Err(illegal("names must be printable ASCII"));
        }
        if RESERVED.contains(&name) {
            return Err(illegal(&format!("user [{name}] is reserved and only the password can be changed")));
        }
        let roles = body.get("roles").ok_or_else(|| illegal("roles are missing"))?;
        let roles: Vec<String> = match roles {
            Value::String(text) => text.split(',').map(str::to_owned).collect(),
            Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => return Err(parse_error("roles must be an array")),
        };
        let password = body.get("password");
        if password.is_some() && body.contains_key("password_hash") {
            return Err(illegal("password_hash has already been set"));
        }
        let password = match password {
            Some(Value::String(text)) if text.len() >= 6 => Some(text.clone()),
            Some(Value::String(_)) => return Err(illegal("passwords must be at least [6] characters long")),
            Some(_) => return Err(parse_error("expected field [password] of type string")),
            None => None,
        };
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
            (None, Some(before)) => before.metadata.clone().into_iter().chain(metadata).collect(),
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
