//! The position of one run in the protocol, and the records that it derives from others.

use super::entitlement::Entitlement;
use super::protocol::{Action, Fresh, Life, Outcome};
use super::standing::{self, Standing};
use crate::credentials::record::{LeaseHolder, Phase, Record};
use crate::credentials::{DurableCopy, Password, Refused};
use crate::identity::AsOf;
use crate::roles::Roles;

/// The action of which the run awaits the event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Idle,
    Reading,
    Creating(Record),
    Replacing(Record, Then),
    Inspecting(Record),
    /// The user is inspected because another subject's record has no lease holder that writes it.
    Claiming,
    /// The password that is kept beside the stamp is tried, instead of writing this record.
    LoggingIn(Record, Standing, DurableCopy),
    Writing(Record),
    /// The run ends so after the removal; none where it reads again.
    Removing(Option<Outcome>),
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
    GiveUp,
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
    /// What the acknowledged writes of this run gave the user: each password with the roles.
    pub(super) wrote: Vec<(Password, Roles)>,
    /// This run has overwritten a record of which Elasticsearch may have another password.
    pub(super) in_doubt: bool,
    /// What this run wrote for its caller has to be overwritten with another subject's record.
    pub(super) overtook: bool,
    /// This run created the record and no other run has changed it: a refusal removes it.
    pub(super) made: bool,
    /// The ready record that this run replaced: a refusal puts it back, and so does an outage where it has another password.
    pub(super) previous: Option<Record>,
    /// The ready record that does not match Elasticsearch: it is written once more.
    pub(super) mismatched: Option<Mismatched>,
    /// The ready record that is to get this password.
    pub(super) rotated: Option<(Record, Fresh)>,
}

/// A ready record that does not match the user in Elasticsearch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mismatched {
    pub(super) record: Record,
    /// The roles that the user has there with the record's password: only the roles and the stamp are to be written. None where
    /// Elasticsearch does not accept the password.
    pub(super) in_force: Option<Roles>,
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
            wrote: Vec::new(),
            in_doubt: false,
            overtook: false,
            made: false,
            previous: None,
            mismatched: None,
            rotated: None,
        }
    }

    /// The state before this ready record is written once more, because Elasticsearch has another stamp, other roles or another
    /// password. `in_force` are the roles that the user has there with the record's password; none where it is not accepted.
    #[must_use]
    pub fn write_again(me: LeaseHolder, record: Record, in_force: Option<Roles>) -> Self {
        Self { mismatched: Some(Mismatched { record: record.clone(), in_force }), ..Self::of(me, &record) }
    }

    /// The state before this ready record gets a new password.
    #[must_use]
    pub fn rotate(me: LeaseHolder, record: Record, fresh: Fresh) -> Self {
        Self { rotated: Some((record.clone(), fresh)), ..Self::of(me, &record) }
    }

    /// A run for what the record says itself.
    fn of(me: LeaseHolder, record: &Record) -> Self {
        let (owner, roles, mapping) = (record.owner.clone(), record.roles.clone(), record.mapping);
        Self::new(me, Entitlement { owner, roles, as_of: AsOf::At(record.as_of), mapping })
    }

    /// Whether a run that ended now could leave Elasticsearch and the store with different records.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.debt || self.acknowledged
    }

    /// Whether what is still to be written under this record's lease overwrites every write of this run.
    pub(super) fn covers_debt(&self, record: &Record) -> bool {
        match &record.phase {
            Phase::Pending { in_force: None, .. } => true,
            _ => self.roles_in_force(record) == record.roles_in_force(),
        }
    }

    pub(super) fn rotates(&self, record: &Record) -> bool {
        self.rotated.as_ref().is_some_and(|(rotated, _)| rotated == record)
    }

    pub(super) fn mismatches(&self, record: &Record) -> bool {
        self.mismatched.as_ref().is_some_and(|mismatched| mismatched.record == *record)
    }

    pub(super) fn leased_to_me(&self, in_force: Option<Roles>) -> Phase {
        Phase::Pending { holder: self.me, again: false, in_force, failed: false }
    }

    /// The roles that the user may have with the record's password, those of this run's writes included; none where one of them
    /// wrote another password.
    pub(super) fn roles_in_force(&self, record: &Record) -> Option<Roles> {
        let same = !self.in_doubt && self.wrote.iter().all(|(password, _)| *password == record.password);
        let in_force = record.roles_in_force().filter(|_| same)?;
        Some(self.wrote.iter().fold(in_force, |all, (_, roles)| all.union(roles)))
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
            phase: self.leased_to_me(None),
            password: fresh.password,
            roles: self.entitlement.roles.clone(),
            as_of: self.entitlement.as_of.or(fresh.born),
            mapping: self.entitlement.mapping,
            owner: self.entitlement.owner.clone(),
            born: fresh.born,
        }
    }
}
