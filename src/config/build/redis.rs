//! Reads the way to Redis: `cache.redis_*`.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::keys::redis as keys;
use crate::config::values::Values;
use crate::redis::{Account, Address, Mode, Settings, Tls, TlsError};

/// How long a connection may be unused before it is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The server that `cache.redis_host` names, and how it is reached.
struct Target {
    address: Address,
    tls: bool,
    db: Option<i64>,
    account: Account,
}

impl Target {
    fn plain(address: Address) -> Self {
        Self { address, tls: false, db: None, account: Account::default() }
    }

    /// `host:port`, `redis://[user:password@]host[:port][/db]`, the same with `rediss`, or `unix:/path`.
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
        match scheme {
            "redis" | "rediss" if rest.starts_with("//") => Self::url(&Url::parse(text).ok()?),
            "unix" | "redis+unix" => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                path.starts_with('/').then(|| Self::plain(Address::Unix(path.into())))
            }
            _ => Address::parse(text).map(Self::plain),
        }
    }

    fn url(url: &Url) -> Option<Self> {
        let text = |part: &str| percent_decode_str(part).decode_utf8().ok().map(Cow::into_owned);
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let address = match url.port() {
            Some(port) => Address::parse(&format!("{host}:{port}")),
            None => Address::parse(host),
        };
        let db = match url.path().trim_start_matches('/') {
            "" => None,
            db => Some(db.parse().ok()?),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        let username = Some(text(url.username())?).filter(|name| !name.is_empty());
        let password = match url.password() {
            Some(password) => Some(text(password)?.into()),
            None => None,
        };
        Some(Self { address: address?, tls: url.scheme() == "rediss", db, account: Account { username, password } })
    }
}

pub(super) fn redis(v: &mut Values<'_>) -> Settings {
    let (target, nodes) = target(v);
    let mode = mode(v, &target, &nodes);
    let db = v.number_or(&keys::DB, target.db.unwrap_or(0));
    if target.db.is_some_and(|named| named != db) {
        v.problem(&keys::DB, "is not the database that cache.redis_host names");
    }
    if db < 0 || (mode == Mode::Cluster && db != 0) {
        v.problem(&keys::DB, if db < 0 { "must not be negative" } else { "must be 0: a cluster has no other" });
    }
    Settings {
        tls: tls(v, &target),
        db,
        account: account(v, target.account),
        sentinel: Account { username: v.get(&keys::SENTINEL_USERNAME), password: v.get(&keys::SENTINEL_PASSWORD) },
        mode,
        master: v.get(&keys::MASTER),
        nodes: std::iter::once(target.address).chain(nodes).collect(),
        connect_timeout: v.get(&keys::CONNECT_TIMEOUT),
        command_timeout: v.get(&keys::COMMAND_TIMEOUT),
        idle_timeout: IDLE_TIMEOUT,
        pool_size: v.get(&keys::POOL_SIZE).get(),
    }
}

/// The first address with what comes with it, and the others. A URL may hold a password, which is not shown.
fn target(v: &mut Values<'_>) -> (Target, Vec<Address>) {
    let mut nodes = Vec::new();
    for node in v.get(&keys::NODES) {
        match Address::parse(&node) {
            Some(node) => nodes.push(node),
            None => v.problem(&keys::NODES, "must be a list of host:port"),
        }
    }
    let text = v.get(&keys::HOST);
    let is_set = v.is_set(&keys::HOST);
    v.hide(&keys::HOST);
    if !is_set && !nodes.is_empty() {
        return (Target::plain(nodes.remove(0)), nodes);
    }
    let Some(target) = Target::parse(&text) else {
        v.problem(&keys::HOST, "must be host:port, redis://host:port, rediss://host:port, or unix:/path");
        return (Target::plain(Address::Unix(PathBuf::new())), nodes);
    };
    let shown = match (&target.address, target.tls) {
        (address, true) => format!("rediss://{address}"),
        (address, false) => address.to_string(),
    };
    v.show(&keys::HOST, shown);
    nodes.retain(|node| *node != target.address);
    (target, nodes)
}

fn mode(v: &mut Values<'_>, target: &Target, nodes: &[Address]) -> Mode {
    let mode = v.get(&keys::MODE);
    if mode == Mode::Single && !nodes.is_empty() {
        v.problem(&keys::NODES, "is for Sentinels and clusters");
    }
    if matches!(target.address, Address::Unix(_)) && !nodes.is_empty() {
        v.problem(&keys::NODES, "is not for a Unix socket");
    }
    if matches!(mode, Mode::Single | Mode::Cluster) && v.is_set(&keys::MASTER) {
        v.problem(&keys::MASTER, "is for Sentinels");
    }
    mode
}

fn account(v: &mut Values<'_>, in_url: Account) -> Account {
    let username = v.get(&keys::USERNAME);
    let password = v.get(&keys::PASSWORD);
    let twice = "is also in cache.redis_host: write it in one of the two places";
    if username.is_some() && in_url.username.is_some() {
        v.problem(&keys::USERNAME, twice);
    }
    if password.is_some() && in_url.password.is_some() {
        v.problem(&keys::PASSWORD, twice);
    }
    let account = Account { username: username.or(in_url.username), password: password.or(in_url.password) };
    if account.username.is_some() && account.password.is_none() {
        v.warnings.push("cache.redis_username is of no use without cache.redis_password".into());
    }
    account
}

fn tls(v: &mut Values<'_>, target: &Target) -> Option<Tls> {
    let chosen = v.get(&keys::TLS) || target.tls;
    let [ca, certificate, key] =
        [&keys::TLS_CA_FILE, &keys::TLS_CERT_FILE, &keys::TLS_KEY_FILE].map(|key| (key, v.get(key)));
    if chosen && matches!(target.address, Address::Unix(_)) {
        v.problem(&keys::TLS, "is not for a Unix socket");
        return None;
    }
    if !chosen {
        for (key, file) in [&ca, &certificate, &key] {
            if file.is_some() {
                v.problem(key, "is for TLS: set cache.redis_tls, or rediss:// in cache.redis_host");
            }
        }
        return None;
    }
    let client = match (&certificate.1, &key.1) {
        (Some(certificate), Some(key)) => Some((certificate.as_path(), key.as_path())),
        (None, None) => None,
        (Some(_), None) => {
            v.problem(key.0, "is required with cache.redis_tls_cert_file");
            None
        }
        (None, Some(_)) => {
            v.problem(certificate.0, "is required with cache.redis_tls_key_file");
            None
        }
    };
    match Tls::read(ca.1.as_deref(), client) {
        Ok(tls) => return Some(tls),
        Err(TlsError::Authorities(why)) => v.problem(ca.0, why),
        Err(TlsError::Certificate(why)) => v.problem(certificate.0, why),
        Err(TlsError::Key(why)) => v.problem(key.0, why),
    }
    None
}

#[cfg(test)]
mod tests;
