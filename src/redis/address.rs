//! The address of a server, as it is configured and as servers name one another.

use std::fmt;
use std::path::PathBuf;

/// The port of an address without one.
const PORT: u16 = 6379;

/// The address of a Redis server, a Sentinel or a node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host and a TCP port.
    Tcp {
        /// Host name or IP address, IPv6 without brackets.
        host: String,
        /// TCP port, 6379 where the configuration names none.
        port: u16,
    },
    /// The path of a Unix socket on this machine.
    Unix(PathBuf),
}

impl Address {
    /// Reads `host`, `host:port` or `[::1]:port`; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            // an IPv6 address without brackets has no port
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
            _ => (text, PORT),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        (!host.is_empty() && host.chars().all(plain)).then(|| Self::Tcp { host: host.to_owned(), port })
    }

    /// The address of a node as the node `asked` announces it. An empty host means the host of `asked`, and `?` an unknown
    /// one.
    pub(super) fn announced(host: &str, port: u16, asked: &Self) -> Option<Self> {
        match (host, asked) {
            ("?", _) | ("", Self::Unix(_)) => None,
            ("", Self::Tcp { host, .. }) => Some(Self::Tcp { host: host.clone(), port }),
            (host, _) => Some(Self::Tcp { host: host.to_owned(), port }),
        }
    }

    /// The same from the text of a redirection, `host:port`, in which an IPv6 address has no brackets.
    pub(super) fn redirected(text: &str, asked: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::announced(host, port.parse().ok()?, asked)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them_and_nothing_else_is() {
        for (text, host, port) in [
            ("redis", "redis", 6379),
            ("redis:6380", "redis", 6380),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("::1", "::1", 6379),
            ("[::1]:6380", "::1", 6380),
            ("[fe80::1%eth0]", "fe80::1%eth0", 6379),
        ] {
            assert_eq!(Address::parse(text), Some(Address::Tcp { host: host.into(), port }), "{text}");
        }
        for text in ["", ":6379", "redis:", "redis:x", "redis:65536", "user@redis:1", "redis/0", "a b", "[]:1"] {
            assert_eq!(Address::parse(text), None, "{text}");
        }
    }

    #[test]
    fn redirections_name_nodes_their_own_way() {
        let asked = Address::parse("[::1]:7000").unwrap();
        for (text, shown) in [("10.0.0.1:7001", "10.0.0.1:7001"), ("::2:7001", "[::2]:7001"), (":7001", "[::1]:7001")] {
            assert_eq!(Address::redirected(text, &asked).unwrap().to_string(), shown);
        }
        for text in ["?:7001", "10.0.0.1", "10.0.0.1:x", ""] {
            assert_eq!(Address::redirected(text, &asked), None, "{text}");
        }
        assert_eq!(Address::redirected(":7001", &Address::Unix("/run/redis.sock".into())), None);
    }
}
