//! Claims to an identity: which claim holds what, and which must be there.

use serde_json::Value;

use super::Claims;
use crate::identity::Username;
use crate::identity::error::Error;

/// `oidc.claim_mappings` and what else is said about claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The claim with the username. Default `preferred_username`.
    pub username: String,
    /// The claim with the e-mail address. Default `email`.
    pub email: String,
    /// The claim with the groups. Default `groups`.
    pub groups: String,
    /// The claim with the full name. Default `name`.
    pub full_name: String,
    /// `oidc.required_claims`: claim and accepted values; no values accept any.
    pub required: Vec<(String, Vec<String>)>,
    /// `oidc.groups_prefix`: only groups with it count, and they lose it. Default none.
    pub groups_prefix: String,
    /// `oidc.username_prefix`: put before each username, so that two providers cannot name the same user. Default none.
    pub username_prefix: String,
    /// What becomes of capital letters in usernames: `oidc.username_case`.
    pub username_case: Case,
    /// Whether an e-mail address that the provider did not verify may be the username: `oidc.allow_unverified_email`.
    pub allow_unverified_email: bool,
    /// The claims that the policy's rules look at.
    pub kept: Vec<String>,
}

/// What becomes of the letters of a username. Elasticsearch tells `Bob` from `bob`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// As the provider writes it: for providers that tell `Bob` from `bob` too, or always write it alike. The default: nothing
    /// is rewritten unasked.
    Keep,
    /// ASCII letters become small: for providers that take what the person typed. Where two subjects then get one name, the
    /// second is refused.
    Lower,
}

/// What the mapping takes from the claims.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::identity) struct Mapped {
    pub(in crate::identity) username: Username,
    pub(in crate::identity) email: Option<String>,
    pub(in crate::identity) full_name: Option<String>,
    pub(in crate::identity) groups: Vec<String>,
    pub(in crate::identity) kept: Vec<(String, Vec<String>)>,
}

impl Settings {
    /// Applies the mapping. A username and groups that cannot be read refuse the token; what is only shown to people (e-mail,
    /// full name) is left out instead.
    pub(in crate::identity) fn apply(&self, claims: &Claims) -> Result<Mapped, Error> {
        self.required.iter().try_for_each(|(name, accepted)| required(claims, name, accepted))?;
        let shown = |name: &str| match claims.find(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            _ => None,
        };
        Ok(Mapped {
            username: self.username(claims)?,
            email: shown(&self.email),
            full_name: shown(&self.full_name),
            groups: self.groups(claims)?,
            kept: self.kept.iter().map(|name| (name.clone(), texts(claims, name))).collect(),
        })
    }

    /// The claims that decide about access.
    pub(in crate::identity) fn deciding(&self) -> impl Iterator<Item = &str> {
        let named = self.required.iter().map(|(name, _)| name).chain(&self.kept);
        [self.username.as_str(), &self.groups].into_iter().chain(named.map(String::as_str))
    }

    fn username(&self, claims: &Claims) -> Result<Username, Error> {
        let name = match claims.find(&self.username) {
            Some(Value::String(name)) => name,
            Some(_) => return Err(Error::ClaimType(self.username.clone())),
            None => return Err(Error::ClaimMissing(self.username.clone())),
        };
        if !self.allow_unverified_email && self.is_unverified(name, claims) {
            return Err(Error::EmailUnverified);
        }
        let name = match self.username_case {
            Case::Keep => name.clone(),
            Case::Lower => name.to_ascii_lowercase(),
        };
        Ok(Username::parse(&format!("{}{name}", self.username_prefix))?)
    }

