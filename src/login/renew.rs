//! The seam to what exchanges a session's refresh token for new tokens, and verifies these.

use std::future::Future;
use std::time::Duration;

use secrecy::SecretString;

use crate::identity::{Identity, Owner};

/// Renews the tokens of sessions.
pub trait Renew: Send + Sync + 'static {
    /// Redeems a refresh token once, and verifies what comes back. What belongs to another owner is [`RenewError::Refused`]. It
    /// is given up after [`super::sessions::Settings::renewal_timeout`].
    fn renew(
        &self,
        refresh_token: &SecretString,
        owner: &Owner,
    ) -> impl Future<Output = Result<Renewed, RenewError>> + Send;
}

/// The new tokens of a session.
pub struct Renewed {
    /// Who is logged in, by a new ID token; none where the provider sent none, and the session keeps what it has (`OpenID` Connect
    /// Core §12.2).
    pub signed_in: Option<SignedIn>,
    /// The new refresh token; none where the redeemed one stays valid.
    pub refresh_token: Option<SecretString>,
    /// How long the tokens are good from now on.
    pub lifetime: Duration,
}

/// What a verified ID token says.
pub struct SignedIn {
    /// The person.
    pub identity: Identity,
    /// The provider's own name of the session: `sid`.
    pub sid: Option<String>,
    /// The token itself, which a logout at the provider needs.
    pub id_token: SecretString,
}

/// Why there are no new tokens. The texts are for the log: they hold no token.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RenewError {
    /// The provider refused, or what it sent is not valid or somebody else's. It ends the session.
    #[error("{0}")]
    Refused(String),
    /// The refresh token has not been sent: it is as good as before.
    #[error("{0}")]
    NotSent(String),
    /// The refresh token may have been redeemed.
    #[error("{0}")]
    Unknown(String),
    /// It was redeemed, and what came of it cannot be verified at present, as when there is no answer with the provider's keys. The
    /// session goes on as it is, with the successor of the token.
    #[error("{why}")]
    Unverified {
        /// The new refresh token; none where the redeemed one stays valid.
        refresh_token: Option<SecretString>,
        /// What could not be asked.
        why: String,
    },
}
