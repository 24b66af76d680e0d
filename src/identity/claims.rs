//! Claims to an identity.

use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::{Owner, Username, UsernameError};

/// `oidc.claim_mappings`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Default `preferred_username`.
    pub username: String,
    /// Default `email`.
    pub email: String,
    /// Default `groups`.
    pub groups: String,
    /// Default `name`.
    pub full_name: String,
}

/// A JSON object in which no name stands twice: of two, each reader would take another one.
#[derive(Debug, Clone)]
pub(super) struct Object(pub(super) Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if map.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a name stands twice"));
                    }
                }
                Ok(Object(map))
            }
        }

        deserializer.deserialize_map(Names)
    }
}

/// A claim that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not there.
    #[error("the claim {0:?} is missing")]
    Missing(String),
    /// Of a type that means nothing here.
    #[error("the claim {0:?} has the wrong type")]
    Type(String),
    /// No name for an Elasticsearch user.
    #[error("{0}")]
    Username(#[from] UsernameError),
}

/// What the mapped claims say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) username: Username,
    pub(super) owner: Owner,
    pub(super) email: Option<String>,
    pub(super) full_name: Option<String>,
    pub(super) groups: Vec<String>,
}

/// Reads the mapped claims of a verified token.
pub(super) fn map(settings: &Settings, claims: &Map<String, Value>) -> Result<Mapped, Error> {
    let issuer = Arc::from(required(claims, "iss")?);
    let subject: Arc<str> = Arc::from(required(claims, "sub")?);
    if subject.is_empty() {
        return Err(Error::Missing("sub".into()));
    }
    let text = |path: &str| find(claims, path).and_then(Value::as_str).map(str::to_owned);
    Ok(Mapped {
        username: Username::parse(required(claims, &settings.username)?)?,
        owner: Owner { issuer, subject },
        email: text(&settings.email),
        full_name: text(&settings.full_name),
        groups: groups(claims, &settings.groups)?,
    })
}

fn required<'a>(claims: &'a Map<String, Value>, path: &str) -> Result<&'a str, Error> {
    let value = find(claims, path).ok_or_else(|| Error::Missing(path.to_owned()))?;
    value.as_str().ok_or_else(|| Error::Type(path.to_owned()))
}

/// A literal name first (`https://example.com/roles`), then a path (`realm_access.roles`).
fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut names = path.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

/// An array of strings, or one string that is one group: a group may hold a comma.
fn groups(claims: &Map<String, Value>, path: &str) -> Result<Vec<String>, Error> {
    let wrong = || Error::Type(path.to_owned());
    match find(claims, path) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(group)) => Ok(vec![group.clone()]),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mapped(groups: &str, claims: Value) -> Result<Mapped, Error> {
        let settings = Settings {
            username: "preferred_username".into(),
            email: "email".into(),
            groups: groups.into(),
            full_name: "name".into(),
        };
        let mut all = json!({ "iss": "i", "sub": "s", "preferred_username": "ann" });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        map(&settings, all.as_object().unwrap())
    }

    #[test]
    fn groups_are_an_array_or_one_string_and_never_split() {
        for (claims, expected) in [
            (json!({ "groups": ["a", "b,c"] }), vec!["a", "b,c"]),
            (json!({ "groups": "a,b c" }), vec!["a,b c"]),
            (json!({ "groups": null }), vec![]),
            (json!({}), vec![]),
        ] {
            assert_eq!(mapped("groups", claims).unwrap().groups, expected);
        }
        for claims in [json!({ "groups": 7 }), json!({ "groups": { "a": 1 } }), json!({ "groups": ["a", 7] })] {
            assert_eq!(mapped("groups", claims), Err(Error::Type("groups".into())));
        }
    }

    #[test]
    fn a_literal_claim_name_comes_before_a_path() {
        let claims = json!({ "a.b": "literal", "a": { "b": "path", "c": ["deep"] }, "https://x.y/z": ["url"] });
        for (path, expected) in [("a.b", "literal"), ("a.c", "deep"), ("https://x.y/z", "url")] {
            assert_eq!(mapped(path, claims.clone()).unwrap().groups, [expected]);
        }
    }

    #[test]
    fn a_username_is_a_string_that_elasticsearch_can_have() {
        assert_eq!(mapped("g", json!({ "preferred_username": 7 })), Err(Error::Type("preferred_username".into())));
        assert_eq!(mapped("g", json!({ "preferred_username": "a b" })), Err(UsernameError::Characters.into()));
        assert_eq!(mapped("g", json!({ "sub": "" })), Err(Error::Missing("sub".into())));
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        assert!(serde_json::from_str::<Object>(r#"{"a":1,"b":2}"#).is_ok());
        assert!(serde_json::from_str::<Object>(r#"{"a":1,"a":1}"#).is_err());
        assert!(serde_json::from_str::<Object>("[]").is_err());
    }
}
