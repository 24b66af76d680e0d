//! The attributes of a request that an identity is made of, and which of them the configuration needs.

use std::fmt;

use ::http::HeaderName;
use bytes::Bytes;
use serde_json::{Map, Value};

/// One header of a request: untrusted bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Header {
    /// The request does not have it.
    #[default]
    Absent,
    /// The request has it once.
    One(Bytes),
    /// The request has it several times; which one would count cannot be told.
    Several,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::One(_) => "One(…)",
            Self::Several => "Several",
        })
    }
}

impl Header {
    /// Its one value; none where it is absent or repeated.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match self {
            Self::One(value) => Some(value),
            Self::Absent | Self::Several => None,
        }
    }

    /// About how many bytes of the message it keeps in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.value().map_or(0, <[u8]>::len)
    }

    /// Frees the message that the value is a slice of.
    pub fn detach(&mut self) {
        if let Self::One(value) = self {
            *value = Bytes::copy_from_slice(value);
        }
    }
}

impl FromIterator<Bytes> for Header {
    fn from_iter<I: IntoIterator<Item = Bytes>>(values: I) -> Self {
        let mut values = values.into_iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Absent,
            (Some(one), None) => Self::One(one),
            (Some(_), Some(_)) => Self::Several,
        }
    }
}

/// What is to be read of a request beside `authorization`. The settings name it, so that no time is spent on what is
/// not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeSelection {
    /// The names of headers, in lower case.
    pub headers: Vec<HeaderName>,
    /// Whether `cookie` headers are read.
    pub cookies: bool,
    /// The principal of the peer that talks to Envoy.
    pub principal: bool,
    /// A key of `context_extensions`.
    pub extension: Option<&'static str>,
    /// A namespace of `metadata_context`.
    pub metadata: Option<String>,
    /// What the login needs of a request: its query, what a browser says about it, and the body of a form.
    pub visit: bool,
}

/// What was read of a request.
#[derive(Clone, Default)]
pub struct RequestAttributes {
    /// The header `authorization`.
    pub authorization: Header,
    /// The headers that [`AttributeSelection`] names, in its order.
    pub headers: Vec<Header>,
    /// Every `cookie` header, where they are wanted.
    pub cookies: Vec<Bytes>,
    /// `source.principal`: out of the certificate of the peer that talks to Envoy; empty without one, and where it is
    /// not selected.
    pub principal: Bytes,
    /// The wanted value of `context_extensions`: what the operator wrote into Envoy's configuration.
    pub extension: Bytes,
    /// The wanted namespace of `metadata_context`: what filters before this one found out.
    pub metadata: Map<String, Value>,
}

/// Nothing of it belongs into a log.
impl fmt::Debug for RequestAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestAttributes").field("authorization", &self.authorization).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_presented_is_never_shown() {
        let one = || Header::One(Bytes::from_static(b"Bearer secret"));
        let attributes = RequestAttributes {
            authorization: one(),
            headers: vec![one()],
            cookies: vec!["secret".into()],
            principal: "secret".into(),
            extension: "secret".into(),
            metadata: Map::from_iter([("secret".to_owned(), Value::Null)]),
        };
        assert!(!format!("{attributes:?} {:?}", one()).contains("secret"));
    }
}
