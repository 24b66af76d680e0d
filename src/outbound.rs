//! The HTTP client that all edges which call other servers share: TLS with ring, trusted authorities from a file or from the
//! system, no redirects, bounded answers.

use std::path::Path;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use url::{Host, Url};

mod body;
mod error;
mod tls;

pub use body::BodyError;
pub(crate) use body::body;
pub use error::Error;
pub(crate) use tls::check;
pub use tls::{Authorities, ClientIdentity, Fingerprint, Tls};

/// A client for these targets. `ca_file` names the authorities to trust instead of the system's. Redirects are not
/// followed: they would take credentials, or the choice of keys, to another host.
pub(crate) fn client<'a>(
    ca_file: Option<&Path>,
    targets: impl IntoIterator<Item = &'a Url>,
) -> Result<ClientBuilder, Error> {
    client_with(&Tls::trusting(ca_file), targets)
}

/// A client for these targets, as [`client`] makes it, with all settings of TLS.
pub(crate) fn client_with<'a>(tls: &Tls, targets: impl IntoIterator<Item = &'a Url>) -> Result<ClientBuilder, Error> {
    // ring is the provider of the whole process; an error means that it was installed before
    let _ = rustls::crypto::ring::default_provider().install_default();
    // answers are small: compression would save nothing, and its decoding could fail
    let plain = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    let mut client = Client::builder()
        .user_agent(concat!("elastauth/", env!("CARGO_PKG_VERSION")))
        .default_headers(plain)
        .redirect(Policy::none());
    if targets.into_iter().all(loopback) {
        // to a proxy from the environment, a loopback address would mean the proxy's own machine
        client = client.no_proxy();
    }
    tls::configure(client, tls)
}

/// Whether the address can only be on this machine.
#[must_use]
pub(crate) fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The URL for logs and errors: without the user part, the query and the fragment, which may be secret.
#[must_use]
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // these fail only for URLs that cannot have a user part
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// An error with all its causes, without the URL.
#[must_use]
pub(crate) fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
