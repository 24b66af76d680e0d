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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::testing::{other_site, site};

    #[test]
    fn only_a_listed_host_is_a_site() {
        let local = Site { host: "localhost".into(), origin: "http://localhost".into() };
        let sites = [site(), other_site(), local];
        for (host, expected) in [
            ("kibana.example.org", Some(0)),
            ("KIBANA.example.org", Some(0)),
            ("kibana.example.org:443", Some(0)),
            ("kibana.example.org:80", None),
            ("kibana.example.org:8443", None),
            ("elastic.example.org:8443", Some(1)),
            ("elastic.example.org", None),
            ("elastic.example.org:443", None),
            // no browser writes this; only the name in the settings is used from here on
            ("elastic.example.org:8443:443", Some(1)),
            ("localhost:80", Some(2)),
            ("localhost:443", None),
            ("kibana.example.org.", None),
            ("kibana.example.org.evil.org", None),
            ("evil.org/kibana.example.org", None),
            ("x@kibana.example.org", None),
            ("kibana.example.org,evil.org", None),
            ("kibana.example.org:443:443", None),
            (" kibana.example.org", None),
            ("", None),
        ] {
            let found = named(&sites, host.as_bytes());
            assert_eq!(found, expected.map(|at: usize| &sites[at]), "{host}");
        }
    }
}
