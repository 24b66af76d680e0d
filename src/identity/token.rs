//! Verification of one JSON Web Token.

use std::time::Duration;

use super::claims;

/// What a token must be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `oidc.issuer`: the exact `iss`.
    pub issuer: String,
    /// `oidc.audience`: one of these must be in `aud`. Default: the client id.
    pub audiences: Vec<String>,
    /// `oidc.algorithms`. Default: RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 EdDSA.
    pub algorithms: Vec<jsonwebtoken::Algorithm>,
    /// `oidc.leeway`: tolerated clock difference. Default 60 s.
    pub leeway: Duration,
    /// `oidc.claim_mappings`.
    pub claims: claims::Settings,
}
