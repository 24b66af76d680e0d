//! A request as decisions see it: untrusted bytes, slices of the received message.

use std::fmt;

use bytes::Bytes;

use crate::identity::presented::Presented;

/// What a decision needs of a request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Who the caller claims to be.
    pub presented: Presented,
    /// `x-request-id`.
    pub request_id: Text,
    /// W3C Trace Context, as the client or Envoy sent it.
    pub traceparent: Text,
    /// Envoy's stream id.
    pub stream_id: Text,
    /// The method.
    pub method: Text,
    /// With the port, if the client named one.
    pub host: Text,
    /// Without the query.
    pub path: Text,
    /// A CORS preflight request by its form (Fetch §4.8): OPTIONS with `origin` and `access-control-request-method`.
    pub preflight: bool,
}

/// Bytes of the client's. Shown bounded and without control characters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(pub Bytes);

/// What is shown of a text.
const SHOWN: usize = 256;

impl Text {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As it is, if it can be shown like that; else empty.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let plain = self.0.len() <= SHOWN && self.0.iter().all(u8::is_ascii_graphic);
        std::str::from_utf8(&self.0).ok().filter(|_| plain).unwrap_or_default()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bounded = self.0.get(..SHOWN).unwrap_or(&self.0);
        for chunk in bounded.utf8_chunks() {
            for c in chunk.valid().chars() {
                fmt::Write::write_char(f, if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })?;
            }
            if !chunk.invalid().is_empty() {
                fmt::Write::write_char(f, char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_bounded_and_without_control_characters() {
        for (bytes, shown) in [
            (&b"/a"[..], "/a"),
            (b"a\nb\x1b[31m", "a\u{fffd}b\u{fffd}[31m"),
            (b"\xff\xfea", "\u{fffd}\u{fffd}a"),
            ("jürgen".as_bytes(), "jürgen"),
        ] {
            assert_eq!(Text(Bytes::from_static(bytes)).to_string(), shown);
        }
        assert_eq!(Text(vec![b'x'; 1000].into()).to_string().len(), SHOWN);
    }
}
