//! Reads which headers or metadata name the caller, and what proves that they are genuine: `authelia.*`.

use ::http::HeaderName;
use secrecy::{ExposeSecret as _, SecretString};

use super::claims::claims;
use super::header_name::header_name;
use crate::config::keys::{Key, authelia as keys, policy};
use crate::config::values::Values;
use crate::identity::headers::{self, Names, anchor, metadata};

/// Shorter secrets can be guessed by a program that reaches the port.
const SHORTEST_SECRET: usize = 32;

/// The headers. They are taken off what goes on, also where tokens name the caller.
pub(super) fn names(v: &mut Values<'_>) -> Names {
    let names = Names {
        username: name(v, &keys::HEADER_USERNAME),
        groups: name(v, &keys::HEADER_GROUPS),
        email: name(v, &keys::HEADER_EMAIL),
        full_name: name(v, &keys::HEADER_NAME),
    };
    let all = names.all();
    if let Some((_, twice)) = all.iter().enumerate().find(|(at, name)| all[..*at].contains(name)) {
        v.problem(&keys::HEADER_USERNAME, format!("one header cannot have two meanings: {twice}"));
    }
    names
}

fn name(v: &mut Values<'_>, key: &'static Key<String>) -> HeaderName {
    let text = v.get(key);
    header_name(v, key, &text)
}

/// `known_callers`: nothing but Envoy reaches the gRPC port.
pub(super) fn headers(v: &mut Values<'_>, names: Names, ruled: &[String], known_callers: bool) -> headers::Settings {
    let anchors = anchor::Settings { secrets: secrets(v), peers: v.get(&keys::TRUSTED_PEERS) };
    let payload = v.get(&keys::METADATA_PAYLOAD);
    let metadata = v.get(&keys::METADATA_NAMESPACE).map(|namespace| metadata::Settings {
        namespace,
        payload: payload.clone(),
        claims: claims(v, ruled),
    });
    if payload.is_some() && metadata.is_none() {
        v.problem(&keys::METADATA_PAYLOAD, "is a key within authelia.metadata_namespace, which is not set");
    }
    if metadata.is_none() && !ruled.is_empty() {
        v.problem(&policy::ALLOW, "headers carry no claims: use groups");
    }
    if !anchors.count(known_callers, metadata.is_some()) {
        v.problem(
            &keys::SHARED_SECRET,
            "any client can write headers, so that something is needed which clients cannot send: set authelia.shared_secret \
             (`elastauth generate-key` makes one) and let Envoy send it as elastauth-secret in context_extensions; or let \
             Envoy ask over a Unix socket, or over TLS with a list of allowed clients, without grpc.allow_insecure, and \
             set authelia.trusted_peers or authelia.metadata_namespace",
        );
    }
    let forged = "any program that reaches the gRPC port can forge it: here only the secret protects";
    if !known_callers && !anchors.peers.is_empty() {
        v.warning(&keys::TRUSTED_PEERS, forged);
    }
    if !known_callers && metadata.is_some() {
        v.warning(&keys::METADATA_NAMESPACE, forged);
    }
    headers::Settings { issuer: v.get(&keys::ISSUER), names, separator: separator(v), anchors, metadata }
}

fn secrets(v: &mut Values<'_>) -> Vec<SecretString> {
    let mut secrets = Vec::new();
    for key in [&keys::SHARED_SECRET, &keys::PREVIOUS_SHARED_SECRET] {
        let Some(secret) = v.get(key) else { continue };
        if secret.expose_secret().len() < SHORTEST_SECRET {
            v.problem(
                key,
                format!("must have at least {SHORTEST_SECRET} characters; `elastauth generate-key` makes one"),
            );
        }
        secrets.push(secret);
    }
    secrets
}

fn separator(v: &mut Values<'_>) -> char {
    let text = v.get(&keys::GROUPS_SEPARATOR);
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) if one.is_ascii_punctuation() && one != '\\' => one,
        _ => {
            v.problem(&keys::GROUPS_SEPARATOR, "must be one punctuation character, and not a backslash");
            ','
        }
    }
}
