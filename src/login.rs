//! Browser sessions: people log in at the identity provider, and elastauth keeps who they are on the server.
//!
//! | file | what it is for |
//! |---|---|
//! | `settings` | `login.*`, and what of `oidc.*` the login uses |
//! | `token_endpoint` | the seam to the provider: where people log in, and where codes and refresh tokens are redeemed |
//! | `response` | what elastauth answers itself: redirects, pages, JSON |
//! | `sessions` | the sessions: found, begun, renewed in time, ended |
//! | `session_id`, `session`, `session_store` | the id in the cookie and its digest; a session as replicas share it; how it is stored |
//! | `near_sessions` | this process's cache of sessions |
//! | `refresh`, `refresh_run`, `renew` | one redemption of a refresh token for all replicas: the state machine, its driver, the seam to the provider |
//! | `provider_condition` | whether the provider answers |
//! | `markers` | logouts at the provider |
//! | `administer` | listing and ending sessions, for commands |

pub mod administer;
mod markers;
mod near_sessions;
mod provider_condition;
pub mod refresh;
mod refresh_run;
mod renew;
pub mod response;
mod session;
mod session_id;
mod session_store;
pub mod sessions;
pub mod settings;
pub mod token_endpoint;

pub use markers::{LoggedOut, LogoutNotice};
pub use near_sessions::LiveSession;
pub use renew::{Renew, RenewError, Renewed, SignedIn};
pub use response::Response;
pub use session::{Claim, ClaimId};
pub use session_id::{NoRandomness, SessionDigest, SessionId};
pub use sessions::{EndedSession, NewSession, SessionError, Sessions};
pub use settings::Settings;
pub use token_endpoint::{Endpoints, Grant, RedeemError, TokenEndpoint, Tokens, Unavailable};
