//! Which of the hosts a request is for where people may log in.

use super::settings::Site;

/// The site that the request's host names, in any case and with or without the port that its scheme has anyway (RFC 9110 §4.2.3).
/// None for every other host: no part of a request becomes part of a redirect URI.
#[must_use]
pub fn named<'a>(sites: &'a [Site], host: &[u8]) -> Option<&'a Site> {
    sites.iter().find(|site| {
        let port = if site.origin.starts_with("https:") { b":443".as_slice() } else { b":80" };
        let is = |host: &[u8]| host.eq_ignore_ascii_case(site.host.as_bytes());
        is(host) || host.strip_suffix(port).is_some_and(is)
    })
}
