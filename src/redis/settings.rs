//! The valid settings of the store in Redis.

use std::time::Duration;

use secrecy::SecretString;

use super::address::Address;
use super::tls::Tls;

/// The settings of the store in Redis, from the keys `cache.redis_*`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `cache.redis_mode`: whether the addresses are those of a server, of Sentinels or of a cluster. Default: automatic.
    pub mode: Mode,
    /// `cache.redis_host` and `cache.redis_nodes`: the server, Sentinels, or nodes of the cluster; at least one.
    pub nodes: Vec<Address>,
    /// `cache.redis_master`: the master's name among Sentinels. Without it they must watch a single one.
    pub master: Option<String>,
    /// `cache.redis_db`: the number of the database. Default 0.
    pub db: i64,
    /// `cache.redis_username` and `cache.redis_password`: the account at the servers.
    pub account: Account,
    /// `cache.redis_sentinel_username` and `cache.redis_sentinel_password`: the account at the Sentinels.
    pub sentinel: Account,
    /// `cache.redis_tls*`: the certificates; none for connections without TLS.
    pub tls: Option<Tls>,
    /// `cache.redis_connect_timeout`: the longest time to make a connection. Default 5 s.
    pub connect_timeout: Duration,
    /// `cache.redis_command_timeout`: the longest time for one command. Default 250 ms.
    pub command_timeout: Duration,
    /// A connection that is not used for this long is closed; five minutes.
    pub idle_timeout: Duration,
    /// `cache.redis_pool_size`: the most connections to one server. Default 10 × CPUs.
    pub pool_size: usize,
}

/// What answers at the configured addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Found out from the first answer to `HELLO`.
    Auto,
    /// One server, or a name that moves with the master.
    Single,
    /// Sentinels, which name the master.
    Sentinel,
    /// Nodes of a Redis Cluster.
    Cluster,
}

/// The account with which elastauth authenticates itself.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The ACL user. With a password and no name it is Redis's user `default`.
    pub username: Option<String>,
    /// The password; none for a server that asks for none.
    pub password: Option<SecretString>,
}

impl Settings {
    /// The configured addresses, as log lines name them.
    pub(super) fn addresses(&self) -> String {
        self.nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// The name of this store in ownership stamps: the addresses without credentials, sorted, so that replicas which list them
    /// in another order have the same name.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        let mut nodes: Vec<_> = self.nodes.iter().map(ToString::to_string).collect();
        nodes.sort_unstable();
        let master = self.master.as_ref().map(|name| format!("{name} of ")).unwrap_or_default();
        format!("redis {master}{}/{}", nodes.join(","), self.db)
    }
}
