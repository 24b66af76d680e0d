//! The position of one run in the protocol, and the records that it derives from others.

use super::entitlement::Entitlement;
use super::protocol::{Action, Fresh, Life, Outcome};
use super::standing::{self, Standing};
use crate::credentials::Refused;
use crate::credentials::record::{LeaseHolder, Phase, Record};
use crate::identity::AsOf;

/// The action of which the run awaits the event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Idle,
    Reading,
    Creating(Record),
    Replacing(Record, Then),
    Inspecting(Record),
    Writing(Record),
    Removing(Option<Refused>),
}

/// What follows a compare-and-set that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Then {
    Decide,
    Write,
    Adopt,
    PayDebt,
    Finish,
    Deny(Refused),
}

/// One run's position in the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on one another")]
pub struct State {
    pub(super) me: LeaseHolder,
    pub(super) entitlement: Entitlement,
    pub(super) step: Step,
    /// The run owes a write: see the page of the parent module.
    pub(super) debt: bool,
    /// This run's write was acknowledged, and the record is not yet seen to be ready.
    pub(super) acknowledged: bool,
    /// What this run wrote for its caller has to be overwritten with another subject's record.
    pub(super) overtook: bool,
    /// This run created the record and no other run has changed it: a refusal removes it.
    pub(super) made: bool,
    /// The ready record that a role change replaced: a refusal puts it back.
    pub(super) previous: Option<Record>,
    /// The ready record that does not match Elasticsearch: it is written once more.
    pub(super) mismatched: Option<Mismatched>,
    /// The ready record that is being renewed: an outage puts it back.
    pub(super) renewed: Option<Record>,
}

/// A ready record that does not match the user in Elasticsearch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mismatched {
    pub(super) record: Record,
    /// Elasticsearch has the password: only the roles and the stamp are to be written.
    pub(super) password_known: bool,
}

impl State {
    /// The state before the first step of a run for a caller with this entitlement.
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

    /// The state before a repair: this ready record does not match Elasticsearch.
    #[must_use]
    pub fn repair(me: LeaseHolder, record: Record) -> Self {
        let (owner, roles, mapping) = (record.owner.clone(), record.roles.clone(), record.mapping);
        let entitlement = Entitlement { owner, roles, as_of: AsOf::At(record.as_of), mapping };
        Self { mismatched: Some(Mismatched { record, password_known: false }), ..Self::new(me, entitlement) }
    }

    /// The state before a renewal: Elasticsearch has this ready record's password, and everything else is written again.
    #[must_use]
    pub fn renew(me: LeaseHolder, record: Record) -> Self {
        let mut state = Self::repair(me, record);
        if let Some(mismatched) = &mut state.mismatched {
            mismatched.password_known = true;
        }
        state
    }

    /// Whether a run that ended now could leave Elasticsearch and the store with different records.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.debt || self.acknowledged
    }

    pub(super) fn mismatches(&self, record: &Record) -> bool {
        self.mismatched.as_ref().is_some_and(|mismatched| mismatched.record == *record)
    }

    pub(super) fn leased_to_me(&self, password_known: bool) -> Phase {
        Phase::Pending { holder: self.me, again: false, password_known }
    }

    pub(super) fn get(mut self) -> (Self, Action) {
        self.step = Step::Reading;
        (self, Action::Get)
    }

    pub(super) fn finish(mut self, outcome: Outcome) -> (Self, Action) {
        self.step = Step::Idle;
        (self, Action::Finish(outcome))
    }

    pub(super) fn replace(mut self, new: Record, life: Life, then: Then) -> (Self, Action) {
        self.step = Step::Replacing(new.clone(), then);
        self.made = false;
        (self, Action::Replace(new, life))
    }

    /// The record in this phase, with the caller's roles where those prevail.
    pub(super) fn raised(&self, record: &Record, phase: Phase) -> Record {
        let new = record.in_phase(phase);
        let raised = || self.entitlement.raises(record, self.entitlement.as_of.or(record.as_of.saturating_add(1)));
        match Some(record).filter(|record| record.owner == self.entitlement.owner).and_then(|_| raised()) {
            Some(standing) => new.with_standing(standing),
            None => new,
        }
    }

    /// What is to be written instead of the record, given the user's stamp in Elasticsearch; none where the record may be
    /// written as it is. A draft with roles without a time of their own is true now: it is later than the stamp, unless the
    /// stamp is of a later configuration.
    pub(super) fn outranking(&self, record: &Record, stamp: &Standing) -> Option<Standing> {
        let prevails = standing::outranked(&record.standing(), stamp)?;
        let timeless = !matches!(self.entitlement.as_of, AsOf::At(_));
        let draft = timeless && record.owner == self.entitlement.owner && record.roles == self.entitlement.roles;
        if !draft || stamp.mapping.is_later_than(record.mapping) {
            return Some(prevails);
        }
        let (mapping, as_of) = (record.mapping.or_later(stamp.mapping), stamp.as_of.saturating_add(1));
        Some(Standing { mapping, as_of, roles: record.roles.clone() })
    }

    /// A new record for the caller, leased to this replica.
    pub(super) fn draft(&self, fresh: Fresh) -> Record {
        Record {
            phase: self.leased_to_me(false),
            password: fresh.password,
            roles: self.entitlement.roles.clone(),
            as_of: self.entitlement.as_of.or(fresh.born),
            mapping: self.entitlement.mapping,
            owner: self.entitlement.owner.clone(),
            born: fresh.born,
        }
    }
}
