//! Lists and changes users for the command `elastauth users`, over the same API.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{Elastic, Put, body, stamp};
use crate::cluster_client::{Answer, Call, ExpectedAnswer, LIST_BYTES, LIST_TIMEOUT, NoResponse};
use crate::credentials::{Password, RequestContext, SealedCopy};
use crate::identity::Username;
use crate::native_user::dry_run;
use crate::roles::Roles;
use crate::users::{Account, Directory, DirectoryError, Stamp};

impl Elastic {
    async fn read(&self, call: &Call<'_>, limit: Duration) -> Result<Answer, DirectoryError> {
        self.send(call, limit).await.map_err(|NoResponse { why, .. }| DirectoryError(why))
    }

    async fn change(&self, call: &Call<'_>) -> Result<Answer, DirectoryError> {
        if self.settings.dry_run {
            return Err(dry_run::instead_of_change());
        }
        self.read(call, self.settings.write_timeout).await
    }

    fn entry(&self, name: &str, user: &Value) -> Account {
        let roles = user["roles"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let own = Username::parse(name).is_ok_and(|name| self.reserved(&name));
        Account {
            name: name.to_owned(),
            enabled: user["enabled"] == true,
            reserved: own || user["metadata"]["_reserved"] == true,
            roles: Roles::new(roles),
            of_go_service: of_go_service(&user["metadata"]),
            stamp: stamp::stored(user).read(),
            copy: stamp::stored(user).copy(),
        }
    }

    /// The user and its metadata, straight before it is written.
    async fn present(&self, name: &Username) -> Result<(Value, Map<String, Value>), DirectoryError> {
        let user = self.user(name, &RequestContext::default()).await;
        let user = user.map_err(|error| DirectoryError(error.to_string()))?;
        let user = user.ok_or_else(|| DirectoryError("the user was deleted meanwhile".into()))?;
        let metadata = user["metadata"].as_object().cloned().unwrap_or_default();
        Ok((user, metadata))
    }
}

/// Whether the user is the Go service's, which wrote the groups into `metadata` and nothing else.
fn of_go_service(metadata: &Value) -> bool {
    let Some(metadata) = metadata.as_object() else { return false };
    metadata.len() == 1 && metadata.get("groups").is_some_and(|groups| groups.is_array() || groups.is_null())
}

fn done(answer: &Answer) -> Result<(), DirectoryError> {
    if answer.status.is_success() { Ok(()) } else { Err(DirectoryError(answer.describe())) }
}

impl Directory for Elastic {
    async fn list(&self) -> Result<Vec<Account>, DirectoryError> {
        // learns the account that a key or a token belongs to, which is reserved, too
        self.account().await.map_err(DirectoryError)?;
        let call = Call::get(&["_security", "user"]).at_most(LIST_BYTES).expecting(ExpectedAnswer::Users);
        let answer = self.read(&call, LIST_TIMEOUT).await?;
        // 404 and `{}` where there are none
        if !(answer.status == StatusCode::NOT_FOUND && answer.is_empty()) {
            done(&answer)?;
        }
        let users = answer.body().as_object().into_iter().flatten();
        Ok(users.map(|(name, user)| self.entry(name, user)).collect())
    }

    async fn find(&self, name: &Username) -> Result<Option<Account>, DirectoryError> {
        let user = self.user(name, &RequestContext::default()).await;
        let user = user.map_err(|error| DirectoryError(error.to_string()))?;
        Ok(user.map(|user| self.entry(name.as_str(), &user)))
    }

    async fn disable(&self, name: &Username) -> Result<(), DirectoryError> {
        let call = Call::new(Method::PUT, &["_security", "user", name.as_str(), "_disable"]);
        done(&self.change(&call.expecting(ExpectedAnswer::Switched)).await?)
    }

    async fn delete(&self, name: &Username) -> Result<(), DirectoryError> {
        let call = Call::new(Method::DELETE, &["_security", "user", name.as_str()]);
        let answer = self.change(&call.expecting(ExpectedAnswer::Deleted)).await?;
        let gone_before = answer.status == StatusCode::NOT_FOUND && answer.body()["found"] == false;
        if gone_before { Ok(()) } else { done(&answer) }
    }

    /// Writes the user as it is, without a password. Such a write merges `metadata`, so that other keys in it stay.
    async fn mark(&self, name: &Username, stamp: Option<&Stamp>) -> Result<(), DirectoryError> {
        let (user, mut metadata) = self.present(name).await?;
        stamp::mark(&mut metadata, stamp);
        let body = body::unchanged(&user, metadata);
        let call = Call::new(Method::PUT, &["_security", "user", name.as_str()]);
        let call = call.query(self.settings.refresh.query()).json(&body).expecting(ExpectedAnswer::Written);
        done(&self.change(&call).await?)
    }

    async fn renew(
        &self,
        name: &Username,
        password: &Password,
        copy: Option<&SealedCopy>,
    ) -> Result<(), DirectoryError> {
        if self.settings.dry_run {
            return Err(dry_run::instead_of_change());
        }
        let (user, mut metadata) = self.present(name).await?;
        stamp::put_copy(&mut metadata, copy);
        let (body, context) = (body::unchanged(&user, metadata), RequestContext::default());
        let put = Put { username: name, context: &context, body, ends: Instant::now() + self.settings.write_timeout };
        self.put_with(put, Some(password)).await.map_err(|error| DirectoryError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_user_of_the_go_service_has_groups_for_metadata_and_nothing_else() {
        for (metadata, expected) in [
            (json!({ "groups": ["a"] }), true),
            (json!({ "groups": null }), true),
            (json!({ "groups": "a" }), false),
            (json!({ "groups": [], "team": "x" }), false),
            (json!({}), false),
            (json!(null), false),
        ] {
            assert_eq!(of_go_service(&metadata), expected, "{metadata}");
        }
    }
}
