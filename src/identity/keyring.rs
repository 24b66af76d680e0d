//! Verification keys, kept in memory.

use std::time::Duration;

/// How long keys are trusted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `oidc.keys_refresh`: age at which the set is fetched again. Default 5 min.
    pub refresh: Duration,
    /// `oidc.keys_max_stale`: age up to which an old set serves while the provider is down. Default 24 h.
    pub max_stale: Duration,
    /// `oidc.keys_cooldown`: between two fetches for an unknown key id or after a failure. Default 10 s.
    pub cooldown: Duration,
}
