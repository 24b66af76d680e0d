//! Reads the issuers of tokens, and where tokens are looked for: `oidc.*`.

use jsonwebtoken::Algorithm;

use super::address::url;
use super::claims::claims;
use super::header_name::header_name;
use crate::authz::bearer::Sources;
use crate::config::keys::{self, Key, oidc as key};
use crate::config::values::Values;
use crate::identity::issuer::{self, Validation};
use crate::identity::{algorithm, keyring, token};
use crate::{cookies, oidc};

/// Each issuer by its two sides.
type Issuers = Vec<(oidc::Settings, issuer::Settings)>;

/// One issuer, or a list of them, where tokens are looked for, and which cookies never go on. A token must be found before its
/// issuer is known, so that every place and cookie that an item names is one for all.
pub(super) fn issuers(v: &mut Values<'_>, ruled: &[String]) -> (Issuers, Sources, cookies::Selection) {
    let (mut sources, mut stripped) = (Sources::default(), cookies::Selection::default());
    let issuers = v.each(key::SECTION, |v| {
        places(v, &mut sources);
        strip_cookies(v, &mut stripped);
        provider(v, ruled)
    });
    let settings = |at: usize| &issuers[at].1;
    for at in 1..issuers.len() {
        let name = &settings(at).token.issuer;
        if !name.is_empty() && (0..at).any(|before| settings(before).token.issuer == *name) {
            v.problem_in(
                key::SECTION,
                at,
                &key::ISSUER,
                "is the issuer of two items: its tokens would be verified by the first",
            );
        }
        let opaque = |at: usize| settings(at).validation.takes_opaque();
        if opaque(at) && (0..at).any(opaque) {
            v.problem_in(
                key::SECTION,
                at,
                &key::TOKEN_VALIDATION,
                "one issuer is asked about opaque tokens already, and others must not be shown them: use jwks",
            );
        }
    }
    let prefixes: Vec<&str> =
        issuers.iter().map(|(_, settings)| settings.token.claims.username_prefix.as_str()).collect();
    v.warnings.extend(prefixes.iter().enumerate().flat_map(|(at, _)| shared_names(&prefixes, at)));
    (issuers, sources, stripped)
}

/// Warnings where a name of this issuer may also be one of another issuer: it belongs to the person who comes first.
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
    if let Some(text) = v.get(&key::TOKEN_HEADER) {
        let name = header_name(v, &key::TOKEN_HEADER, &text);
        if !sources.headers.contains(&name) {
            sources.headers.push(name);
        }
    }
    if let Some(name) = v.get(&key::TOKEN_COOKIE) {
        if !cookies::is_name(&name) {
            v.problem(&key::TOKEN_COOKIE, "must be the name of a cookie");
        }
        if !sources.cookies.contains(&name) {
            sources.cookies.push(name);
        }
    }
}

fn strip_cookies(v: &mut Values<'_>, stripped: &mut cookies::Selection) {
    for text in v.get(&key::STRIP_COOKIES) {
        let prefix = text.strip_suffix('*');
        let name = prefix.unwrap_or(&text);
        // a lone * would take the application's own cookies too, a * elsewhere would match no cookie
        if !cookies::is_name(name) || name.contains('*') {
            v.problem(&key::STRIP_COOKIES, "must be names of cookies, or beginnings of names with a * at the end");
        }
        let listed = if prefix.is_some() { &mut stripped.prefixes } else { &mut stripped.names };
        listed.push(name.to_owned());
    }
}

fn provider(v: &mut Values<'_>, ruled: &[String]) -> (oidc::Settings, issuer::Settings) {
    for unused in [&key::USE_PKCE, &key::AUTHORIZATION_ENDPOINT, &key::TOKEN_ENDPOINT] {
        v.get(unused);
    }
    v.get(&key::SCOPES);
    let issuer = v.required(&key::ISSUER);
    let sound = !issuer.is_empty() && url(v, &key::ISSUER, &issuer).is_some();
    let client_id = v.get(&key::CLIENT_ID);
    let client_secret = v.get(&key::CLIENT_SECRET);
    let mut audiences = v.get(&key::AUDIENCE);
    if audiences.is_empty() {
        audiences.extend(client_id.clone());
    }
    if audiences.is_empty() {
        v.problem(&key::CLIENT_ID, "is required, or oidc.audience: a token for another service must not pass");
    }
    let mut endpoint = |key: &'static Key<Option<String>>| v.get(key).and_then(|text| url(v, key, &text));
    let provider = oidc::Settings {
        issuer: issuer.clone(),
        jwks_uri: endpoint(&key::JWKS_URI),
        userinfo_endpoint: endpoint(&key::USERINFO_ENDPOINT),
        introspection_endpoint: endpoint(&key::INTROSPECTION_ENDPOINT),
        client: client_id.zip(client_secret),
        timeout: v.get(&key::TIMEOUT),
        ca_file: v.get(&key::CA_FILE),
    };
    if sound && let Err(error) = oidc::check(&provider) {
        v.problem(keys::named(error.key()).unwrap_or(&key::ISSUER), error);
    }
    let token = token::Settings {
        issuer,
        audiences,
        authorized_parties: v.get(&key::AUTHORIZED_PARTIES),
        algorithms: algorithms(v),
        leeway: v.get(&key::LEEWAY),
        claims: claims(v, ruled),
    };
    let issuer = issuer::Settings {
        validation: validation(v, &provider),
        introspection_ttl: v.get(&key::INTROSPECTION_TTL),
        token,
        keyring: keyring::Settings {
            refresh: v.get(&key::KEYS_REFRESH),
            max_stale: v.get(&key::KEYS_MAX_STALE),
            cooldown: v.get(&key::KEYS_COOLDOWN),
        },
    };
    (provider, issuer)
}

fn validation(v: &mut Values<'_>, provider: &oidc::Settings) -> Validation {
    let validation = v.get(&key::TOKEN_VALIDATION);
    match validation {
        Validation::Both | Validation::Userinfo => v.warning(
            &key::TOKEN_VALIDATION,
            "userinfo does not say for which client an opaque token was made: one of any client of the provider is accepted; introspection says it",
        ),
        Validation::Introspection if provider.client.is_none() => {
            v.problem(
                &key::TOKEN_VALIDATION,
                "introspection needs oidc.client_id and oidc.client_secret: the provider answers its clients only",
            );
        }
        Validation::Jwks | Validation::Introspection => {}
    }
    validation
}

fn algorithms(v: &mut Values<'_>) -> Vec<Algorithm> {
    let names = v.get(&key::ALGORITHMS);
    if names.is_empty() {
        return algorithm::ALL.to_vec();
    }
    let mut algorithms = Vec::new();
    for name in names {
        match algorithm::named(&name).filter(|algorithm| algorithm::supported(*algorithm)) {
            Some(algorithm) => algorithms.push(algorithm),
            None => v.problem(&key::ALGORITHMS, format!("{name} is not supported, or not safe here")),
        }
    }
    algorithms
}
