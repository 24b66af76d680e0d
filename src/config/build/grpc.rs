//! Reads how Envoy asks, and which callers are let in at the port: `grpc.*`.

use super::address::socket;
use crate::config::keys::grpc as keys;
use crate::config::values::Values;
use crate::envoy::tls::{self, peer::Name};
use crate::envoy::{Listen, Settings};

pub(super) fn grpc(v: &mut Values<'_>) -> Settings {
    let settings = Settings {
        listen: listen(v),
        allow_insecure: v.get(&keys::ALLOW_INSECURE),
        tls: tls(v),
        reflection: v.get(&keys::REFLECTION),
        access_log: v.get(&keys::ACCESS_LOG),
        max_message_size: v.get(&keys::MAX_MESSAGE_SIZE).get(),
        deadline: v.get(&keys::DEADLINE),
        max_in_flight: v.get(&keys::MAX_IN_FLIGHT).get(),
        max_connection_age: v.get(&keys::MAX_CONNECTION_AGE),
    };
    exposed(v, &settings);
    settings
}

fn listen(v: &mut Values<'_>) -> Listen {
    let text = v.get(&keys::LISTEN);
    let mode = mode(v);
    match text.strip_prefix("unix:") {
        Some(path) => Listen::Unix { path: path.into(), mode },
        None => {
            v.hide(&keys::LISTEN);
            Listen::Tcp(socket(v, &keys::LISTEN))
        }
    }
}

/// Octal, as for chmod. Execution and the sticky bits mean nothing on a socket.
fn mode(v: &mut Values<'_>) -> u32 {
    match u32::from_str_radix(&v.get(&keys::SOCKET_MODE), 8) {
        Ok(mode) if mode & !0o666 == 0 && mode & 0o200 != 0 => mode,
        _ => {
            v.problem(
                &keys::SOCKET_MODE,
                "must be an octal mode in quotes, such as \"0660\", that lets its owner write",
            );
            0o600
        }
    }
}

fn tls(v: &mut Values<'_>) -> Option<tls::Settings> {
    let (cert, key) = (v.get(&keys::TLS_CERT_FILE), v.get(&keys::TLS_KEY_FILE));
    let authorities = v.get(&keys::TLS_CLIENT_CA_FILE);
    let allowed = allowed(v);
    let reload_interval = v.get(&keys::TLS_RELOAD_INTERVAL);
    if authorities.is_none() && !allowed.is_empty() {
        v.problem(&keys::TLS_ALLOWED_SANS, "needs grpc.tls_client_ca_file: without it clients show no certificate");
    }
    let (cert_file, key_file) = match (cert, key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) if authorities.is_none() => return None,
        (None, _) => {
            v.problem(&keys::TLS_CERT_FILE, "is required with the other grpc.tls_* keys");
            return None;
        }
        (Some(_), None) => {
            v.problem(&keys::TLS_KEY_FILE, "is required with grpc.tls_cert_file");
            return None;
        }
    };
    let settings = tls::Settings { cert_file, key_file, client_ca_file: authorities, allowed, reload_interval };
    if let Err(error) = tls::check(&settings) {
        let key = match &error {
            tls::Error::Read { path, .. } | tls::Error::Content { path, .. } => Some(path.as_path()),
            tls::Error::Pair(_) => Some(settings.key_file.as_path()),
            tls::Error::Authorities(_) => settings.client_ca_file.as_deref(),
        };
        let key = match key {
            Some(path) if path == settings.cert_file => &keys::TLS_CERT_FILE,
            Some(path) if path == settings.key_file => &keys::TLS_KEY_FILE,
            _ => &keys::TLS_CLIENT_CA_FILE,
        };
        v.problem(key, error);
    }
    Some(settings)
}

fn allowed(v: &mut Values<'_>) -> Vec<Name> {
    let mut allowed = Vec::new();
    for text in v.get(&keys::TLS_ALLOWED_SANS) {
        match Name::parse(&text) {
            Some(name) => allowed.push(name),
            None => v.problem(
                &keys::TLS_ALLOWED_SANS,
                format!("{text}: must be a URI such as spiffe://domain/path, or a host name"),
            ),
        }
    }
    allowed
}

/// Warns of ports at which programs other than Envoy could ask for passwords, and refuses those that are open unintentionally.
fn exposed(v: &mut Values<'_>, settings: &Settings) {
    match (&settings.listen, &settings.tls) {
        (Listen::Unix { path, mode }, _) if mode & 0o002 != 0 => {
            let path = path.display();
            v.warning(&keys::SOCKET_MODE, format!("every user of this machine can ask for passwords at {path}"));
        }
        (Listen::Tcp(address), None) if !address.ip().is_loopback() => {
            if settings.allow_insecure {
                v.warning(&keys::LISTEN, format!("any program that reaches {address} can ask for passwords"));
            } else {
                v.problem(
                    &keys::LISTEN,
                    "beyond loopback, any program that reaches the port can ask for passwords: set grpc.tls_cert_file and \
                     grpc.tls_key_file, or grpc.allow_insecure if the network keeps others out",
                );
            }
        }
        (Listen::Tcp(address), Some(tls)) if tls.client_ca_file.is_none() && !address.ip().is_loopback() => {
            v.warnings.push(format!(
                "grpc.tls_client_ca_file is not set: any program that reaches {address} can ask for passwords"
            ));
        }
        (_, Some(tls)) if tls.client_ca_file.is_some() && tls.allowed.is_empty() => {
            v.warnings.push(
                "grpc.tls_allowed_sans is empty: any program with a certificate of these authorities can ask for passwords"
                    .into(),
            );
        }
        (Listen::Unix { .. } | Listen::Tcp(_), _) => {}
    }
}

#[cfg(test)]
mod tests;
