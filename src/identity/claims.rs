//! Claims to an identity.

/// `oidc.claim_mappings`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Default `preferred_username`.
    pub username: String,
    /// Default `email`.
    pub email: String,
    /// Default `groups`.
    pub groups: String,
    /// Default `name`.
    pub full_name: String,
}
