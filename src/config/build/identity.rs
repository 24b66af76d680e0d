//! `oidc.*`

use jsonwebtoken::Algorithm;

use super::headers::header_name;
use super::url;
use crate::authz::bearer::Sources;
use crate::config::values::Values;
use crate::identity::claims::{self, Case};
use crate::identity::issuer::{self, Validation};
use crate::identity::{algorithm, keyring, token};
use crate::oidc;

/// One issuer, or a list of them, and where tokens are looked for: a token must be found before it can be told whose it is, so that
/// every place that an item names is one for all.
pub(super) fn issuers(v: &mut Values<'_>) -> (Vec<(oidc::Settings, issuer::Settings)>, Sources) {
    let mut sources = Sources::default();
    let issuers = v.each("oidc", |v| {
        places(v, &mut sources);
        provider(v)
    });
    let settings = |at: usize| &issuers[at].1;
    for at in 1..issuers.len() {
        let name = &settings(at).token.issuer;
        if !name.is_empty() && (0..at).any(|before| settings(before).token.issuer == *name) {
            v.problem_in("oidc", at, "oidc.issuer", "stands twice: its tokens would be judged by the first");
        }
        let opaque = |at: usize| settings(at).validation.takes_opaque();
        if opaque(at) && (0..at).any(opaque) {
            v.problem_in(
                "oidc",
                at,
                "oidc.token_validation",
                "one issuer is asked about opaque tokens already, and others must not be shown them: use jwks",
            );
        }
    }
    let prefixes: Vec<&str> =
        issuers.iter().map(|(_, settings)| settings.token.claims.username_prefix.as_str()).collect();
    v.warnings.extend(prefixes.iter().enumerate().flat_map(|(at, _)| shared_names(&prefixes, at)));
    (issuers, sources)
}

/// What must be known where a name of this issuer may also be one of another: it belongs to the person who comes first.
fn shared_names(prefixes: &[&str], at: usize) -> Vec<String> {
    let prefix = prefixes[at];
    let mut warnings = Vec::new();
    if prefixes[..at].contains(&prefix) {
        warnings.push(format!(
            "oidc[{at}].username_prefix: another issuer has the same; of two people with one name, the second is refused: give each \
             issuer a prefix of its own"
        ));
    }
    for (other, longer) in prefixes.iter().enumerate() {
        if longer.len() > prefix.len() && longer.starts_with(prefix) {
            let rest = &longer[prefix.len()..];
            warnings.push(format!(
                "oidc[{at}].username_prefix: {rest}bob of this issuer and bob of oidc[{other}] are both the user {longer}bob, and the \
                 second of them is refused: give each issuer a prefix of its own that does not begin with another's"
            ));
        }
    }
    warnings
}

fn places(v: &mut Values<'_>, sources: &mut Sources) {
    if let Some(text) = v.text("oidc.token_header") {
        let name = header_name(v, "oidc.token_header", &text);
        if !sources.headers.contains(&name) {
            sources.headers.push(name);
        }
    }
    if let Some(name) = v.text("oidc.token_cookie") {
        // RFC 6265 §4.1.1: a token of HTTP
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            v.problem("oidc.token_cookie", "must be the name of a cookie");
        }
        if !sources.cookies.contains(&name) {
            sources.cookies.push(name);
        }
    }
}

fn provider(v: &mut Values<'_>) -> (oidc::Settings, issuer::Settings) {
    for unused in ["oidc.use_pkce", "oidc.authorization_endpoint", "oidc.token_endpoint"] {
        v.text(unused);
    }
    v.list("oidc.scopes");
    let issuer = v.required("oidc.issuer");
    let sound = !issuer.is_empty() && url(v, "oidc.issuer", &issuer).is_some();
    let client_id = v.text("oidc.client_id");
    let client_secret = v.secret("oidc.client_secret");
    let mut audiences = v.list("oidc.audience");
    if audiences.is_empty() {
        audiences.extend(client_id.clone());
    }
    if audiences.is_empty() {
        v.problem("oidc.client_id", "is required, or oidc.audience: a token for another service must not pass");
    }
    let mut endpoint = |path| v.text(path).and_then(|text| url(v, path, &text));
    let provider = oidc::Settings {
        issuer: issuer.clone(),
        jwks_uri: endpoint("oidc.jwks_uri"),
        userinfo_endpoint: endpoint("oidc.userinfo_endpoint"),
        introspection_endpoint: endpoint("oidc.introspection_endpoint"),
        client: client_id.zip(client_secret),
        timeout: v.duration("oidc.timeout"),
        ca_file: v.text("oidc.ca_file").map(Into::into),
    };
    if sound && let Err(error) = oidc::check(&provider) {
        v.problem(error.key(), error);
    }
    let token = token::Settings {
        issuer,
        audiences,
        authorized_parties: v.list("oidc.authorized_parties"),
        algorithms: algorithms(v),
        leeway: v.duration("oidc.leeway"),
        claims: claims(v),
    };
    let issuer = issuer::Settings {
        validation: validation(v, &provider),
        introspection_ttl: v.duration("oidc.introspection_ttl"),
        token,
        keyring: keyring::Settings {
            refresh: v.duration("oidc.keys_refresh"),
            max_stale: v.duration("oidc.keys_max_stale"),
            cooldown: v.duration("oidc.keys_cooldown"),
        },
    };
    (provider, issuer)
}

fn validation(v: &mut Values<'_>, provider: &oidc::Settings) -> Validation {
    const PATH: &str = "oidc.token_validation";
    let validation = match v.setting(PATH).as_str() {
        "jwks" => Validation::Jwks,
        "both" => Validation::Both,
        "userinfo" => Validation::Userinfo,
        "introspection" => Validation::Introspection,
        _ => {
            v.problem(PATH, "must be jwks, both, userinfo or introspection");
            Validation::Jwks
        }
    };
    match validation {
        Validation::Both | Validation::Userinfo => v.warning(
            PATH,
            "userinfo does not say for whom an opaque token was made: one of any client of the provider passes; introspection tells",
        ),
        Validation::Introspection if provider.client.is_none() => {
            v.problem(PATH, "introspection needs oidc.client_id and oidc.client_secret: the provider answers its clients only");
        }
        Validation::Jwks | Validation::Introspection => {}
    }
    validation
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
        kept: Vec::new(),
    }
}

fn algorithms(v: &mut Values<'_>) -> Vec<Algorithm> {
    let names = v.list("oidc.algorithms");
    if names.is_empty() {
        return algorithm::ALL.to_vec();
    }
    let mut algorithms = Vec::new();
    for name in names {
        match algorithm::named(&name).filter(|algorithm| algorithm::supported(*algorithm)) {
            Some(algorithm) => algorithms.push(algorithm),
            None => v.problem("oidc.algorithms", format!("{name} is not supported, or not safe here")),
        }
    }
    algorithms
}
