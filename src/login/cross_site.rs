//! Refuses what a page on another site made the browser send. A cookie goes with such requests too, so that it alone does not show
//! that the person wanted them.

use super::settings::Site;
use super::visit::Visit;
use crate::identity::attributes::Header;

/// Whether a request that is authorised by a cookie comes from a page of this site, or from the person, by what the browser says of
/// it. Requests that only read are allowed: a page on another site cannot see the answer. A handshake of a `WebSocket` reads and
/// writes, and its answer can be seen by any page (RFC 6455 §10.2).
///
/// What a browser would not send, such as a repeated header or another spelling, is not allowed.
#[must_use]
pub fn allowed(method: &[u8], site: &Site, visit: &Visit) -> bool {
    judge(method, visit.origin.value() == Some(site.origin.as_bytes()), visit)
}

/// The same where only the request's `Host` says which site it is: people do not log in there, but a cookie may carry a token.
#[must_use]
pub fn allowed_at(method: &[u8], host: &[u8], visit: &Visit) -> bool {
    let origin = visit.origin.value().unwrap_or_default();
    let named = origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"));
    judge(method, named.is_some_and(|named| !named.is_empty() && named.eq_ignore_ascii_case(host)), visit)
}

fn judge(method: &[u8], own_origin: bool, visit: &Visit) -> bool {
    if visit.upgrade {
        return own_origin && (visit.sec_fetch_site == Header::Absent || from_here(visit));
    }
    if matches!(method, b"GET" | b"HEAD" | b"OPTIONS") {
        return true;
    }
    match visit.sec_fetch_site {
        Header::Absent => own_origin,
        Header::One(_) => from_here(visit) && (own_origin || origin_is_hidden(visit)),
        Header::Several => false,
    }
}

/// `same-origin`: from a page of this host; `none`: by the person, as with a bookmark (Fetch Metadata §2.3).
fn from_here(visit: &Visit) -> bool {
    matches!(visit.sec_fetch_site.value(), Some(b"same-origin" | b"none"))
}

/// Browsers send no `Origin` with some requests, and `null` where the page has the policy `no-referrer` (Fetch §3.2).
fn origin_is_hidden(visit: &Visit) -> bool {
    visit.origin == Header::Absent || visit.origin.value() == Some(b"null")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::login::testing::site;

    fn header(text: &str) -> Header {
        match text {
            "" => Header::Absent,
            "<two>" => Header::Several,
            text => Header::One(Bytes::copy_from_slice(text.as_bytes())),
        }
    }

    const OWN: &str = "https://kibana.example.org";

    #[test]
    fn what_changes_something_comes_from_this_site_or_from_the_person() {
        for (fetch_site, origin, expected) in [
            ("same-origin", OWN, true),
            ("same-origin", "", true),
            ("same-origin", "null", true),
            ("none", "", true),
            ("none", OWN, true),
            ("same-site", OWN, false),
            ("same-site", "https://evil.example.org", false),
            ("cross-site", "https://evil.org", false),
            ("cross-site", "", false),
            ("cross-site", OWN, false),
            // no browser sends these two
            ("same-origin", "https://evil.org", false),
            ("none", "https://evil.org", false),
            ("Same-Origin", OWN, false),
            ("same-origin,same-origin", OWN, false),
            ("same-origin, cross-site", OWN, false),
            ("<two>", OWN, false),
            ("same-origin", "<two>", false),
            // browsers that say nothing
            ("", OWN, true),
            ("", "", false),
            ("", "null", false),
            ("", "http://kibana.example.org", false),
            ("", "https://kibana.example.org:443", false),
            ("", "https://kibana.example.org:8443", false),
            ("", "https://KIBANA.example.org", false),
            ("", "https://kibana.example.org/", false),
            ("", "https://kibana.example.org.evil.org", false),
            ("", "https://evil.org,https://kibana.example.org", false),
            ("", "<two>", false),
        ] {
            let visit = Visit { sec_fetch_site: header(fetch_site), origin: header(origin), ..Visit::default() };
            for method in ["POST", "PUT", "DELETE", "PATCH", "get", "QUERY", ""] {
                let found = allowed(method.as_bytes(), &site(), &visit);
                assert_eq!(found, expected, "{method}, Sec-Fetch-Site: {fetch_site}, Origin: {origin}");
            }
            for method in ["GET", "HEAD", "OPTIONS"] {
                assert!(allowed(method.as_bytes(), &site(), &visit), "{method} only reads");
            }
        }
    }

    #[test]
    fn a_token_in_a_cookie_needs_a_page_of_the_requests_own_host() {
        for (host, origin, expected) in [
            ("kibana.example.org", OWN, true),
            ("Kibana.example.org", OWN, true),
            ("kibana.example.org:8443", "http://kibana.example.org:8443", true),
            ("kibana.example.org:8443", OWN, false),
            ("kibana.example.org", "https://evil.org", false),
            ("kibana.example.org", "null", false),
            ("kibana.example.org", "", false),
            ("", "https://", false),
            ("", "", false),
        ] {
            let visit = Visit { origin: header(origin), ..Visit::default() };
            assert_eq!(allowed_at(b"POST", host.as_bytes(), &visit), expected, "{host} {origin}");
            assert!(allowed_at(b"GET", host.as_bytes(), &visit), "it only reads");
        }
        let visit = Visit { sec_fetch_site: header("same-origin"), ..Visit::default() };
        assert!(allowed_at(b"POST", b"kibana.example.org", &visit));
    }

    #[test]
    fn a_handshake_needs_the_origin_of_this_site_whatever_else_is_said() {
        for (fetch_site, origin, expected) in [
            ("", OWN, true),
            ("same-origin", OWN, true),
            ("cross-site", OWN, false),
            ("same-site", OWN, false),
            ("<two>", OWN, false),
            ("same-origin", "", false),
            ("none", "", false),
            ("same-origin", "null", false),
            ("", "", false),
            ("", "https://evil.org", false),
            ("", "<two>", false),
        ] {
            let visit =
                Visit { sec_fetch_site: header(fetch_site), origin: header(origin), upgrade: true, ..Visit::default() };
            for method in [&b"GET"[..], b"CONNECT"] {
                assert_eq!(allowed(method, &site(), &visit), expected, "{fetch_site} {origin}");
            }
        }
    }
}
