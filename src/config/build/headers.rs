//! `authelia.*`

use ::http::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};

use super::identity::claims;
use crate::config::values::Values;
use crate::identity::headers::{self, Names, anchor, metadata};

/// Shorter ones can be guessed by whoever reaches the port.
const SHORTEST_SECRET: usize = 32;

/// Set by elastauth itself, or never to be removed from a request.
const NEVER: [&str; 4] = ["authorization", "host", "cookie", "connection"];

/// The headers; also those that are taken off what goes on, whoever the provider is.
pub(super) fn names(v: &mut Values<'_>) -> Names {
    let names = Names {
        username: name(v, "authelia.header_username"),
        groups: name(v, "authelia.header_groups"),
        email: name(v, "authelia.header_email"),
        full_name: name(v, "authelia.header_name"),
    };
    let all = names.all();
    if let Some((_, twice)) = all.iter().enumerate().find(|(at, name)| all[..*at].contains(name)) {
        v.problem("authelia.header_username", format!("one header cannot say two things: {twice}"));
    }
    names
}

fn name(v: &mut Values<'_>, path: &'static str) -> HeaderName {
    let text = v.setting(path);
    header_name(v, path, &text)
}

/// One that a client's identity may come in, and that can be removed afterwards.
pub(super) fn header_name(v: &mut Values<'_>, path: &'static str, text: &str) -> HeaderName {
    let name = match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if NEVER.contains(&name.as_str()) => Err(format!("{name} cannot name the caller")),
        Ok(name) => Ok(name),
        Err(_) if text.starts_with(':') => Err("pseudo headers are the client's request, not its name".into()),
        Err(_) => Err("must be the name of a header".into()),
    };
    name.unwrap_or_else(|why| {
        v.problem(path, why);
        // whatever it is, the configuration does not load
        HeaderName::from_static("x")
    })
}

/// `known_callers`: nobody but Envoy reaches the gRPC port.
pub(super) fn headers(v: &mut Values<'_>, names: Names, known_callers: bool) -> headers::Settings {
    let anchors = anchor::Settings { secrets: secrets(v), peers: v.list("authelia.trusted_peers") };
    let payload = v.text("authelia.metadata_payload");
    let metadata = v.text("authelia.metadata_namespace").map(|namespace| metadata::Settings {
        namespace,
        payload: payload.clone(),
        claims: claims(v),
    });
    if payload.is_some() && metadata.is_none() {
        v.problem("authelia.metadata_payload", "is a key within authelia.metadata_namespace, which is not set");
    }
    if !anchors.count(known_callers, metadata.is_some()) {
        v.problem(
            "authelia.shared_secret",
            "anybody can write headers, so that one thing is needed which clients cannot: set authelia.shared_secret \
             (`elastauth generate-key` makes one) and let Envoy send it as elastauth-secret in context_extensions; or let \
             Envoy ask over a Unix socket, or over TLS with a list of allowed clients, without grpc.allow_insecure, and \
             set authelia.trusted_peers or authelia.metadata_namespace",
        );
    }
    let unproven =
        [("authelia.trusted_peers", !anchors.peers.is_empty()), ("authelia.metadata_namespace", metadata.is_some())];
    for (path, _) in unproven.into_iter().filter(|(_, set)| *set && !known_callers) {
        v.warnings
            .push(format!("{path}: whoever reaches the gRPC port writes it himself; here the secret alone counts"));
    }
    headers::Settings { issuer: v.setting("authelia.issuer"), names, separator: separator(v), anchors, metadata }
}

fn secrets(v: &mut Values<'_>) -> Vec<SecretString> {
    let mut secrets = Vec::new();
    for path in ["authelia.shared_secret", "authelia.previous_shared_secret"] {
        let Some(secret) = v.secret(path) else { continue };
        if secret.expose_secret().len() < SHORTEST_SECRET {
            v.problem(
                path,
                format!("must have at least {SHORTEST_SECRET} characters; `elastauth generate-key` makes one"),
            );
        }
        secrets.push(secret);
    }
    secrets
}

fn separator(v: &mut Values<'_>) -> char {
    const PATH: &str = "authelia.groups_separator";
    let text = v.setting(PATH);
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) if one.is_ascii_punctuation() && one != '\\' => one,
        _ => {
            v.problem(PATH, "must be one punctuation character, and not a backslash");
            ','
        }
    }
}
