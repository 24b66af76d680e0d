//! `elasticsearch`: the cluster, its administrator's account and the writes.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::key::{key, section, unset};
use crate::elastic::Refresh;

section! {
    HOSTS: Vec<String> = unset("elasticsearch.hosts", "base addresses, asked in turn; this or `cloud_id` is required");
    CLOUD_ID: Option<String> = unset("elasticsearch.cloud_id", "`name:base64`, instead of `hosts`");
    USERNAME: Option<String> = unset(
        "elasticsearch.username",
        "the administrator's account; this and `password`, or `api_key`, or `bearer_token`",
    );
    PASSWORD: Option<SecretString> = unset(
        "elasticsearch.password",
        "password of the account; a file is read again when it changes",
    );
    API_KEY: Option<SecretString> = unset(
        "elasticsearch.api_key",
        "`id:key`, or its encoded form; a file is read again when it changes",
    );
    BEARER_TOKEN: Option<SecretString> = unset(
        "elasticsearch.bearer_token",
        "of a service account; a file is read again when it changes",
    );
    CA_FILE: Option<PathBuf> = key(
        "elasticsearch.ca_file",
        "the system's",
        "PEM file with the authorities to trust",
    )
    .restricting();
    CA_FINGERPRINT: Option<String> = unset(
        "elasticsearch.ca_fingerprint",
        "SHA-256 of the authority's certificate, which the server presents along with its own; instead of `ca_file`",
    )
    .restricting();
    CLIENT_CERTIFICATE_FILE: Option<PathBuf> = unset(
        "elasticsearch.client_certificate_file",
        "PEM file with a client certificate to show, and its chain",
    );
    CLIENT_KEY_FILE: Option<PathBuf> = unset(
        "elasticsearch.client_key_file",
        "PEM file with the key of the client certificate",
    );
    TIMEOUT: Duration = key("elasticsearch.timeout", "2s", "longest time of one read");
    WRITE_TIMEOUT: Duration = key("elasticsearch.write_timeout", "5s", "longest time of one write");
    SETTLING: Duration = key(
        "elasticsearch.settling",
        "90s",
        "how long after a write an earlier one may still arrive; then the password is tried",
    );
    CONFIRM_INTERVAL: Duration = key(
        "elasticsearch.confirm_interval",
        "15m",
        "how often the password of an active user is tried",
    );
    MAX_WRITES: NonZeroUsize = key(
        "elasticsearch.max_writes",
        "4",
        "concurrent writes of this process; as many wait as are written within half of `grpc.deadline`, others are told when to come back",
    );
    MAX_WRITE_RATE: u32 = key("elasticsearch.max_write_rate", "0", "writes of this process in a second; 0 for no such limit");
    REFRESH: Refresh = key(
        "elasticsearch.refresh",
        "false",
        "`false`, `true` or `wait_for`: when a write shows in searches; logins never wait",
    );
    PASSWORD_HASH: Option<String> = unset(
        "elasticsearch.password_hash",
        "`bcrypt` (cost 10), or `bcrypt4` to `bcrypt14`: hash here; must be the cluster's `password_hashing.algorithm`",
    );
    COMPATIBLE_WITH: Option<String> = unset(
        "elasticsearch.compatible_with",
        "major version for `application/vnd.elasticsearch+json`, where a server or a proxy insists on it",
    );
    DRY_RUN: bool = key("elasticsearch.dry_run", "false", "decide and log, write nothing, deny");
}
