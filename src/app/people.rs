//! Puts the login together: where people log in with a browser.

use std::sync::Arc;
use std::time::Duration;

use super::Error;
use crate::authz::{Callers, Rules};
use crate::config::{Provider, Settings};
use crate::credentials::broker::Broker;
use crate::credentials::seal::Seal;
use crate::credentials::{Provisioner, Store};
use crate::identity::issuers::Issuers;
use crate::login::{self, Login, sessions};
use crate::oidc::OidcProvider;

/// What the login needs and the configuration alone gives.
pub(super) struct People {
    settings: login::Settings,
    provider: OidcProvider,
    issuers: Arc<Issuers<OidcProvider>>,
    /// `oidc.timeout`.
    timeout: Duration,
}

impl People {
    /// None where `login.enabled` is off.
    pub(super) fn new(settings: &Settings, callers: &Callers<OidcProvider>) -> Result<Option<Self>, Error> {
        let (Some(login), Callers::Tokens(issuers, _), Provider::Oidc(providers, _)) =
            (&settings.login, callers, &settings.identity)
        else {
            return Ok(None);
        };
        // the configuration names an issuer of the list
        let Some((provider, _)) = providers.get(login.issuer) else { return Ok(None) };
        let timeout = provider.timeout;
        let provider = OidcProvider::new(provider.clone())?;
        Ok(Some(Self { settings: login.clone(), provider, issuers: issuers.clone(), timeout }))
    }

    pub(super) fn login<S: Store, P: Provisioner>(
        self,
        store: S,
        seal: Seal,
        broker: &Broker<S, P>,
        rules: &Arc<Rules>,
        settings: &Settings,
    ) -> Login<OidcProvider, S> {
        let Self { settings: login, provider, issuers, timeout } = self;
        let invalidations = broker.invalidations();
        let parts = login::Parts { provider, issuers, store, seal, invalidations };
        let credentials = &settings.credentials;
        let sessions = sessions::Settings {
            lifetime: login.session_lifetime,
            idle_timeout: login.idle_timeout,
            max_stale: login.max_stale,
            // discovery, the token endpoint and the keys
            renewal_timeout: timeout * 3,
            store_timeout: credentials.store_timeout,
            near_max_entries: credentials.near.max_entries,
            store_max_stale: credentials.near.max_stale,
        };
        let rules = Arc::clone(rules);
        Login::new(login, parts, sessions, move |identity| rules.caller(identity.clone()))
    }
}
