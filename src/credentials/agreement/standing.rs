//! The roles of a user as one source states them, and the rule for which of two statements prevails.
//!
//! A record, a caller and the stamp of an Elasticsearch user each state which roles the user has, when that was true, and
//! which configuration mapped groups to roles. [`join`] is the one rule for any two of them. With one configuration the later
//! time prevails. With two configurations neither may undo what the other knows better:
//!
//! | the new statement | is | result |
//! |---|---|---|
//! | of a later configuration | as late, or later | the new one |
//! | of a later configuration | older by more than a millisecond | the roles in both, under the later configuration |
//! | of an earlier configuration | as late, or older | the former one |
//! | of an earlier configuration | later | the roles in both, under the later configuration |
//!
//! The roles in both are dated a millisecond before the later of the two, so that the token of that time puts its exact roles
//! in when a replica of the later configuration reads it. This never gives back a role, neither one that an older token has
//! nor one that the later configuration took away.
//!
//! Each change makes (configuration, time, roles) greater. So no two callers, replicas or configurations can overwrite each
//! other for ever.

use std::cmp::Ordering;

use crate::identity::Millis;
use crate::roles::{Roles, Version};

/// A statement about a user's roles.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The configuration that mapped the user's groups to the roles.
    pub mapping: Version,
    /// When the roles were true.
    pub as_of: Millis,
    /// All roles of the user.
    pub roles: Roles,
}

impl Standing {
    fn later(&self, than: &Self) -> bool {
        (self.as_of, &self.roles) > (than.as_of, &than.roles)
    }
}

/// What prevails when `new` is stated where `held` was in force; none where `held` stays in force.
#[must_use]
pub fn join(held: &Standing, new: &Standing) -> Option<Standing> {
    if held.mapping.is_same(new.mapping) {
        return new.later(held).then(|| Standing { mapping: held.mapping.max(new.mapping), ..new.clone() });
    }
    let common = |later: Millis, mapping| Standing {
        mapping,
        as_of: later.saturating_sub(1),
        roles: held.roles.common(&new.roles),
    };
    match new.mapping.cmp(&held.mapping) {
        // common roles are dated a millisecond back, and no two tokens are told apart by less
        Ordering::Greater if new.as_of >= held.as_of.saturating_sub(1) => Some(new.clone()),
        Ordering::Greater => Some(common(held.as_of, new.mapping)),
        Ordering::Less | Ordering::Equal if new.as_of.saturating_sub(1) <= held.as_of => None,
        Ordering::Less | Ordering::Equal => Some(common(new.as_of, held.mapping)),
    }
}

