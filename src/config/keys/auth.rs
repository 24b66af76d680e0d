//! What names the caller.

use super::choice::ProviderKind;
use super::key::{key, section};

section! {
    PROVIDER: ProviderKind = key(
        "auth_provider",
        "oidc",
        "`oidc`: tokens; `authelia`: headers of a login proxy, or Envoy's metadata",
    );
}
