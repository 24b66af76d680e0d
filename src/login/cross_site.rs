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
    let own_origin = visit.origin.value() == Some(site.origin.as_bytes());
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
