//! Reads the issuers of tokens, and where tokens are looked for: `oidc.*`.

use jsonwebtoken::Algorithm;

use super::address::url;
use super::claims::claims;
use super::header_name::header_name;
use super::login::LoginClient;
use crate::authz::bearer::Sources;
use crate::config::keys::{self, Key, oidc as key};
use crate::config::values::Values;
use crate::identity::issuer::{self, Validation};
use crate::identity::{algorithm, keyring, token};
use crate::{cookies, oidc};

/// What `oidc.*` says.
pub(super) struct Issuers {
    /// Each of them by its two sides.
    pub(super) all: Vec<(oidc::Settings, issuer::Settings)>,
    /// Where tokens are looked for.
    pub(super) sources: Sources,
    /// Each issuer's client, where people log in with a browser.
    pub(super) clients: Vec<LoginClient>,
    /// The cookies that never go on.
    pub(super) cookies: cookies::Selection,
}

/// One issuer, or a list of them. A token must be found before its issuer is known, so that every place and cookie that an item
/// names is one for all. `login`: whether people log in with a browser.
pub(super) fn issuers(v: &mut Values<'_>, ruled: &[String], login: bool) -> Issuers {
    let (mut sources, mut cookies) = (Sources::default(), cookies::Selection::default());
    let mut clients = Vec::new();
    let issuers = v.each(key::SECTION, |v| {
        places(v, &mut sources);
        strip_cookies(v, &mut cookies);
        let client = client(v);
        let issuer = provider(v, ruled, &client, login);
        clients.push(client);
        issuer
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
    Issuers { all: issuers, sources, clients, cookies }
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

/// The client of logins. A list of scopes may also be one text with spaces, as it is sent.
fn client(v: &mut Values<'_>) -> LoginClient {
    let mut scopes: Vec<String> =
        v.get(&key::SCOPES).iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect();
    if scopes.is_empty() {
        scopes.extend(key::SCOPES.default.split(' ').map(str::to_owned));
    }
    LoginClient { id: v.get(&key::CLIENT_ID), secret: v.get(&key::CLIENT_SECRET), scopes, pkce: v.get(&key::USE_PKCE) }
}

fn provider(
    v: &mut Values<'_>,
    ruled: &[String],
    client: &LoginClient,
    login: bool,
) -> (oidc::Settings, issuer::Settings) {
    let issuer = v.required(&key::ISSUER);
    let sound = !issuer.is_empty() && url(v, &key::ISSUER, &issuer).is_some();
    let mut audiences = v.get(&key::AUDIENCE);
    if audiences.is_empty() {
        audiences.extend(client.id.clone());
    }
    if audiences.is_empty() {
        v.problem(&key::CLIENT_ID, "is required, or oidc.audience: a token for another service must not pass");
    }
    let client_auth = v.get(&key::CLIENT_AUTH_METHOD);
    let client_auth = v.is_written(&key::CLIENT_AUTH_METHOD).then_some(client_auth);
    // files of the Go service have the endpoints of logins, and it never looked at them
    let [authorization_endpoint, token_endpoint, end_session_endpoint] =
        [&key::AUTHORIZATION_ENDPOINT, &key::TOKEN_ENDPOINT, &key::END_SESSION_ENDPOINT]
            .map(|key| v.get(key).filter(|_| login).and_then(|text| url(v, key, &text)));
    let mut endpoint = |key: &'static Key<Option<String>>| v.get(key).and_then(|text| url(v, key, &text));
    let provider = oidc::Settings {
        issuer: issuer.clone(),
        jwks_uri: endpoint(&key::JWKS_URI),
        userinfo_endpoint: endpoint(&key::USERINFO_ENDPOINT),
        introspection_endpoint: endpoint(&key::INTROSPECTION_ENDPOINT),
        authorization_endpoint,
        token_endpoint,
        end_session_endpoint,
        client: client.id.clone().map(|id| oidc::Client { id, secret: client.secret.clone() }),
        client_auth,
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
        Validation::Introspection if provider.client.as_ref().is_none_or(|client| client.secret.is_none()) => {
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
