//! What becomes of a token, and of the user that it names, for `elastauth explain`.

use std::time::SystemTime;

use serde_json::Value;

use super::{Backend, Error, issuers};
use crate::config::{Cache, Provider, Settings};
use crate::credentials::broker::{Broker, PlannedWrite, Preview};
use crate::credentials::seal::Seal;
use crate::credentials::{Caller, Store};
use crate::identity::issuers::Explained;
use crate::memory::{self, MemoryStore};
use crate::redis::RedisStore;

/// Verifies a token as the service would. None where callers bring no tokens.
pub async fn explain(settings: &Settings, token: &str, now: SystemTime) -> Result<Option<Explained>, Error> {
    match &settings.identity {
        Provider::Oidc(providers, _) => Ok(Some(issuers(providers)?.explain(token, now).await)),
        Provider::Headers(_) => Ok(None),
    }
}

/// What a request would find and do.
#[derive(Debug)]
pub struct UserPreview {
    /// As the store has it; as if nothing were stored where it cannot be looked at.
    pub preview: Preview,
    /// Why the store was not looked at.
    pub unseen: Option<&'static str>,
    /// The path and the body of the write, but for the password, if there would be one and the back end is known.
    pub written: Option<(String, Value)>,
}

/// Looks at the cache and at the user, and writes nothing.
pub async fn preview(settings: &Settings, caller: &Caller) -> Result<UserPreview, Error> {
    match &settings.cache {
        Cache::Redis(redis) => look(RedisStore::new((**redis).clone()), None, settings, caller).await,
        Cache::Memory(_) | Cache::File(_) => {
            let empty = MemoryStore::new(memory::Settings { max_entries: 1 });
            look(empty, Some("the elastauth that serves has the cache to itself"), settings, caller).await
        }
    }
}

async fn look<S: Store>(
    store: S,
    unseen: Option<&'static str>,
    settings: &Settings,
    caller: &Caller,
) -> Result<UserPreview, Error> {
    let seal = Seal::new(&settings.seal)?;
    let broker = Broker::new(store, Backend::new(settings)?, seal, settings.credentials.clone())?;
    let preview = broker.preview(caller).await?;
    let written = match &preview.next {
        Ok(PlannedWrite::Written { user, .. }) => broker.provisioner().preview(user).await.ok(),
        _ => None,
    };
    Ok(UserPreview { preview, unseen, written })
}
