//! The transitions of the state machine.

use super::protocol::{Action, Event, Failure, Life, Outcome, Swap, WriteFailure};
use super::standing::Standing;
use super::state::{State, Step, Then};
use crate::credentials::record::{Phase, Record};
use crate::credentials::{Existing, Ours, Refused};

/// One transition. An event that does not belong to the state makes the run read again, which is always safe.
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
            state.replace(record, Life::Lease, Then::PayDebt)
        }
        (Step::Reading, Event::Found { record, lease_expired, observation }) => {
            state.entitlement.date_against(&record, observation);
            if state.acknowledged {
                // the compare-and-set to ready has failed: a debt, unless the record is still pending under this replica's lease
                state.acknowledged = false;
                state.debt |= !record.is_leased_by(state.me);
            }
            decide(state, record, lease_expired)
        }
        (Step::Creating(record), Event::Created) => {
            // whatever this run wrote before, this record will be written after it
            state.debt = false;
            state.acknowledged = false;
            state.made = true;
            inspect(state, record)
        }
        (Step::Replacing(new, then), Event::Replaced(outcome)) => replaced(state, new, then, outcome),
        (Step::Removing(Some(refused)), Event::Removed) => state.finish(Outcome::Refused(refused)),
        (Step::Inspecting(record), Event::Inspected(result)) => inspected(state, record, result),
        (Step::Writing(record), Event::Written(result)) => written(state, &record, result),
        (Step::Writing(record), Event::LeaseTooShort) => {
            // a lease that expires while its holder writes is taken over, and then two replicas write at once
            let made = state.made;
            let (state, action) = state.replace(record, Life::Lease, Then::Write);
            (State { made, ..state }, action)
        }
        _ => state.get(),
    }
}

