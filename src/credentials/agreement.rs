//! The loop by which replicas agree, as a pure state machine: `step(state, event) → (state, action)`.
//!
//! - *Agree first*: what is to be written stands in the store, pending, before Elasticsearch hears of it. Whoever
//!   loses the set-if-absent adopts the winner's password, so it does not matter how many replicas write it.
//! - *Write after*: the holder of the claim looks at the user and writes; acknowledged, the record becomes ready by
//!   compare-and-set. A claim only saves work: an overdue one is taken over, a live one never.
//! - *Debt*: my write was acknowledged but the store meanwhile says something else. Whatever it says must be written
//!   once more, even if it says ready, before this loop ends.

use super::record::{Claim, Phase, Record};
use super::{Existing, Password, Refused, Replaced};
use crate::identity::{Millis, Owner};
use crate::roles::Roles;

/// What a caller is entitled to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Want {
    /// Who asks.
    pub owner: Owner,
    /// The roles of the caller's token.
    pub roles: Roles,
    /// When they were true.
    pub as_of: Millis,
}

impl Want {
    /// The record's roles are the caller's, or newer. The order is total, so that two tokens of one second cannot
    /// take turns; an older token never takes roles away or gives them back.
    #[must_use]
    pub fn is_met_by(&self, record: &Record) -> bool {
        record.roles == self.roles || (record.as_of, &record.roles) > (self.as_of, &self.roles)
    }
}

/// What the driver is to do. Compare-and-set is always against what was last read or written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the store; answer with `Absent`, `Broken` or `Found`.
    Get,
    /// Set if absent; answer with `Created` or `Existed`.
    Create(Record),
    /// Compare and set; answer with `Replaced`.
    Replace(Record, Life),
    /// Compare and delete; answer with `Removed`.
    Remove,
    /// Look at the Elasticsearch user; answer with `Inspected`.
    Inspect,
    /// Write the user; answer with `Written`.
    Write {
        /// What to write.
        record: Record,
        /// Whether the password goes with it.
        with_password: bool,
    },
    /// Wait until the record may have changed; answer with `Waited`.
    Wait,
    /// The end.
    Finish(Outcome),
}

/// The life to give to a replaced record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// A claim begins.
    Claim,
    /// The same claim goes on: what remains of its life.
    Remaining,
    /// A ready record's.
    Ready,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Begin by reading.
    Start,
    /// Nothing is stored.
    Absent(Fresh),
    /// Something is stored that no key opens for its place: to be replaced.
    Broken(Fresh),
    /// A record is stored.
    Found {
        /// It.
        record: Record,
        /// Whether a pending record's claim has lasted too long.
        overdue: bool,
    },
    /// The created record is in place.
    Created,
    /// Another record was there first.
    Existed,
    /// How the compare-and-set ended.
    Replaced(Replaced),
    /// The record is removed, or has changed.
    Removed,
    /// What stands in Elasticsearch.
    Inspected(Result<Existing, Failure>),
    /// How the write ended.
    Written(Result<(), WriteFailure>),
    /// The time of the claim passed before the write was sent.
    Expired,
    /// The wait is over.
    Waited,
}

/// The randomness and the time that a new record needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fresh {
    /// A new password.
    pub password: Password,
    /// Now.
    pub born: Millis,
}

/// How a look at the user failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The user is to be left alone.
    Refused(Refused),
    /// An outage.
    Unavailable,
}

/// How a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteFailure {
    /// For good.
    Refused(Refused),
    /// A role-only write found no user.
    Missing,
    /// Not applied, or perhaps applied later: the record stays pending.
    Unfinished,
}

/// How the loop ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A write of this record was acknowledged, by me or by another.
    Ready(Record),
    /// The username serves another subject.
    OtherOwner,
    /// Elasticsearch's user is to be left alone.
    Refused(Refused),
    /// Elasticsearch did not acknowledge.
    Unavailable,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Idle,
    Reading,
    Creating(Record),
    Replacing(Record, Then),
    Inspecting(Record),
    Writing(Record),
    Removing(Refused),
}

