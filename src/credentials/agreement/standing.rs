//! What is said about a user's roles, and which of two sayings counts.
//!
//! A record, a caller and the stamp of an Elasticsearch user each say which roles the user has, when that was true, and by
//! which configuration groups became roles. [`join`] is the one rule for any two of them. With one configuration the later
//! time counts. With two of them neither may undo what the other knows better:
//!
//! | the new saying | is | then stands |
//! |---|---|---|
//! | of a later configuration | as late, or later | the new one |
//! | of a later configuration | older by more than a millisecond | what both give, under the later configuration |
//! | of an earlier configuration | as late, or older | what stood |
//! | of an earlier configuration | later | what both give, under the later configuration |
//!
//! What both give is dated a millisecond before the later of the two, so that the token of that time, met by the later
//! configuration, puts its exact roles in. Nothing comes back by it, neither what an older token has nor what the later
//! configuration took away.
//!
//! Each change makes (configuration, time, roles) greater. So no two callers, replicas or configurations can take turns.

use std::cmp::Ordering;

use crate::identity::Millis;
use crate::roles::{Roles, Version};

/// A user's roles, as of when, and by which configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Standing {
    /// The configuration that turned the user's groups into them.
    pub mapping: Version,
    /// When they were true.
    pub as_of: Millis,
    /// The complete set.
    pub roles: Roles,
}

impl Standing {
    fn later(&self, than: &Self) -> bool {
        (self.as_of, &self.roles) > (than.as_of, &than.roles)
    }
}

/// What stands when `new` is said where `held` stood; none where `held` goes on standing.
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
        // a millisecond is less than what it takes to tell which of two is older, and is what common roles are dated by
        Ordering::Greater if new.as_of >= held.as_of.saturating_sub(1) => Some(new.clone()),
        Ordering::Greater => Some(common(held.as_of, new.mapping)),
        Ordering::Less | Ordering::Equal if new.as_of.saturating_sub(1) <= held.as_of => None,
        Ordering::Less | Ordering::Equal => Some(common(new.as_of, held.mapping)),
    }
}

/// What is to be written instead of `record` where `stamp` stands in Elasticsearch; none where the record may be written as it
/// is. Of two that are equally old and of one configuration it is the record that counts: a person may have changed the
/// user's roles by hand, and the stamp with them does not say so.
#[must_use]
pub fn outranked(record: &Standing, stamp: &Standing) -> Option<Standing> {
    let stands = if record.mapping.is_same(stamp.mapping) && record.as_of == stamp.as_of {
        Standing { mapping: record.mapping.max(stamp.mapping), ..record.clone() }
    } else {
        let stamped = || Standing { mapping: stamp.mapping.or_later(record.mapping), ..stamp.clone() };
        join(stamp, record).unwrap_or_else(stamped)
    };
    (stands != *record).then_some(stands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    const OLD: Version = Version { since: 1, digest: Digest(9) };
    const NEW: Version = Version { since: 2, digest: Digest(3) };
    /// The old one, started again.
    const LATE: Version = Version { since: 3, ..OLD };

    fn standing(mapping: Version, as_of: Millis, roles: &str) -> Standing {
        Standing { mapping, as_of, roles: Roles::new(roles.split(',').filter(|name| !name.is_empty())) }
    }

    #[test]
    fn of_one_configuration_the_later_roles_stand_and_of_one_time_always_the_same() {
        for (held, new, stands) in [
            ((5, "a"), (6, "b"), Some((6, "b"))),
            ((5, "a"), (4, "b"), None),
            ((5, "a"), (5, "b"), Some((5, "b"))),
            ((5, "b"), (5, "a"), None),
        ] {
            let of = |(as_of, roles)| standing(NEW, as_of, roles);
            assert_eq!(join(&of(held), &of(new)), stands.map(of), "{held:?} {new:?}");
        }
    }

    #[test]
    fn of_two_configurations_the_later_one_counts_and_nothing_comes_back() {
        for (held, new, stands) in [
            // what the later configuration says of the same token, or of a later one
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
            assert_eq!(join(&of(held), &of(new)), stands.map(of), "{held:?} {new:?}");
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
        // and what it made before it was replaced is its own
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
            // and what is written then outranks the stamp
            let written = found.unwrap_or(of(record));
            assert_eq!(outranked(&written, &of(stamp)), None, "{record:?} {stamp:?}");
        }
    }

    /// Every change makes the triple greater, whatever meets whatever.
    #[test]
    fn nothing_ever_takes_turns() {
        let all: Vec<Standing> = [OLD, NEW, LATE]
            .into_iter()
            .flat_map(|mapping| [10, 11, 12, 20].map(|as_of| (mapping, as_of)))
            .flat_map(|(mapping, as_of)| ["", "a", "b", "a,b"].map(|roles| standing(mapping, as_of, roles)))
            .collect();
        let rank = |it: &Standing| (it.mapping, it.as_of, it.roles.clone());
        for held in &all {
            for new in &all {
                if let Some(stands) = outranked(new, held) {
                    assert!(rank(&stands) > rank(new), "stamp {held:?}, record {new:?}, {stands:?}");
                    assert_eq!(outranked(&stands, held), None, "and is written: stamp {held:?}, record {new:?}");
                }
                let Some(stands) = join(held, new) else { continue };
                assert!(rank(&stands) > rank(held), "{held:?} {new:?} {stands:?}");
                assert_eq!(join(&stands, new), None, "and the caller is content: {held:?} {new:?}");
            }
        }
    }
}
