//! `cache`, and the keys that records in it are sealed with.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::choice::CacheKind;
use super::key::{key, section, unset};

section! {
    TYPE: CacheKind = unset("cache.type", "`redis`; for one process only, `file`, or `memory` (also `\"\"`)");
    EXPIRATION: Duration = key("cache.expiration", "1h", "life of a credential in the cache");
    EXTEND: bool = key("extend_cache", "false", "a use past half the life of a credential renews it");
    NEAR_MAX_ENTRIES: usize = key(
        "cache.near_max_entries",
        "100000",
        "credentials kept in this process, with 1.5 KiB for each; 0 for none",
    );
    TOKEN_MAX_ENTRIES: usize = key(
        "cache.token_max_entries",
        "100000",
        "verified tokens kept in this process, with 1 KiB for each, and for five seconds a tenth as many refused ones; 0 for none",
    );
    MAX_STALE: Duration = key(
        "cache.max_stale",
        "15m",
        "how long a kept credential is used while Redis does not answer and may have changed",
    );
    PATH: PathBuf = key(
        "cache.path",
        "/var/cache/elastauth",
        "of `file`: a folder, in which `elastauth.redb` is made, or a file",
    );
    MEMORY_MAX_ENTRIES: NonZeroUsize = key("cache.memory_max_entries", "100000", "records kept by `memory`");
    SECRET_KEY: Option<SecretString> = unset(
        "secret_key",
        "64 hex digits or base64 of 32 bytes; the same on every replica",
    )
    .restricting();
    PREVIOUS_SECRET_KEYS: Vec<SecretString> = unset(
        "previous_secret_keys",
        "keys that open records but do not seal: former ones, and the next one before it is `secret_key`",
    );
    CLUSTER: String = key(
        "cluster",
        "default",
        "name of the Elasticsearch that records and users are bound to",
    )
    .restricting();
}
