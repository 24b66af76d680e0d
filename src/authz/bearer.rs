//! Finds the token in a request: in `authorization`, or in a header or cookie that the configuration names.

use std::borrow::Cow;

use ::http::HeaderName;
use bytes::Bytes;

use super::Refusal;
use crate::cookies;
use crate::identity::attributes::{AttributeSelection, Header, RequestAttributes};

/// `oidc.token_header`, `oidc.token_cookie`: where tokens are looked for beside `authorization`. Default: in no other place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Headers that carry a token, with or without `Bearer`.
    pub headers: Vec<HeaderName>,
    /// Names of cookies that have a token as their value.
    pub cookies: Vec<String>,
}

/// A token as a request has it.
#[derive(Debug)]
pub(super) struct Found<'a> {
    /// Nothing of it is verified.
    pub(super) token: Cow<'a, str>,
    /// Whether a cookie carries it. A browser sends that with every request, also with one that a page of another site caused.
    pub(super) by_cookie: bool,
}

impl Sources {
    pub(super) fn selection(&self) -> AttributeSelection {
        AttributeSelection {
            headers: self.headers.clone(),
            cookies: !self.cookies.is_empty(),
            visit: !self.cookies.is_empty(),
            ..AttributeSelection::default()
        }
    }

    /// The one token: of `authorization` if there is one, else of the first named header that is there, else of the first
    /// named cookie. A value that is no token is refused, and the next place is not tried.
    pub(super) fn token<'a>(&self, attributes: &'a RequestAttributes) -> Result<Found<'a>, Refusal> {
        let in_header = |token| Found { token: Cow::Borrowed(token), by_cookie: false };
        match bearer(&attributes.authorization) {
            Err(Refusal::NoCredentials) => {}
            found => return found.map(in_header),
        }
        for header in &attributes.headers {
            match one(header) {
                Err(Refusal::NoCredentials) => {}
                found => return plain(without_scheme(found?)).map(in_header),
            }
        }
        for name in &self.cookies {
            match cookies::find(&attributes.cookies, name).as_slice() {
                [] => {}
                // one of them may be an attacker's, set from another host of the same domain
                [_, _, ..] => return Err(Refusal::SeveralCredentials),
                [value] => {
                    let found = |token: &str| Found { token: Cow::Owned(token.to_owned()), by_cookie: true };
                    return plain(value).map(found);
                }
            }
        }
        Err(Refusal::NoCredentials)
    }
}

/// The one bearer token (RFC 6750 §2.1): the scheme in any case, spaces, and token characters only.
fn bearer(authorization: &Header) -> Result<&str, Refusal> {
    let value = one(authorization)?;
    let (scheme, token) = value.split_once(' ').ok_or(Refusal::NoBearer)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::NoBearer);
    }
    plain(token.trim_start_matches(' '))
}

/// A header's only value. A comma is how Envoy joins repeated headers.
fn one(header: &Header) -> Result<&str, Refusal> {
    let value: &Bytes = match header {
        Header::Absent => return Err(Refusal::NoCredentials),
        Header::Several => return Err(Refusal::SeveralCredentials),
        Header::One(value) => value,
    };
    if value.contains(&b',') {
        return Err(Refusal::SeveralCredentials);
    }
    match std::str::from_utf8(value).map_err(|_| Refusal::NoBearer)?.trim_matches(' ') {
        "" => Err(Refusal::NoCredentials),
        value => Ok(value),
    }
}

fn without_scheme(value: &str) -> &str {
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start_matches(' '),
        _ => value,
    }
}

fn plain(token: &str) -> Result<&str, Refusal> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if token.is_empty() || !token.bytes().all(allowed) { Err(Refusal::NoBearer) } else { Ok(token) }
}

#[cfg(test)]
mod tests;
