//! Authenticates the sender of a request.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{ADMIN, Shared};
use crate::secrets;

/// The credential in an `Authorization` header.
pub(super) enum Presented {
    Basic(String, String),
    ApiKey(String),
    Bearer(String),
}

/// The caller that a credential authenticates.
pub(super) struct Principal {
    pub(super) name: String,
    pub(super) roles: Vec<String>,
    pub(super) administrator: bool,
    /// What `_authenticate` answers for it.
    pub(super) shown: Value,
}

impl Presented {
    pub(super) fn is_administrators(&self) -> bool {
        !matches!(self, Self::Basic(name, _) if name != ADMIN.0)
    }
}

/// Basic credentials are split at the first colon.
pub(super) fn presented(headers: &HeaderMap) -> Option<Presented> {
    let (scheme, value) = headers.get("authorization")?.to_str().ok()?.split_once(' ')?;
    let decoded = || String::from_utf8(STANDARD.decode(value).ok()?).ok();
    secrets::keep("what Elasticsearch was shown", value);
    match scheme {
        "Basic" => {
            let pair = decoded()?;
            let (name, password) = pair.split_once(':')?;
            secrets::keep("a password", password);
            Some(Presented::Basic(name.to_owned(), password.to_owned()))
        }
        "ApiKey" => Some(Presented::ApiKey(decoded()?)),
        "Bearer" => Some(Presented::Bearer(value.to_owned())),
        _ => None,
    }
}

/// A disabled user, a wrong password and an index that cannot be read have the same result: no login.
pub(super) fn log_in(shared: &Shared, presented: &Presented) -> Option<Principal> {
    let administrator = shared.administrator.lock().unwrap().clone();
    let kind = match presented {
        Presented::Basic(name, password) if name == ADMIN.0 => (*password == administrator.password).then_some("realm"),
        Presented::ApiKey(key) => (*key == administrator.api_key).then_some("api_key"),
        Presented::Bearer(token) => (*token == administrator.token).then_some("token"),
        Presented::Basic(name, password) => return user(shared, name, password),
    }?;
    let (name, roles) = (ADMIN.0.to_owned(), vec!["superuser".to_owned()]);
    let shown = shown(
        json!({ "username": name, "roles": roles, "full_name": null, "email": null, "metadata": {}, "enabled": true }),
        ("file1", "file"),
        kind,
    );
    Some(Principal { name, roles, administrator: true, shown })
}

fn user(shared: &Shared, name: &str, password: &str) -> Option<Principal> {
    if shared.faults.lock().unwrap().security_index_down {
        return None;
    }
    let user = shared.users.lock().unwrap().all.get(name).cloned()?;
    // the write had a hash in place of the password
    let right = match user.password.strip_prefix('$') {
        Some(_) => bcrypt::verify(password, &user.password).unwrap_or(false),
        None => user.password == password,
    };
    let shown = shown(user.shown(name), ("native1", "native"), "realm");
    (user.enabled && right).then(|| Principal { name: name.to_owned(), roles: user.roles, administrator: false, shown })
}

fn shown(mut user: Value, (name, kind): (&str, &str), how: &str) -> Value {
    let realm = json!({ "name": name, "type": kind });
    user["authentication_realm"] = realm.clone();
    user["lookup_realm"] = realm;
    user["authentication_type"] = how.into();
    user
}
