//! What a caller is entitled to, and whose roles count.

use super::standing::{Standing, join};
use crate::credentials::record::Record;
use crate::identity::{AsOf, Millis, Owner};
use crate::roles::{Roles, Version};

/// What a caller is entitled to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entitlement {
    /// Who asks.
    pub owner: Owner,
    /// The roles of the caller's token.
    pub roles: Roles,
    /// When they were true.
    pub as_of: AsOf,
    /// The configuration that turned the caller's groups into them.
    pub mapping: Version,
}

impl Entitlement {
    /// The record may serve the caller: it has the caller's roles, or roles that count for more by the rule of [`join`]. Roles
    /// without a time of their own are later than whatever stands, but not under a later configuration.
    #[must_use]
    pub fn is_satisfied_by(&self, record: &Record) -> bool {
        record.roles == self.roles
            || match self.as_of {
                AsOf::At(as_of) => self.raises(record, as_of).is_none(),
                AsOf::Answered(_) | AsOf::Now => record.mapping.is_later_than(self.mapping),
            }
    }

    /// What is to stand instead of the record's roles for this caller's sake; none where they stay.
    pub(super) fn raises(&self, record: &Record, as_of: Millis) -> Option<Standing> {
        join(&record.standing(), &self.standing(as_of)).filter(|stands| stands.roles != record.roles)
    }

    /// What the caller says of itself, if its roles were true at this moment.
    pub(super) fn standing(&self, as_of: Millis) -> Standing {
        Standing { mapping: self.mapping, as_of, roles: self.roles.clone() }
    }

    /// From now on the caller insists on what was overwritten too, as far as it counts for more.
    pub(super) fn take_over(&mut self, before: &Record) {
        let before = before.standing();
        let stands = match self.as_of {
            AsOf::At(as_of) => join(&before, &self.standing(as_of)).unwrap_or(before),
            AsOf::Answered(_) | AsOf::Now => before,
        };
        (self.mapping, self.as_of, self.roles) = (stands.mapping, AsOf::At(stands.as_of), stands.roles);
    }

    /// Puts a caller whose roles carry no time of their own in order with the record that it meets first, and only with that
    /// one: two such callers differ from then on by time and roles, and cannot take turns. Roles that have just changed
    /// stay: where a login proxy's instances disagree about a user's groups, each of their requests would otherwise be a
    /// write. A caller that comes within that second gets the roles in force. A later configuration does not wait: it
    /// changes a record once.
    pub(super) fn date_against(&mut self, record: &Record, observation: Observation) {
        // replicas of one configuration are as late as the one that was started last
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

/// When a record is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    /// By this process's clock.
    pub now: Millis,
    /// By the store's clock: what it holds is younger than the provider's answer about the caller, or so young that roles
    /// without a time of their own do not change it yet.
    pub changed_since: bool,
    /// The configuration of this process, as late as is known by now.
    pub mapping: Version,
}
