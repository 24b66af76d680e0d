//! What the login needs of a request: its query, what a browser says about it, and the body of a form. Untrusted.

use std::fmt;

use bytes::Bytes;

use crate::identity::attributes::Header;

/// The most bytes of a form that are read. Logout tokens have a few hundred, and the login reads no other form with content.
const LARGEST_FORM: usize = 64 * 1024;

/// The headers that are read of each request, in the order that [`Visit::new`] takes them. `origin` is read for other purposes
/// anyway.
pub const HEADERS: [&str; 8] = [
    "accept",
    "sec-fetch-mode",
    "sec-fetch-site",
    "content-type",
    "upgrade",
    // these three are set by scripts, which is their purpose: a page of another site cannot set them without asking first
    "x-requested-with",
    "kbn-xsrf",
    "osd-xsrf",
];

/// The parts of a request that the login looks at; all empty where `login.enabled` is off.
#[derive(Clone, Default)]
pub struct Visit {
    /// What follows the question mark of the path, as it was sent.
    pub query: Bytes,
    /// The body of a form that was sent by POST, where Envoy passes bodies on; empty where it is longer than 64 KiB.
    pub body: Bytes,
    /// `accept`
    pub accept: Header,
    /// `origin`
    pub origin: Header,
    /// `sec-fetch-mode`
    pub sec_fetch_mode: Header,
    /// `sec-fetch-site`
    pub sec_fetch_site: Header,
    /// `content-type`
    pub content_type: Header,
    /// Whether the request has a header that only scripts set: `x-requested-with`, `kbn-xsrf` or `osd-xsrf`.
    pub by_script: bool,
    /// Whether it asks for another protocol, as the handshake of a `WebSocket` does: the header `upgrade`, or CONNECT (RFC 8441).
    pub upgrade: bool,
}

impl Visit {
    /// Reads it from the headers that [`HEADERS`] names, in that order.
    #[must_use]
    pub fn new(method: &[u8], query: Bytes, body: Bytes, origin: Header, headers: [Header; HEADERS.len()]) -> Self {
        let [accept, sec_fetch_mode, sec_fetch_site, content_type, upgrade, scripts @ ..] = headers;
        let sent = |header: &Header| *header != Header::Absent;
        let (by_script, upgrade) = (scripts.iter().any(sent), sent(&upgrade) || method == b"CONNECT");
        Self { query, body, accept, origin, sec_fetch_mode, sec_fetch_site, content_type, by_script, upgrade }
    }

    /// Frees the message that its parts are slices of, and keeps copies of them.
    pub fn detach(&mut self) {
        let Self {
            query,
            body,
            accept,
            origin,
            sec_fetch_mode,
            sec_fetch_site,
            content_type,
            by_script: _,
            upgrade: _,
        } = self;
        for bytes in [query, body].into_iter().filter(|bytes| !bytes.is_empty()) {
            *bytes = Bytes::copy_from_slice(bytes);
        }
        for header in [accept, origin, sec_fetch_mode, sec_fetch_site, content_type] {
            header.detach();
        }
    }

    /// About how many bytes of a message it keeps in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let Self {
            query,
            body,
            accept,
            origin,
            sec_fetch_mode,
            sec_fetch_site,
            content_type,
            by_script: _,
            upgrade: _,
        } = self;
        let headers = [accept, origin, sec_fetch_mode, sec_fetch_site, content_type].map(Header::size);
        query.len() + body.len() + headers.into_iter().sum::<usize>()
    }
}

/// A query may hold a code, a form a token.
impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by_script, upgrade, .. } = self;
        f.debug_struct("Visit").field("by_script", by_script).field("upgrade", upgrade).finish_non_exhaustive()
    }
}

/// Whether the body is to be read: of a form that was sent by POST (HTML §4.10.21.6). No other body means anything to the login,
/// and those of the application may be large. The headers are those that [`HEADERS`] names.
#[must_use]
pub fn is_form(method: &[u8], headers: &[Header; HEADERS.len()], body: &[u8]) -> bool {
    let [_, _, _, content_type, ..] = headers;
    let form = |value: &[u8]| media_type(value).eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
    method == b"POST" && body.len() <= LARGEST_FORM && content_type.value().is_some_and(form)
}

/// Whether a person's browser goes to a page with this request, so that it can be sent to the provider and come back. Scripts and
/// other programs cannot, and a request with a body would lose it on the way.
#[must_use]
pub fn navigates(method: &[u8], visit: &Visit) -> bool {
    if !matches!(method, b"GET" | b"HEAD") || visit.by_script || visit.upgrade {
        return false;
    }
    match &visit.sec_fetch_mode {
        Header::One(mode) => mode == "navigate",
        Header::Several => false,
        // browsers before 2023, and those on plain HTTP, do not say it
        Header::Absent => visit.accept.value().is_some_and(takes_html),
    }
}

fn takes_html(accept: &[u8]) -> bool {
    accept.split(|b| *b == b',').any(|range| media_type(range).eq_ignore_ascii_case(b"text/html"))
}

