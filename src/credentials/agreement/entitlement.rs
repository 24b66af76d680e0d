//! What a caller is entitled to, and whether a record satisfies it.

use super::standing::{Standing, join};
use crate::credentials::record::Record;
use crate::identity::{AsOf, Millis, Owner};
use crate::roles::{Roles, Version};

/// The roles that a caller is entitled to, with what puts them in order with a record's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entitlement {
    /// The subject for which the caller acts.
    pub owner: Owner,
    /// The roles that the caller's groups were mapped to.
    pub roles: Roles,
    /// When the roles were true.
    pub as_of: AsOf,
    /// The configuration that turned the caller's groups into them.
    pub mapping: Version,
}

impl Entitlement {
    /// Whether the record may serve the caller: it has the caller's roles, or roles that prevail by the rule of [`join`]. Roles
    /// without a time of their own are later than the record's, unless the record is of a later configuration.
    #[must_use]
    pub fn is_satisfied_by(&self, record: &Record) -> bool {
        record.roles == self.roles
            || match self.as_of {
                AsOf::At(as_of) => self.raises(record, as_of).is_none(),
                AsOf::Answered(_) | AsOf::Now => record.mapping.is_later_than(self.mapping),
            }
    }

    /// Whether the record's password gives the caller no role that neither its own groups give, nor roles that prevail over
    /// them. A change of roles that Elasticsearch has not taken leaves such a caller served. False where Elasticsearch may not
    /// have the password.
    #[must_use]
    pub fn allows(&self, record: &Record) -> bool {
        let prevails = self.is_satisfied_by(record);
        let given = |role: &str| self.roles.contains(role) || (prevails && record.roles.contains(role));
        record.owner == self.owner && record.roles_in_force().is_some_and(|roles| roles.iter().all(given))
    }

    /// The standing that is to replace the record's for this caller; none where the record's roles stay.
    pub(super) fn raises(&self, record: &Record, as_of: Millis) -> Option<Standing> {
        join(&record.standing(), &self.standing(as_of)).filter(|prevails| prevails.roles != record.roles)
    }

    /// The caller's own standing, if its roles were true at this moment.
    pub(super) fn standing(&self, as_of: Millis) -> Standing {
        Standing { mapping: self.mapping, as_of, roles: self.roles.clone() }
    }

    /// From now on the caller is entitled to the overwritten roles too, as far as they prevail.
    pub(super) fn take_over(&mut self, before: &Record) {
        let before = before.standing();
        let prevails = match self.as_of {
            AsOf::At(as_of) => join(&before, &self.standing(as_of)).unwrap_or(before),
            AsOf::Answered(_) | AsOf::Now => before,
        };
        (self.mapping, self.as_of, self.roles) = (prevails.mapping, AsOf::At(prevails.as_of), prevails.roles);
    }

    /// Puts a caller with roles without a time of their own in order with the first record that it reads, and only
    /// with that one: two such callers differ from then on by time and roles, and cannot overwrite each other for ever. Roles
    /// that have just changed stay: where a login proxy's instances disagree about a user's groups, each of their requests
    /// would otherwise be a write. A caller that comes within that second gets the roles in force. A later configuration does
    /// not wait: it changes a record once.
    pub(super) fn date_against(&mut self, record: &Record, observation: Observation) {
        // all replicas of one configuration count as started when the last of them was
        self.mapping = self.mapping.or_later(observation.mapping).or_later(record.mapping);
        if matches!(self.as_of, AsOf::At(_)) || record.owner != self.owner {
            return;
        }
        self.as_of = AsOf::At(if self.is_satisfied_by(record) {
            record.as_of
        } else if observation.changed_since && !self.mapping.is_later_than(record.mapping) {
            record.as_of.saturating_sub(1)
        } else {
            observation.now.max(record.as_of.saturating_add(1))
        });
    }
}

/// The circumstances in which a run read a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    /// The time by this process's clock.
    pub now: Millis,
    /// Whether the record, by the store's clock, is younger than the provider's answer about the caller, or so young that roles
    /// without a time of their own do not change it yet.
    pub changed_since: bool,
    /// The configuration of this process, with the latest start of it that is known by now.
    pub mapping: Version,
}
