//! The seam to the system in which users are made: what a back end has to do, and how its reads and writes can end.

use std::future::Future;

use super::agreement::Standing;
use super::{Cluster, Day, Existing, OtherWriter, Password, RequestContext, Throughput, UserSpec};
use crate::identity::{Millis, Owner, Username};
use crate::roles::{Roles, Version};

/// Why Elasticsearch's user must be left exactly as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// An administrator or the Go service made this user: it does not have elastauth's stamp.
    #[error("the Elasticsearch user was not made by elastauth")]
    NotOurs,
    /// The user belongs to another (issuer, subject).
    #[error("the Elasticsearch user belongs to another subject")]
    OtherOwner,
    /// `elasticsearch.dry_run` is set, so that nothing is written.
    #[error("dry run: nothing is written")]
    DryRun,
    /// An administrator disabled the user.
    #[error("the Elasticsearch user is disabled")]
    Disabled,
    /// A built-in user, or the account that elastauth itself uses.
    #[error("the username is reserved")]
    Reserved,
    /// Elasticsearch answered 400 to the write.
    #[error("Elasticsearch refused the user")]
    Rejected,
}

/// The answer of Elasticsearch to a login with a user's own credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// The password is right.
    Accepted {
        /// The roles in force; they may be more than were written, such as the anonymous user's.
        roles: Roles,
        /// The time of the roles that were written last; none where the back end does not show it. If it differs from the
        /// record's time, another write came last, even if that write left more roles.
        as_of: Option<Millis>,
        /// The configuration by which they were written; none where the back end does not show it.
        mapping: Option<Version>,
        /// The day in the user's metadata; none where the back end does not show it: then no write is spent on the day.
        seen: Option<Day>,
    },
    /// 401. Elasticsearch also answers it while its security index is unavailable, so it alone proves nothing.
    Rejected,
}

impl Login {
    /// Whether the password is right, and the user has these roles, perhaps beside others, and this stamp as far as the back end
    /// shows it.
    pub(super) fn shows(&self, standing: &Standing) -> bool {
        match self {
            Self::Accepted { roles, as_of, mapping, seen: _ } => {
                standing.roles.iter().all(|role| roles.contains(role))
                    && as_of.is_none_or(|as_of| as_of == standing.as_of)
                    && mapping.is_none_or(|mapping| mapping == standing.mapping)
            }
            Self::Rejected => false,
        }
    }
}

/// Why a user could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InspectError {
    /// The user exists or may exist, and must be left as it is.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Elasticsearch, or the administrator's account, does not work: an outage, never the user's fault.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a write did not get a 2xx.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// Refused: to repeat it would not help.
    #[error("{refused}: {detail}")]
    Refused {
        /// The kind of refusal.
        refused: Refused,
        /// Elasticsearch's own text, for the log.
        detail: String,
    },
    /// A write of roles alone found no user.
    #[error("the user is missing")]
    Missing,
    /// Certainly not applied: since the last look the user has got roles that take precedence.
    #[error("the user was written meanwhile with newer roles")]
    Outranked,
    /// Certainly not applied: there was no connection, or an answer that says so.
    #[error("{0}")]
    Unavailable(String),
    /// May have been applied, or may still be.
    #[error("{0}")]
    Unknown(String),
}

/// The outcomes of writes, as metrics and traces name them.
pub(crate) const OUTCOMES: [&str; 5] = ["acknowledged", "refused", "missing", "unavailable", "unknown"];

/// Which of [`OUTCOMES`] this is.
pub(crate) fn outcome(result: Result<(), &WriteError>) -> &'static str {
    match result {
        Ok(()) => "acknowledged",
        Err(WriteError::Refused { .. }) => "refused",
        Err(WriteError::Missing) => "missing",
        // nothing was sent
        Err(WriteError::Outranked | WriteError::Unavailable(_)) => "unavailable",
        Err(WriteError::Unknown(_)) => "unknown",
    }
}

/// Reads and writes single users. Implemented by the edges towards Elasticsearch and OpenSearch.
pub trait Provisioner: BackendStatus {
    /// Reads the user as the administrator; done before every write.
    fn inspect(
        &self,
        username: &Username,
        owner: &Owner,
        context: &RequestContext,
    ) -> impl Future<Output = Result<Existing, InspectError>> + Send;

    /// Logs in as the user, to find out whether the password is the agreed one.
    fn log_in(
        &self,
        username: &Username,
        password: &Password,
    ) -> impl Future<Output = Result<Login, InspectError>> + Send;

    /// The elastauth with another store that wrote the user last, if there is one. It is a hint for messages and never a
    /// reason to refuse, because replicas may know one store by several names.
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
}

/// The state of the system behind a [`Provisioner`]: how fast it takes writes, which cluster it is, and whether it works.
/// The defaults suit a back end that knows nothing of this.
pub trait BackendStatus: Send + Sync + 'static {
    /// How fast it takes writes at present; unlimited where that is not known.
    fn throughput(&self) -> Throughput {
        Throughput::UNLIMITED
    }

    /// Which cluster it is, as far as this process knows already: sends no request.
    fn cluster(&self) -> Cluster {
        Cluster::default()
    }

    /// Which cluster it is, after asking it, unless that was done a moment ago.
    fn ask_cluster(&self) -> impl Future<Output = Cluster> + Send {
        async { self.cluster() }
    }

    /// Completes when it turns out to be another cluster than before, with no users or with other ones.
    fn rebuilt(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Checks the system and the administrator's account in the background, for as long as the process lives.
    fn watch(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Checks them once, for a person: what does not work, or remarks where everything does.
    fn examine(&self) -> impl Future<Output = Result<Vec<String>, String>> + Send {
        async { Ok(Vec::new()) }
    }

    /// The result of the last check in the background: sends no request.
    fn condition(&self) -> Result<(), String> {
        Ok(())
    }
}
