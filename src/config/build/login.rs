//! Reads how people log in with a browser: `login.*`, and what of `oidc.*` only logins use.

use secrecy::SecretString;
use url::Url;

use super::address::url;
use crate::config::keys::{Info, login as key, oidc};
use crate::config::settings::Provider;
use crate::config::values::Values;
use crate::login::Settings;
use crate::login::settings::Site;
use crate::outbound;

/// An issuer's client, and the keys below `oidc` that only logins use.
pub(super) struct LoginClient {
    pub(super) id: Option<String>,
    pub(super) secret: Option<SecretString>,
    pub(super) scopes: Vec<String>,
    pub(super) pkce: bool,
}

/// `clients`: one for each issuer, in their order.
pub(super) fn login(
    v: &mut Values<'_>,
    enabled: bool,
    provider: &Provider,
    clients: &[LoginClient],
) -> Option<Settings> {
    let settings = Settings {
        hosts: Vec::new(),
        path: v.get(&key::PATH),
        issuer: 0,
        client_id: String::new(),
        scopes: Vec::new(),
        pkce: true,
        session_lifetime: v.get(&key::SESSION_LIFETIME),
        idle_timeout: v.get(&key::IDLE_TIMEOUT),
        max_stale: v.get(&key::MAX_STALE).unwrap_or_default(),
        logout_paths: v.get(&key::LOGOUT_PATHS),
        after_logout: None,
    };
    let (hosts, named, after_logout) = (v.get(&key::HOSTS), v.get(&key::ISSUER), v.get(&key::AFTER_LOGOUT));
    if !enabled {
        without_effect(v);
        return None;
    }
    let hosts = sites(v, &hosts);
    check_paths(v, &settings);
    let after_logout = after_logout.and_then(|text| url(v, &key::AFTER_LOGOUT, &text));
    let Provider::Oidc(issuers, _) = provider else {
        v.problem(
            &key::ENABLED,
            "with auth_provider: authelia people log in at the login proxy: set auth_provider: oidc, or turn the login off",
        );
        return None;
    };
    let names: Vec<&str> = issuers.iter().map(|(_, issuer)| issuer.token.issuer.as_str()).collect();
    let issuer = issuer(v, &names, named.as_deref())?;
    let client = clients.get(issuer)?;
    check_client(v, client, (names.len() > 1).then_some(issuer));
    let LoginClient { id, scopes, pkce, .. } = client;
    let (client_id, scopes) = (id.clone().unwrap_or_default(), scopes.clone());
    Some(Settings { hosts, issuer, client_id, scopes, pkce: *pkce, after_logout, ..settings })
}

/// A key that is written while the login is off: the operator expects something of it.
fn without_effect(v: &mut Values<'_>) {
    let keys: [&'static Info; 8] = [
        &key::HOSTS,
        &key::PATH,
        &key::ISSUER,
        &key::SESSION_LIFETIME,
        &key::IDLE_TIMEOUT,
        &key::MAX_STALE,
        &key::LOGOUT_PATHS,
        &key::AFTER_LOGOUT,
    ];
    for key in keys.into_iter().filter(|key| v.is_written(key)).collect::<Vec<_>>() {
        v.warning(key, "is written, and has no effect without login.enabled: true");
    }
}

/// The place of the issuer that people log in at.
fn issuer(v: &mut Values<'_>, names: &[&str], named: Option<&str>) -> Option<usize> {
    match (names, named) {
        ([_], None) => Some(0),
        (_, None) => {
            v.problem(&key::ISSUER, "is required with several issuers: the oidc.issuer that people log in at");
            None
        }
        (_, Some(named)) => {
            let at = names.iter().position(|name| *name == named);
            if at.is_none() {
                v.problem(&key::ISSUER, "must be one of the issuers below oidc, to the letter");
            }
            at
        }
    }
}

/// `at`: the place of the issuer where there are several.
fn check_client(v: &mut Values<'_>, client: &LoginClient, at: Option<usize>) {
    let mut problem = |key: &'static Info, what: &str| match at {
        Some(at) => v.problem_in(oidc::SECTION, at, key, what),
        None => v.problem(key, what),
    };
    if client.id.is_none() {
        problem(&oidc::CLIENT_ID, "is required where login.enabled is true: people log in at this client");
    }
    if !client.scopes.iter().any(|scope| scope == "openid") {
        problem(&oidc::SCOPES, "must have openid where login.enabled is true: without it there are no ID tokens");
    }
    if !client.pkce && client.secret.is_none() {
        problem(
            &oidc::USE_PKCE,
            "must be true without oidc.client_secret: whoever sees the code of a login could redeem it",
        );
    }
}

fn check_paths(v: &mut Values<'_>, settings: &Settings) {
    if !is_plain(&settings.path) || settings.path.ends_with('/') {
        v.problem(
            &key::PATH,
            "must begin with a slash and not end with one, such as /.elastauth, and have plain segments: letters, digits and \
             -._~",
        );
    }
    for path in settings.logout_paths.iter().filter(|path| !is_plain(path) || *path == "/") {
        let what = format!("{path} must be a path, such as /logout: it begins with a slash and has no query and no *");
        v.problem(&key::LOGOUT_PATHS, what);
    }
}

/// A path that all programs read in the same way.
fn is_plain(path: &str) -> bool {
    let segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    path.strip_prefix('/').is_some_and(|rest| rest.strip_suffix('/').unwrap_or(rest).split('/').all(segment))
}

fn sites(v: &mut Values<'_>, texts: &[String]) -> Vec<Site> {
    if texts.is_empty() {
        v.problem(&key::HOSTS, "is required where login.enabled is true: no other host becomes part of a redirect URI");
    }
    let mut sites: Vec<Site> = Vec::new();
    for text in texts {
        match site(text) {
            Ok(site) if sites.iter().any(|other| other.host == site.host) => {
                v.problem(&key::HOSTS, format!("{text} is there twice"));
            }
            Ok(site) if sites.iter().any(|other| name_of(other) == name_of(&site)) => {
                let why = "differs from another host in the port only: browsers keep one session for both, because cookies know no ports";
                v.problem(&key::HOSTS, format!("{text} {why}"));
            }
            Ok(site) => sites.push(site),
            Err(why) => v.problem(&key::HOSTS, format!("{} {why}", crate::printable::printable(text))),
        }
    }
    sites
}

/// The host's name without the port.
fn name_of(site: &Site) -> &str {
    let host = site.host.as_str();
    host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name)
}

/// A host with the scheme of its visitors, https unless it says http; as browsers write it, which the parser of URLs does, too
/// (IDNA, and no port that is the scheme's own).
fn site(text: &str) -> Result<Site, &'static str> {
    const NONE: &str = "must be a host, such as kibana.example.org, kibana.example.org:8443 or http://localhost:5601";
    let full = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = Url::parse(&full).map_err(|_| NONE)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    let host = url.host_str().filter(|host| !host.is_empty() && host.bytes().all(plain)).ok_or(NONE)?;
    if !bare || !url.username().is_empty() || url.password().is_some() || !["http", "https"].contains(&url.scheme()) {
        return Err(NONE);
    }
    if url.scheme() == "http" && !outbound::loopback(&url) {
        return Err("may not have http: browsers keep the session's cookie for https and this machine only");
    }
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Ok(Site { origin: format!("{}://{host}", url.scheme()), host })
}
