//! Reads where the cluster is, which authorities vouch for it, and the administrator's account.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use crate::cluster_client::Account;
use crate::cluster_client::account::Scheme;
use crate::config::build::address::url;
use crate::config::keys::Info;
use crate::config::keys::elasticsearch::{
    API_KEY, BEARER_TOKEN, CA_FILE, CA_FINGERPRINT, CLIENT_CERTIFICATE_FILE, CLIENT_KEY_FILE, CLOUD_ID, PASSWORD,
    USERNAME,
};
use crate::config::values::Values;
use crate::outbound::{self, Authorities, ClientIdentity, Tls};

/// `name:base64(host[:port]$elasticsearch[$kibana])`, as Elastic's clients read it; the port is 443 unless given.
pub(super) fn cloud_host(v: &mut Values<'_>, text: &str) -> Option<Url> {
    let decoded = text.rsplit_once(':').and_then(|(_, encoded)| STANDARD.decode(encoded).ok());
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let mut parts = decoded.split('$');
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-' || b == b':')
    };
    match (parts.next(), parts.next()) {
        (Some(host), Some(cluster)) if plain(host) && plain(cluster) => {
            let (cluster, own_port) = cluster.split_once(':').unwrap_or((cluster, ""));
            let (host, port) = host.split_once(':').unwrap_or((host, ""));
            let port = [own_port, port, "443"].into_iter().find(|port| !port.is_empty()).unwrap_or_default();
            url(v, &CLOUD_ID, &format!("https://{cluster}.{host}:{port}"))
        }
        _ => {
            v.problem(&CLOUD_ID, "must be name:base64, as the deployment's page shows it");
            None
        }
    }
}

/// The kinds of credential that an administrator's account may have.
#[derive(Clone, Copy)]
enum Given {
    Password,
    ApiKey,
    BearerToken,
}

/// The administrator's account, which has exactly one credential.
pub(super) fn account(v: &mut Values<'_>) -> Option<Account> {
    let username = v.get(&USERNAME);
    let secrets = [(Given::Password, &PASSWORD), (Given::ApiKey, &API_KEY), (Given::BearerToken, &BEARER_TOKEN)]
        .map(|(kind, key)| (kind, key, v.get(key)));
    let given: Vec<_> = secrets.into_iter().filter_map(|(kind, key, secret)| Some((kind, key, secret?))).collect();
    let mut given = given.into_iter();
    let (Some((kind, key, secret)), another) = (given.next(), given.next()) else {
        let key: &Info = if username.is_some() { &PASSWORD } else { &USERNAME };
        v.problem(
            key,
            "is required (ELASTICSEARCH_PASSWORD or ELASTICSEARCH_PASSWORD_FILE for the password), unless \
             elasticsearch.api_key or elasticsearch.bearer_token is set",
        );
        return None;
    };
    if let Some((_, another, _)) = another {
        v.problem(another, format!("set this or {}", key.path));
    }
    let scheme = match (kind, username) {
        (Given::Password, Some(username)) => Scheme::Basic { username },
        (Given::Password, None) => {
            v.problem(&USERNAME, "is required with elasticsearch.password");
            return None;
        }
        (Given::ApiKey, None) => Scheme::ApiKey,
        (Given::BearerToken, None) => Scheme::Bearer,
        (Given::ApiKey | Given::BearerToken, Some(_)) => {
            v.problem(&USERNAME, format!("goes with elasticsearch.password, not with {}", key.path));
            return None;
        }
    };
    Some(Account { scheme, secret, file: v.secret_file(key) })
}

pub(super) fn tls(v: &mut Values<'_>) -> Tls {
    let authorities = match (v.get(&CA_FILE), v.get(&CA_FINGERPRINT)) {
        (None, None) => Authorities::System,
        (Some(path), None) => Authorities::File(path),
        (None, Some(text)) => match text.parse() {
            Ok(fingerprint) => Authorities::Fingerprint(fingerprint),
            Err(error) => {
                v.problem(&CA_FINGERPRINT, error);
                Authorities::System
            }
        },
        (Some(_), Some(_)) => {
            v.problem(&CA_FINGERPRINT, "set this or elasticsearch.ca_file");
            Authorities::System
        }
    };
    let tls = Tls { authorities, identity: identity(v) };
    if let Err(error) = outbound::check(&tls) {
        let of = |identity: &ClientIdentity| match error.file() {
            Some(path) if path == identity.certificate => Some(&CLIENT_CERTIFICATE_FILE),
            Some(path) if path == identity.key => Some(&CLIENT_KEY_FILE),
            _ => None,
        };
        v.problem(tls.identity.as_ref().and_then(of).unwrap_or(&CA_FILE), &error);
    }
    tls
}

fn identity(v: &mut Values<'_>) -> Option<ClientIdentity> {
    let (certificate, key) = (&CLIENT_CERTIFICATE_FILE, &CLIENT_KEY_FILE);
    match (v.get(certificate), v.get(key)) {
        (Some(certificate), Some(key)) => Some(ClientIdentity { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            v.problem(key, format!("is required with {}", certificate.path));
            None
        }
        (None, Some(_)) => {
            v.problem(certificate, format!("is required with {}", key.path));
            None
        }
    }
}