/// A media type without its parameters (RFC 9110 §8.3.1).
fn media_type(value: &[u8]) -> &[u8] {
    value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Header {
        if text.is_empty() { Header::Absent } else { Header::One(Bytes::copy_from_slice(text.as_bytes())) }
    }

    fn visit(accept: &str, mode: &str) -> Visit {
        Visit { accept: header(accept), sec_fetch_mode: header(mode), ..Visit::default() }
    }

    const CHROMIUM: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

    #[test]
    fn only_navigations_without_a_body_are_sent_to_the_provider() {
        let html = || visit(CHROMIUM, "navigate");
        for (case, method, visit, expected) in [
            ("a browser", "GET", html(), true),
            ("its HEAD", "HEAD", html(), true),
            ("a form", "POST", html(), false),
            ("a method in another case", "get", html(), false),
            ("no method", "", html(), false),
            ("OPTIONS", "OPTIONS", html(), false),
            ("a script's fetch of a page", "GET", visit(CHROMIUM, "cors"), false),
            ("the same without CORS", "GET", visit(CHROMIUM, "no-cors"), false),
            ("a fetch of the same site", "GET", visit("text/html", "same-origin"), false),
            ("a handshake", "GET", visit("", "websocket"), false),
            ("a spelling that no browser has", "GET", visit(CHROMIUM, "Navigate"), false),
            ("two values in one line", "GET", visit(CHROMIUM, "navigate,cors"), false),
            ("the mode alone", "GET", visit("", "navigate"), true),
            ("an older browser", "GET", visit(CHROMIUM, ""), true),
            ("the type among others", "GET", visit("image/png, TEXT/HTML;q=0.5", ""), true),
            ("a program", "GET", visit("*/*", ""), false),
            ("a program that says nothing", "GET", visit("", ""), false),
            ("another type with the same beginning", "GET", visit("text/html5, x/text/html", ""), false),
            ("XMLHttpRequest", "GET", Visit { by_script: true, ..html() }, false),
            ("an upgrade", "GET", Visit { upgrade: true, ..html() }, false),
            ("two modes", "GET", Visit { sec_fetch_mode: Header::Several, ..html() }, false),
            ("two types", "GET", Visit { accept: Header::Several, ..Visit::default() }, false),
        ] {
            assert_eq!(navigates(method.as_bytes(), &visit), expected, "{case}");
        }
    }

    fn headers(set: &[(usize, &str)]) -> [Header; HEADERS.len()] {
        let mut headers = [const { Header::Absent }; HEADERS.len()];
        for (at, text) in set {
            headers[*at] = header(text);
        }
        headers
    }

    #[test]
    fn scripts_and_upgrades_are_known_by_their_headers_whatever_these_say() {
        let read = |method: &[u8], headers| {
            let visit = Visit::new(method, Bytes::new(), Bytes::new(), Header::Absent, headers);
            (visit.by_script, visit.upgrade)
        };
        assert_eq!(read(b"GET", headers(&[])), (false, false));
        for (at, name) in HEADERS.iter().enumerate() {
            let script = ["x-requested-with", "kbn-xsrf", "osd-xsrf"].contains(name);
            assert_eq!(read(b"GET", headers(&[(at, "x")])), (script, *name == "upgrade"), "{name}");
        }
        let mut repeated = headers(&[]);
        repeated[6] = Header::Several;
        assert_eq!(read(b"CONNECT", repeated), (true, true));
    }

    #[test]
    fn only_forms_of_a_bounded_size_are_read() {
        const FORM: &str = "application/x-www-form-urlencoded";
        let form = |kind: &str| headers(&[(3, kind)]);
        let large = vec![b'x'; LARGEST_FORM + 1];
        for (method, kind, body, expected) in [
            ("POST", FORM, &b"a=b"[..], true),
            ("POST", "Application/X-WWW-Form-Urlencoded ; charset=utf-8", b"", true),
            ("POST", FORM, &large[1..], true),
            ("POST", FORM, &large, false),
            ("PUT", FORM, b"a=b", false),
            ("POST", "application/json", b"{}", false),
            ("POST", "", b"a=b", false),
        ] {
            assert_eq!(is_form(method.as_bytes(), &form(kind), body), expected, "{method} {kind}");
        }
    }

    #[test]
    fn a_detached_visit_holds_nothing_of_its_message_and_shows_no_query() {
        let message = Bytes::from(b"code=secret&state=1".repeat(100));
        let one = |from: usize| Header::One(message.slice(from..from + 10));
        let mut visit = Visit {
            query: message.slice(..19),
            body: message.slice(19..40),
            accept: one(0),
            origin: one(10),
            sec_fetch_mode: one(20),
            sec_fetch_site: one(30),
            content_type: one(40),
            ..Visit::default()
        };
        let (before, size) = (visit.clone(), visit.size());
        assert_eq!(size, 19 + 21 + 50);
        visit.detach();
        let span = message.as_ptr_range();
        for (copy, slice) in [(&visit.query, &before.query), (&visit.body, &before.body)] {
            assert!(copy == slice && !span.contains(&copy.as_ptr()));
        }
        for header in [&visit.accept, &visit.origin, &visit.sec_fetch_mode, &visit.sec_fetch_site, &visit.content_type]
        {
            assert!(!span.contains(&header.value().unwrap().as_ptr()));
        }
        assert_eq!((visit.size(), &visit.origin), (size, &before.origin));
        assert!(!format!("{visit:?}").contains("secret"));
    }
}
