//! Where a person goes after the login: a path of the same host.

use percent_encoding::percent_decode_str;
use url::{Position, Url};

/// The longest return path in bytes. It travels in a cookie, of which browsers keep 4096 bytes.
const LONGEST: usize = 2048;

/// A path of the same host with its query and fragment, in visible ASCII characters, which begins with one slash. Browsers cannot
/// read another host into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnPath(String);

impl Default for ReturnPath {
    /// The beginning of the site: `/`.
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl ReturnPath {
    /// Reads the path of a request with its query, or a parameter after its decoding. What could lead to another host, to the
    /// login's own paths, is too long or is not a path becomes `/`. `own_path` is `login.path`.
    #[must_use]
    pub fn of(text: &[u8], own_path: &str) -> Self {
        std::str::from_utf8(text).ok().and_then(|text| Self::read(text, own_path)).unwrap_or_default()
    }

    /// What was sealed after it had been found acceptable.
    pub(super) fn unsealed(text: &[u8]) -> Self {
        std::str::from_utf8(text).map(|text| Self(text.to_owned())).unwrap_or_default()
    }

    fn read(text: &str, own_path: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let begins = bytes.next() == Some(b'/') && !matches!(bytes.next(), Some(b'/' | b'\\'));
        // browsers take control characters out of an address, and a backslash in it for a slash
        if !begins || text.len() > LONGEST || text.contains(|c: char| c.is_control() || c == '\\') {
            return None;
        }
        // what browsers make of it: without dot segments, and with every other character encoded. `%0d` stays what it is
        let base = Url::parse("https://elastauth.invalid/").ok()?;
        let url = base.join(text).ok()?;
        let path = &url[Position::BeforePath..];
        let elsewhere = url.origin() != base.origin() || path.starts_with("//") || path.len() > LONGEST;
        (!elsewhere && !is_below(url.path(), own_path)).then(|| Self(path.to_owned()))
    }

    /// The path, its query and its fragment, for `Location`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a path is this one or below it, also where it is encoded without need.
fn is_below(path: &str, own: &str) -> bool {
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    decoded.strip_prefix(own.as_bytes()).is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b'?' | b';')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "/.elastauth";

    #[test]
    fn a_path_of_the_same_host_is_kept() {
        let longest = format!("/{}", "x".repeat(LONGEST - 1));
        for (text, expected) in [
            ("/", "/"),
            ("/app/discover?a=1&b=%2f%2F", "/app/discover?a=1&b=%2f%2F"),
            ("/app/discover#/?_g=(time:(from:now-15m))", "/app/discover#/?_g=(time:(from:now-15m))"),
            ("/app?q=https://other.example.org//x", "/app?q=https://other.example.org//x"),
            ("/a//b", "/a//b"),
            ("/a%0d%0aSet-Cookie:%20x=y", "/a%0d%0aSet-Cookie:%20x=y"),
            ("/a%5cb", "/a%5cb"),
            ("/%2f%2fevil.org", "/%2f%2fevil.org"),
            ("/@evil.org", "/@evil.org"),
            ("/:80", "/:80"),
            ("/caf\u{e9} \"<x>\"", "/caf%C3%A9%20%22%3Cx%3E%22"),
            ("/a/../b", "/b"),
            ("/.elastauthor", "/.elastauthor"),
            ("/.ELASTAUTH/logout", "/.ELASTAUTH/logout"),
            ("/x/.elastauth/logout", "/x/.elastauth/logout"),
            ("/a?x=/.elastauth/logout", "/a?x=/.elastauth/logout"),
            (&longest, &longest),
        ] {
            assert_eq!(ReturnPath::of(text.as_bytes(), OWN).as_str(), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_becomes_the_beginning_of_the_site() {
        let too_long = format!("/{}", "x".repeat(LONGEST));
        let too_long_encoded = format!("/{}", "\u{e9}".repeat(LONGEST / 4));
        for text in [
            "",
            "x",
            "?a=b",
            "//evil.org",
            "///evil.org",
            "/\\evil.org",
            "\\\\evil.org",
            "/a\\..\\..\\/evil.org",
            "/\t/evil.org",
            "\t//evil.org",
            "/\n/evil.org",
            " //evil.org",
            "/.//evil.org",
            "/..//evil.org",
            "/a/..//evil.org",
            "/%2e//evil.org",
            "/a/%2e%2e//evil.org",
            "https://evil.org/",
            "https:/evil.org",
            "javascript:alert(1)",
            "data:text/html,x",
            "/a\r\nSet-Cookie: x=y",
            "/a\0",
            "/a\u{7f}",
            "/a\u{85}",
            "/.elastauth",
            "/.elastauth/",
            "/.elastauth/logout",
            "/.elastauth?x",
            "/.elastauth#x",
            "/%2eelastauth/logout",
            "/.%65lastauth/logout",
            "/.elastauth%2flogout",
            "/.elastauth;x/logout",
            "/x/../.elastauth/logout",
            "/./.elastauth/logout",
            "/x/%2e%2e/.elastauth/logout",
            &too_long,
            &too_long_encoded,
        ] {
            assert_eq!(ReturnPath::of(text.as_bytes(), OWN).as_str(), "/", "{text:?}");
        }
        assert_eq!(ReturnPath::of(b"/\xff", OWN).as_str(), "/", "not UTF-8");
    }

    proptest::proptest! {
        #[test]
        fn no_text_leads_to_another_host_or_into_the_header(text in "(/|\\\\|\\.|%2e|%2f|%5c|\\t|\\r|\\n|@|:|evil|\\?|#|;|\u{e9}){0,12}") {
            let path = ReturnPath::of(text.as_bytes(), OWN);
            let base = Url::parse("https://kibana.example.org/x/y").unwrap();
            let url = base.join(path.as_str()).unwrap();
            proptest::prop_assert_eq!(url.origin(), base.origin());
            proptest::prop_assert!(path.as_str().starts_with('/') && path.as_str().bytes().all(|b| b.is_ascii_graphic()));
        }
    }
}
