//! The reasons for which a caller gets no credential.

use crate::credentials::seal::{OpenError, SealError};
use crate::credentials::{Busy, Refused, StoreError};

/// Why a caller gets no credential.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The username belongs to another (issuer, subject).
    #[error("the username belongs to another subject")]
    OtherOwner,
    /// Elasticsearch's user must be left as it is.
    #[error("{0}")]
    Refused(Refused),
    /// The store does not answer. Without it nothing is written to Elasticsearch.
    #[error("the cache is unavailable: {0}")]
    Store(#[from] StoreError),
    /// The record was sealed with another key, or by a later release in a format of its own.
    #[error("{0}")]
    Unreadable(OpenError),
    /// The record belongs to the users of another cluster.
    #[error(
        "the cached record is of another Elasticsearch cluster: another elastauth shares this cache. Give each deployment a \
         `cluster` or a cache.redis_db of its own"
    )]
    OtherCluster,
    /// Elasticsearch did not acknowledge the write.
    #[error("Elasticsearch is unavailable: {0}")]
    Elasticsearch(String),
    /// Too many users are to be written to write this one in time.
    #[error("{0}")]
    Busy(#[from] Busy),
    /// A fault within this process, such as a lack of randomness.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// Whether something that is needed does not work at present, and says nothing about the user.
    pub(super) fn is_an_outage(&self) -> bool {
        match self {
            Self::Store(_) | Self::Elasticsearch(_) | Self::Busy(_) | Self::Internal(_) => true,
            Self::OtherOwner | Self::Refused(_) | Self::Unreadable(_) | Self::OtherCluster => false,
        }
    }
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        Self::Internal(error.to_string())
    }
}
