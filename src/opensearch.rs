//! Provisioner over OpenSearch's security API. Its users have no `enabled`, all of them are one document that only one
//! writer at a time can change, and every change makes every node forget every login: writes wait for one another, and
//! those that wait go out together.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::cluster_client::account::Scheme;
use crate::cluster_client::{self, Condition};
use crate::credentials::{
    BackendStatus, Cluster, Existing, InspectError, Login, OtherWriter, Password, Provisioner, Refused, RequestContext,
    StoreName, UserSpec, WriteError,
};
use crate::identity::{Owner, Username};
use crate::outbound::Error;

mod answers;
mod api;
mod directory;
mod examine;
mod hashes;
mod queue;
mod stamp;
mod writer;

pub use api::RoleField;

use api::{Api, Secret};
use hashes::Hashes;
use queue::{Pace, Queue};
use writer::Writer;

/// `elasticsearch.*`, and `elasticsearch.opensearch_*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where, and as whom.
    pub nodes: cluster_client::Settings,
    /// Time-out of a read. Default 2 s.
    pub timeout: Duration,
    /// Time-out of a write, waiting for its turn included. Default 5 s.
    pub write_timeout: Duration,
    /// Decides and logs, writes nothing, denies.
    pub dry_run: bool,
    /// Names the deployment in the ownership stamp.
    pub cluster: String,
    /// Names the store of the records, in the ownership stamp by its mark.
    pub store: StoreName,
    /// Where roles go. Default `backend_roles`.
    pub roles: RoleField,
    /// Who hashes passwords. Default here.
    pub hashing: Hashing,
    /// The least time between the beginnings of two writes; what waits meanwhile goes out together. Default 500 ms.
    pub write_interval: Duration,
    /// Users in one write. Default 100.
    pub max_batch: usize,
}

/// Who hashes passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashing {
    /// This process, with bcrypt of this cost, on half of these cores.
    Here {
        /// The binary logarithm of the rounds, 4 to 31; OpenSearch takes 12.
        cost: u32,
        /// Of the machine.
        cores: usize,
    },
    /// OpenSearch, one after another.
    There,
}

/// A write that has less than this part of `write_timeout` left is not begun.
const LEAST_PART: u32 = 5;

/// Makes internal users.
pub struct OpenSearch {
    settings: Settings,
    hashes: Hashes,
    writer: Arc<Writer>,
    queue: Arc<Queue>,
    condition: Condition,
}

impl OpenSearch {
    /// Connects on first use.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let hashes = Hashes::new(settings.hashing);
        let writer = Writer { api: Api::new(&settings)?, least: settings.write_timeout / LEAST_PART };
        let pace = Pace { most: settings.max_batch, interval: settings.write_interval };
        let (queue, condition) = (Queue::new(pace), Condition::default());
        Ok(Self { settings, hashes, writer: Arc::new(writer), queue, condition })
    }

    /// The account that this process uses. (Reserved and hidden users say so themselves.)
    fn reserved(&self, username: &Username) -> bool {
        let account = self.settings.nodes.account.as_ref().map(|account| &account.scheme);
        matches!(account, Some(Scheme::Basic { username: own }) if own == username.as_str())
    }

    /// What a write of this user says, but for the password: the path, and the body.
    #[must_use]
    pub fn preview(&self, user: &UserSpec) -> (String, Value) {
        self.writer.api.preview(user)
    }

    async fn submit(&self, user: &UserSpec, secret: Secret, looked: Instant, ends: Instant) -> Result<(), WriteError> {
        let writer = Arc::clone(&self.writer);
        let write = move |jobs| {
            let writer = Arc::clone(&writer);
            async move { writer.write(jobs).await }
        };
        self.queue.submit((user.clone(), secret), (looked, ends), write).await
    }

    /// Tries the first hash on OpenSearch; where it does not work, OpenSearch hashes.
    async fn prove(&self, user: &UserSpec, password: &Password, ends: Instant) -> Result<(), WriteError> {
        match self.log_in(&user.username, password).await {
            Ok(Login::Accepted { .. }) => self.hashes.prove(),
            Ok(Login::Rejected) => {
                self.submit(user, Secret::Password(password.clone()), Instant::now(), ends).await?;
                if let Ok(Login::Accepted { .. }) = self.log_in(&user.username, password).await {
                    self.hashes.refuse();
                }
            }
            // the next user's will show
            Err(error) => tracing::debug!(%error, "The hash was not tried"),
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
        self.writer.api.look(username, owner, context, self.settings.timeout).await
    }

    async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        self.writer.api.log_in(username, password).await
    }

    async fn other_writer(&self, username: &Username) -> Result<Option<OtherWriter>, InspectError> {
        self.writer.api.other_writer(username).await
    }

    /// The look of the same flight came just before; where the write has to wait, it is repeated.
    async fn write(&self, user: &UserSpec, password: Option<&Password>) -> Result<(), WriteError> {
        if self.settings.dry_run {
            tracing::info!(user = user.username.as_str(), roles = %user.roles, "Dry run: the user is not written");
            return Err(WriteError::Refused { refused: Refused::DryRun, detail: String::new() });
        }
        let looked = Instant::now();
        let ends = looked + self.settings.write_timeout;
        let secret = self.hashes.secret(password, ends - self.writer.least).await?;
        let untried = self.hashes.untried(&secret);
        self.submit(user, secret, looked, ends).await?;
        match password.filter(|_| untried) {
            Some(password) => self.prove(user, password, ends).await,
            None => Ok(()),
        }
    }
}

impl BackendStatus for OpenSearch {
    fn cluster(&self) -> Cluster {
        self.writer.api.cluster_id.known()
    }

    async fn ask_cluster(&self) -> Cluster {
        self.writer.api.ask_cluster().await
    }

    async fn rebuilt(&self) {
        self.writer.api.cluster_id.rebuilt().await;
    }

    async fn watch(&self) {
        self.look_now_and_then().await;
    }

    fn condition(&self) -> Result<(), String> {
        self.condition.get()
    }

    async fn examine(&self) -> Result<Vec<String>, String> {
        self.account().await?;
        self.writer.api.read_cluster().await;
        Ok(self.writer.api.cluster_id.remark().into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
