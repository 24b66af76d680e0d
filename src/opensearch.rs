//! Provisioner over OpenSearch's security API. Its users have no `enabled`, all of them are one document that only one
//! writer at a time can change, and every change makes every node forget every login: writes wait for one another, and
//! those that wait go out together.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::credentials::{
    Existing, InspectError, Login, Origin, OtherWriter, Password, Provisioner, Refused, UserSpec, WriteError,
};
use crate::identity::{Owner, Username};
use crate::nodes;
use crate::nodes::account::Scheme;
use crate::nodes::hash::{Hasher, Version};
use crate::outbound::Error;

mod answers;
mod api;
mod queue;
mod stamp;
mod writer;

pub use api::RoleField;

use api::{Api, Secret};
use queue::{Pace, Queue};
use writer::Writer;

/// `elasticsearch.*`, and `elasticsearch.opensearch_*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where, and as whom.
    pub nodes: nodes::Settings,
    /// Time-out of a read. Default 2 s.
    pub timeout: Duration,
    /// Time-out of a write, waiting for its turn included. Default 5 s.
    pub write_timeout: Duration,
    /// Decides and logs, writes nothing, denies.
    pub dry_run: bool,
    /// Names the deployment in the ownership stamp.
    pub cluster: String,
    /// Names the store of the records in the ownership stamp.
    pub store: String,
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
    hasher: Option<Hasher>,
    writer: Arc<Writer>,
    queue: Arc<Queue>,
}

impl OpenSearch {
    /// Connects on first use.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let hasher = match settings.hashing {
            Hashing::Here { cost, cores } => Some(Hasher::new(cost, Version::TwoY, cores)),
            Hashing::There => None,
        };
        let writer = Writer { api: Api::new(&settings)?, least: settings.write_timeout / LEAST_PART };
        let pace = Pace { most: settings.max_batch, interval: settings.write_interval };
        Ok(Self { settings, hasher, writer: Arc::new(writer), queue: Queue::new(pace) })
    }

    /// The account that this process uses. (Reserved and hidden users say so themselves.)
    fn reserved(&self, username: &Username) -> bool {
        let account = self.settings.nodes.account.as_ref().map(|account| &account.scheme);
        matches!(account, Some(Scheme::Basic { username: own }) if own == username.as_str())
    }

    async fn secret(&self, password: Option<&Password>, ends: Instant) -> Result<Secret, WriteError> {
        let (Some(password), Some(hasher)) = (password, &self.hasher) else {
            return Ok(password.map_or(Secret::Kept, |password| Secret::Password(password.clone())));
        };
        let hashed = tokio::time::timeout_at(ends - self.writer.least, hasher.hash(password)).await;
        let hashed = hashed.map_err(|_| WriteError::Unavailable("too many passwords wait to be hashed".into()))?;
        hashed.map(Secret::Hash).map_err(|error| WriteError::Unavailable(error.to_string()))
    }
}

impl Provisioner for OpenSearch {
    async fn inspect(&self, username: &Username, owner: &Owner, origin: &Origin) -> Result<Existing, InspectError> {
        if self.reserved(username) {
            return Err(Refused::Reserved.into());
        }
        self.writer.api.look(username, owner, origin, self.settings.timeout).await
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
        let secret = self.secret(password, ends).await?;
        let writer = Arc::clone(&self.writer);
        let write = move |jobs| {
            let writer = Arc::clone(&writer);
            async move { writer.write(jobs).await }
        };
        self.queue.submit((user.clone(), secret), (looked, ends), write).await
    }
}

#[cfg(test)]
mod tests;
