//! The loop by which replicas agree, as a pure state machine: `step(state, event) → (state, action)`.
//!
//! - *Agree first*: what is to be written stands in the store, pending, before Elasticsearch hears of it. Whoever
//!   loses the set-if-absent adopts the winner's password, so it does not matter how many replicas write it.
//! - *Write after*: the holder of the claim looks at the user and writes; acknowledged, the record becomes ready by
//!   compare-and-set. A claim only saves work: an overdue one is taken over, a live one never.
//! - *Never back*: before each write the user's stamp is compared with the record. Where the record was lost, rolled back or
//!   belongs to an older token, the stamp counts for more, and its roles are agreed and written instead. Which of two sayings
//!   about a user's roles counts is one rule ([`standing`]), for records, callers and stamps alike.
//! - *Debt*: my write was acknowledged but the store meanwhile says something else. Whatever it says must be written
//!   once more, even if it says ready, before this loop ends.
//!
//! `tests/model` holds it against every interleaving. What it found:
//!
//! - A debt may be owed to another subject: both look at a user who is not there yet, the one's record is lost, the other's is
//!   made, written and served, and then the first one's PUT is applied. Its sender has put his caller's stamp over the other's
//!   user, so he alone may write the other's record over it, and does, before his caller is denied ([`Action::Inspect`]).
//! - Without scripting a change may fall between a comparison and the SET after it. When the holder of a claim overwrites newer
//!   roles so, he takes them over: else whoever raised them would raise them again in the middle of the next PUT, round
//!   after round. Each such moment costs a few PUTs. There is no bound for a schedule in which they never cease: A
//!   writes; B, who owes a write, puts its claim over A's; A, acknowledged, puts ready over B's claim and owes a write; B reads that
//!   and A claims, A writes, and B puts its claim over A's.
//! - A pending record must live as long as a PUT of it may be applied, or a late PUT meets another subject's record.
//! - Two subjects who race for a new name can lose it to each other by a loss of the record together with a crash, an unknown
//!   outcome or a second loss: a PUT has no condition, and nobody is left who owes anything.

use super::record::{LeaseHolder, Phase, Record};
use super::{Existing, Refused};
use crate::identity::AsOf;

mod entitlement;
mod protocol;
pub mod standing;
mod step;

pub use entitlement::{Entitlement, Observation};
pub use protocol::{Action, Event, Failure, Fresh, Life, Outcome, Swap, WriteFailure};
pub use standing::Standing;
pub use step::step;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Idle,
    Reading,
    Creating(Record),
    Replacing(Record, Then),
    Inspecting(Record),
    Writing(Record),
    Removing(Option<Refused>),
}

/// What follows a compare-and-set that won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    Decide,
    Write,
    Adopt,
    PayDebt,
    Finish,
    Deny(Refused),
}

/// One flight's position in the loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on one another")]
pub struct State {
    me: LeaseHolder,
    entitlement: Entitlement,
    step: Step,
    /// See the module page.
    debt: bool,
    /// My write was acknowledged and the record is not yet seen to say so.
    acknowledged: bool,
    /// What I wrote for my caller has to be written over with another subject's record.
    overtook: bool,
    /// The record that I made, as long as nobody changed it: a refusal removes it.
    made: bool,
    /// The ready record that a role change replaced: a refusal puts it back.
    previous: Option<Record>,
    /// The ready record that Elasticsearch does not have: it is written once more.
    mismatched: Option<Mismatched>,
    /// The ready record that is being renewed: an outage puts it back.
    renewed: Option<Record>,
}

/// A ready record that is not what stands in Elasticsearch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Mismatched {
    record: Record,
    /// Only its roles and its stamp are to be written.
    password_known: bool,
}

impl State {
    /// At the beginning.
    #[must_use]
    pub fn new(me: LeaseHolder, entitlement: Entitlement) -> Self {
        let step = Step::Idle;
        Self {
            me,
            entitlement,
            step,
            debt: false,
            acknowledged: false,
            overtook: false,
            made: false,
            previous: None,
            mismatched: None,
            renewed: None,
        }
    }

    /// At the beginning of a repair: this ready record is not what Elasticsearch has.
    #[must_use]
    pub fn repair(me: LeaseHolder, record: Record) -> Self {
        let (owner, roles, mapping) = (record.owner.clone(), record.roles.clone(), record.mapping);
        let entitlement = Entitlement { owner, roles, as_of: AsOf::At(record.as_of), mapping };
        Self { mismatched: Some(Mismatched { record, password_known: false }), ..Self::new(me, entitlement) }
    }

    /// At the beginning of a renewal: Elasticsearch has this ready record, and what else stands there is written anew.
    #[must_use]
    pub fn renew(me: LeaseHolder, record: Record) -> Self {
        let mut state = Self::repair(me, record);
        if let Some(mismatched) = &mut state.mismatched {
            mismatched.password_known = true;
        }
        state
    }

    /// Whether ending now would leave Elasticsearch with something else than the store says.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.debt || self.acknowledged
    }

    fn mismatches(&self, record: &Record) -> bool {
        self.mismatched.as_ref().is_some_and(|mismatched| mismatched.record == *record)
    }

    fn mine(&self, password_known: bool) -> Phase {
        Phase::Pending { holder: self.me, again: false, password_known }
    }

    fn get(mut self) -> (Self, Action) {
        self.step = Step::Reading;
        (self, Action::Get)
    }

    fn finish(mut self, outcome: Outcome) -> (Self, Action) {
        self.step = Step::Idle;
        (self, Action::Finish(outcome))
    }

    fn replace(mut self, new: Record, life: Life, then: Then) -> (Self, Action) {
        self.step = Step::Replacing(new.clone(), then);
        self.made = false;
        (self, Action::Replace(new, life))
    }

    /// The record with the caller's roles where those are newer.
    fn raised(&self, record: &Record, phase: Phase) -> Record {
        let new = record.in_phase(phase);
        let raised = || self.entitlement.raises(record, self.entitlement.as_of.or(record.as_of.saturating_add(1)));
        match Some(record).filter(|record| record.owner == self.entitlement.owner).and_then(|_| raised()) {
            Some(stands) => new.standing_so(stands),
            None => new,
        }
    }

    /// What is to be written instead of the record where this stamp stands in Elasticsearch. A draft of roles without a time
    /// of their own is true now, and so later than the stamp, but not under a later configuration.
    fn outranking(&self, record: &Record, stamp: &Standing) -> Option<Standing> {
        let stands = standing::outranked(&record.standing(), stamp)?;
        let timeless = !matches!(self.entitlement.as_of, AsOf::At(_));
        let draft = timeless && record.owner == self.entitlement.owner && record.roles == self.entitlement.roles;
        if !draft || stamp.mapping.is_later_than(record.mapping) {
            return Some(stands);
        }
        let (mapping, as_of) = (record.mapping.or_later(stamp.mapping), stamp.as_of.saturating_add(1));
        Some(Standing { mapping, as_of, roles: record.roles.clone() })
    }

    fn draft(&self, fresh: Fresh) -> Record {
        Record {
            phase: self.mine(false),
            password: fresh.password,
            roles: self.entitlement.roles.clone(),
            as_of: self.entitlement.as_of.or(fresh.born),
            mapping: self.entitlement.mapping,
            owner: self.entitlement.owner.clone(),
            born: fresh.born,
        }
    }
}

#[cfg(test)]
mod tests;
