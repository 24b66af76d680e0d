//! The transitions of the state machine.

use super::protocol::{Action, Event, Failure, Fresh, Inspected, Life, Outcome, Swap, WriteFailure};
use super::standing::Standing;
use super::state::{State, Step, Then};
use crate::credentials::record::{Phase, Record};
use crate::credentials::{DurableCopy, Refused};

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
            state.wrote.clear();
            state.in_doubt = false;
            state.made = true;
            inspect(state, record)
        }
        (Step::Replacing(new, then), Event::Replaced(outcome)) => replaced(state, new, then, outcome),
        (Step::Removing(Some(Outcome::Unavailable)), Event::Removed(false)) => state.get(),
        (Step::Removing(Some(outcome)), Event::Removed(_)) => state.finish(outcome),
        (Step::Claiming, Event::Inspected(result)) => claimed(state, result),
        (Step::LoggingIn(record, standing, kept), Event::LoggedIn(result)) => {
            logged_in(state, record, standing, kept, result)
        }
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
    match record.phase.clone() {
        Phase::Ready | Phase::Confirmed if state.debt => pay_debt(state, &record),
        Phase::Ready | Phase::Confirmed if !same_owner => state.finish(Outcome::OtherOwner),
        Phase::Ready | Phase::Confirmed if state.rotates(&record) => rotate(state, record),
        Phase::Ready | Phase::Confirmed if state.mismatches(&record) => {
            // the record may have been repaired since its roles were seen
            let seen = state.mismatched.take().and_then(|mismatched| mismatched.in_force);
            let in_force = seen.map(|roles| roles.union(&record.roles));
            let new = record.in_phase(state.leased_to_me(in_force));
            state.replace(new, Life::Lease, Then::Decide)
        }
        Phase::Ready | Phase::Confirmed if satisfied => state.finish(Outcome::Ready(record)),
        Phase::Ready | Phase::Confirmed => {
            let new = state.raised(&record, state.leased_to_me(record.roles_in_force()));
            let (mut state, action) = state.replace(new, Life::Lease, Then::Decide);
            state.previous = Some(record);
            (state, action)
        }
        Phase::Pending { holder, failed, .. } if state.debt && (holder == state.me || failed) => {
            if holder == state.me && !failed && state.covers_debt(&record) {
                return decide(State { debt: false, ..state }, record, lease_expired);
            }
            pay_debt(state, &record)
        }
        Phase::Pending { holder, again, .. } if state.debt => {
            if again && state.covers_debt(&record) {
                // its holder will write after the write of this run was acknowledged
                return decide(State { debt: false, ..state }, record, lease_expired);
            }
            let in_force = state.roles_in_force(&record);
            let new = record.in_phase(Phase::Pending { holder, again: true, in_force, failed: false });
            state.replace(new, Life::Remaining, Then::PayDebt)
        }
        Phase::Pending { holder, again, failed, .. } if holder == state.me => {
            if again || failed || !satisfied {
                let new = state.raised(&record, state.leased_to_me(record.roles_in_force()));
                return state.replace(new, Life::Lease, Then::Decide);
            }
            inspect(state, record)
        }
        // its holder does not write it: the user in Elasticsearch shows to which subject the name belongs
        Phase::Pending { failed, .. } if !same_owner && (failed || lease_expired) => claim(state),
        Phase::Pending { .. } if !same_owner => wait(state),
        Phase::Pending { failed, .. } if failed || lease_expired => {
            let new = state.raised(&record, state.leased_to_me(record.roles_in_force()));
            state.replace(new, Life::Lease, Then::Decide)
        }
        Phase::Pending { holder, .. } if !satisfied => {
            let in_force = record.roles_in_force();
            let new = state.raised(&record, Phase::Pending { holder, again: true, in_force, failed: false });
            state.replace(new, Life::Remaining, Then::Decide)
        }
        Phase::Pending { .. } => wait(state),
    }
}

