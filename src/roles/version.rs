//! Identifies the configuration that mapped groups to roles, and puts configurations in order.
//!
//! During a roll-out the replicas of one deployment run two configurations. Roles that each of them derives from one
//! token differ then, and the token's time cannot put them in order: the configurations are put in order instead, by the
//! moment at which a process was started with each of them. The configuration that was started last wins, so that a
//! configuration can be rolled back too.

use std::sync::Arc;

use super::Mapping;
use crate::digest::Digest;
use crate::identity::Millis;

/// Changes when this program maps the same groups to other roles than the release before it.
const SCHEME: &str = "2";

/// A configuration that maps groups to roles. Later ones are greater; the least one is that of records and users of releases
/// that did not store it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// When a process was last started with the configuration, as far as is known.
    pub since: Millis,
    /// Digest of everything in the configuration that decides which roles a caller's groups give.
    pub digest: Digest,
}

impl Version {
    /// Whether both are the same configuration, whenever they were started.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        self.digest == other.digest
    }

    /// Whether this is another configuration, and was started later.
    #[must_use]
    pub fn is_later_than(self, other: Self) -> bool {
        !self.is_same(other) && self > other
    }

    /// This configuration, started at the later of the two moments if the other is the same one.
    #[must_use]
    pub fn or_later(self, other: Self) -> Self {
        if self.is_same(other) { self.max(other) } else { self }
    }
}

impl Mapping {
    /// Digest of the mapping and of `source`, which identifies where groups come from. Neither the order in which roles and
    /// groups are written nor the case of a group's name changes it.
    #[must_use]
    pub fn digest(&self, source: impl IntoIterator<Item = String>) -> Digest {
        let sorted = |names: &[Arc<str>]| {
            let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
            names.sort();
            names.dedup();
            names
        };
        // each list follows its length, so that no two mappings give the same sequence
        let list = |names: Vec<String>| std::iter::once(names.len().to_string()).chain(names);
        let mut groups: Vec<_> = self.by_group.iter().collect();
        groups.sort();
        let groups =
            groups.into_iter().flat_map(|(group, roles)| std::iter::once(group.clone()).chain(list(sorted(roles))));
        let default = list(self.default.iter().map(str::to_owned).collect());
        let begin = [SCHEME.to_owned(), self.allow_none.to_string()];
        Digest::of(begin.into_iter().chain(default).chain(list(source.into_iter().collect())).chain(groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roles::Settings;

    fn digest(change: impl FnOnce(&mut Settings), source: &[&str]) -> Digest {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut settings = Settings {
            default_roles: names(&["viewer"]),
            group_mappings: vec![("admins".into(), names(&["a", "b"])), ("Devs".into(), names(&["c"]))],
            allow_no_roles: false,
        };
        change(&mut settings);
        Mapping::new(&settings).digest(source.iter().map(ToString::to_string))
    }

    #[test]
    fn whatever_changes_the_roles_of_a_caller_changes_the_digest() {
        let before = digest(|_| {}, &["groups"]);
        for (what, after) in [
            ("a role less", digest(|s| s.group_mappings[0].1.truncate(1), &["groups"])),
            ("a role that moved", digest(|s| s.group_mappings.iter_mut().for_each(|(_, r)| r.reverse()), &["groups"])),
            ("a group less", digest(|s| s.group_mappings.truncate(1), &["groups"])),
            ("a group without roles", digest(|s| s.group_mappings.push(("x".into(), vec![])), &["groups"])),
            ("other default roles", digest(|s| s.default_roles.clear(), &["groups"])),
            ("callers without a role are let through", digest(|s| s.allow_no_roles = true, &["groups"])),
            ("another claim", digest(|_| {}, &["roles"])),
        ] {
            assert_eq!(after == before, what == "a role that moved", "{what}");
        }
    }

    #[test]
    fn how_it_is_written_does_not_count() {
        let rewritten = digest(
            |s| {
                s.group_mappings.reverse();
                s.group_mappings[0].0 = "DEVS".into();
                s.group_mappings.push(("Admins".into(), vec!["a".into()]));
            },
            &["groups"],
        );
        assert_eq!(rewritten, digest(|_| {}, &["groups"]));
    }

    #[test]
    fn the_configuration_that_was_started_last_is_the_greatest() {
        let version = |since, digest| Version { since, digest: Digest(digest) };
        assert!(version(2, 1) > version(1, 9) && Version::default() < version(1, 0));
        assert_eq!(version(1, 7).or_later(version(5, 7)), version(5, 7));
        assert_eq!(version(1, 7).or_later(version(5, 8)), version(1, 7));
    }
}