/// What follows a compare-and-set that won.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    Decide,
    PayDebt,
    Finish,
    Deny(Refused),
}

/// One flight's position in the loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    me: Claim,
    want: Want,
    step: Step,
    /// See the module page.
    debt: bool,
    /// My write was acknowledged and the record is not yet seen to say so.
    acknowledged: bool,
    /// The record that I made, as long as nobody changed it: a refusal removes it.
    made: bool,
    /// The ready record that a role change replaced: a refusal puts it back.
    previous: Option<Record>,
}

impl State {
    /// At the beginning.
    #[must_use]
    pub fn new(me: Claim, want: Want) -> Self {
        let step = Step::Idle;
        Self { me, want, step, debt: false, acknowledged: false, made: false, previous: None }
    }

    /// Whether ending now would leave Elasticsearch with something else than the store says.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.debt || self.acknowledged
    }

    fn mine(&self, password_known: bool) -> Phase {
        Phase::Pending { claim: self.me, again: false, password_known }
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
        let mut new = record.in_phase(phase);
        if !self.want.is_met_by(record) {
            new.roles = self.want.roles.clone();
            new.as_of = self.want.as_of;
        }
        new
    }

    fn draft(&self, fresh: Fresh) -> Record {
        Record {
            phase: self.mine(false),
            password: fresh.password,
            roles: self.want.roles.clone(),
            as_of: self.want.as_of,
            owner: self.want.owner.clone(),
            born: fresh.born,
        }
    }
}

/// One step of the loop. An event that does not belong to the state makes the loop read again, which is always safe.
#[must_use]
pub fn step(mut state: State, event: Event) -> (State, Action) {
    match (state.step.clone(), event) {
        (Step::Reading, Event::Absent(fresh)) => {
            let record = state.draft(fresh);
            state.step = Step::Creating(record.clone());
            (state, Action::Create(record))
        }
        (Step::Reading, Event::Broken(fresh)) => {
            let record = state.draft(fresh);
            state.replace(record, Life::Claim, Then::PayDebt)
        }
        (Step::Reading, Event::Found { record, overdue }) => {
            if state.acknowledged {
                // lost the compare-and-set to ready: a debt, unless the record still waits under my claim
                state.acknowledged = false;
                let still_mine = matches!(record.phase, Phase::Pending { claim, .. } if claim == state.me);
                state.debt |= !still_mine;
            }
            decide(state, record, overdue)
        }
        (Step::Creating(record), Event::Created) => {
            // whatever I wrote before, this record will be written after it
            state.debt = false;
            state.acknowledged = false;
            state.made = true;
            inspect(state, record)
        }
        (Step::Replacing(new, then), Event::Replaced(outcome)) => replaced(state, new, then, outcome),
        (Step::Removing(refused), Event::Removed) => state.finish(Outcome::Refused(refused)),
        (Step::Inspecting(record), Event::Inspected(result)) => inspected(state, record, result),
        (Step::Writing(record), Event::Written(result)) => written(state, &record, result),
        _ => state.get(),
    }
}

