//! What a caller is entitled to, and whose roles count.

use crate::credentials::record::Record;
use crate::identity::{AsOf, Millis, Owner};
use crate::roles::Roles;

/// What a caller is entitled to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Want {
    /// Who asks.
    pub owner: Owner,
    /// The roles of the caller's token.
    pub roles: Roles,
    /// When they were true.
    pub as_of: AsOf,
}

impl Want {
    /// The record's roles are the caller's, or newer. The order is total, so that two tokens of one second cannot
    /// take turns; an older token never takes roles away or gives them back.
    #[must_use]
    pub fn is_met_by(&self, record: &Record) -> bool {
        let newer = |as_of| (record.as_of, &record.roles) > (as_of, &self.roles);
        record.roles == self.roles || matches!(self.as_of, AsOf::At(as_of) if newer(as_of))
    }

    /// The caller's roles are later in the same order. Where the record's clock counts, nobody is without a time.
    pub(super) fn is_newer_than(&self, record: &Record) -> bool {
        matches!(self.as_of, AsOf::At(as_of) if (as_of, &self.roles) > (record.as_of, &record.roles))
    }

    /// Puts a caller whose roles carry no time of their own in order with the record that he meets first, and only with that
    /// one: two such callers differ from then on by time and roles, and cannot take turns. Roles that have just changed
    /// stay: where a login proxy's instances disagree about a user's groups, each of their requests would otherwise be a
    /// write. Whoever comes within that second gets the roles in force.
    pub(super) fn meet(&mut self, record: &Record, sight: Sight) {
        if self.as_of == AsOf::Now && record.owner == self.owner {
            self.as_of = AsOf::At(if record.roles == self.roles {
                record.as_of
            } else if sight.changed_just_now {
                record.as_of.saturating_sub(1)
            } else {
                sight.now.max(record.as_of.saturating_add(1))
            });
        }
    }
}

/// When a record is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sight {
    /// By this process's clock.
    pub now: Millis,
    /// By the store's clock: what it holds is so young that roles without a time of their own do not change it yet.
    pub changed_just_now: bool,
}
