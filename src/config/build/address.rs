//! Addresses: URLs of other systems, and ports to listen on.

use std::net::SocketAddr;

use url::Url;

use crate::config::keys::{Info, Key};
use crate::config::values::Values;
use crate::outbound;

/// An http or https URL without a user part, which would end in logs.
pub(super) fn url(v: &mut Values<'_>, key: &Info, text: &str) -> Option<Url> {
    let Ok(url) = Url::parse(text) else {
        v.problem(key, "must be an http or https URL");
        return None;
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        v.problem(key, "must be an http or https URL");
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() {
        v.problem(key, "must not hold a user name or password");
        v.hide(key);
        return None;
    }
    if url.scheme() == "http" && !outbound::loopback(&url) {
        v.warning(key, "http without TLS: anything on the way can read and change what is sent");
    }
    Some(url)
}

/// An address and port to listen on; `:5000` means every address, as in Go.
pub(super) fn socket(v: &mut Values<'_>, key: &'static Key<String>) -> SocketAddr {
    let text = v.get(key).replace("localhost:", "127.0.0.1:");
    let full = if text.starts_with(':') { format!("[::]{text}") } else { text };
    full.parse().unwrap_or_else(|_| {
        v.problem(key, "must be address:port, such as 127.0.0.1:5000");
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}
