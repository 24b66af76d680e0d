//! Decides by the names in a client's certificate whether it may call.

use std::fmt;

use rustls::pki_types::{CertificateDer, DnsName};
use webpki::EndEntityCert;

/// A subject alternative name (RFC 5280 §4.2.1.6) of clients that may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A URI such as `spiffe://…`, compared letter by letter.
    Uri(String),
    /// A host name in lower case, compared without regard to case.
    Dns(String),
}

impl Name {
    /// Reads a URI, which has `://`, or a host name. Patterns are refused: the list names each client exactly.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some((scheme, rest)) = text.split_once("://") {
            let plain = !rest.is_empty() && !text.contains('*') && text.bytes().all(|b| b.is_ascii_graphic());
            return (plain && !scheme.is_empty()).then(|| Self::Uri(text.to_owned()));
        }
        DnsName::try_from(text).ok()?;
        Some(Self::Dns(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(text) | Self::Dns(text) => f.write_str(text),
        }
    }
}

/// The names, for the log, of a client with a valid certificate that may not call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnlistedPeer(pub(crate) String);

/// Compares the certificate's names with the list. An empty list admits every client that passed the handshake.
pub(super) fn admit(certificate: Option<&CertificateDer<'_>>, allowed: &[Name]) -> Result<(), UnlistedPeer> {
    if allowed.is_empty() {
        return Ok(());
    }
    // a failure does not occur: the handshake has parsed the certificate before
    let Some(Ok(certificate)) = certificate.map(EndEntityCert::try_from) else {
        return Err(UnlistedPeer("no certificate".into()));
    };
    let uris = certificate.valid_uri_names().map(|uri| Name::Uri(uri.to_owned()));
    let hosts = certificate.valid_dns_names().map(|host| Name::Dns(host.to_ascii_lowercase()));
    let names: Vec<Name> = uris.chain(hosts).collect();
    if names.iter().any(|name| allowed.contains(name)) {
        return Ok(());
    }
    let shown = names.iter().take(8).map(|name| name.to_string().chars().take(256).collect::<String>());
    Err(UnlistedPeer(shown.collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_uris_or_hosts_and_never_patterns() {
        let uri = |text: &str| Some(Name::Uri(text.to_owned()));
        for (text, expected) in [
            ("spiffe://cluster.local/ns/envoy/sa/edge", uri("spiffe://cluster.local/ns/envoy/sa/edge")),
            ("Envoy.Example.com", Some(Name::Dns("envoy.example.com".into()))),
            ("spiffe://", None),
            ("://x", None),
            ("spiffe://cluster.local/*", None),
            ("spiffe://a b", None),
            ("*.example.com", None),
            ("envoy example", None),
            ("", None),
        ] {
            assert_eq!(Name::parse(text), expected, "{text}");
        }
    }
}