fn decide(state: State, record: Record, overdue: bool) -> (State, Action) {
    let same_owner = record.owner == state.want.owner;
    let met = state.want.is_met_by(&record);
    match record.phase {
        Phase::Ready if state.debt => {
            let new = record.in_phase(state.mine(false));
            state.replace(new, Life::Claim, Then::PayDebt)
        }
        Phase::Ready if !same_owner => state.finish(Outcome::OtherOwner),
        Phase::Ready if met => state.finish(Outcome::Ready(record)),
        Phase::Ready => {
            let new = state.raised(&record, state.mine(true));
            let (mut state, action) = state.replace(new, Life::Claim, Then::Decide);
            state.previous = Some(record);
            (state, action)
        }
        Phase::Pending { claim, password_known, .. } if claim == state.me && state.debt && password_known => {
            let new = record.in_phase(state.mine(false));
            state.replace(new, Life::Claim, Then::PayDebt)
        }
        Phase::Pending { claim, again, .. } if claim != state.me && state.debt => {
            let new = record.in_phase(Phase::Pending { claim, again: true, password_known: false });
            if again && new.phase == record.phase {
                // its holder will write after my write was acknowledged
                return decide(State { debt: false, ..state }, record, overdue);
            }
            state.replace(new, Life::Remaining, Then::PayDebt)
        }
        Phase::Pending { .. } if !same_owner => wait(State { debt: false, ..state }),
        Phase::Pending { claim, again, password_known } if claim == state.me => {
            if again || !met {
                let new = state.raised(&record, state.mine(password_known));
                return state.replace(new, Life::Claim, Then::Decide);
            }
            // pending, mine, with the password to be written: that pays a debt too
            inspect(State { debt: false, ..state }, record)
        }
        Phase::Pending { password_known, .. } if overdue => {
            let new = record.in_phase(state.mine(password_known));
            state.replace(new, Life::Claim, Then::Decide)
        }
        Phase::Pending { claim, password_known, .. } if !met => {
            let new = state.raised(&record, Phase::Pending { claim, again: true, password_known });
            state.replace(new, Life::Remaining, Then::Decide)
        }
        Phase::Pending { .. } => wait(state),
    }
}

fn wait(mut state: State) -> (State, Action) {
    state.step = Step::Idle;
    (state, Action::Wait)
}

fn inspect(mut state: State, record: Record) -> (State, Action) {
    state.step = Step::Inspecting(record);
    (state, Action::Inspect)
}

fn replaced(mut state: State, new: Record, then: Then, outcome: Replaced) -> (State, Action) {
    match outcome {
        Replaced::Yes => match then {
            Then::Finish => {
                state.acknowledged = false;
                state.finish(Outcome::Ready(new))
            }
            Then::Deny(refused) => state.finish(Outcome::Refused(refused)),
            Then::Decide => decide(state, new, false),
            Then::PayDebt => {
                state.debt = false;
                state.acknowledged = false;
                decide(state, new, false)
            }
        },
        // a store without scripting overwrote something that nobody read: it must be written once more
        Replaced::Overwrote => {
            state.debt = true;
            state.previous = None;
            state.get()
        }
        Replaced::Changed | Replaced::Missing => {
            state.previous = None;
            state.get()
        }
    }
}

fn inspected(mut state: State, record: Record, result: Result<Existing, Failure>) -> (State, Action) {
    let Phase::Pending { password_known, .. } = record.phase else {
        return state.get();
    };
    match result {
        Ok(Existing::Absent) if password_known => {
            let new = record.in_phase(state.mine(false));
            state.replace(new, Life::Claim, Then::Decide)
        }
        Ok(_) => {
            state.step = Step::Writing(record.clone());
            (state, Action::Write { record, with_password: !password_known })
        }
        Err(Failure::Refused(refused)) => {
            state.previous = None;
            refuse(state, refused)
        }
        Err(Failure::Unavailable) => state.finish(Outcome::Unavailable),
    }
}

fn written(mut state: State, record: &Record, result: Result<(), WriteFailure>) -> (State, Action) {
    match result {
        Ok(()) => {
            state.acknowledged = true;
            state.previous = None;
            state.replace(record.in_phase(Phase::Ready), Life::Ready, Then::Finish)
        }
        Err(WriteFailure::Missing) => {
            let new = record.in_phase(state.mine(false));
            state.replace(new, Life::Claim, Then::Decide)
        }
        Err(WriteFailure::Refused(refused)) => refuse(state, refused),
        Err(WriteFailure::Unfinished) => state.finish(Outcome::Unavailable),
    }
}

/// A refused first write removes the record that I made: left pending, it would deny the rightful owner of the name.
/// A refused role change puts the previous record back.
fn refuse(mut state: State, refused: Refused) -> (State, Action) {
    if let Some(previous) = state.previous.take() {
        return state.replace(previous, Life::Ready, Then::Deny(refused));
    }
    if state.made {
        state.step = Step::Removing(refused);
        return (state, Action::Remove);
    }
    state.finish(Outcome::Refused(refused))
}

#[cfg(test)]
mod tests;
