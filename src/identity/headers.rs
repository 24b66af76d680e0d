//! Identity by headers that a login proxy set, or by what Envoy's own filters found out (`metadata_context`).
//!
//! Any client can write a header. It counts only behind an anchor that a client of Envoy cannot forge: see [`anchor`].

use std::sync::Arc;
use std::time::SystemTime;

use ::http::HeaderName;
use bytes::Bytes;

use super::attributes::{AttributeSelection, Header, RequestAttributes};
use super::{AsOf, Identity, Owner, Username};

pub mod anchor;
mod error;
mod list;
pub mod metadata;

pub use error::Error;

/// Which headers carry an identity, and what shows that they are genuine: the section `authelia`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `authelia.issuer`: takes the place of an issuer, which these users do not have. Default `authelia`.
    pub issuer: String,
    /// The names of the headers: `authelia.header_*`.
    pub names: Names,
    /// `authelia.groups_separator`: between two groups. Default `,`.
    pub separator: char,
    /// What shows that the headers are the login proxy's.
    pub anchors: anchor::Settings,
    /// Where given, the identity comes from Envoy's metadata instead of from headers.
    pub metadata: Option<metadata::Settings>,
}

/// The names of the headers that carry an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The header with the username. Default `Remote-User`.
    pub username: HeaderName,
    /// The header with the groups. Default `Remote-Groups`.
    pub groups: HeaderName,
    /// The header with the e-mail address. Default `Remote-Email`.
    pub email: HeaderName,
    /// The header with the full name. Default `Remote-Name`.
    pub full_name: HeaderName,
}

impl Names {
    /// All of them, in the order in which they are wanted.
    #[must_use]
    pub fn all(&self) -> [HeaderName; 4] {
        [&self.username, &self.groups, &self.email, &self.full_name].map(HeaderName::clone)
    }
}

/// Turns headers into identities.
#[derive(Debug)]
pub struct Reader {
    issuer: Arc<str>,
    names: Names,
    separator: char,
    anchors: anchor::Anchors,
    metadata: Option<metadata::Settings>,
}

impl Reader {
    /// A reader with these settings; whether they have an anchor that counts was checked with them.
    pub fn new(settings: Settings) -> Result<Self, anchor::NoRandomness> {
        let Settings { issuer, names, separator, anchors, metadata } = settings;
        let anchors = anchor::Anchors::new(anchors)?;
        Ok(Self { issuer: issuer.into(), names, separator, anchors, metadata })
    }

    /// What to read of each request.
    #[must_use]
    pub fn wanted(&self) -> AttributeSelection {
        AttributeSelection {
            headers: if self.metadata.is_some() { Vec::new() } else { self.names.all().to_vec() },
            metadata: self.metadata.as_ref().map(|metadata| metadata.namespace.clone()),
            ..self.anchors.wanted()
        }
    }

    /// The identity that the login proxy gives for the caller. `now` is the wall clock.
    pub fn identify(&self, attributes: &RequestAttributes, now: SystemTime) -> Result<Identity, Error> {
        self.anchors.hold(attributes)?;
        match &self.metadata {
            Some(metadata) => metadata.identify(&attributes.metadata, &self.issuer, now),
            None => self.by_headers(&attributes.headers, now),
        }
    }

    fn by_headers(&self, headers: &[Header], now: SystemTime) -> Result<Identity, Error> {
        let [username, groups, email, full_name] = headers else { return Err(Error::Missing) };
        let username = single(username, &self.names.username)?.ok_or(Error::Missing)?;
        let groups = plain(groups, &self.names.groups)?.unwrap_or_default();
        let username = Username::parse(username)?;
        Ok(Identity {
            owner: Owner::of_headers(&self.issuer, &username),
            username,
            email: single(email, &self.names.email)?.map(str::to_owned),
            full_name: shown(full_name, &self.names.full_name)?,
            groups: list::split(groups, self.separator),
            claims: Vec::new(),
            as_of: AsOf::Now,
            expires: now,
        })
    }
}

/// The one value. Empty means absent: login proxies send empty headers for what they do not know.
fn one<'a>(header: &'a Header, name: &HeaderName) -> Result<Option<&'a Bytes>, Error> {
    match header {
        Header::Absent => Ok(None),
        Header::One(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Header::Several => Err(Error::Repeated(name.clone())),
    }
}

/// Visible ASCII and spaces. `!` stands for a byte that did not fit into Envoy's map of headers, so that what was sent
/// cannot be told any more.
fn plain<'a>(header: &'a Header, name: &HeaderName) -> Result<Option<&'a str>, Error> {
    let Some(value) = one(header, name)? else { return Ok(None) };
    let allowed = |b: &u8| (b' '..=b'~').contains(b) && *b != b'!';
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| allowed(&b)));
    text.map(Some).ok_or_else(|| Error::Encoding(name.clone()))
}

/// A value without commas, with which Envoy joins repeated headers.
fn single<'a>(header: &'a Header, name: &HeaderName) -> Result<Option<&'a str>, Error> {
    match plain(header, name)? {
        Some(text) if text.contains(',') => Err(Error::Repeated(name.clone())),
        other => Ok(other),
    }
}

/// A person's name: shown and nothing else, so one that cannot be read is left out, and it may have commas and umlauts.
fn shown(header: &Header, name: &HeaderName) -> Result<Option<String>, Error> {
    let text = one(header, name)?.and_then(|value| std::str::from_utf8(value).ok());
    Ok(text.filter(|text| !text.chars().any(char::is_control)).map(str::to_owned))
}

#[cfg(test)]
mod tests;
