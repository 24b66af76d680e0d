//! Maps the groups of a caller to Elasticsearch roles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::bounded_cache::{self, BoundedCache, Size};

mod version;

pub use version::Version;

/// How many sets of roles are kept once, however many users and tokens have them. Further sets are not shared.
const SHARED: usize = 10_000;
/// The average size of a set in bytes: the names of the roles are the mapping's own, and each takes only a pointer in a set.
const SHARED_BYTES: usize = 256;

/// A set of Elasticsearch role names: sorted, without repetition.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Roles(Arc<[Arc<str>]>);

impl Roles {
    /// Makes a set of these names.
    pub fn new<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Self {
        let set: BTreeSet<Arc<str>> = names.into_iter().map(|n| Arc::from(n.as_ref())).collect();
        Self(set.into_iter().collect())
    }

    /// The names in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether this role is in the set.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(name)).is_ok()
    }

    /// About how many bytes the set takes beside the names.
    pub(crate) fn size(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// The roles that are in both sets.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|name| other.contains(name)).cloned().collect())
    }

    /// The roles that are in one of the sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let all: BTreeSet<Arc<str>> = self.0.iter().chain(&*other.0).cloned().collect();
        Self(all.into_iter().collect())
    }

    /// Whether the set has no role.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// How groups become roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `default_roles`: the roles of a caller without a mapped group. Default: none.
    pub default_roles: Vec<String>,
    /// `group_mappings`: the roles of each group, in the file's order.
    pub group_mappings: Vec<(String, Vec<String>)>,
    /// `allow_no_roles`: lets a caller without any role through. Default off.
    pub allow_no_roles: bool,
}

/// The caller has no role and `allow_no_roles` is off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no group of the user is mapped to a role and there are no default roles")]
pub struct NoRoles;

/// The mapping in the form that requests use.
#[derive(Debug)]
pub struct Mapping {
    by_group: HashMap<String, Vec<Arc<str>>>,
    default: Roles,
    allow_none: bool,
    shared: BoundedCache<Roles, Roles>,
}

impl Size for Roles {
    fn size(&self) -> usize {
        self.size()
    }
}

/// A group's name as it is compared, here and in rules: ASCII letters match in any case, all other characters only themselves.
/// Unicode has characters with an ASCII letter as their lower case (U+212A, the Kelvin sign, becomes `k`): with its rules a group
/// that an attacker may create could pass for another one.
pub(crate) fn folded(group: &str) -> String {
    group.to_ascii_lowercase()
}

impl Mapping {
    /// Prepares the comparison of groups by `folded`.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let mut by_group: HashMap<String, Vec<Arc<str>>> = HashMap::new();
        for (group, roles) in &settings.group_mappings {
            let roles = roles.iter().map(|role| Arc::from(role.as_str()));
            by_group.entry(folded(group)).or_default().extend(roles);
        }
        let (default, shared) = (Roles::new(&settings.default_roles), bounded_cache::bounded(SHARED, SHARED_BYTES));
        Self { by_group, default, allow_none: settings.allow_no_roles, shared }
    }

    /// The roles of one group; none where it is not mapped.
    #[must_use]
    pub fn of(&self, group: &str) -> Option<&[Arc<str>]> {
        self.by_group.get(&folded(group)).map(Vec::as_slice)
    }

    /// The union over all groups, or the default when none matched.
    pub fn roles<T: AsRef<str>>(&self, groups: impl IntoIterator<Item = T>) -> Result<Roles, NoRoles> {
        // each mapping counts once: a token may repeat a group many times
        let mut matched: BTreeMap<&str, &[Arc<str>]> = BTreeMap::new();
        for group in groups {
            if let Some((group, roles)) = self.by_group.get_key_value(&folded(group.as_ref())) {
                matched.insert(group, roles);
            }
        }
        let names: BTreeSet<Arc<str>> = matched.values().copied().flatten().map(Arc::clone).collect();
        let roles = if matched.is_empty() { self.default.clone() } else { Roles(names.into_iter().collect()) };
        if roles.is_empty() && !self.allow_none { Err(NoRoles) } else { Ok(self.share(roles)) }
    }

    fn share(&self, roles: Roles) -> Roles {
        self.shared.get(&roles).unwrap_or_else(|| {
            self.shared.insert(roles.clone(), roles.clone());
            roles
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(default: &[&str]) -> Mapping {
        let to = |r: &[&str]| r.iter().map(ToString::to_string).collect::<Vec<_>>();
        Mapping::new(&Settings {
            default_roles: to(default),
            group_mappings: vec![
                ("Admin".into(), to(&["superuser", "kibana_admin"])),
                ("developers".into(), to(&["kibana_admin", "dev"])),
                ("empty".into(), vec![]),
                ("a,b".into(), to(&["joined"])),
            ],
            allow_no_roles: false,
        })
    }

    #[test]
    fn roles_of_all_groups_are_united_and_sorted() {
        let roles = mapping(&["viewer"]).roles(["developers", "admin"]).unwrap();
        assert_eq!(roles.to_string(), "dev,kibana_admin,superuser");
    }

    #[test]
    fn the_same_roles_are_kept_once() {
        let mapping = mapping(&[]);
        let (one, other) = (mapping.roles(["developers"]).unwrap(), mapping.roles(["other", "DEVELOPERS"]).unwrap());
        assert!(Arc::ptr_eq(&one.0, &other.0));
    }

    #[test]
    fn group_names_match_without_regard_to_case() {
        assert_eq!(mapping(&[]).roles(["DEVELOPERS"]).unwrap().to_string(), "dev,kibana_admin");
    }

    #[test]
    fn only_ascii_letters_of_a_group_match_in_another_case() {
        let to = |role: &str| vec![role.to_owned()];
        let mapping = Mapping::new(&Settings {
            group_mappings: vec![("kibana-admins".into(), to("admin")), ("Ärzte-Süd".into(), to("doctor"))],
            ..Settings::default()
        });
        assert_eq!(mapping.roles(["KIBANA-admins"]).unwrap().to_string(), "admin");
        assert_eq!(mapping.roles(["\u{212a}ibana-admins"]), Err(NoRoles), "the Kelvin sign is not k");
        assert_eq!(mapping.roles(["kibana-admin\u{17f}"]), Err(NoRoles), "the long s is not s");
        assert_eq!(mapping.roles(["Ärzte-Süd"]).unwrap().to_string(), "doctor", "a name beyond ASCII matches itself");
        assert_eq!(mapping.roles(["ÄRZTE-SÜD"]), Err(NoRoles));
        assert_eq!(mapping.roles(["ÄRzte-SüD"]).unwrap().to_string(), "doctor");
    }

    #[test]
    fn default_roles_apply_only_when_nothing_matched() {
        assert_eq!(mapping(&["viewer"]).roles(["other"]).unwrap().to_string(), "viewer");
        assert_eq!(mapping(&["viewer"]).roles(["other", "developers"]).unwrap().to_string(), "dev,kibana_admin");
    }

    #[test]
    fn a_group_with_a_comma_is_one_group() {
        assert_eq!(mapping(&[]).roles(["a,b"]).unwrap().to_string(), "joined");
    }

    #[test]
    fn a_caller_without_a_role_passes_only_if_that_is_configured() {
        assert_eq!(mapping(&[]).roles(["other"]), Err(NoRoles));
        assert_eq!(mapping(&["viewer"]).roles(["empty"]), Err(NoRoles));
        let mut open = mapping(&[]);
        open.allow_none = true;
        assert!(open.roles(["other"]).unwrap().is_empty());
    }
}
