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
