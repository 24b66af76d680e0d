//! The body of a write: the whole user, with its stamp and the password or its hash.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::stamp;
use crate::cluster_client::Answer;
use crate::credentials::UserSpec;
use crate::native_user::PasswordField;

/// `roles` and `enabled` are in every body: without `enabled` a disabled user would be enabled as well.
pub(super) fn put(cluster: &str, store: &str, user: &UserSpec, password: &PasswordField) -> Value {
    let mut body = json!({
        "roles": user.roles.iter().collect::<Vec<_>>(),
        "full_name": user.full_name,
        "email": user.email,
        "metadata": stamp::of(cluster, store, user),
        // the user was read just before: a disabled one is never written
        "enabled": true,
    });
    password.put_into(&mut body, "password_hash");
    body
}

/// Whether Elasticsearch refused the write because it is set to another hash algorithm or cost than `password` has.
pub(super) fn refuses_hash(answer: &Answer, password: &PasswordField) -> bool {
    password.is_hash()
        && answer.status == StatusCode::BAD_REQUEST
        && answer.reason().to_lowercase().contains("password hash")
}
