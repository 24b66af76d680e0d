//! `oidc.*`

use jsonwebtoken::Algorithm;

use super::url;
use crate::config::values::Values;
use crate::identity::claims::{self, Case};
use crate::identity::{algorithm, token};
use crate::oidc;

pub(super) fn provider(v: &mut Values<'_>) -> (oidc::Settings, token::Settings) {
    let issuer = v.required("oidc.issuer");
    if !issuer.is_empty() {
        url(v, "oidc.issuer", &issuer);
    }
    match v.setting("oidc.token_validation").as_str() {
        "jwks" => {}
        "both" => v.warnings.push("oidc.token_validation: both: userinfo is not asked in this version".into()),
        "userinfo" => v.problem("oidc.token_validation", "userinfo is not available in this version; use jwks"),
        _ => v.problem("oidc.token_validation", "must be jwks or both"),
    }
    v.text("oidc.userinfo_endpoint");
    let client_id = v.text("oidc.client_id");
    let mut audiences = v.list("oidc.audience");
    if audiences.is_empty() {
        audiences.extend(client_id);
    }
    if audiences.is_empty() {
        v.problem("oidc.client_id", "is required, or oidc.audience: a token for another service must not pass");
    }
    let jwks_uri = v.text("oidc.jwks_uri").and_then(|text| url(v, "oidc.jwks_uri", &text));
    let claims = claims(v);
    let provider = oidc::Settings {
        issuer: issuer.clone(),
        jwks_uri,
        timeout: v.duration("oidc.timeout"),
        ca_file: v.text("oidc.ca_file").map(Into::into),
    };
    let (algorithms, leeway) = (algorithms(v), v.duration("oidc.leeway"));
    let authorized_parties = v.list("oidc.authorized_parties");
    (provider, token::Settings { issuer, audiences, authorized_parties, algorithms, leeway, claims })
}

/// `oidc.claim_mappings`, and what else the claims must be.
pub(super) fn claims(v: &mut Values<'_>) -> claims::Settings {
    claims::Settings {
        username: v.setting("oidc.claim_mappings.username"),
        email: v.setting("oidc.claim_mappings.email"),
        groups: v.setting("oidc.claim_mappings.groups"),
        full_name: v.setting("oidc.claim_mappings.full_name"),
        required: v.mapping("oidc.required_claims"),
        groups_prefix: v.text("oidc.groups_prefix").unwrap_or_default(),
        username_prefix: v.text("oidc.username_prefix").unwrap_or_default(),
        username_case: match v.setting("oidc.username_case").as_str() {
            "keep" => Case::Keep,
            "lower" => Case::Lower,
            _ => {
                v.problem("oidc.username_case", "must be keep or lower");
                Case::Keep
            }
        },
        allow_unverified_email: v.boolean("oidc.allow_unverified_email"),
    }
}

fn algorithms(v: &mut Values<'_>) -> Vec<Algorithm> {
    let names = v.list("oidc.algorithms");
    if names.is_empty() {
        return algorithm::ALL.to_vec();
    }
    let mut algorithms = Vec::new();
    for name in names {
        match name.parse().ok().filter(|algorithm| algorithm::supported(*algorithm)) {
            Some(algorithm) => algorithms.push(algorithm),
            None => v.problem("oidc.algorithms", format!("{name} is not supported, or not safe here")),
        }
    }
    algorithms
}
