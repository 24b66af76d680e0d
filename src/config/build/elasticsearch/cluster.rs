//! Where the cluster is, whom it is trusted by, and as whom it is asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::super::url;
use crate::cluster_client::Account;
use crate::cluster_client::account::Scheme;
use crate::config::values::Values;
use crate::outbound::{self, Authorities, ClientIdentity, Tls};

const CLOUD_ID: &str = "elasticsearch.cloud_id";
const CERTIFICATE: &str = "elasticsearch.client_certificate_file";
const KEY: &str = "elasticsearch.client_key_file";

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
            url(v, CLOUD_ID, &format!("https://{cluster}.{host}:{port}"))
        }
        _ => {
            v.problem(CLOUD_ID, "must be name:base64, as the deployment's page shows it");
            None
        }
    }
}

/// Exactly one credential.
pub(super) fn account(v: &mut Values<'_>) -> Option<Account> {
    const PASSWORD: &str = "elasticsearch.password";
    const API_KEY: &str = "elasticsearch.api_key";
    const BEARER: &str = "elasticsearch.bearer_token";
    let username = v.text("elasticsearch.username");
    let secrets = [PASSWORD, API_KEY, BEARER].map(|path| (path, v.secret(path)));
    let given: Vec<_> = secrets.into_iter().filter_map(|(path, secret)| Some((path, secret?))).collect();
    let mut given = given.into_iter();
    let (Some((path, secret)), another) = (given.next(), given.next()) else {
        let key = if username.is_some() { PASSWORD } else { "elasticsearch.username" };
        v.problem(
            key,
            "is required (ELASTICSEARCH_PASSWORD or ELASTICSEARCH_PASSWORD_FILE for the password), unless \
             elasticsearch.api_key or elasticsearch.bearer_token is set",
        );
        return None;
    };
    if let Some((another, _)) = another {
        v.problem(another, format!("set this or {path}"));
    }
    let scheme = match (path, username) {
        (PASSWORD, Some(username)) => Scheme::Basic { username },
        (PASSWORD, None) => {
            v.problem("elasticsearch.username", "is required with elasticsearch.password");
            return None;
        }
        (API_KEY, None) => Scheme::ApiKey,
        (_, None) => Scheme::Bearer,
        (path, Some(_)) => {
            v.problem("elasticsearch.username", format!("goes with elasticsearch.password, not with {path}"));
            return None;
        }
    };
    Some(Account { scheme, secret, file: v.secret_file(path) })
}

pub(super) fn tls(v: &mut Values<'_>) -> Tls {
    const FINGERPRINT: &str = "elasticsearch.ca_fingerprint";
    let authorities = match (v.text("elasticsearch.ca_file"), v.text(FINGERPRINT)) {
        (None, None) => Authorities::System,
        (Some(path), None) => Authorities::File(path.into()),
        (None, Some(text)) => match text.parse() {
            Ok(fingerprint) => Authorities::Fingerprint(fingerprint),
            Err(error) => {
                v.problem(FINGERPRINT, error);
                Authorities::System
            }
        },
        (Some(_), Some(_)) => {
            v.problem(FINGERPRINT, "set this or elasticsearch.ca_file");
            Authorities::System
        }
    };
    let tls = Tls { authorities, identity: identity(v) };
    if let Err(error) = outbound::check(&tls) {
        let of = |identity: &ClientIdentity| match error.file() {
            Some(path) if path == identity.certificate => Some(CERTIFICATE),
            Some(path) if path == identity.key => Some(KEY),
            _ => None,
        };
        v.problem(tls.identity.as_ref().and_then(of).unwrap_or("elasticsearch.ca_file"), &error);
    }
    tls
}

fn identity(v: &mut Values<'_>) -> Option<ClientIdentity> {
    match (v.text(CERTIFICATE), v.text(KEY)) {
        (Some(certificate), Some(key)) => Some(ClientIdentity { certificate: certificate.into(), key: key.into() }),
        (None, None) => None,
        (Some(_), None) => {
            v.problem(KEY, format!("is required with {CERTIFICATE}"));
            None
        }
        (None, Some(_)) => {
            v.problem(CERTIFICATE, format!("is required with {KEY}"));
            None
        }
    }
}