/// Takes the lease of a record that this run's write may have overwritten, to write it once more.
fn pay_debt(state: State, record: &Record) -> (State, Action) {
    let new = record.in_phase(state.leased_to_me(state.roles_in_force(record)));
    state.replace(new, Life::Lease, Then::PayDebt)
}

/// The same record with a new password. The former record is put back where nothing was written.
fn rotate(mut state: State, record: Record) -> (State, Action) {
    let Some((_, Fresh { password, born })) = state.rotated.take() else { return state.get() };
    let new = Record { password, born, ..record.in_phase(state.leased_to_me(None)) };
    let (mut state, action) = state.replace(new, Life::Lease, Then::Decide);
    state.previous = Some(record);
    (state, action)
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

/// Asks whether the user is the caller's, although another subject's record is in the store.
fn claim(mut state: State) -> (State, Action) {
    let owner = state.entitlement.owner.clone();
    state.step = Step::Claiming;
    (state, Action::Inspect { owner, or_callers: false })
}

fn claimed(mut state: State, result: Result<Inspected, Failure>) -> (State, Action) {
    match result {
        // the other subject's record was made while the user could not be read, or after the caller's was lost
        Ok(Inspected::Ours { .. }) => {
            state.step = Step::Removing(None);
            (state, Action::Remove)
        }
        // both subjects are new: the first one keeps the name until its record ends
        Ok(Inspected::Absent) => wait(state),
        Err(Failure::Refused(refused)) => state.finish(Outcome::Refused(refused)),
        Err(Failure::Unavailable) => state.finish(Outcome::Unavailable),
    }
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
            Then::GiveUp => state.finish(Outcome::Unavailable),
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
    match before.as_ref().and_then(|before| Some((before.password.clone(), before.roles_in_force()?))) {
        Some(overwritten) => state.wrote.push(overwritten),
        None => state.in_doubt = true,
    }
    if let Some(before) = before.filter(|before| before.owner == state.entitlement.owner) {
        state.entitlement.take_over(&before);
    }
    state.get()
}

fn inspected(mut state: State, record: Record, result: Result<Inspected, Failure>) -> (State, Action) {
    if record.phase.is_ready() {
        return state.get();
    }
    match result {
        Ok(Inspected::Absent) if record.phase.has_password() => {
            let new = record.in_phase(state.leased_to_me(None));
            state.replace(new, Life::Lease, Then::Decide)
        }
        // this record's password was never written: the one that is kept beside the stamp may still be right
        Ok(Inspected::Ours { standing: Some(standing), kept: Some(kept) }) if state.made => {
            let action = Action::LogIn { password: kept.password.clone(), standing: standing.clone() };
            state.step = Step::LoggingIn(record, standing, kept);
            (state, action)
        }
        Ok(Inspected::Ours { standing: Some(stamp), .. }) => write_unless_outranked(state, record, &stamp),
        Ok(Inspected::Absent | Inspected::Ours { standing: None, .. }) => write(state, record),
        Err(Failure::Refused(refused)) => {
            state.previous = None;
            // the user is disabled, or another's by now: no caller is served with the record's password meanwhile
            let record = record.in_phase(state.leased_to_me(None));
            refuse(state, &record, refused)
        }
        Err(Failure::Unavailable) => give_up(state, &record, true),
    }
}

fn write_unless_outranked(state: State, record: Record, stamp: &Standing) -> (State, Action) {
    match state.outranking(&record, stamp) {
        Some(prevails) => adopt(state, record, prevails),
        None => write(state, record),
    }
}

/// The record was lost or rolled back, or belongs to an older token: the user's stamp in Elasticsearch prevails, and is agreed
/// before anything is written over it.
fn adopt(state: State, record: Record, prevails: Standing) -> (State, Action) {
    let (made, previous) = (state.made, state.previous.clone());
    let (state, action) = state.replace(record.with_standing(prevails), Life::Lease, Then::Adopt);
    (State { made, previous, ..state }, action)
}

/// The record in the store was lost, and Elasticsearch accepts the password that it keeps: nothing is written where it has the
/// right roles too, and the roles alone where it does not.
fn logged_in(
    state: State,
    record: Record,
    stamp: Standing,
    DurableCopy { password, born }: DurableCopy,
    result: Result<bool, Failure>,
) -> (State, Action) {
    match result {
        Ok(true) => {
            let prevails = state.outranking(&record, &stamp).unwrap_or_else(|| record.standing());
            let record = Record { password, born, ..record };
            if prevails.roles == stamp.roles {
                let new = record.in_phase(Phase::Ready).with_standing(stamp);
                return state.replace(new, Life::Ready, Then::Decide);
            }
            let new = record.in_phase(state.leased_to_me(Some(stamp.roles))).with_standing(prevails);
            state.replace(new, Life::Lease, Then::Adopt)
        }
        Ok(false) | Err(Failure::Refused(_)) => write_unless_outranked(state, record, &stamp),
        Err(Failure::Unavailable) => give_up(state, &record, true),
    }
}

fn write(mut state: State, record: Record) -> (State, Action) {
    let with_password = !record.phase.has_password();
    state.step = Step::Writing(record.clone());
    (state, Action::Write { record, with_password })
}

fn written(mut state: State, record: &Record, result: Result<(), WriteFailure>) -> (State, Action) {
    match result {
        Ok(()) => {
            state.acknowledged = true;
            state.previous = None;
            let wrote = (record.password.clone(), record.roles.clone());
            if !state.wrote.contains(&wrote) {
                state.wrote.push(wrote);
            }
            state.replace(record.in_phase(Phase::Ready), Life::Ready, Then::Finish)
        }
        Err(WriteFailure::Missing) => {
            let new = record.in_phase(state.leased_to_me(None));
            state.replace(new, Life::Lease, Then::Decide)
        }
        // the user has changed since this run inspected it
        Err(WriteFailure::Outranked) => inspect(state, record.clone()),
        Err(WriteFailure::Refused(refused)) => refuse(state, record, refused),
        Err(WriteFailure::NotApplied) => give_up(state, record, true),
        Err(WriteFailure::Unknown) => give_up(state, record, false),
    }
}

/// Gives up the lease without having written the record. A record that this run made, and of which nothing was written, is
/// removed: left pending, it would keep the rightful owner of the username waiting. A former record with another password is
/// put back. Otherwise the record stays pending for the next attempt of any replica, and Elasticsearch has one of the former
/// sets of roles, or after an unknown outcome perhaps the new one.
fn give_up(mut state: State, record: &Record, nothing_applied: bool) -> (State, Action) {
    if nothing_applied && state.made {
        state.step = Step::Removing(Some(Outcome::Unavailable));
        return (state, Action::Remove);
    }
    if let Some(previous) = state.previous.take().filter(|it| nothing_applied && it.password != record.password) {
        return state.replace(previous, Life::Ready, Then::GiveUp);
    }
    let new = failed(&state, record, nothing_applied);
    state.replace(new, Life::Lease, Then::GiveUp)
}

/// The record, pending, with a lease that this replica has given up after a failed attempt.
fn failed(state: &State, record: &Record, nothing_applied: bool) -> Record {
    let in_force = match &record.phase {
        Phase::Pending { in_force, .. } if nothing_applied => in_force.clone(),
        _ => record.roles_in_force(),
    };
    record.in_phase(Phase::Pending { holder: state.me, again: false, in_force, failed: true })
}

/// A refused first write removes the record that this run made: left pending, it would deny the rightful owner of the username;
/// and so would another subject's record that this process left behind. A refused role change puts the previous record back.
fn refuse(mut state: State, record: &Record, refused: Refused) -> (State, Action) {
    if let Some(previous) = state.previous.take() {
        return state.replace(previous, Life::Ready, Then::Deny(refused));
    }
    let own = record.owner == state.entitlement.owner;
    if state.made || !own {
        state.step = Step::Removing(own.then_some(Outcome::Refused(refused)));
        return (state, Action::Remove);
    }
    let new = failed(&state, record, true);
    state.replace(new, Life::Lease, Then::Deny(refused))
}
