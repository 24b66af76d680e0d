//! `cache.redis_*`

use std::borrow::Cow;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::at_least_one;
use crate::config::values::Values;
use crate::redis::{Account, Address, Mode, Settings, Tls, TlsError};

const HOST: &str = "cache.redis_host";
const NODES: &str = "cache.redis_nodes";
const MASTER: &str = "cache.redis_master";
const TLS: &str = "cache.redis_tls";

/// What `cache.redis_host` may say.
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
    let db = v.number("cache.redis_db", Some(target.db.unwrap_or(0)));
    if target.db.is_some_and(|named| named != db) {
        v.problem("cache.redis_db", "is not the database that cache.redis_host names");
    }
    if db < 0 || (mode == Mode::Cluster && db != 0) {
        v.problem("cache.redis_db", if db < 0 { "must not be negative" } else { "must be 0: a cluster has no other" });
    }
    let cpus = super::cpus();
    Settings {
        tls: tls(v, &target),
        db,
        account: account(v, target.account),
        sentinel: Account {
            username: v.text("cache.redis_sentinel_username"),
            password: v.secret("cache.redis_sentinel_password"),
        },
        mode,
        master: v.text(MASTER),
        nodes: std::iter::once(target.address).chain(nodes).collect(),
        connect_timeout: v.duration("cache.redis_connect_timeout"),
        command_timeout: v.duration("cache.redis_command_timeout"),
        idle_timeout: v.duration("cache.redis_idle_timeout"),
        pool_size: at_least_one(v, "cache.redis_pool_size", Some(10 * cpus)),
    }
}

/// The first address with what comes with it, and the others. A URL may hold a password, which is not shown.
fn target(v: &mut Values<'_>) -> (Target, Vec<Address>) {
    let mut nodes = Vec::new();
    for node in v.list(NODES) {
        match Address::parse(&node) {
            Some(node) => nodes.push(node),
            None => v.problem(NODES, "must be a list of host:port"),
        }
    }
    let text = v.setting(HOST);
    let said = v.said(HOST);
    v.hide(HOST);
    if !said && !nodes.is_empty() {
        return (Target::plain(nodes.remove(0)), nodes);
    }
    let Some(target) = Target::parse(&text) else {
        v.problem(HOST, "must be host:port, redis://host:port, rediss://host:port, or unix:/path");
        return (Target::plain(Address::Unix(PathBuf::new())), nodes);
    };
    let shown = match (&target.address, target.tls) {
        (address, true) => format!("rediss://{address}"),
        (address, false) => address.to_string(),
    };
    v.show(HOST, shown);
    nodes.retain(|node| *node != target.address);
    (target, nodes)
}

fn mode(v: &mut Values<'_>, target: &Target, nodes: &[Address]) -> Mode {
    let mode = match v.setting("cache.redis_mode").as_str() {
        "auto" => Mode::Auto,
        "single" => Mode::Single,
        "sentinel" => Mode::Sentinel,
        "cluster" => Mode::Cluster,
        _ => {
            v.problem("cache.redis_mode", "must be auto, single, sentinel or cluster");
            Mode::Auto
        }
    };
    if mode == Mode::Single && !nodes.is_empty() {
        v.problem(NODES, "is for Sentinels and clusters");
    }
    if matches!(target.address, Address::Unix(_)) && !nodes.is_empty() {
        v.problem(NODES, "is not for a Unix socket");
    }
    if matches!(mode, Mode::Single | Mode::Cluster) && v.said(MASTER) {
        v.problem(MASTER, "is for Sentinels");
    }
    mode
}

fn account(v: &mut Values<'_>, in_url: Account) -> Account {
    let username = v.text("cache.redis_username");
    let password: Option<SecretString> = v.secret("cache.redis_password");
    for (key, here, there) in [
        ("cache.redis_username", username.is_some(), in_url.username.is_some()),
        ("cache.redis_password", password.is_some(), in_url.password.is_some()),
    ] {
        if here && there {
            v.problem(key, "is also in cache.redis_host: say it in one place");
        }
    }
    let account = Account { username: username.or(in_url.username), password: password.or(in_url.password) };
    if account.username.is_some() && account.password.is_none() {
        v.warnings.push("cache.redis_username is of no use without cache.redis_password".into());
    }
    account
}

fn tls(v: &mut Values<'_>, target: &Target) -> Option<Tls> {
    let chosen = v.boolean(TLS) || target.tls;
    let [ca, certificate, key] = ["cache.redis_tls_ca_file", "cache.redis_tls_cert_file", "cache.redis_tls_key_file"]
        .map(|path| (path, v.text(path)));
    if chosen && matches!(target.address, Address::Unix(_)) {
        v.problem(TLS, "is not for a Unix socket");
        return None;
    }
    if !chosen {
        for (path, file) in [&ca, &certificate, &key] {
            if file.is_some() {
                v.problem(path, "is for TLS: set cache.redis_tls, or rediss:// in cache.redis_host");
            }
        }
        return None;
    }
    let client = match (&certificate.1, &key.1) {
        (Some(certificate), Some(key)) => Some((certificate.as_ref(), key.as_ref())),
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
    match Tls::read(ca.1.as_ref().map(AsRef::as_ref), client) {
        Ok(tls) => return Some(tls),
        Err(TlsError::Authorities(why)) => v.problem(ca.0, why),
        Err(TlsError::Certificate(why)) => v.problem(certificate.0, why),
        Err(TlsError::Key(why)) => v.problem(key.0, why),
    }
    None
}

#[cfg(test)]
mod tests;
