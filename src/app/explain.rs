//! What becomes of a token, for `elastauth explain`.

use std::time::SystemTime;

use super::{Error, issuers};
use crate::config::{Provider, Settings};
use crate::identity::issuers::Explained;

/// Verifies a token as the service would. None where callers bring no tokens.
pub async fn explain(settings: &Settings, token: &str, now: SystemTime) -> Result<Option<Explained>, Error> {
    match &settings.identity {
        Provider::Oidc(providers, _) => Ok(Some(issuers(providers)?.explain(token, now).await)),
        Provider::Headers(_) => Ok(None),
    }
}
