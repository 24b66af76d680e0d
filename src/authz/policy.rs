//! Judges requests by the operator's allow rules, before the caller gets a credential.
//!
//! A judgement depends on the identity and the request alone, so that `elastauth explain` can repeat it.

use std::collections::BTreeSet;
use std::fmt;

use crate::identity::Identity;
use crate::roles::folded;

use super::Request;

mod host;
mod path;

pub use host::Host;
pub use path::{Ambiguity, Prefix};

/// The operator's rules about callers and requests: `policy.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `policy.allow`: the first rule that matches lets the caller through. Without rules every caller may do everything that
    /// the roles allow.
    pub allow: Vec<Rule>,
    /// `policy.preflight`: CORS preflight requests pass without a credential. Default off.
    pub preflight: bool,
}

/// A rule matches when each of its conditions does; a condition does when one of its values does. Conditions without values are
/// not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// The rule's `name`, else its place in the list: for logs and `elastauth explain`.
    pub name: String,
    /// Groups of the caller; ASCII letters match in any case, as in `group_mappings`.
    pub groups: Vec<String>,
    /// Claims of the caller with their accepted values. All of the claims must match.
    pub claims: Vec<(String, Vec<String>)>,
    /// Hosts of the request.
    pub hosts: Vec<Host>,
    /// Beginnings of the request's path.
    pub paths: Vec<Prefix>,
    /// HTTP methods in capitals.
    pub methods: Vec<String>,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Why the policy does not let a caller through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There are rules about paths, and what is behind Envoy may read this path in another way than the rules do.
    #[error("the path {0}")]
    Path(#[from] Ambiguity),
    /// There are rules, and none of them matches.
    #[error("no rule of policy.allow matches")]
    NoRule,
}

/// The rules, ready for use.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    preflight: bool,
    /// Whether any rule is about paths.
    paths: bool,
    /// The groups that any rule names, in lower case.
    groups: BTreeSet<String>,
}

impl Policy {
    /// Prepares the comparison of groups.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings { allow: mut rules, preflight } = settings;
        for group in rules.iter_mut().flat_map(|rule| &mut rule.groups) {
            *group = folded(group);
        }
        let paths = rules.iter().any(|rule| !rule.paths.is_empty());
        let groups = rules.iter().flat_map(|rule| &rule.groups).cloned().collect();
        Self { rules, preflight, paths, groups }
    }

    /// Removes the groups and the values of claims that no rule names. Verified callers are kept in memory, and their roles are
    /// known by then: two hundred groups would take 16 kB for each token, and each request would compare them all.
    pub fn reduce(&self, identity: &mut Identity) {
        let groups: BTreeSet<String> = identity.groups.iter().filter_map(|group| self.named(group)).collect();
        identity.groups = groups.into_iter().collect();
        for (name, values) in &mut identity.claims {
            values.retain(|value| self.accepts(name, value));
            values.sort_unstable();
            values.dedup();
            values.shrink_to_fit();
        }
    }

    /// The group in lower case, if a rule names it.
    fn named(&self, group: &str) -> Option<String> {
        if self.groups.is_empty() { None } else { Some(folded(group)).filter(|group| self.groups.contains(group)) }
    }

    fn accepts(&self, claim: &str, value: &String) -> bool {
        let mut claims = self.rules.iter().flat_map(|rule| &rule.claims);
        claims.any(|(name, accepted)| name == claim && accepted.contains(value))
    }

    /// Whether a judgement depends on the request.
    pub(super) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Whether a CORS preflight request is let through, without a credential.
    #[must_use]
    pub fn passes_preflight(&self) -> bool {
        self.preflight
    }

    /// The rule that lets the request through; none where there are no rules.
    pub fn judge(&self, identity: &Identity, request: &Request) -> Result<Option<&Rule>, Denied> {
        if self.rules.is_empty() {
            return Ok(None);
        }
        if self.paths {
            path::unambiguous(request.path.as_bytes())?;
        }
        let groups: Vec<String> = identity.groups.iter().filter_map(|group| self.named(group)).collect();
        let rule = self.rules.iter().find(|rule| rule.matches(identity, &groups, request));
        rule.map(Some).ok_or(Denied::NoRule)
    }
}

impl Rule {
    /// Whether the rule has any condition.
    #[must_use]
    pub fn has_conditions(&self) -> bool {
        let Self { name: _, groups, claims, hosts, paths, methods } = self;
        !(groups.is_empty() && claims.is_empty() && hosts.is_empty() && paths.is_empty() && methods.is_empty())
    }

    /// `groups` are the caller's, with their ASCII letters in lower case.
    fn matches(&self, identity: &Identity, groups: &[String], request: &Request) -> bool {
        let Self { name: _, groups: wanted, claims, hosts, paths, methods } = self;
        let method = request.method.as_bytes();
        any(wanted, |group| groups.contains(group))
            && claims.iter().all(|(name, accepted)| has_claim(identity, name, accepted))
            && any(methods, |wanted| wanted.as_bytes() == method)
            && any(hosts, |host| host.matches(request.host.as_bytes()))
            && any(paths, |prefix| prefix.matches(request.path.as_bytes()))
    }
}

/// Whether one of the values matches; a condition without values always does.
fn any<T>(values: &[T], fits: impl FnMut(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(fits)
}

fn has_claim(identity: &Identity, name: &str, accepted: &[String]) -> bool {
    let values = identity.claims.iter().filter(|(known, _)| known == name).flat_map(|(_, values)| values);
    values.into_iter().any(|value| accepted.contains(value))
}

#[cfg(test)]
mod tests;