    /// Whether the username is an e-mail address that the provider has not verified. In many providers' profiles people can enter
    /// any address, and only some providers check that it is theirs (`OpenID` Connect Core §5.1, §5.7).
    ///
    /// The e-mail claim as username needs the provider's word that it is verified. A username from another claim that has the
    /// form of an address, or is the person's e-mail address, must not be against that word. There silence is no objection:
    /// Entra ID's `preferred_username` and `upn` have the form of an address, are given by an administrator, and come without
    /// `email_verified`.
    fn is_unverified(&self, name: &str, claims: &Claims) -> bool {
        let is_email_claim = self.username == self.email || self.username.ends_with("email");
        if is_email_claim {
            return claims.find(&verified_beside(&self.username)).is_none_or(|word| !is_true(word));
        }
        let email = claims.find(&self.email).and_then(Value::as_str);
        let is_address = is_address(name) || email.is_some_and(|email| email.eq_ignore_ascii_case(name));
        let words = [verified_beside(&self.email), "email_verified".into()];
        is_address && words.iter().filter_map(|word| claims.find(word)).any(|word| !is_true(word))
    }

    /// One string is one group: splitting it at commas would let a user who may name a group `a,admin` into `admin`. Other types
    /// are refused, since leaving a group out could also mean more rights, by way of `default_roles`. With a prefix, a group
    /// without it is no group of ours: merely stripping it where it is would let `admin` pass for `corp/admin`.
    fn groups(&self, claims: &Claims) -> Result<Vec<String>, Error> {
        let wrong = || Error::ClaimType(self.groups.clone());
        let ours = |group: &str| group.strip_prefix(self.groups_prefix.as_str()).map(str::to_owned);
        let groups: Vec<&str> = match claims.find(&self.groups) {
            None => Vec::new(),
            Some(Value::String(group)) => vec![group],
            Some(Value::Array(groups)) => {
                groups.iter().map(|group| group.as_str().ok_or_else(wrong)).collect::<Result<_, _>>()?
            }
            Some(_) => return Err(wrong()),
        };
        if groups.is_empty() && elsewhere(claims, &self.groups) {
            return Err(Error::ClaimMissing(self.groups.clone()));
        }
        Ok(groups.into_iter().filter_map(ours).collect())
    }
}

/// Whether the provider says that the claim, or the claim that a path to it begins with, has a value which the token does not
/// hold. That is not the same as having none, which may mean `default_roles`.
///
/// Entra ID does so for people of many groups: by `_claim_names` (`OpenID` Connect Core §5.6.2), and by `hasgroups` in place of
/// `groups` where the token travels in an address (the implicit flow).
fn elsewhere(claims: &Claims, name: &str) -> bool {
    let leads_to = |claim: &str| name.strip_prefix(claim).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let named = claims.get("_claim_names").and_then(Value::as_object);
    named.is_some_and(|names| names.keys().any(|claim| leads_to(claim)))
        || (name == "groups" && claims.get("hasgroups").is_some_and(is_true))
}

/// The claim that says whether the address in this one is verified.
fn verified_beside(claim: &str) -> String {
    if claim.ends_with("email") { format!("{claim}_verified") } else { "email_verified".into() }
}

/// Some providers write truth as text.
fn is_true(value: &Value) -> bool {
    matches!(value, Value::Bool(true)) || value.as_str() == Some("true")
}

/// Something on both sides of an `@`.
fn is_address(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
}

/// A claim's value or values, as a rule names them.
fn texts(claims: &Claims, name: &str) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match claims.find(name) {
        None => Vec::new(),
        Some(Value::Array(values)) => values.iter().filter_map(text).collect(),
        Some(value) => text(value).into_iter().collect(),
    }
}

/// One of the accepted values, or an array with one of them in it.
fn required(claims: &Claims, name: &str, accepted: &[String]) -> Result<(), Error> {
    let is_accepted = |value: &Value| match value {
        Value::String(text) => accepted.contains(text),
        Value::Bool(_) | Value::Number(_) => accepted.contains(&value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    let held = match claims.find(name) {
        None => return Err(Error::ClaimMissing(name.into())),
        Some(_) if accepted.is_empty() => true,
        Some(Value::Array(values)) => values.iter().any(is_accepted),
        Some(value) => is_accepted(value),
    };
    if held { Ok(()) } else { Err(Error::ClaimValue(name.into())) }
}

#[cfg(test)]
mod tests;
