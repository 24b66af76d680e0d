//! A short digest of texts, by which two configurations or two addresses are compared. It is too short to protect a secret.

use std::fmt;

use ring::digest::{Context, SHA256};

/// The first 64 bits of a SHA-256.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u64);

impl Digest {
    /// The digest of these texts in this order. The length of each is digested before it, so that two lists never have the same
    /// bytes.
    pub fn of<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut context = Context::new(&SHA256);
        for text in texts {
            let text = text.as_ref();
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        Self::cut(context.finish().as_ref())
    }

    /// The first 64 bits of a longer digest.
    #[must_use]
    pub fn cut(digest: &[u8]) -> Self {
        Self(digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Reads a digest as [`fmt::Display`] writes it: 16 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if digits { u64::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_differ_in_their_cuts_only_differ() {
        assert_ne!(Digest::of(["ab", "c"]), Digest::of(["a", "bc"]));
        assert_ne!(Digest::of(["ab"]), Digest::of(["ab", ""]));
        assert_eq!(Digest::of(["ab", "c"]), Digest::of(vec!["ab".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn a_digest_is_read_as_it_was_written_and_nothing_else_is() {
        for digest in [Digest(0), Digest(7), Digest(u64::MAX), Digest::of(["x"])] {
            assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        }
        for text in ["", "7", "+000000000000007", "redis 10.0.0.1:6", "00000000000000070"] {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
    }
}
