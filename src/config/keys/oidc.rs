//! `oidc`: callers named by tokens of one issuer, or of several.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::form::Mapping;
use super::key::{Repeatable, key, section, unset};
use crate::identity::claims::Case;
use crate::identity::issuer::Validation;
use crate::oidc::ClientAuthMethod;

/// Each item of the list is an issuer.
pub(crate) const SECTION: Repeatable = Repeatable { name: "oidc" };

section! {
    ISSUER: Option<String> = unset(
        "oidc.issuer",
        "required; compared exactly with `iss` and with the discovery document",
    );
    CLIENT_ID: Option<String> = unset(
        "oidc.client_id",
        "the audience that tokens must have, unless `oidc.audience` is set",
    );
    CLIENT_SECRET: Option<SecretString> = unset(
        "oidc.client_secret",
        "with `oidc.client_id`, for introspection and for `login`",
    );
    AUDIENCE: Vec<String> = key("oidc.audience", "the client id", "accepted values of `aud`").restricting();
    AUTHORIZED_PARTIES: Vec<String> = key(
        "oidc.authorized_parties",
        "the audiences, for tokens of several",
        "accepted values of `azp` (or `client_id`); where this is set, every token must have one",
    )
    .restricting();
    ALGORITHMS: Vec<String> = key(
        "oidc.algorithms",
        "RS256 to PS512, ES256, ES384, EdDSA",
        "accepted values of `alg`; `EdDSA` and `Ed25519` are two names of one",
    )
    .restricting();
    SCOPES: Vec<String> = key(
        "oidc.scopes",
        "openid profile email",
        "what a login asks for; a list, or one text with spaces. Providers that demand it for refresh tokens need \
         `offline_access`",
    );
    CLAIM_USERNAME: String = key(
        "oidc.claim_mappings.username",
        "preferred_username",
        "claim with the username: its name, or a path with dots",
    )
    .restricting();
    CLAIM_EMAIL: String = key(
        "oidc.claim_mappings.email",
        "email",
        "claim with the address that Kibana shows: its name, or a path with dots",
    );
    CLAIM_GROUPS: String = key(
        "oidc.claim_mappings.groups",
        "groups",
        "claim with the groups, an array or one string: its name, or a path with dots",
    )
    .restricting();
    CLAIM_FULL_NAME: String = key(
        "oidc.claim_mappings.full_name",
        "name",
        "claim with the full name that Kibana shows: its name, or a path with dots",
    );
    REQUIRED_CLAIMS: Mapping = unset(
        "oidc.required_claims",
        "claims that a token must have, each with a list of accepted values; `[]` accepts any value",
    )
    .restricting();
    GROUPS_PREFIX: Option<String> = unset(
        "oidc.groups_prefix",
        "only groups with this prefix are used, without it",
    )
    .restricting();
    USERNAME_PREFIX: Option<String> = unset(
        "oidc.username_prefix",
        "put before every username, to tell issuers apart",
    )
    .restricting();
    USERNAME_CASE: Case = key(
        "oidc.username_case",
        "keep",
        "`keep`, or `lower`: Elasticsearch tells `Bob` from `bob`",
    )
    .restricting();
    ALLOW_UNVERIFIED_EMAIL: bool = key(
        "oidc.allow_unverified_email",
        "false",
        "take an e-mail address as username although `email_verified` is not true",
    );
    TOKEN_VALIDATION: Validation = key(
        "oidc.token_validation",
        "jwks",
        "`jwks`, `both`, `userinfo` or `introspection`: see above",
    )
    .restricting();
    TOKEN_HEADER: Option<String> = unset(
        "oidc.token_header",
        "another header that may carry the token; removed from what goes on",
    )
    .restricting();
    TOKEN_COOKIE: Option<String> = unset(
        "oidc.token_cookie",
        "a cookie that may carry the token; taken out of what goes on",
    )
    .restricting();
    STRIP_COOKIES: Vec<String> = unset(
        "oidc.strip_cookies",
        "cookies that never go on to Elasticsearch or Kibana: names, or beginnings of names with a `*` at the end",
    )
    .restricting();
    INTROSPECTION_TTL: Duration = key(
        "oidc.introspection_ttl",
        "30s",
        "how long an answer of userinfo or introspection is kept, within the token's life",
    );
    USE_PKCE: bool = key(
        "oidc.use_pkce",
        "true",
        "whether logins use PKCE (RFC 7636, S256); `false` only for providers that cannot",
    );
    CLIENT_AUTH_METHOD: ClientAuthMethod = key(
        "oidc.client_auth_method",
        "client_secret_basic",
        "`client_secret_basic` or `client_secret_post`: how the secret is shown at the token endpoint, and at introspection. \
         Unless it is written, `client_secret_post` where discovery announces that and not the other",
    );
    AUTHORIZATION_ENDPOINT: Option<String> = key(
        "oidc.authorization_endpoint",
        "from discovery",
        "address that a login sends browsers to",
    );
    TOKEN_ENDPOINT: Option<String> = key(
        "oidc.token_endpoint",
        "from discovery",
        "address that a login gets its tokens from",
    );
    END_SESSION_ENDPOINT: Option<String> = key(
        "oidc.end_session_endpoint",
        "from discovery",
        "address that a logout sends browsers to",
    );
    USERINFO_ENDPOINT: Option<String> = key(
        "oidc.userinfo_endpoint",
        "from discovery",
        "address that `both` and `userinfo` ask",
    );
    INTROSPECTION_ENDPOINT: Option<String> = key(
        "oidc.introspection_endpoint",
        "from discovery",
        "address that `introspection` asks. Where it is written and the provider takes the secret in the body only, set \
         `oidc.client_auth_method`, too",
    );
    JWKS_URI: Option<String> = key("oidc.jwks_uri", "from discovery", "address of the issuer's keys");
    CA_FILE: Option<PathBuf> = key("oidc.ca_file", "the system's", "PEM file with the authorities to trust").restricting();
    TIMEOUT: Duration = key("oidc.timeout", "3s", "longest time of one request to the provider");
    LEEWAY: Duration = key("oidc.leeway", "60s", "tolerated clock difference for `exp`, `nbf`, `iat`");
    KEYS_REFRESH: Duration = key("oidc.keys_refresh", "5m", "age by which the keys are fetched again, used or not");
    KEYS_MAX_STALE: Duration = key(
        "oidc.keys_max_stale",
        "24h",
        "age up to which old keys are used while the provider is down",
    );
    KEYS_COOLDOWN: Duration = key(
        "oidc.keys_cooldown",
        "10s",
        "shortest time between two fetches for an unknown key id, or after a failure",
    );
}
