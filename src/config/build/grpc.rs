//! `grpc.*`

use super::{address, at_least_one};
use crate::config::values::Values;
use crate::envoy::tls::{self, peer::Name};
use crate::envoy::{Listen, Settings};

pub(super) fn grpc(v: &mut Values<'_>) -> Settings {
    let settings = Settings {
        listen: listen(v),
        allow_insecure: v.boolean("grpc.allow_insecure"),
        tls: tls(v),
        reflection: v.boolean("grpc.reflection"),
        max_message_size: at_least_one(v, "grpc.max_message_size", None),
        deadline: v.duration("grpc.deadline"),
        max_in_flight: at_least_one(v, "grpc.max_in_flight", None),
        max_connection_age: v.duration_or_off("grpc.max_connection_age"),
    };
    exposed(v, &settings);
    settings
}

fn listen(v: &mut Values<'_>) -> Listen {
    const PATH: &str = "grpc.listen";
    let text = v.setting(PATH);
    let mode = mode(v);
    match text.strip_prefix("unix:") {
        Some(path) => Listen::Unix { path: path.into(), mode },
        None => {
            v.hide(PATH);
            Listen::Tcp(address(v, PATH))
        }
    }
}

/// Octal, as for chmod. Execution and the sticky bits mean nothing on a socket.
fn mode(v: &mut Values<'_>) -> u32 {
    const PATH: &str = "grpc.socket_mode";
    match u32::from_str_radix(&v.setting(PATH), 8) {
        Ok(mode) if mode & !0o666 == 0 && mode & 0o200 != 0 => mode,
        _ => {
            v.problem(PATH, "must be an octal mode in quotes, such as \"0660\", that lets its owner write");
            0o600
        }
    }
}

fn tls(v: &mut Values<'_>) -> Option<tls::Settings> {
    let (cert, key) = (v.text("grpc.tls_cert_file"), v.text("grpc.tls_key_file"));
    let authorities = v.text("grpc.tls_client_ca_file");
    let allowed = allowed(v);
    let reload_interval = v.duration("grpc.tls_reload_interval");
    if authorities.is_none() && !allowed.is_empty() {
        v.problem("grpc.tls_allowed_sans", "needs grpc.tls_client_ca_file: without it nobody shows a certificate");
    }
    let (cert_file, key_file) = match (cert, key) {
        (Some(cert), Some(key)) => (cert.into(), key.into()),
        (None, None) if authorities.is_none() => return None,
        (None, _) => {
            v.problem("grpc.tls_cert_file", "is required with the other grpc.tls_* keys");
            return None;
        }
        (Some(_), None) => {
            v.problem("grpc.tls_key_file", "is required with grpc.tls_cert_file");
            return None;
        }
    };
    let client_ca_file = authorities.map(Into::into);
    let settings = tls::Settings { cert_file, key_file, client_ca_file, allowed, reload_interval };
    if let Err(error) = tls::check(&settings) {
        let key = match &error {
            tls::Error::Read { path, .. } | tls::Error::Content { path, .. } => Some(path.as_path()),
            tls::Error::Pair(_) => Some(settings.key_file.as_path()),
            tls::Error::Authorities(_) => settings.client_ca_file.as_deref(),
        };
        let key = match key {
            Some(path) if path == settings.cert_file => "grpc.tls_cert_file",
            Some(path) if path == settings.key_file => "grpc.tls_key_file",
            _ => "grpc.tls_client_ca_file",
        };
        v.problem(key, error);
    }
    Some(settings)
}

fn allowed(v: &mut Values<'_>) -> Vec<Name> {
    const PATH: &str = "grpc.tls_allowed_sans";
    let mut allowed = Vec::new();
    for text in v.list(PATH) {
        match Name::parse(&text) {
            Some(name) => allowed.push(name),
            None => v.problem(PATH, format!("{text}: must be a URI such as spiffe://domain/path, or a host name")),
        }
    }
    allowed
}

/// What whoever reaches the port could do, said plainly.
fn exposed(v: &mut Values<'_>, settings: &Settings) {
    const PATH: &str = "grpc.listen";
    match (&settings.listen, &settings.tls) {
        (Listen::Unix { path, mode }, _) if mode & 0o002 != 0 => {
            let path = path.display();
            v.warnings.push(format!("grpc.socket_mode: everybody on this machine can ask for passwords at {path}"));
        }
        (Listen::Tcp(address), None) if !address.ip().is_loopback() => {
            if settings.allow_insecure {
                v.warnings.push(format!("{PATH}: whoever reaches {address} can ask for passwords"));
            } else {
                v.problem(PATH, "beyond loopback, whoever reaches the port can ask for passwords: set grpc.tls_cert_file and its like, or grpc.allow_insecure if the network keeps others out");
            }
        }
        (Listen::Tcp(address), Some(tls)) if tls.client_ca_file.is_none() && !address.ip().is_loopback() => {
            v.warnings
                .push(format!("grpc.tls_client_ca_file is not set: whoever reaches {address} can ask for passwords"));
        }
        (_, Some(tls)) if tls.client_ca_file.is_some() && tls.allowed.is_empty() => {
            v.warnings.push(
                "grpc.tls_allowed_sans is empty: whoever has a certificate of these authorities can ask for passwords"
                    .into(),
            );
        }
        (Listen::Unix { .. } | Listen::Tcp(_), _) => {}
    }
}

#[cfg(test)]
mod tests;
