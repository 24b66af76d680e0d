//! A record as the store holds it, with its sealed bytes and what is left of its life.

use std::time::Duration;

use tokio::time::Instant;

use super::agreement::Entitlement;
use super::record::{Phase, Written};
use crate::identity::AsOf;
use crate::roles::Version;

/// The least time between two changes of a user's roles by callers that bring roles without a time of their own.
const BETWEEN_CHANGES: Duration = Duration::from_secs(1);

/// How long a caller waits for a change of roles that another run writes. A write of roles alone takes a few milliseconds.
pub(super) const PROMPT: Duration = Duration::from_secs(1);

/// What was last read from, or written to, the store under one key.
#[derive(Debug)]
pub(super) struct Current {
    /// The sealed record, to compare with.
    pub(super) bytes: Vec<u8>,
    pub(super) written: Written,
    /// The life that was left at the time `at`.
    pub(super) remaining: Duration,
    /// A time just before the store was asked.
    pub(super) at: Instant,
}

impl Current {
    /// Whether this is a ready record of the caller with roles that satisfy it, or one with a change of roles that Elasticsearch does
    /// not take at present, and which gives the caller nothing that it must not have. `running` gives the configuration of this
    /// process, which is needed only where the roles differ.
    pub(super) fn serves(&self, entitlement: &Entitlement, running: impl FnOnce() -> Version) -> bool {
        let record = &self.written.record;
        let dated = || Entitlement { mapping: running(), ..entitlement.clone() };
        if record.phase.is_ready() {
            // nearly every hit ends at the roles
            record.owner == entitlement.owner && (record.roles == entitlement.roles || self.takes_precedence(&dated()))
        } else {
            self.is_held_up() && dated().allows(record)
        }
    }

    /// Whether this is a pending change of roles that the last attempt did not write, or that takes longer than a write usually
    /// does. Its caller does not wait for it.
    pub(super) fn is_held_up(&self) -> bool {
        match &self.written.record.phase {
            phase @ Phase::Pending { failed, .. } => phase.has_password() && (*failed || self.age() > PROMPT),
            Phase::Ready | Phase::Confirmed => false,
        }
    }

    fn takes_precedence(&self, entitlement: &Entitlement) -> bool {
        let record = &self.written.record;
        entitlement.is_satisfied_by(record)
            || (!entitlement.mapping.is_later_than(record.mapping) && self.changed_since(entitlement.as_of))
    }

    /// Whether roles without a time of the provider's must leave this record as it is: they are older than it by the
    /// store's clock, or it has changed within the last second. A confirmation is no change.
    pub(super) fn changed_since(&self, as_of: AsOf) -> bool {
        match as_of {
            AsOf::At(_) => false,
            AsOf::Answered(asked) => self.changed_just_now() || self.age() <= asked.elapsed(),
            AsOf::Now => self.changed_just_now(),
        }
    }

    /// Replaces owner and roles by the caller's own copies where they are equal, so that both share one allocation.
    pub(super) fn sharing(mut self, entitlement: &Entitlement) -> Self {
        let record = &mut self.written.record;
        if record.owner == entitlement.owner {
            record.owner = entitlement.owner.clone();
        }
        if record.roles == entitlement.roles {
            record.roles = entitlement.roles.clone();
        }
        self
    }

    fn changed_just_now(&self) -> bool {
        self.written.record.phase != Phase::Confirmed && self.age() < BETWEEN_CHANGES
    }

    /// How long the record has been in its phase by now.
    pub(super) fn age(&self) -> Duration {
        self.written.age(self.remaining).saturating_add(self.at.elapsed())
    }

    /// What is left of its life by now.
    pub(super) fn life_left(&self) -> Duration {
        self.remaining.saturating_sub(self.at.elapsed())
    }
}
