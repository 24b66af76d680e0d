//! Matches the hosts that rules name.

/// A host that a rule names. With a port only that port matches, without one any port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    name: String,
    port: Option<String>,
}

/// The text in a rule is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a host, with or without a port")]
pub struct NoHost;

impl Host {
    /// Reads a host of a rule: `kibana.example.org`, `kibana.example.org:8443`, `[::1]:8443`.
    pub fn parse(text: &str) -> Result<Self, NoHost> {
        let (name, port) = split(text.as_bytes());
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._".contains(b);
        let literal = name.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
        let good = match literal {
            Some(address) => !address.is_empty() && address.iter().all(|b| b.is_ascii_hexdigit() || b":.".contains(b)),
            None => !name.is_empty() && name.iter().all(plain),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
        if good { Ok(Self { name: text(name), port: port.map(text) }) } else { Err(NoHost) }
    }

    /// Host names match in any case (RFC 9110 §4.2.3).
    pub(super) fn matches(&self, host: &[u8]) -> bool {
        let (name, port) = split(host);
        let same_port = self.port.as_ref().is_none_or(|wanted| port == Some(wanted.as_bytes()));
        name.eq_ignore_ascii_case(self.name.as_bytes()) && same_port
    }
}

/// The name, and the port if there is one. The colons of an IPv6 address are in brackets.
fn split(host: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(colon) = host.iter().rposition(|b| *b == b':') else { return (host, None) };
    let (name, port) = (&host[..colon], &host[colon + 1..]);
    let outside = !name.contains(&b':') || name.ends_with(b"]");
    if outside && !port.is_empty() && port.iter().all(u8::is_ascii_digit) { (name, Some(port)) } else { (host, None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_matches_with_and_without_port_and_in_any_case() {
        for (rule, host, expected) in [
            ("kibana.example.org", "kibana.example.org", true),
            ("kibana.example.org", "KIBANA.example.ORG", true),
            ("Kibana.Example.org", "kibana.example.org:8443", true),
            ("kibana.example.org:8443", "kibana.example.org:8443", true),
            ("kibana.example.org:8443", "kibana.example.org", false),
            ("kibana.example.org:8443", "kibana.example.org:443", false),
            ("kibana.example.org", "evil-kibana.example.org", false),
            ("kibana.example.org", "kibana.example.org.evil.org", false),
            ("kibana.example.org", "kibana.example.org:8443@evil.org", false),
            ("kibana.example.org", "kibana.example.org:", false),
            ("kibana.example.org", "", false),
            ("[::1]", "[::1]:9200", true),
            ("[::1]:9200", "[::1]:9200", true),
            ("[::1]:9200", "[::1]", false),
        ] {
            assert_eq!(Host::parse(rule).unwrap().matches(host.as_bytes()), expected, "{rule} {host}");
        }
    }

    #[test]
    fn what_is_no_host_is_no_rule() {
        for text in ["", "https://a", "a/b", "a b", "*.example.org", "a:b", "::1", "[x]", "a@b", "[]"] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
    }
}
