//! What is claimed about a caller, in a token or in a provider's answer, and how it is read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::Millis;
use super::error::Error;
use super::strict_object::StrictObject;

mod mapping;

pub(super) use mapping::Mapped;
pub use mapping::{Case, Settings};

/// Claims that a signature or the provider itself vouches for.
#[derive(Clone, Debug)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// Call this only after the signature, or the provider's answer, was checked.
    pub(super) fn verified(object: StrictObject) -> Self {
        Self(object.into_members())
    }

    /// For what a filter of Envoy's found out.
    pub(super) fn from_metadata(members: &Map<String, Value>) -> Self {
        Self(members.clone())
    }

    #[cfg(test)]
    pub(super) fn unverified(claims: &Value) -> Self {
        Self(serde_json::from_value::<StrictObject>(claims.clone()).unwrap().into_members())
    }

    /// A claim of the specifications, by its plain name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that a setting names: by its literal name first (`https://example.com/roles`, `a.b`), then by a path of
    /// names joined with dots (`realm_access.roles`), longest name first, so that a name within a path may have dots too
    /// (`resource_access.my.client.roles`). `null` is absence.
    pub(super) fn find(&self, path: &str) -> Option<&Value> {
        find(&self.0, path)
    }

    /// Takes over what is missing here; what is here stays.
    pub(super) fn add(&mut self, more: &Self) {
        for (name, value) in &more.0 {
            if self.0.get(name).is_none_or(Value::is_null) {
                self.0.insert(name.clone(), value.clone());
            }
        }
    }

    /// A claim that must be there and be text.
    pub(super) fn string(&self, name: &str) -> Result<&str, Error> {
        match self.get(name) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(Error::ClaimType(name.into())),
            None => Err(Error::ClaimMissing(name.into())),
        }
    }

    /// A claim that need not be there; empty text and other types are as good as none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// The `sub` of the claims; never empty.
    pub(super) fn subject(&self) -> Result<&str, Error> {
        match self.string("sub")? {
            "" => Err(Error::ClaimMissing("sub".into())),
            subject => Ok(subject),
        }
    }

    /// One string or an array of strings, as `aud` is (RFC 7519 §4.1.3); `None` when it is absent.
    pub(super) fn strings(&self, name: &str) -> Result<Option<Vec<&str>>, Error> {
        let wrong = || Error::ClaimType(name.into());
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(one)) => Ok(Some(vec![one])),
            Some(Value::Array(many)) => {
                many.iter().map(|one| one.as_str().ok_or_else(wrong)).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(wrong()),
        }
    }

    /// A `NumericDate` (RFC 7519 §2), down to the second, also as milliseconds. Before 1970 and beyond what both forms can
    /// hold is the wrong type.
    pub(super) fn time(&self, name: &str) -> Result<Option<(SystemTime, Millis)>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let moment = seconds(value).and_then(|seconds| {
            Some((UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?, seconds.checked_mul(1000)?))
        });
        moment.map(Some).ok_or_else(|| Error::ClaimType(name.into()))
    }
}

fn find<'a>(members: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = members.get(path).filter(|value| !value.is_null()) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| find(members.get(&path[..dot])?.as_object()?, &path[dot + 1..]))
}

fn seconds(value: &Value) -> Option<u64> {
    /// The end of the year 9999: above it a float may no longer be a whole second.
    const END: f64 = 253_402_300_800.0;
    value.as_u64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| (0.0..END).contains(seconds))?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within 0 and END")]
        let whole = seconds.trunc() as u64;
        Some(whole)
    })
}
