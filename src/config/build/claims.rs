//! Reads which claims make an identity, and what they must be.

use crate::config::keys::oidc;
use crate::config::values::Values;
use crate::identity::claims::Settings;

/// `oidc.claim_mappings`, and the other keys about claims. Envoy's metadata is read by them too. The claims in `ruled` are kept for
/// the rules that are about them.
pub(super) fn claims(v: &mut Values<'_>, ruled: &[String]) -> Settings {
    Settings {
        username: v.get(&oidc::CLAIM_USERNAME),
        email: v.get(&oidc::CLAIM_EMAIL),
        groups: v.get(&oidc::CLAIM_GROUPS),
        full_name: v.get(&oidc::CLAIM_FULL_NAME),
        required: v.get(&oidc::REQUIRED_CLAIMS),
        groups_prefix: v.get(&oidc::GROUPS_PREFIX).unwrap_or_default(),
        username_prefix: v.get(&oidc::USERNAME_PREFIX).unwrap_or_default(),
        username_case: v.get(&oidc::USERNAME_CASE),
        allow_unverified_email: v.get(&oidc::ALLOW_UNVERIFIED_EMAIL),
        kept: ruled.to_vec(),
    }
}
