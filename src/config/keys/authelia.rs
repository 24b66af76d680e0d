//! `authelia`: callers named by headers of a login proxy, or by Envoy's metadata.

use secrecy::SecretString;

use super::key::{key, section, unset};

section! {
    HEADER_USERNAME: String = key(
        "authelia.header_username",
        "Remote-User",
        "header with the caller's name; removed from what goes on, as the next three",
    )
    .restricting();
    HEADER_GROUPS: String = key("authelia.header_groups", "Remote-Groups", "header with the caller's groups").restricting();
    HEADER_EMAIL: String = key("authelia.header_email", "Remote-Email", "header with the address that Kibana shows");
    HEADER_NAME: String = key("authelia.header_name", "Remote-Name", "header with the full name that Kibana shows");
    GROUPS_SEPARATOR: String = key(
        "authelia.groups_separator",
        ",",
        "character between two groups; a backslash before it makes it part of a name",
    )
    .restricting();
    ISSUER: String = key(
        "authelia.issuer",
        "authelia",
        "stands for the issuer, which headers do not name: users belong to it",
    );
    SHARED_SECRET: Option<SecretString> = unset(
        "authelia.shared_secret",
        "must come with every request, as `elastauth-secret` in `context_extensions`; at least 32 characters",
    )
    .restricting();
    PREVIOUS_SHARED_SECRET: Option<SecretString> = unset(
        "authelia.previous_shared_secret",
        "accepted too, while the secret is being changed",
    );
    TRUSTED_PEERS: Vec<String> = unset(
        "authelia.trusted_peers",
        "principals (`source.principal`) from which Envoy takes identity headers",
    )
    .restricting();
    METADATA_NAMESPACE: Option<String> = unset(
        "authelia.metadata_namespace",
        "take the identity from this namespace of Envoy's metadata instead, such as `envoy.filters.http.jwt_authn`",
    )
    .restricting();
    METADATA_PAYLOAD: Option<String> = unset(
        "authelia.metadata_payload",
        "the key within that namespace: `payload_in_metadata` of `jwt_authn`",
    )
    .restricting();
}
