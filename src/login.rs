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
//! | `visit` | what the login needs of a request; whether a browser goes to a page with it |
//! | `sites` | which of `login.hosts` a request is for |
//! | `cross_site` | refuses what a page on another site made the browser send |
//! | `return_path` | where a person goes after the login |
//! | `attempt` | one attempt to log in, sealed in a cookie of its own |
//! | `callback` | what the provider sends the browser back with |
//! | `recent_logins` | notices a browser that logs in again and again |
//! | `cookies` | the names of the cookies, and how browsers are told to keep and to end them |
//! | `pages` | what people see |

pub mod administer;
pub mod attempt;
pub mod callback;
pub mod cookies;
pub mod cross_site;
mod markers;
mod near_sessions;
pub mod pages;
mod provider_condition;
pub mod recent_logins;
pub mod refresh;
mod refresh_run;
mod renew;
pub mod response;
pub mod return_path;
mod session;
mod session_id;
mod session_store;
pub mod sessions;
pub mod settings;
pub mod sites;
#[cfg(test)]
pub(crate) mod testing;
pub mod token_endpoint;
pub mod visit;

pub use attempt::Attempt;
pub use callback::Callback;
pub use markers::{LoggedOut, LogoutNotice};
pub use near_sessions::LiveSession;
pub use recent_logins::RecentLogins;
pub use renew::{Renew, RenewError, Renewed, SignedIn};
pub use response::Response;
pub use return_path::ReturnPath;
pub use session::{Claim, ClaimId};
pub use session_id::{NoRandomness, SessionDigest, SessionId};
pub use sessions::{EndedSession, NewSession, SessionError, Sessions};
pub use settings::Settings;
pub use token_endpoint::{Endpoints, Grant, RedeemError, TokenEndpoint, Tokens, Unavailable};
pub use visit::Visit;
