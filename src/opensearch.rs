//! Provisioner over the REST API of OpenSearch's security plugin. Its internal users have no `enabled`. All of them are in one
//! document, which only one writer at a time can change, and after each change every node forgets all logins. So writes
//! are made one after another, and users that wait meanwhile are written together.

use std::sync::Arc;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::cluster_client::{Condition, System};
use crate::credentials::{
    BackendStatus, Cluster, Existing, InspectError, Login, OtherWriter, Password, Provisioner, Refused, RequestContext,
    UserSpec, WriteError,
};
use crate::identity::{Owner, Username};
use crate::native_user::{PasswordField, PasswordHashing, Version, dry_run};
use crate::outbound::Error;

mod account;
mod api;
mod directory;
mod outcome;
mod queue;
mod settings;
mod stamp;
mod writer;

pub use crate::native_user::Hashing;
pub use settings::{RoleField, Settings};

use api::Api;
use queue::{Batching, Queue};
use writer::Writer;

/// A write that has less than this part of `write_timeout` left is not begun.
const LEAST_PART: u32 = 5;

/// Makes internal users on OpenSearch.
pub struct OpenSearch {
    settings: Settings,
    passwords: PasswordHashing,
    writer: Arc<Writer>,
    queue: Arc<Queue>,
    condition: Condition,
}

impl OpenSearch {
    /// Connects on first use.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let passwords = PasswordHashing::new(settings.hashing, Version::TwoY);
        let writer = Arc::new(Writer { api: Api::new(&settings)?, least: settings.write_timeout / LEAST_PART });
        let queue = Queue::new(Batching { max_users: settings.max_batch, interval: settings.write_interval });
        Ok(Self { settings, passwords, writer, queue, condition: Condition::new(System::OpenSearch) })
    }

    /// Whether this is the account that elastauth uses. (That a user is reserved or hidden is in the user itself.)
    fn reserved(&self, username: &Username) -> bool {
        self.settings.connection.is_own_account(username.as_str())
    }

    /// The path and the body of a write of this user, without the password.
    pub(crate) fn preview(&self, user: &UserSpec) -> (String, Value) {
        self.writer.api.preview(user)
    }

    /// What to send of the password. Hashing it must leave enough time for the write, which ends at `ends`.
    async fn password_field(&self, password: Option<&Password>, ends: Instant) -> Result<PasswordField, WriteError> {
        let hashed = timeout_at(ends - self.writer.least, self.passwords.field(password)).await;
        hashed.map_err(|_| WriteError::Unavailable("too many passwords wait to be hashed".into()))?
    }

    async fn submit(
        &self,
        user: &UserSpec,
        password: PasswordField,
        inspected_at: Instant,
        ends: Instant,
    ) -> Result<(), WriteError> {
        let writer = Arc::clone(&self.writer);
        let write = move |jobs| {
            let writer = Arc::clone(&writer);
            async move { writer.write(jobs).await }
        };
        self.queue.submit((user.clone(), password), (inspected_at, ends), write).await
    }

    /// Tries the first hash by a login. Where OpenSearch cannot use it, the user is written again with the password in the
    /// clear. OpenSearch accepts any text for a hash without an error (`plugins.security.password.hashing.algorithm` may name
    /// another algorithm).
    async fn try_hash(&self, user: &UserSpec, password: &Password, ends: Instant) -> Result<(), WriteError> {
        match self.log_in(&user.username, password).await {
            Ok(Login::Accepted { .. }) => self.passwords.accept(),
            Ok(Login::Rejected) => {
                self.submit(user, PasswordField::Plain(password.clone()), Instant::now(), ends).await?;
                let accepted = matches!(self.log_in(&user.username, password).await, Ok(Login::Accepted { .. }));
                if accepted && self.passwords.reject() {
                    tracing::error!(
                        "OpenSearch accepts logins with a password, but not with a bcrypt hash of it: from now on it gets \
                         passwords in the clear and hashes them itself. Set elasticsearch.opensearch_hash to opensearch"
                    );
                }
            }
            // the hash of the next user is tried instead
            Err(error) => tracing::debug!(%error, "It could not be tried whether OpenSearch can use the hash"),
        }
        Ok(())
    }
}

impl Provisioner for OpenSearch {
    async fn inspect(
        &self,
        username: &Username,
        owner: &Owner,
        context: &RequestContext,
    ) -> Result<Existing, InspectError> {
        if self.reserved(username) {
            return Err(Refused::Reserved.into());
        }
        self.writer.api.inspect(username, owner, context, self.settings.timeout).await
    }

    async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        self.writer.api.log_in(username, password).await
    }

    async fn other_writer(&self, username: &Username) -> Result<Option<OtherWriter>, InspectError> {
        self.writer.api.other_writer(username).await
    }

    /// The user was inspected just before; where the write has to wait, it is inspected again.
    async fn write(&self, user: &UserSpec, password: Option<&Password>) -> Result<(), WriteError> {
        if self.settings.dry_run {
            return Err(dry_run::instead_of_write(user));
        }
        let inspected_at = Instant::now();
        let ends = inspected_at + self.settings.write_timeout;
        let field = self.password_field(password, ends).await?;
        let untried = self.passwords.is_untried(&field);
        self.submit(user, field, inspected_at, ends).await?;
        match password.filter(|_| untried) {
            Some(password) => self.try_hash(user, password, ends).await,
            None => Ok(()),
        }
    }
}

impl BackendStatus for OpenSearch {
    fn cluster(&self) -> Cluster {
        self.writer.api.cluster_id.known()
    }

    async fn ask_cluster(&self) -> Cluster {
        let api = &self.writer.api;
        api.cluster_id.ask(&api.administrator, self.settings.timeout).await
    }

    async fn rebuilt(&self) {
        self.writer.api.cluster_id.rebuilt().await;
    }

    async fn watch(&self) {
        self.watch_account().await;
    }

    fn condition(&self) -> Result<(), String> {
        self.condition.get()
    }

    async fn examine(&self) -> Result<Vec<String>, String> {
        self.account().await?;
        let api = &self.writer.api;
        api.cluster_id.read(&api.administrator, self.settings.timeout).await;
        Ok(api.cluster_id.remark().into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
