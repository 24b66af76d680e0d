//! Directory over the same API: what an administrator's commands need beside provisioning. Each change makes every node forget
//! every login, as all writes do.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::answers::Written;
use super::{OpenSearch, stamp};
use crate::credentials::{InspectError, RequestContext, WriteError};
use crate::identity::Username;
use crate::roles::Roles;
use crate::users::{Account, Directory, DirectoryError, Stamp};

/// After a conflict with whoever writes users meanwhile.
const PAUSE: Duration = Duration::from_millis(100);
/// What OpenSearch's own mappings and habits make an administrator of.
const ADMINISTRATORS: [&str; 3] = ["admin", "all_access", "security_rest_api_full_access"];

/// What is done to one user.
enum Change<'a> {
    Delete,
    Mark(Option<&'a Stamp>),
}

impl OpenSearch {
    fn entry(&self, name: &str, user: &Value) -> Account {
        let roles = ["backend_roles", "opendistro_security_roles"].map(|field| user[field].as_array());
        let roles = Roles::new(roles.into_iter().flatten().flatten().filter_map(Value::as_str));
        let stamp = stamp::read(user);
        let own = Username::parse(name).is_ok_and(|name| self.reserved(&name));
        // what can be seen of a superuser here: who is not ours yet must not be handed over
        let administrator = stamp.is_none() && ADMINISTRATORS.iter().any(|role| roles.contains(role));
        Account {
            name: name.to_owned(),
            enabled: true,
            reserved: own || administrator || stamp::is_reserved(user),
            roles,
            // it knew no OpenSearch
            of_go_service: false,
            stamp,
        }
    }

    async fn one(&self, name: &Username) -> Result<Option<Value>, DirectoryError> {
        match self.writer.api.user(name, &RequestContext::default(), self.settings.timeout).await {
            Ok(user) => Ok(user),
            Err(InspectError::Refused(refused)) => Err(DirectoryError(refused.to_string())),
            Err(InspectError::Unavailable(why)) => Err(DirectoryError(why)),
        }
    }

    /// Until no other write comes between; each time of the user as it stands then.
    async fn change(&self, name: &Username, change: &Change<'_>) -> Result<(), DirectoryError> {
        if self.settings.dry_run {
            return Err(DirectoryError("elasticsearch.dry_run is on".into()));
        }
        let ends = Instant::now() + self.settings.write_timeout;
        loop {
            match self.attempt(name, change, ends).await? {
                Written::Applied => return Ok(()),
                Written::Conflict(_) if Instant::now() + PAUSE < ends => tokio::time::sleep(PAUSE).await,
                Written::Conflict(why) => return Err(DirectoryError(why)),
                Written::Refused(WriteError::Missing) if matches!(change, Change::Delete) => return Ok(()),
                Written::Refused(error) | Written::Failed(error) => return Err(DirectoryError(error.to_string())),
            }
        }
    }

    /// Of a user who is marked only `attributes` are written, and what is not ours in them stays.
    async fn attempt(&self, name: &Username, change: &Change<'_>, ends: Instant) -> Result<Written, DirectoryError> {
        let api = &self.writer.api;
        let left = || ends.saturating_duration_since(Instant::now());
        match change {
            Change::Delete => Ok(api.change(Method::DELETE, Some(name), None, left()).await),
            Change::Mark(stamp) => {
                let user = self.one(name).await?.ok_or_else(|| DirectoryError("gone meanwhile".into()))?;
                let mut attributes: Map<String, Value> = user["attributes"].as_object().cloned().unwrap_or_default();
                attributes.extend(stamp::marks(*stamp));
                let at = format!("/{name}/attributes");
                let body = json!([{ "op": "replace", "path": at, "value": attributes }]);
                Ok(api.change(Method::PATCH, None, Some(&body), left()).await)
            }
        }
    }
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
}
