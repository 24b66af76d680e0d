//! `cache.redis_*`, valid.

use std::time::Duration;

use secrecy::SecretString;

use super::{Address, Tls};

/// `cache.redis_*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// What stands behind the addresses.
    pub mode: Mode,
    /// Where to ask first, at least one: the server, Sentinels, or nodes of the cluster.
    pub nodes: Vec<Address>,
    /// The master's name among Sentinels; without it there must be only one.
    pub master: Option<String>,
    /// Database number.
    pub db: i64,
    /// Whom the servers know.
    pub account: Account,
    /// Whom the Sentinels know.
    pub sentinel: Account,
    /// TLS, if any.
    pub tls: Option<Tls>,
    /// Time-out of connecting. Default 5 s.
    pub connect_timeout: Duration,
    /// Time-out of a command. Default 250 ms.
    pub command_timeout: Duration,
    /// Unused for so long, a connection is closed. Default 5 min.
    pub idle_timeout: Duration,
    /// Connections to one server. Default 10 × CPUs.
    pub pool_size: usize,
}

/// What stands behind the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What the first answer says.
    Auto,
    /// One server, or a name that moves with the master.
    Single,
    /// The one that Sentinels name.
    Sentinel,
    /// Redis Cluster.
    Cluster,
}

/// Whom a server knows.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// ACL user; with a password only, Redis's `default` user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
}

impl Settings {
    /// What the ownership stamp calls this store: where it is, without credentials; the same on replicas that name the
    /// servers in another order.
    #[must_use]
    pub fn name(&self) -> String {
        let mut nodes: Vec<_> = self.nodes.iter().map(ToString::to_string).collect();
        nodes.sort_unstable();
        let master = self.master.as_ref().map(|name| format!("{name} of ")).unwrap_or_default();
        format!("redis {master}{}/{}", nodes.join(","), self.db)
    }
}