/// What is to be written instead of `record` where the user in Elasticsearch has `stamp`; none where the record may be written
/// as it is. Of two that are equally old and of one configuration the record prevails: a person may have changed the user's
/// roles by hand, and the stamp does not show that.
#[must_use]
pub fn outranked(record: &Standing, stamp: &Standing) -> Option<Standing> {
    let prevails = if record.mapping.is_same(stamp.mapping) && record.as_of == stamp.as_of {
        Standing { mapping: record.mapping.max(stamp.mapping), ..record.clone() }
    } else {
        let stamped = || Standing { mapping: stamp.mapping.or_later(record.mapping), ..stamp.clone() };
        join(stamp, record).unwrap_or_else(stamped)
    };
    (prevails != *record).then_some(prevails)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    const OLD: Version = Version { since: 1, digest: Digest(9) };
    const NEW: Version = Version { since: 2, digest: Digest(3) };
    /// The old configuration, started again.
    const LATE: Version = Version { since: 3, ..OLD };

    fn standing(mapping: Version, as_of: Millis, roles: &str) -> Standing {
        Standing { mapping, as_of, roles: Roles::new(roles.split(',').filter(|name| !name.is_empty())) }
    }

    #[test]
    fn of_one_configuration_the_later_roles_prevail_and_of_one_time_always_the_same() {
        for (held, new, prevails) in [
            ((5, "a"), (6, "b"), Some((6, "b"))),
            ((5, "a"), (4, "b"), None),
            ((5, "a"), (5, "b"), Some((5, "b"))),
            ((5, "b"), (5, "a"), None),
        ] {
            let of = |(as_of, roles)| standing(NEW, as_of, roles);
            assert_eq!(join(&of(held), &of(new)), prevails.map(of), "{held:?} {new:?}");
        }
    }

    #[test]
    fn of_two_configurations_the_later_one_prevails_and_nothing_comes_back() {
        for (held, new, prevails) in [
            // the later configuration's roles of the same token, or of a later one
            ((OLD, 50, "a,b"), (NEW, 50, "a"), Some((NEW, 50, "a"))),
            ((OLD, 50, "a"), (NEW, 60, "c"), Some((NEW, 60, "c"))),
            // an older token does not bring back what a newer one lacks
            ((OLD, 50, "a,b"), (NEW, 40, "b,c"), Some((NEW, 49, "b"))),
            ((OLD, 50, "a"), (NEW, 40, "b"), Some((NEW, 49, ""))),
            // the earlier configuration gives nothing back
            ((NEW, 50, "a"), (OLD, 50, "a,b"), None),
            ((NEW, 50, "a"), (OLD, 40, "a,b"), None),
            // but a newer token takes away under it too
            ((NEW, 50, "a,c"), (OLD, 60, "a,b"), Some((NEW, 59, "a"))),
            ((NEW, 59, "a"), (OLD, 60, "a,b"), None),
        ] {
            let of = |(mapping, as_of, roles)| standing(mapping, as_of, roles);
            assert_eq!(join(&of(held), &of(new)), prevails.map(of), "{held:?} {new:?}");
        }
    }

    #[test]
    fn the_token_that_made_a_record_puts_its_exact_roles_in_under_the_later_configuration() {
        let made = standing(OLD, 50, "a,b");
        let common = join(&made, &standing(NEW, 40, "b,c")).unwrap();
        assert_eq!(join(&common, &standing(NEW, 50, "a,c")), Some(standing(NEW, 50, "a,c")));
    }

    #[test]
    fn a_configuration_that_was_started_again_counts_from_then_on() {
        let held = standing(NEW, 50, "a");
        assert_eq!(join(&held, &standing(LATE, 50, "a,b")), Some(standing(LATE, 50, "a,b")));
        // and what it made before it was replaced stays its own
        assert_eq!(join(&standing(OLD, 50, "a"), &standing(LATE, 40, "b")), None);
    }

    #[test]
    fn what_noted_no_configuration_is_the_earliest() {
        let held = standing(Version::default(), 50, "a,b");
        assert_eq!(join(&held, &standing(OLD, 50, "a")), Some(standing(OLD, 50, "a")));
    }

    #[test]
    fn a_stamp_outranks_a_record_only_where_it_is_later() {
        for (record, stamp, written) in [
            ((NEW, 50, "a"), (NEW, 60, "b"), Some((NEW, 60, "b"))),
            ((NEW, 50, "a"), (NEW, 60, "a"), Some((NEW, 60, "a"))),
            ((NEW, 50, "a"), (NEW, 40, "b"), None),
            // by another replica of the same configuration that was started later
            ((OLD, 50, "a"), (LATE, 40, "b"), Some((LATE, 50, "a"))),
            ((OLD, 50, "a"), (LATE, 50, "b"), Some((LATE, 50, "a"))),
            ((LATE, 50, "a"), (OLD, 50, "b"), None),
            // changed by hand
            ((NEW, 50, "a"), (NEW, 50, "b"), None),
            ((NEW, 50, "a"), (OLD, 50, "a,b"), None),
            ((NEW, 50, "a,b"), (OLD, 60, "b"), Some((NEW, 59, "b"))),
            ((NEW, 59, "b"), (OLD, 60, "b"), None),
            ((OLD, 50, "a,b"), (NEW, 50, "a"), Some((NEW, 50, "a"))),
            ((OLD, 60, "a,b"), (NEW, 50, "b,c"), Some((NEW, 59, "b"))),
        ] {
            let of = |(mapping, as_of, roles)| standing(mapping, as_of, roles);
            let found = outranked(&of(record), &of(stamp));
            assert_eq!(found, written.map(of), "{record:?} {stamp:?}");
            // and what is written then prevails over the stamp
            let written = found.unwrap_or(of(record));
            assert_eq!(outranked(&written, &of(stamp)), None, "{record:?} {stamp:?}");
        }
    }

    /// Every change makes the triple greater, whichever two statements are joined.
    #[test]
    fn no_two_statements_overwrite_each_other_for_ever() {
        let all: Vec<Standing> = [OLD, NEW, LATE]
            .into_iter()
            .flat_map(|mapping| [10, 11, 12, 20].map(|as_of| (mapping, as_of)))
            .flat_map(|(mapping, as_of)| ["", "a", "b", "a,b"].map(|roles| standing(mapping, as_of, roles)))
            .collect();
        let rank = |it: &Standing| (it.mapping, it.as_of, it.roles.clone());
        for held in &all {
            for new in &all {
                if let Some(prevails) = outranked(new, held) {
                    assert!(rank(&prevails) > rank(new), "stamp {held:?}, record {new:?}, {prevails:?}");
                    assert_eq!(outranked(&prevails, held), None, "and is written: stamp {held:?}, record {new:?}");
                }
                let Some(prevails) = join(held, new) else { continue };
                assert!(rank(&prevails) > rank(held), "{held:?} {new:?} {prevails:?}");
                assert_eq!(join(&prevails, new), None, "and the caller is satisfied: {held:?} {new:?}");
            }
        }
    }
}
