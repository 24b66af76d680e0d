//! The one HTTP client: TLS on ring, authorities from a file, no redirects, bounded answers. What the edges that call
//! other servers share.

use std::path::{Path, PathBuf};

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use url::{Host, Url};

mod body;
mod tls;

pub use body::{BodyError, body};
pub use tls::{Authorities, ClientIdentity, Fingerprint, Tls, check};

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with authorities cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file has no certificate, or one that is broken.
    #[error("{path}: not a PEM file with certificates")]
    Certificates {
        /// The file.
        path: PathBuf,
    },
    /// The client's certificate or its key is missing or broken.
    #[error("{path}: {why}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The TLS library refuses.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The client cannot be built, as when the system has no certificates.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

impl Error {
    /// The file that is of no use, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Read { path, .. } | Self::Certificates { path } | Self::Identity { path, .. } => Some(path),
            Self::Tls(_) | Self::Client(_) => None,
        }
    }
}

/// A client for these targets. `ca_file` names the authorities to trust instead of the system's. Redirects are not
/// followed: they would take credentials, or the choice of keys, to another host.
pub fn client<'a>(ca_file: Option<&Path>, targets: impl IntoIterator<Item = &'a Url>) -> Result<ClientBuilder, Error> {
    client_with(&Tls::trusting(ca_file), targets)
}

/// The same with all that TLS can ask for.
pub fn client_with<'a>(tls: &Tls, targets: impl IntoIterator<Item = &'a Url>) -> Result<ClientBuilder, Error> {
    // ring for the whole process; an error means that it is there already
    let _ = rustls::crypto::ring::default_provider().install_default();
    // answers are small, and one that is not encoded leaves nothing to go wrong
    let plain = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))]);
    let mut client = Client::builder()
        .user_agent(concat!("elastauth/", env!("CARGO_PKG_VERSION")))
        .default_headers(plain)
        .redirect(Policy::none());
    if targets.into_iter().all(loopback) {
        // a proxy from the environment would look for them on its own machine
        client = client.no_proxy();
    }
    tls::configure(client, tls)
}

/// Whether the address can only be on this machine.
#[must_use]
pub fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// For logs and errors: without the user part, the query and the fragment, which may be secret.
#[must_use]
pub fn shown(url: &Url) -> String {
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
pub fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
