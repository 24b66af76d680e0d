//! The body of a write: the whole user with its stamp. The password, or its hash, is added where the body is sent.

use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use super::stamp;
use crate::cluster_client::Answer;
use crate::credentials::UserSpec;
use crate::native_user::PasswordField;

/// `roles` and `enabled` are in every body: without `enabled` a disabled user would be enabled as well.
pub(super) fn put(cluster: &str, store: &str, user: &UserSpec) -> Value {
    json!({
        "roles": user.roles.iter().collect::<Vec<_>>(),
        "full_name": user.full_name,
        "email": user.email,
        "metadata": stamp::of(cluster, store, user),
        // the user was read just before: a disabled one is never written
        "enabled": true,
    })
}

/// The body of a write that leaves a user, which was read just before, as it is, but for this metadata.
pub(super) fn unchanged(user: &Value, metadata: Map<String, Value>) -> Value {
    json!({
        "roles": user["roles"],
        "full_name": user["full_name"],
        "email": user["email"],
        "enabled": user["enabled"],
        "metadata": metadata,
    })
}

/// Whether Elasticsearch refused the write because it is set to another hash algorithm or cost than `password` has.
pub(super) fn refuses_hash(answer: &Answer, password: &PasswordField) -> bool {
    password.is_hash()
        && answer.status == StatusCode::BAD_REQUEST
        && answer.reason().to_lowercase().contains("password hash")
}