fn decide(mut state: State, record: Record, lease_expired: bool) -> (State, Action) {
    let same_owner = record.owner == state.entitlement.owner;
    // another subject's record is written as it is
    let satisfied = !same_owner || state.entitlement.is_satisfied_by(&record);
    match record.phase {
        Phase::Ready | Phase::Confirmed if state.debt => {
            let new = record.in_phase(state.leased_to_me(false));
            state.replace(new, Life::Lease, Then::PayDebt)
        }
        Phase::Ready | Phase::Confirmed if !same_owner => state.finish(Outcome::OtherOwner),
        Phase::Ready | Phase::Confirmed if state.mismatches(&record) => {
            let password_known = state.mismatched.take().is_some_and(|mismatched| mismatched.password_known);
            let new = record.in_phase(state.leased_to_me(password_known));
            let (mut state, action) = state.replace(new, Life::Lease, Then::Decide);
            state.renewed = password_known.then_some(record);
            (state, action)
        }
        Phase::Ready | Phase::Confirmed if satisfied => state.finish(Outcome::Ready(record)),
        Phase::Ready | Phase::Confirmed => {
            let new = state.raised(&record, state.leased_to_me(true));
            let (mut state, action) = state.replace(new, Life::Lease, Then::Decide);
            state.previous = Some(record);
            (state, action)
        }
        Phase::Pending { holder, password_known, .. } if holder == state.me && state.debt && password_known => {
            let new = record.in_phase(state.leased_to_me(false));
            state.replace(new, Life::Lease, Then::PayDebt)
        }
        Phase::Pending { holder, again, .. } if holder != state.me && state.debt => {
            let new = record.in_phase(Phase::Pending { holder, again: true, password_known: false });
            if again && new.phase == record.phase {
                // its holder will write after the write of this run was acknowledged
                return decide(State { debt: false, ..state }, record, lease_expired);
            }
            state.replace(new, Life::Remaining, Then::PayDebt)
        }
        Phase::Pending { holder, again, password_known } if holder == state.me => {
            if again || !satisfied {
                let new = state.raised(&record, state.leased_to_me(password_known));
                return state.replace(new, Life::Lease, Then::Decide);
            }
            // pending, leased to this replica, with the password to be written: that pays a debt too
            inspect(State { debt: false, ..state }, record)
        }
        Phase::Pending { .. } if !same_owner => wait(State { debt: false, ..state }),
        Phase::Pending { password_known, .. } if lease_expired => {
            let new = record.in_phase(state.leased_to_me(password_known));
            state.replace(new, Life::Lease, Then::Decide)
        }
        Phase::Pending { holder, password_known, .. } if !satisfied => {
            let new = state.raised(&record, Phase::Pending { holder, again: true, password_known });
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
    let owner = record.owner.clone();
    let or_callers = state.overtook && owner != state.entitlement.owner;
    state.step = Step::Inspecting(record);
    (state, Action::Inspect { owner, or_callers })
}

fn replaced(mut state: State, new: Record, then: Then, outcome: Swap) -> (State, Action) {
    match outcome {
        Swap::Yes => match then {
            Then::Finish => {
                state.acknowledged = false;
                let own = new.owner == state.entitlement.owner;
                state.finish(if own { Outcome::Ready(new) } else { Outcome::OtherOwner })
            }
            Then::Deny(refused) => state.finish(Outcome::Refused(refused)),
            Then::Write => write(state, new),
            Then::Adopt if new.owner != state.entitlement.owner || state.entitlement.is_satisfied_by(&new) => {
                write(state, new)
            }
            Then::Decide | Then::Adopt => decide(state, new, false),
            Then::PayDebt => {
                state.debt = false;
                state.acknowledged = false;
                state.overtook |= new.owner != state.entitlement.owner;
                decide(state, new, false)
            }
        },
        Swap::Overwrote(before) => overwrote(state, before),
        Swap::Changed | Swap::Missing => {
            state.made = false;
            state.previous = None;
            state.renewed = None;
            state.get()
        }
    }
}

/// A store without scripting overwrote a record that this run had not read: what is there now must be written once more, with
/// the overwritten roles if they were newer. Otherwise the replica that raised them would raise them again in the middle of
/// this run's next write, which would overwrite them again, and so on for ever.
fn overwrote(mut state: State, before: Option<Record>) -> (State, Action) {
    state.debt = true;
    state.made = false;
    state.previous = None;
    state.renewed = None;
    if let Some(before) = before.filter(|before| before.owner == state.entitlement.owner) {
        state.entitlement.take_over(&before);
    }
    state.get()
}

fn inspected(mut state: State, record: Record, result: Result<Existing, Failure>) -> (State, Action) {
    let Phase::Pending { password_known, .. } = record.phase else {
        return state.get();
    };
    match result {
        Ok(Existing::Absent) if password_known => {
            let new = record.in_phase(state.leased_to_me(false));
            state.replace(new, Life::Lease, Then::Decide)
        }
        Ok(Existing::Absent | Existing::Ours(Ours { standing: None, .. })) => write(state, record),
        Ok(Existing::Ours(Ours { standing: Some(stamp), .. })) => match state.outranking(&record, &stamp) {
            Some(prevails) => adopt(state, record, prevails),
            None => write(state, record),
        },
        Err(Failure::Refused(refused)) => {
            state.previous = None;
            refuse(state, refused)
        }
        Err(Failure::Unavailable) => unfinished(state),
    }
}

/// The record was lost or rolled back, or belongs to an older token: the user's stamp in Elasticsearch prevails, and is agreed
/// before anything is written over it.
fn adopt(mut state: State, record: Record, prevails: Standing) -> (State, Action) {
    // an outage must not put back a record that Elasticsearch has no longer
    state.renewed = None;
    let made = state.made;
    let (state, action) = state.replace(record.with_standing(prevails), Life::Lease, Then::Adopt);
    (State { made, ..state }, action)
}

fn write(mut state: State, record: Record) -> (State, Action) {
    let with_password = !matches!(record.phase, Phase::Pending { password_known: true, .. });
    state.step = Step::Writing(record.clone());
    (state, Action::Write { record, with_password })
}

fn written(mut state: State, record: &Record, result: Result<(), WriteFailure>) -> (State, Action) {
    match result {
        Ok(()) => {
            state.acknowledged = true;
            state.previous = None;
            state.replace(record.in_phase(Phase::Ready), Life::Ready, Then::Finish)
        }
        Err(WriteFailure::Missing) => {
            let new = record.in_phase(state.leased_to_me(false));
            state.replace(new, Life::Lease, Then::Decide)
        }
        // the user has changed since this run inspected it
        Err(WriteFailure::Outranked) => inspect(state, record.clone()),
        Err(WriteFailure::Refused(refused)) => refuse(state, refused),
        Err(WriteFailure::Unfinished) => unfinished(state),
    }
}

/// The record stays pending for the next attempt, unless it was ready and only renewed: then Elasticsearch has this password and
/// these roles, whether the write was applied or not.
fn unfinished(mut state: State) -> (State, Action) {
    match state.renewed.take() {
        Some(ready) => state.replace(ready.in_phase(Phase::Ready), Life::Ready, Then::Finish),
        None => state.finish(Outcome::Unavailable),
    }
}

/// A refused first write removes the record that this run made: left pending, it would deny the rightful owner of the username;
/// and so would another subject's record that this process left behind. A refused role change puts the previous record back.
fn refuse(mut state: State, refused: Refused) -> (State, Action) {
    if let Some(previous) = state.previous.take() {
        return state.replace(previous, Life::Ready, Then::Deny(refused));
    }
    let own = matches!(&state.step, Step::Inspecting(record) | Step::Writing(record) if record.owner == state.entitlement.owner);
    if state.made || !own {
        state.step = Step::Removing(own.then_some(refused));
        return (state, Action::Remove);
    }
    state.finish(Outcome::Refused(refused))
}
