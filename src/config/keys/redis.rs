//! `cache.redis_*`: the way to Redis.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::key::{key, section, unset};
use super::processors::processors;
use crate::redis::Mode;

section! {
    HOST: String = key(
        "cache.redis_host",
        "localhost:6379",
        "host and port, `redis://…`, `rediss://…` (TLS), or `unix:/path`",
    );
    NODES: Vec<String> = unset("cache.redis_nodes", "more Sentinels or nodes of a cluster; one that answers is enough");
    MODE: Mode = key(
        "cache.redis_mode",
        "auto",
        "`auto` (what the first answer says), `single`, `sentinel` or `cluster`",
    );
    MASTER: Option<String> = key(
        "cache.redis_master",
        "the only one",
        "name of the master that the Sentinels watch",
    );
    DB: i64 = key("cache.redis_db", "0", "number of the database");
    USERNAME: Option<String> = unset("cache.redis_username", "ACL user");
    PASSWORD: Option<SecretString> = unset("cache.redis_password", "password of the ACL user, or of `requirepass`");
    SENTINEL_USERNAME: Option<String> = unset("cache.redis_sentinel_username", "ACL user of the Sentinels");
    SENTINEL_PASSWORD: Option<SecretString> = unset(
        "cache.redis_sentinel_password",
        "password of the Sentinels, if they have one",
    );
    TLS: bool = key("cache.redis_tls", "false", "TLS, also chosen by `rediss://`");
    TLS_CA_FILE: Option<PathBuf> = key(
        "cache.redis_tls_ca_file",
        "the system's",
        "PEM file with the authorities to trust",
    )
    .restricting();
    TLS_CERT_FILE: Option<PathBuf> = unset(
        "cache.redis_tls_cert_file",
        "PEM file with the certificate to show, for mutual TLS",
    );
    TLS_KEY_FILE: Option<PathBuf> = unset("cache.redis_tls_key_file", "PEM file with the key of that certificate");
    CONNECT_TIMEOUT: Duration = key("cache.redis_connect_timeout", "5s", "longest time for a connection to be made");
    COMMAND_TIMEOUT: Duration = key("cache.redis_command_timeout", "250ms", "longest time of one command");
    POOL_SIZE: NonZeroUsize = key("cache.redis_pool_size", "10 × CPUs", "connections to one server")
        .computed(|| processors().saturating_mul(NonZeroUsize::MIN.saturating_add(9)));
}
