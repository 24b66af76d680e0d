//! Requests that memory alone does not answer.

use std::sync::Arc;
use std::time::SystemTime;

use secrecy::{ExposeSecret as _, SecretString};

use crate::bounded_cache::Size as _;
use crate::credentials::Caller;
use crate::credentials::broker::Miss;
use crate::identity::Validity;
use crate::identity::token_cache::TokenDigest;

/// What is left to do for a request that memory alone does not answer. It has copies of all that it needs, so that the message with
/// all of its headers can go before anything is waited for.
pub enum Open {
    /// A token that is not known.
    New {
        /// Its digest.
        name: TokenDigest,
        /// Itself.
        token: SecretString,
        /// When it came, by the wall clock.
        now: SystemTime,
    },
    /// A token that is known. The credential is not kept here.
    Known(Arc<(Validity, Caller)>, Miss),
    /// A caller whom headers name. The credential is not kept here.
    Named(Box<Caller>, Miss),
}

impl Open {
    /// About how many bytes it alone holds.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::New { token, .. } => token.expose_secret().len(),
            Self::Known(..) => 0,
            Self::Named(caller, _) => caller.size(),
        }
    }
}
