//! Lists and changes users for the command `elastauth users`, over the same API. After each change, as after all writes,
//! every node forgets all logins.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::outcome::WriteOutcome;
use super::{OpenSearch, stamp};
use crate::credentials::{Password, RequestContext, SealedCopy, WriteError};
use crate::identity::Username;
use crate::native_user::{PasswordField, dry_run};
use crate::roles::Roles;
use crate::users::{Account, Directory, DirectoryError, Stamp};

/// The pause after a conflict with another write.
const PAUSE: Duration = Duration::from_millis(100);
/// Roles that make their holder an administrator by OpenSearch's own mappings, or by habit.
const ADMINISTRATORS: [&str; 3] = ["admin", "all_access", "security_rest_api_full_access"];

/// A change of one user.
enum Change<'a> {
    Delete,
    Mark(Option<&'a Stamp>),
    /// A password, which is hashed already unless OpenSearch does that, and the copy that is kept with the user.
    Renew(&'a PasswordField, Option<&'a SealedCopy>),
}

impl OpenSearch {
    fn entry(&self, name: &str, user: &Value) -> Account {
        let roles = ["backend_roles", "opendistro_security_roles"].map(|field| user[field].as_array());
        let roles = Roles::new(roles.into_iter().flatten().flatten().filter_map(Value::as_str));
        let stamp = stamp::stored(user).read();
        let own = Username::parse(name).is_ok_and(|name| self.reserved(&name));
        // administrators are to be recognised by their roles only; those that are not elastauth's must not be handed over to it
        let administrator = stamp.is_none() && ADMINISTRATORS.iter().any(|role| roles.contains(role));
        Account {
            name: name.to_owned(),
            enabled: true,
            reserved: own || administrator || stamp::is_reserved(user),
            roles,
            // the Go service did not support OpenSearch
            of_go_service: false,
            stamp,
            copy: stamp::stored(user).copy(),
        }
    }

    async fn one(&self, name: &Username) -> Result<Option<Value>, DirectoryError> {
        let user = self.writer.api.user(name, &RequestContext::default(), self.settings.timeout).await;
        user.map_err(|error| DirectoryError(error.to_string()))
    }

    /// Repeats the change until no other write comes between, each time of the user as it is then.
    async fn change(&self, name: &Username, change: &Change<'_>) -> Result<(), DirectoryError> {
        if self.settings.dry_run {
            return Err(dry_run::instead_of_change());
        }
        let ends = Instant::now() + self.settings.write_timeout;
        loop {
            match self.attempt(name, change, ends).await? {
                WriteOutcome::Applied => return Ok(()),
                WriteOutcome::Conflict(_) if Instant::now() + PAUSE < ends => tokio::time::sleep(PAUSE).await,
                WriteOutcome::Conflict(why) => return Err(DirectoryError(why)),
                WriteOutcome::Refused(WriteError::Missing) if matches!(change, Change::Delete) => return Ok(()),
                WriteOutcome::Refused(error) | WriteOutcome::Failed(error) => {
                    return Err(DirectoryError(error.to_string()));
                }
            }
        }
    }

    /// For a mark, only `attributes` are written, and other entries in them stay.
    async fn attempt(
        &self,
        name: &Username,
        change: &Change<'_>,
        ends: Instant,
    ) -> Result<WriteOutcome, DirectoryError> {
        let api = &self.writer.api;
        let left = || ends.saturating_duration_since(Instant::now());
        match change {
            Change::Delete => Ok(api.change(Method::DELETE, Some(name), None, left()).await),
            Change::Mark(stamp) => {
                let mut attributes = self.attributes(name).await?;
                stamp::mark(&mut attributes, *stamp);
                let body = json!([replacement(name, "attributes", attributes.into())]);
                Ok(api.change(Method::PATCH, None, Some(&body), left()).await)
            }
            Change::Renew(password, copy) => {
                let mut attributes = self.attributes(name).await?;
                stamp::put_copy(&mut attributes, *copy);
                let mut fields = Value::Object(Map::new());
                password.put_into(&mut fields, "hash");
                let fields = fields.as_object().cloned().unwrap_or_default();
                let fields = fields.into_iter().chain([("attributes".to_owned(), attributes.into())]);
                let body = fields.map(|(field, value)| replacement(name, &field, value)).collect();
                Ok(api.change(Method::PATCH, None, Some(&body), left()).await)
            }
        }
    }

    async fn attributes(&self, name: &Username) -> Result<Map<String, Value>, DirectoryError> {
        let user = self.one(name).await?.ok_or_else(|| DirectoryError("the user was deleted meanwhile".into()))?;
        Ok(user["attributes"].as_object().cloned().unwrap_or_default())
    }
}

/// An operation of a JSON Patch (RFC 6902): `add` also replaces what is there.
fn replacement(name: &Username, field: &str, value: Value) -> Value {
    json!({ "op": "add", "path": format!("/{name}/{field}"), "value": value })
}

impl Directory for OpenSearch {
    async fn list(&self) -> Result<Vec<Account>, DirectoryError> {
        let users = self.writer.api.users().await.map_err(DirectoryError)?;
        Ok(users.iter().map(|(name, user)| self.entry(name, user)).collect())
    }

    async fn find(&self, name: &Username) -> Result<Option<Account>, DirectoryError> {
        Ok(self.one(name).await?.map(|user| self.entry(name.as_str(), &user)))
    }

    async fn disable(&self, _name: &Username) -> Result<(), DirectoryError> {
        Err(DirectoryError("OpenSearch has no disabled users: use `elastauth users delete`".into()))
    }

    async fn delete(&self, name: &Username) -> Result<(), DirectoryError> {
        self.change(name, &Change::Delete).await
    }

    async fn mark(&self, name: &Username, stamp: Option<&Stamp>) -> Result<(), DirectoryError> {
        self.change(name, &Change::Mark(stamp)).await
    }

    /// Waits for `opensearch_write_interval` first: after each write every node forgets all logins.
    async fn renew(
        &self,
        name: &Username,
        password: &Password,
        copy: Option<&SealedCopy>,
    ) -> Result<(), DirectoryError> {
        tokio::time::sleep(self.settings.write_interval).await;
        let field = self.passwords.field(Some(password)).await;
        let field = field.map_err(|error| DirectoryError(error.to_string()))?;
        self.change(name, &Change::Renew(&field, copy)).await
    }
}
