//! Every key there is: the one list from which unknown keys, environment names and the README's table follow.

mod key;

pub(super) use key::{Key, Kind};
use key::{key, list, mapping, secret, secrets};

const IGNORED: &str = "accepted for the Go service's files, not used: logging in is the proxy's work";

pub(super) const KEYS: &[Key] = &[
    key("auth_provider", "oidc", "`oidc`: tokens; `authelia`: headers of a login proxy, or Envoy's metadata"),
    key("authelia.header_username", "Remote-User", "who the caller is; removed from what goes on, as the next three")
        .restricting(),
    key("authelia.header_groups", "Remote-Groups", "the caller's groups").restricting(),
    key("authelia.header_email", "Remote-Email", "shown in Kibana"),
    key("authelia.header_name", "Remote-Name", "shown in Kibana"),
    key("authelia.groups_separator", ",", "between two groups; a backslash before it makes it part of a name")
        .restricting(),
    key("authelia.issuer", "authelia", "whose users these are: stands for the issuer that headers do not name"),
    secret("authelia.shared_secret", "must come with every request, as `elastauth-secret` in `context_extensions`")
        .restricting(),
    secret("authelia.previous_shared_secret", "also accepted, while the secret is being changed"),
    list("authelia.trusted_peers", "", "principals of whom Envoy takes identity headers (`source.principal`)")
        .restricting(),
    key("authelia.metadata_namespace", "", "identity from here instead, such as `envoy.filters.http.jwt_authn`")
        .restricting(),
    key("authelia.metadata_payload", "", "the key within it: `payload_in_metadata` of `jwt_authn`").restricting(),
    key("oidc.issuer", "", "required; compared exactly with `iss` and with the discovery document"),
    key("oidc.client_id", "", "the audience that tokens must have, unless `oidc.audience` is set"),
    secret("oidc.client_secret", "with `oidc.client_id`, for introspection; logging in is the proxy's work"),
    list("oidc.audience", "the client id", "accepted values of `aud`").restricting(),
    list(
        "oidc.authorized_parties",
        "the audiences, for tokens of several",
        "accepted values of `azp` (or `client_id`); set, every token must have one",
    )
    .restricting(),
    list(
        "oidc.algorithms",
        "RS256 to PS512, ES256, ES384, EdDSA",
        "accepted values of `alg`; `EdDSA` and `Ed25519` are two names of one",
    )
    .restricting(),
    list("oidc.scopes", "", IGNORED),
    key("oidc.claim_mappings.username", "preferred_username", "claim name, or path with dots").restricting(),
    key("oidc.claim_mappings.email", "email", "claim name, or path with dots"),
    key("oidc.claim_mappings.groups", "groups", "claim name, or path with dots: an array, or one string").restricting(),
    key("oidc.claim_mappings.full_name", "name", "claim name, or path with dots"),
    mapping("oidc.required_claims", "claim to list of accepted values; `[]` accepts any value").restricting(),
    key("oidc.groups_prefix", "", "only groups with this prefix count, and lose it").restricting(),
    key("oidc.username_prefix", "", "put before every username, to tell issuers apart").restricting(),
    key("oidc.username_case", "keep", "`keep`, or `lower`: Elasticsearch tells `Bob` from `bob`").restricting(),
    key(
        "oidc.allow_unverified_email",
        "false",
        "take an e-mail address as username although `email_verified` is not true",
    ),
    key("oidc.token_validation", "jwks", "`jwks`, `both`, `userinfo` or `introspection`: see below").restricting(),
    key("oidc.token_header", "", "another header that may carry the token; removed from what goes on").restricting(),
    key("oidc.token_cookie", "", "a cookie that may carry the token; taken out of what goes on").restricting(),
    key(
        "oidc.introspection_ttl",
        "30s",
        "how long an answer of userinfo or introspection is kept, within the token's life",
    ),
    key("oidc.use_pkce", "", IGNORED),
    key("oidc.authorization_endpoint", "", IGNORED),
    key("oidc.token_endpoint", "", IGNORED),
    key("oidc.userinfo_endpoint", "from discovery", "where `both` and `userinfo` ask"),
    key(
        "oidc.introspection_endpoint",
        "from discovery",
        "where `introspection` asks. The secret goes in the `Authorization` header; in the body where discovery announces \
         `client_secret_post` and not `client_secret_basic` (leave this key out then)",
    ),
    key("oidc.jwks_uri", "from discovery", "where the keys are"),
    key("oidc.ca_file", "the system's", "PEM file with the authorities to trust").restricting(),
    key("oidc.timeout", "3s", "one request to the provider"),
    key("oidc.leeway", "60s", "tolerated clock difference for `exp`, `nbf`, `iat`"),
    key("oidc.keys_refresh", "5m", "age by which the keys are fetched again, used or not"),
    key("oidc.keys_max_stale", "24h", "age up to which old keys serve while the provider is down"),
    key("oidc.keys_cooldown", "10s", "between two fetches for an unknown key id, or after a failure"),
    key("cache.type", "", "`redis`; for one process only, `file`, or `memory` (also `\"\"`)"),
    key("cache.expiration", "1h", "life of a credential in the cache"),
    key("cache.near_max_entries", "100000", "credentials kept in this process, and 1.5 KiB for each; 0 for none"),
    key("cache.token_max_entries", "100000", "verified tokens kept in this process, and a KiB for each; 0 for none"),
    key("cache.refused_token_max_entries", "10000", "refused tokens kept for five seconds; 0 for none"),
    key("cache.max_stale", "15m", "how long a kept credential serves while Redis does not answer and may have changed"),
    key("cache.path", "/var/cache/elastauth", "of `file`: a folder, in which `elastauth.redb` is made, or a file"),
    key("cache.memory_max_entries", "100000", "records kept by `memory`"),
    key("cache.redis_host", "localhost:6379", "host and port, `redis://…`, `rediss://…` (TLS), or `unix:/path`"),
    list("cache.redis_nodes", "", "more Sentinels or nodes of a cluster; one that answers is enough"),
    key("cache.redis_mode", "auto", "`auto` (what the first answer says), `single`, `sentinel` or `cluster`"),
    key("cache.redis_master", "the only one", "name of the master that the Sentinels watch"),
    key("cache.redis_db", "0", "database number"),
    key("cache.redis_username", "", "ACL user"),
    secret("cache.redis_password", "password"),
    key("cache.redis_sentinel_username", "", "ACL user of the Sentinels"),
    secret("cache.redis_sentinel_password", "their password, if they have one"),
    key("cache.redis_tls", "false", "TLS, also chosen by `rediss://`"),
    key("cache.redis_tls_ca_file", "the system's", "PEM file with the authorities to trust").restricting(),
    key("cache.redis_tls_cert_file", "", "PEM file with the certificate to show, for mutual TLS"),
    key("cache.redis_tls_key_file", "", "PEM file with its key"),
    key("cache.redis_connect_timeout", "5s", "connecting"),
    key("cache.redis_command_timeout", "250ms", "one command"),
    key("cache.redis_idle_timeout", "5m", "after which an unused connection is closed"),
    key("cache.redis_pool_size", "10 × CPUs", "connections to one server"),
    key("extend_cache", "false", "a use past half the life of a credential renews it"),
    list("elasticsearch.hosts", "", "base addresses, asked in turn; this or `cloud_id` is required"),
    key("elasticsearch.cloud_id", "", "`name:base64`, instead of `hosts`"),
    key(
        "elasticsearch.username",
        "",
        "the administrator's account; this and `password`, or `api_key`, or `bearer_token`",
    ),
    secret("elasticsearch.password", "its password; a file is read again when it changes"),
    secret("elasticsearch.api_key", "`id:key`, or its encoded form; a file is read again when it changes"),
    secret("elasticsearch.bearer_token", "of a service account; a file is read again when it changes"),
    key("elasticsearch.ca_file", "the system's", "PEM file with the authorities to trust").restricting(),
    key(
        "elasticsearch.ca_fingerprint",
        "",
        "SHA-256 of the authority's certificate, which the server presents along with its own; instead of `ca_file`",
    )
    .restricting(),
    key("elasticsearch.client_certificate_file", "", "PEM file with a client certificate to show, and its chain"),
    key("elasticsearch.client_key_file", "", "PEM file with its key"),
    key("elasticsearch.timeout", "2s", "one read"),
    key("elasticsearch.write_timeout", "5s", "one write"),
    key(
        "elasticsearch.settling",
        "90s",
        "how long after a write an earlier one may still land; then the password is tried",
    ),
    key("elasticsearch.confirm_interval", "15m", "how often the password of a user who is active is tried"),
    key(
        "elasticsearch.max_writes",
        "4",
        "concurrent writes of this process; as many wait as are through within half of `grpc.deadline`, others are told when to come back",
    ),
    key("elasticsearch.max_write_rate", "0", "writes of this process in a second; 0 for no such limit"),
    key(
        "elasticsearch.refresh",
        "false",
        "`false`, `true` or `wait_for`: when a write shows in searches; logins never wait",
    ),
    key(
        "elasticsearch.password_hash",
        "",
        "`bcrypt` (cost 10), or `bcrypt4` to `bcrypt14`: hash here; must be the cluster's `password_hashing.algorithm`",
    ),
    key(
        "elasticsearch.compatible_with",
        "",
        "major version for `application/vnd.elasticsearch+json`, where something insists on it",
    ),
    key("elasticsearch.flavor", "auto", "`elasticsearch`, `opensearch`, or `auto`: found out at first use"),
    key(
        "elasticsearch.opensearch_roles",
        "backend_roles",
        "where roles go: `backend_roles`, or `security_roles`, which must exist",
    ),
    key("elasticsearch.opensearch_hash", "here", "who hashes passwords: `here`, or `opensearch`"),
    key("elasticsearch.opensearch_hash_cost", "12", "of bcrypt: 4 to 31"),
    key(
        "elasticsearch.opensearch_write_interval",
        "500ms",
        "from one write to the next, at most half of `write_timeout`; who waits is written together",
    ),
    key("elasticsearch.opensearch_max_batch", "100", "users in one write"),
    key("elasticsearch.dry_run", "false", "decide and log, write nothing, deny"),
    secret("secret_key", "64 hex digits or base64 of 32 bytes; the same on every replica").restricting(),
    secrets(
        "previous_secret_keys",
        "keys that open records but do not seal: former ones, and the next one before it is `secret_key`",
    ),
    key("cluster", "default", "name of the Elasticsearch that records and users are bound to").restricting(),
    list("default_roles", "", "roles when no mapping matched"),
    list("denied_roles", "", "roles that no mapping may give: elastauth does not start if one does").restricting(),
    mapping(
        "group_mappings",
        "group to list of roles; ASCII letters match in any case, other characters only themselves",
    ),
    key("allow_no_roles", "false", "let callers without any role through"),
    mapping("policy.allow", "rules; the first that matches lets the caller through").restricting(),
    key("policy.preflight", "deny", "`allow` lets CORS preflight requests through, without a credential"),
    key("listen", "127.0.0.1:5000", "HTTP: `/health`, `/live`, `/ready`"),
    key("drain", "3s", "how long to serve on after SIGTERM, while health says `NOT_SERVING`; 0: not at all"),
    key("grpc.listen", "127.0.0.1:9001", "where Envoy asks; or `unix:/path`"),
    key("grpc.socket_mode", "0660", "of the Unix socket; who may connect needs `w`").restricting(),
    key("grpc.tls_cert_file", "", "PEM file with our certificate and its chain: turns TLS on").restricting(),
    key("grpc.tls_key_file", "", "PEM file with its key").restricting(),
    key("grpc.tls_client_ca_file", "", "PEM file with the authorities of clients: each must show a certificate")
        .restricting(),
    list("grpc.tls_allowed_sans", "", "URIs (SPIFFE) and host names in clients' certificates that may ask; unset: all")
        .restricting(),
    key("grpc.tls_reload_interval", "10s", "how often these files are looked at for changes"),
    key("grpc.allow_insecure", "false", "listen beyond loopback without TLS: whoever reaches the port gets passwords"),
    key("grpc.reflection", "false", "for `grpcurl`"),
    key("grpc.max_message_size", "4194304", "bytes of one request"),
    key("grpc.deadline", "3s", "longest time for an answer, whatever Envoy allows"),
    key(
        "grpc.max_connection_age",
        "10m",
        "a connection ends at about this age, so that Envoy finds new replicas; 0: never",
    ),
    key("grpc.max_in_flight", "4096", "requests at once that need more than memory; more are answered 503"),
    key(
        "grpc.max_verifications",
        "half the CPUs",
        "signatures of new tokens checked at once; others wait, and known callers need none",
    ),
    key("log_level", "info", "`error`, `warn`, `info`, `debug`, `trace`"),
    key("log_format", "json", "`json` or `text`"),
    key("enable_metrics", "false", "`/metrics` for Prometheus on `listen`"),
    key(
        "tracing.endpoint",
        "",
        "collector of traces (OTLP over gRPC), such as `http://127.0.0.1:4317`: turns them on; else `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT`",
    ),
    key(
        "tracing.ca_file",
        "the system's",
        "PEM file with the authorities to trust; else `OTEL_EXPORTER_OTLP_CERTIFICATE`",
    )
    .restricting(),
    secret(
        "tracing.headers",
        "`name=value,name=value` for the collector, beside those of `OTEL_EXPORTER_OTLP_HEADERS`",
    ),
    key(
        "tracing.service_name",
        "",
        "`service.name`; else of `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES`; else `elastauth`",
    ),
    key(
        "tracing.sampler",
        "parentbased_always_on",
        "which requests are traced: Envoy's choice, and where it made none, all; a name of `OTEL_TRACES_SAMPLER`, which counts else",
    ),
    key("tracing.sampler_arg", "1", "the share of `traceidratio`, from 0 to 1; else `OTEL_TRACES_SAMPLER_ARG`"),
];

/// `cache.redis_host` → `CACHE_REDIS_HOST`
pub(super) fn variable(path: &str) -> String {
    path.replace('.', "_").to_uppercase()
}

/// The nearest known name, if any is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &&str| strsim::damerau_levenshtein(name, other);
    known.min_by_key(distance).filter(|best| distance(best) <= 1 + name.len() / 4)
}

/// What holds when nobody says otherwise; empty for none.
pub(super) fn default(path: &str) -> &'static str {
    KEYS.iter().find(|key| key.path == path).map_or("", |key| key.default)
}

/// Every key with its default and its meaning, as the Markdown table of the README.
#[must_use]
pub fn reference() -> String {
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for Key { path, default, help, .. } in KEYS {
        let described = default.is_empty() || default.contains(' ') || default.contains('\'');
        let default = if described { (*default).to_owned() } else { format!("`{default}`") };
        table.push_str(&format!("| `{path}` | {default} | {help} |\n"));
    }
    table
}
