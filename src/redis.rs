//! Store over one Redis server.

use std::time::Duration;

use secrecy::SecretString;

/// `cache.redis_*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// `host:port`.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Database number.
    pub db: i64,
    /// ACL user; with a password only, Redis's `default` user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
    /// Time-out of connecting. Default 5 s.
    pub connect_timeout: Duration,
    /// Time-out of a command. Default 250 ms.
    pub command_timeout: Duration,
    /// Connections. Default 10 × CPUs.
    pub pool_size: usize,
}
