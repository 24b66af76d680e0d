//! One password per Elasticsearch user, agreed by any number of replicas.
//!
//! The order is: agree in the store first, write to Elasticsearch after, and only then hand out. The loop is a
//! pure state machine ([`agreement`]) that [`broker`] drives.

use std::future::Future;
use std::time::Duration;

use crate::digest::Digest;
use crate::identity::{Millis, Owner, Username};
use crate::roles::{Roles, Version};

mod admission;
pub mod agreement;
mod breaker;
pub mod broker;
mod caller;
mod cluster;
mod credential;
mod day;
mod invalidation;
mod key;
pub mod near_cache;
pub mod password;
pub mod purge;
pub mod record;
mod request_context;
pub mod seal;
mod single_flight;
mod store;
mod user;

pub use admission::{Busy, Throughput};
pub use caller::Caller;
pub use cluster::{Belongs, Cluster};
pub use credential::Credential;
pub use day::Day;
pub use invalidation::Invalidations;
pub use key::CacheKey;
pub use password::Password;
pub use request_context::RequestContext;
pub use store::{Cursor, Entry, Keys, MAX_RECORD, Replaced, Store, StoreError};
pub use user::{Existing, OtherWriter, StoreName, UserSpec};

/// Where a credential came from; for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This process had it.
    Near,
    /// This process had it; the store might say otherwise by now, but does not answer.
    Stale,
    /// The store held it, ready and fitting.
    Store,
    /// This request had to write to Elasticsearch, or to wait for another replica that did.
    Provisioned,
}

/// A credential and where it came from.
#[derive(Clone, Debug)]
pub struct Obtained {
    /// What to inject.
    pub credential: Credential,
    /// Where it was found.
    pub source: Source,
}

/// Why Elasticsearch's user must be left exactly as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// A person, or the Go service, made this user.
    #[error("the Elasticsearch user was not made by elastauth")]
    NotOurs,
    /// The user belongs to another (issuer, subject).
    #[error("the Elasticsearch user belongs to another subject")]
    OtherOwner,
    /// `elasticsearch.dry_run`
    #[error("dry run: nothing is written")]
    DryRun,
    /// An administrator disabled the user.
    #[error("the Elasticsearch user is disabled")]
    Disabled,
    /// A built-in user, or the account elastauth itself uses.
    #[error("the username is reserved")]
    Reserved,
    /// Elasticsearch answered 400 to the write.
    #[error("Elasticsearch refused the user")]
    Rejected,
}

/// What Elasticsearch says to a user's own credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Accepted.
    Accepted {
        /// There may be more of them than were written, such as the anonymous user's.
        roles: Roles,
        /// When the roles that were last written were true; none where the back end does not tell. Another moment than the
        /// record's tells that another write won, also where that left more roles.
        as_of: Option<Millis>,
        /// By which configuration; none where the back end does not tell.
        mapping: Option<Version>,
        /// The day that stands in the metadata; none where the back end does not tell: then no write is spent on it.
        seen: Option<Day>,
    },
    /// 401. Elasticsearch answers so also while its security index is unavailable: it proves nothing alone.
    Rejected,
}

/// How a read of the user ended, if it ended well.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InspectError {
    /// The user is not to be touched.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Elasticsearch, or the administrator's account, does not work: an outage, never the user's fault.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a write did not get a 2xx.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// Refused for good.
    #[error("{refused}: {detail}")]
    Refused {
        /// The kind.
        refused: Refused,
        /// Elasticsearch's reason.
        detail: String,
    },
    /// A role-only write found no user.
    #[error("the user is missing")]
    Missing,
    /// Certainly not applied: by now the user has roles that count for more.
    #[error("the user was written meanwhile with newer roles")]
    Outranked,
    /// Certainly not applied: no connection, or an answer that says so.
    #[error("{0}")]
    Unavailable(String),
    /// May have been applied, now or later.
    #[error("{0}")]
    Unknown(String),
}

/// What writes come to, as metrics and traces name it.
pub const OUTCOMES: [&str; 5] = ["acknowledged", "refused", "missing", "unavailable", "unknown"];

/// Which of [`OUTCOMES`] this is.
#[must_use]
pub fn outcome(result: Result<(), &WriteError>) -> &'static str {
    match result {
        Ok(()) => "acknowledged",
        Err(WriteError::Refused { .. }) => "refused",
        Err(WriteError::Missing) => "missing",
        // nothing was sent
        Err(WriteError::Outranked | WriteError::Unavailable(_)) => "unavailable",
        Err(WriteError::Unknown(_)) => "unknown",
    }
}

/// Who makes users. Implemented by edges.
pub trait Provisioner: Send + Sync + 'static {
    /// Looks at the user before every write.
    fn inspect(
        &self,
        username: &Username,
        owner: &Owner,
        context: &RequestContext,
    ) -> impl Future<Output = Result<Existing, InspectError>> + Send;

    /// Logs in as the user.
    fn log_in(
        &self,
        username: &Username,
        password: &Password,
    ) -> impl Future<Output = Result<Login, InspectError>> + Send;

    /// The elastauth with another store that last wrote the user, if one did. A hint for messages, and never a reason to
    /// refuse: replicas may call one store by several names.
    fn other_writer(
        &self,
        _username: &Username,
    ) -> impl Future<Output = Result<Option<OtherWriter>, InspectError>> + Send {
        async { Ok(None) }
    }

    /// Writes the user; without a password only roles and names change. Takes no longer than the write time-out.
    fn write(
        &self,
        user: &UserSpec,
        password: Option<&Password>,
    ) -> impl Future<Output = Result<(), WriteError>> + Send;

    /// How fast writes go at present; unlimited where that is not known.
    fn pace(&self) -> Throughput {
        Throughput::UNLIMITED
    }

    /// Which cluster it is, as far as is known; asks nobody.
    fn cluster(&self) -> Cluster {
        Cluster::default()
    }

    /// The same, after asking the cluster, unless that was done a moment ago.
    fn ask_cluster(&self) -> impl Future<Output = Cluster> + Send {
        async { self.cluster() }
    }

    /// Ends when it turns out to be another cluster than it was before: its users are gone, or others.
    fn rebuilt(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Looks after itself in the background, for as long as the process lives.
    fn watch(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Looks now, for a person: what does not work, or what is worth knowing where everything does.
    fn examine(&self) -> impl Future<Output = Result<Vec<String>, String>> + Send {
        async { Ok(Vec::new()) }
    }

    /// What the last look in the background found; asks nobody.
    fn condition(&self) -> Result<(), String> {
        Ok(())
    }
}

/// How long things last.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `cache.expiration`: the life of a ready record.
    pub expiration: Duration,
    /// `extend_cache`: a use past half the life extends it.
    pub extend: bool,
    /// What is kept in this process.
    pub near: near_cache::Settings,
    /// `elasticsearch.settling`: how long after a write an earlier one may still land. Default 90 s.
    pub settling: Duration,
    /// `elasticsearch.confirm_interval`: between two confirmations of a record that is in use. Default 15 min.
    pub confirm_interval: Duration,
    /// Of what turns groups into roles.
    pub mapping: Digest,
    /// The longest that the store may take for one operation: the command time-out and a little more.
    pub store_timeout: Duration,
    /// `elasticsearch.write_timeout`; a claim lasts this and two seconds more.
    pub write_timeout: Duration,
}
