//! What remains to be done for a request that the memory of this process does not answer.

use std::sync::Arc;
use std::time::SystemTime;

use secrecy::{ExposeSecret as _, SecretString};

use crate::bounded_cache::Size as _;
use crate::credentials::Caller;
use crate::credentials::broker::Miss;
use crate::identity::Validity;
use crate::identity::token_cache::TokenDigest;
use crate::login::{Page, Session, SessionDigest};

/// What remains to be done for a request that memory does not answer. It has copies of all that it needs, so that the message
/// with all of its headers can be freed before the decision waits for another system.
pub enum Open {
    /// A token that the cache of tokens does not have.
    New {
        /// The token's digest, its name in the cache.
        name: TokenDigest,
        /// The token as it was sent.
        token: SecretString,
        /// When the request was received, by the wall clock.
        now: SystemTime,
    },
    /// A verified token's caller, for which the near cache has no credential.
    Known(Arc<(Validity, Caller)>, Miss),
    /// A caller that headers name, for which the near cache has no credential.
    Named(Box<Caller>, Miss),
    /// A request to a host where people log in.
    Visit(OpenVisit),
}

/// What remains to be done for a request to a host where people log in.
pub enum OpenVisit {
    /// elastauth answers it itself.
    Page(Page),
    /// It has the cookie of a session that this process does not have in memory, or that has tokens which have ended.
    Unknown(SessionDigest),
    /// It has the cookie of this session, and the near cache has no credential for the session's caller.
    Known(Arc<Session>, Miss),
}

impl Open {
    /// About how many bytes this request alone keeps in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::New { token, .. } => token.expose_secret().len(),
            Self::Named(caller, _) => caller.size(),
            Self::Known(..) | Self::Visit(_) => 0,
        }
    }
}
