//! Browser sessions: people log in at the identity provider, and elastauth keeps who they are on the server.
//!
//! | file | what it is for |
//! |---|---|
//! | `settings` | `login.*`, and what of `oidc.*` the login uses |
//! | `token_endpoint` | the seam to the provider: where people log in, and where codes and refresh tokens are redeemed |
//! | `response` | what elastauth answers itself: redirects, pages, JSON |

pub mod response;
pub mod settings;
pub mod token_endpoint;

pub use response::Response;
pub use settings::Settings;
pub use token_endpoint::{Endpoints, Grant, RedeemError, TokenEndpoint, Tokens, Unavailable};
