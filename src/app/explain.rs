//! Finds out for `elastauth explain` what becomes of a token, and of the user that it names.

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

/// Verifies a token as the service does. None where callers bring no tokens.
pub async fn explain(settings: &Settings, token: &str, now: SystemTime) -> Result<Option<Explained>, Error> {
    match &settings.identity {
        Provider::Oidc(providers, _) => Ok(Some(issuers(providers)?.explain(token, now).await)),
        Provider::Headers(_) => Ok(None),
    }
}

/// What a request of the user would find and do.
#[derive(Debug)]
pub struct UserPreview {
    /// What is stored and what would be written; as for an empty store where the store cannot be read.
    pub preview: Preview,
    /// Why the store was not read, if it was not.
    pub unseen: Option<&'static str>,
    /// The path and the body of the write without the password, if there would be a write and the back end is known.
    pub written: Option<(String, Value)>,
}

/// Reads the cache and the user, and writes nothing.
pub async fn preview(settings: &Settings, caller: &Caller) -> Result<UserPreview, Error> {
    match &settings.cache {
        Cache::Redis(redis) => read(RedisStore::new((**redis).clone()), None, settings, caller).await,
        Cache::Memory(_) | Cache::File(_) => {
            let empty = MemoryStore::new(memory::Settings { max_entries: 1 });
            read(empty, Some("the running elastauth has the cache to itself"), settings, caller).await
        }
    }
}

async fn read<S: Store>(
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
