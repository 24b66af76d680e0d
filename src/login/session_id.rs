//! The id of a session, which the browser keeps, and its digest, which names the session's record.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};
use zeroize::Zeroizing;

use crate::credentials::CacheKey;
use crate::random::{self, NoRandomness};

/// The kind of a session's record, in its name.
const KIND: &str = "session";
/// The length of a session's cookie, in characters.
const LENGTH: usize = 43;

/// What a browser shows to be logged in: 256 random bits. It is never stored, never logged, and has no `Debug`.
pub struct SessionId(Zeroizing<[u8; 32]>);

/// The SHA-256 of a session's id and of the host of its cookie. It names the session's record, and does not let anybody in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionDigest([u8; 32]);

impl SessionId {
    /// A new id.
    pub fn generate() -> Result<Self, NoRandomness> {
        random::bytes().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// Reads the value of a cookie. Each id has exactly one form, and everything else is refused.
    #[must_use]
    pub fn parse(cookie: &str) -> Option<Self> {
        if cookie.len() != LENGTH {
            return None;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        // the engine refuses what is not canonical
        let length = URL_SAFE_NO_PAD.decode_slice_unchecked(cookie, bytes.as_mut()).ok()?;
        (length == 32).then_some(Self(bytes))
    }

    /// The value of the cookie: 43 characters of base64url. It is a secret.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_ref()))
    }

    /// The digest of the id at this host: the cookie of one host names no record at another.
    #[must_use]
    pub fn digest_at(&self, host: &str) -> SessionDigest {
        let mut context = Context::new(&SHA256);
        // the id has a fixed length, so that no other pair makes the same bytes
        context.update(self.0.as_ref());
        context.update(host.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.finish().as_ref());
        SessionDigest(bytes)
    }

    /// The digest for tests in which hosts do not matter.
    #[cfg(test)]
    pub(crate) fn digest(&self) -> SessionDigest {
        self.digest_at("")
    }
}

impl SessionDigest {
    /// The name of the session's record.
    #[must_use]
    pub(crate) fn key(&self) -> CacheKey {
        CacheKey::of_digest(KIND, &self.0)
    }
}

/// Whether the record is a session's, by its name.
pub(crate) fn is_session(key: &CacheKey) -> bool {
    key.is_of_kind(KIND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_the_cookie_and_no_two_are_equal() {
        let (one, other) = (SessionId::generate().unwrap(), SessionId::generate().unwrap());
        assert_eq!(one.expose().len(), LENGTH);
        let read = SessionId::parse(&one.expose()).unwrap();
        assert_eq!(read.digest(), one.digest());
        assert_ne!(one.digest(), other.digest());
        assert_eq!(read.digest_at("a.example"), one.digest_at("a.example"));
        assert_ne!(one.digest_at("a.example"), one.digest_at("b.example"));
        assert!(is_session(&one.digest().key()));
    }

    #[test]
    fn only_the_canonical_form_of_an_id_is_read() {
        // 32 bytes are 42 characters and 4 bits: the last two bits of the 43rd must be zero
        let canonical = format!("{}A", "a".repeat(42));
        assert!(SessionId::parse(&canonical).is_some());
        for cookie in [
            String::new(),
            "a".repeat(42),
            "a".repeat(44),
            format!("{}=", "a".repeat(42)),
            format!("{canonical}="),
            format!("{}B", "a".repeat(42)),
            format!("{}+A", "a".repeat(41)),
            format!("{}/A", "a".repeat(41)),
            format!(" {}A", "a".repeat(41)),
            format!("{}\u{e9}", "a".repeat(41)),
            format!("{}A", "a".repeat(8000)),
        ] {
            assert!(SessionId::parse(&cookie).is_none(), "{cookie}");
        }
    }

    #[test]
    fn the_name_of_a_record_is_the_digest_and_not_the_id() {
        let id = SessionId::parse(&"A".repeat(43)).unwrap();
        assert_eq!(id.digest().key().as_str(), "elastauth-session-Zmh6rfhivXdsj8GLjp-OIAiXFIVu4jOzkCpZHQ1fKSU");
    }
}
