//! The parts of a request that decisions need: untrusted bytes, slices of the received message.

use std::fmt;

use bytes::Bytes;

use crate::identity::attributes::RequestAttributes;
use crate::login::Visit;

/// What a decision needs of a request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The values that name the caller, before any of them is verified.
    pub attributes: RequestAttributes,
    /// `x-request-id`, for the log and for traces.
    pub request_id: Text,
    /// W3C Trace Context, as the client or Envoy sent it.
    pub traceparent: Text,
    /// Envoy's id of the stream, which its access log can show too.
    pub stream_id: Text,
    /// The HTTP method, as the client sent it.
    pub method: Text,
    /// The host, with the port if the client sent one.
    pub host: Text,
    /// The path without the query.
    pub path: Text,
    /// A CORS preflight request by its form (Fetch §4.8): OPTIONS with `context` and `access-control-request-method`.
    pub preflight: bool,
    /// What the login needs of it; empty where `login.enabled` is off.
    pub visit: Visit,
}

impl Request {
    /// Frees the message that the texts are slices of, and keeps copies of what is needed later: the cookies, what the log shows,
    /// and with `whole` the complete texts that rules need.
    pub fn detach(&mut self, whole: bool) {
        let Self { attributes, request_id, traceparent, stream_id, method, host, path, preflight: _, visit } = self;
        visit.detach();
        let cookies = attributes.cookies.iter().map(|cookie| Bytes::copy_from_slice(cookie)).collect();
        *attributes = RequestAttributes { cookies, ..RequestAttributes::default() };
        for text in [request_id, traceparent, stream_id] {
            text.detach(NEEDED);
        }
        for text in [method, host, path] {
            text.detach(if whole { usize::MAX } else { NEEDED });
        }
    }

    /// About how many bytes of a message it keeps in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let Self { attributes, request_id, traceparent, stream_id, method, host, path, preflight: _, visit } = self;
        let texts = [request_id, traceparent, stream_id, method, host, path].map(|text| text.0.len());
        texts.into_iter().chain(attributes.cookies.iter().map(Bytes::len)).sum::<usize>() + visit.size()
    }
}

/// Bytes that the client sent. They are shown cut to 256 bytes and without control characters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(pub Bytes);

/// The most bytes of a text that are shown.
const SHOWN: usize = 256;
/// One byte more shows that the text was longer.
const NEEDED: usize = SHOWN + 1;

impl Text {
    /// The bytes as they were sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn detach(&mut self, most: usize) {
        self.0 = Bytes::copy_from_slice(self.0.get(..most).unwrap_or(&self.0));
    }

    /// The text, if it is short and of visible ASCII characters; else empty.
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
    fn a_detached_request_holds_nothing_of_its_message_and_is_shown_as_before() {
        let mut message = vec![b'x'; 100_000];
        message[300] = b'/';
        let message = Bytes::from(message);
        let text = |from: usize, to: usize| Text(message.slice(from..to));
        let request = || Request {
            attributes: RequestAttributes {
                authorization: crate::identity::attributes::Header::One(message.slice(..50_000)),
                cookies: vec![message.slice(..20)],
                ..RequestAttributes::default()
            },
            request_id: text(0, SHOWN),
            traceparent: text(0, SHOWN + 1),
            path: text(300, 60_000),
            host: text(0, 20),
            ..Request::default()
        };
        for whole in [false, true] {
            let mut detached = request();
            detached.detach(whole);
            let attached = request();
            assert_eq!(detached.request_id.as_str(), attached.request_id.as_str());
            assert_eq!((detached.traceparent.as_str(), attached.traceparent.as_str()), ("", ""), "too long");
            assert_eq!(detached.path.to_string(), attached.path.to_string());
            assert_eq!((detached.path == attached.path, &detached.host), (whole, &attached.host));
            assert_eq!(detached.attributes.cookies, attached.attributes.cookies);
            let (held, most) = (detached.size(), if whole { 60_500 } else { 1_000 });
            assert!(held < most, "{held}");
            drop(attached);
            let slices =
                [detached.request_id.0, detached.path.0, detached.host.0, detached.attributes.cookies[0].clone()];
            let span = message.as_ptr_range();
            assert!(slices.iter().all(|bytes| !span.contains(&bytes.as_ptr())), "they are copies");
        }
    }

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
