//! Claims to an identity: which claim holds what.

use serde_json::{Map, Value};

use super::Username;
use super::token::{Claims, Error};

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

/// What the mapping takes from a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mapped {
    pub(super) username: Username,
    pub(super) email: Option<String>,
    pub(super) full_name: Option<String>,
    pub(super) groups: Vec<String>,
}

impl Settings {
    /// Applies the mapping. A username and groups that cannot be read refuse the token; what is only shown
    /// to people (e-mail, full name) is left out instead.
    pub(super) fn apply(&self, claims: &Claims) -> Result<Mapped, Error> {
        let members = claims.members();
        let username = match find(members, &self.username) {
            Some(Value::String(name)) => Username::parse(name)?,
            Some(_) => return Err(Error::ClaimType(self.username.clone())),
            None => return Err(Error::ClaimMissing(self.username.clone())),
        };
        let shown = |name: &str| match find(members, name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        Ok(Mapped {
            username,
            email: shown(&self.email),
            full_name: shown(&self.full_name),
            groups: self.groups(members)?,
        })
    }

    /// One string is one group: splitting it at commas would let whoever names a group `a,admin` into
    /// `admin`. Other types are refused, since leaving a group out could also mean more rights, by way of
    /// `default_roles`.
    fn groups(&self, members: &Map<String, Value>) -> Result<Vec<String>, Error> {
        let wrong = || Error::ClaimType(self.groups.clone());
        match find(members, &self.groups) {
            None => Ok(Vec::new()),
            Some(Value::String(group)) => Ok(vec![group.clone()]),
            Some(Value::Array(groups)) => {
                groups.iter().map(|group| group.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }
}

/// A claim by its literal name first (`https://example.com/roles`, `a.b`), then by a path of names joined
/// with dots (`realm_access.roles`), longest name first, so that a name within a path may have dots too
/// (`resource_access.my.client.roles`). `null` is absence.
fn find<'a>(members: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = members.get(path).filter(|value| !value.is_null()) {
        return Some(value);
    }
    path.rmatch_indices('.').find_map(|(dot, _)| find(members.get(&path[..dot])?.as_object()?, &path[dot + 1..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(username: &str, groups: &str) -> Settings {
        Settings {
            username: username.into(),
            email: "email".into(),
            groups: groups.into(),
            full_name: "profile.name".into(),
        }
    }

    fn groups(name: &str, claims: Value) -> Result<Vec<String>, &'static str> {
        let mut claims = claims;
        claims["u"] = json!("jane");
        settings("u", name).apply(&Claims::unverified(&claims)).map(|mapped| mapped.groups).map_err(|e| e.reason())
    }

    #[test]
    fn a_groups_value_is_kept_whole() {
        assert_eq!(groups("groups", json!({"groups": ["a,b", "ü ", "a"]})).unwrap(), ["a,b", "ü ", "a"]);
        assert_eq!(groups("groups", json!({"groups": "a,b c"})).unwrap(), ["a,b c"]);
    }

    #[test]
    fn absent_groups_are_none() {
        for claims in [json!({}), json!({"groups": null}), json!({"groups": []})] {
            assert_eq!(groups("groups", claims).unwrap(), [""; 0]);
        }
    }

    #[test]
    fn groups_of_another_type_refuse_the_token() {
        for value in [json!(1), json!(true), json!({"a": 1}), json!(["a", 1]), json!([["a"]]), json!(["a", null])] {
            assert_eq!(groups("groups", json!({"groups": value})).unwrap_err(), "token_claim_type", "{value}");
        }
    }

    #[test]
    fn a_literal_name_wins_over_a_path() {
        assert_eq!(groups("https://example.com/roles", json!({"https://example.com/roles": ["a"]})).unwrap(), ["a"]);
        assert_eq!(groups("a.b", json!({"a.b": ["literal"], "a": {"b": ["path"]}})).unwrap(), ["literal"]);
        assert_eq!(groups("a.b", json!({"a.b": null, "a": {"b": ["path"]}})).unwrap(), ["path"]);
    }

    #[test]
    fn a_path_leads_through_objects() {
        assert_eq!(groups("realm_access.roles", json!({"realm_access": {"roles": ["a"]}})).unwrap(), ["a"]);
        let nested = json!({"resource_access": {"my.client": {"roles": ["a"]}}});
        assert_eq!(groups("resource_access.my.client.roles", nested).unwrap(), ["a"]);
        assert_eq!(groups("a.b.c", json!({"a": {"b": "x"}})).unwrap(), [""; 0]);
        assert_eq!(groups("a.0", json!({"a": ["x"]})).unwrap(), [""; 0]);
    }

    #[test]
    fn a_username_must_be_a_string_that_elasticsearch_accepts() {
        for (value, reason) in [
            (json!(null), "token_claim_missing"),
            (json!(5), "token_claim_type"),
            (json!(["jane"]), "token_claim_type"),
            (json!(""), "username_refused"),
            (json!("jürgen"), "username_refused"),
            (json!("a:b"), "username_refused"),
        ] {
            let claims = Claims::unverified(&json!({"u": value}));
            assert_eq!(settings("u", "g").apply(&claims).unwrap_err().reason(), reason, "{value}");
        }
    }

    #[test]
    fn what_is_only_shown_never_refuses() {
        let claims = json!({"u": "jane", "email": 5, "profile": {"name": "Jürgen"}});
        let mapped = settings("u", "g").apply(&Claims::unverified(&claims)).unwrap();
        assert_eq!((mapped.email, mapped.full_name.as_deref()), (None, Some("Jürgen")));
    }
}
