//! Lists what may happen next in a state of the world.

use crate::machine::Action;
use crate::record::{Phase, Record};
use crate::world::{Replica, Setup, World};

/// What becomes of a PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// The PUT is applied, and its acknowledgement is received.
    Applied,
    /// Elasticsearch answers with 400.
    Refused,
    /// The PUT is not sent: it waited for other writes, the user was inspected once more, and has roles that prevail.
    Outranked,
    /// The PUT is applied now, and its answer is lost.
    Unacknowledged,
    /// The PUT is applied later, whatever happens until then.
    Late,
    /// The PUT is never applied.
    Lost,
    /// The PUT is certainly not applied.
    NotApplied,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transition {
    /// A request comes to this replica.
    Request(usize),
    /// This replica begins the repair.
    Repair(usize),
    /// This replica takes its next step.
    Step(usize),
    /// As `Step`, and the record that it reads has just changed.
    StepJustChanged(usize),
    /// As `Step`, and it overwrites a record that it has not read.
    Overwrite(usize),
    /// The PUT of this replica ends in this way.
    Write(usize, Fate),
    /// The GET of the user says that the user must not be changed.
    Refuse(usize),
    /// The GET of the user, or the login, gets no answer.
    Unavailable(usize),
    /// As `Step`, and its answer is lost.
    LoseAnswer(usize),
    /// The process of this replica ends.
    Crash(usize),
    /// The process of this replica ends while its PUT is on its way.
    CrashWriting(usize),
    /// The leases that replicas read expire while no replica acts.
    Pause,
    /// A lease expires because its holder does nothing.
    ExpireLease,
    /// The life of the record with the expired lease ends.
    ExpireRecord,
    /// The record is lost.
    Lose,
    /// A replica of a later release replaces the record.
    ReplaceByLater,
    /// And what it wrote is lost.
    LoseLater,
    /// A dump is taken.
    Dump,
    /// The dump is restored.
    Restore,
    /// A late PUT is applied.
    ApplyLate(usize),
    /// A person changes the password.
    ChangePassword,
    /// The settling time has passed, and the ready record's password is tried.
    BeginConfirmation,
    /// The result of the trial is known.
    EndConfirmation,
}

pub(crate) fn transitions(setup: &Setup, world: &World, transitions: &mut Vec<Transition>) {
    for (i, replica) in world.replicas.iter().enumerate().take(setup.requests.len()) {
        match replica.run {
            None => {
                if setup.request(i, replica.begun).is_some() {
                    transitions.push(Transition::Request(i));
                }
                if world.mismatched.is_some() {
                    transitions.push(Transition::Repair(i));
                }
            }
            Some(run) => steps(setup, world, i, replica, run.action, transitions),
        }
    }
    let faults_left = &world.faults_left;
    if world.abandoned() && !world.lease_expired {
        transitions.push(Transition::ExpireLease);
    }
    // a pending record lives as long as a PUT of it may still be applied
    let kept = world.stored.is_some_and(|record| record.roles_in_force().is_some());
    if world.abandoned() && world.lease_expired && world.late == [None; 2] && !kept && !world.later {
        transitions.push(Transition::ExpireRecord);
    }
    let pending = matches!(world.stored, Some(Record { phase: Phase::Pending { .. }, .. }));
    let writes =
        |replica: &Replica| replica.fresh && matches!(replica.run.map(|run| run.action), Some(Action::Write { .. }));
    let passes = (pending && !world.lease_expired) || world.replicas.iter().any(writes);
    for (may, transition) in [
        (faults_left.pauses > 0 && passes, Transition::Pause),
        (faults_left.losses > 0 && world.stored.is_some(), Transition::Lose),
        (faults_left.later_formats > 0 && world.stored.is_some(), Transition::ReplaceByLater),
        (world.later, Transition::LoseLater),
        (faults_left.restores > 0 && world.dump.is_none() && world.stored.is_some(), Transition::Dump),
        (faults_left.restores > 0 && world.dump.is_some() && world.dump != world.stored, Transition::Restore),
        (faults_left.password_changes > 0 && world.elastic.is_some(), Transition::ChangePassword),
        (setup.confirmation && world.due().is_some(), Transition::BeginConfirmation),
        (world.confirming.is_some(), Transition::EndConfirmation),
        (world.late[0].is_some(), Transition::ApplyLate(0)),
        (world.late[1].is_some(), Transition::ApplyLate(1)),
    ] {
        if may {
            transitions.push(transition);
        }
    }
}

/// Adds the transitions of one run.
fn steps(setup: &Setup, world: &World, i: usize, replica: &Replica, action: Action, transitions: &mut Vec<Transition>) {
    let faults_left = &world.faults_left;
    let writes = matches!(action, Action::Write { .. }) && replica.fresh;
    if writes {
        transitions.push(Transition::Write(i, Fate::Applied));
        if faults_left.refusals > 0 {
            transitions.push(Transition::Write(i, Fate::Refused));
        }
        if world.outranks(action) {
            transitions.push(Transition::Write(i, Fate::Outranked));
        }
        if faults_left.outages > 0 {
            transitions.push(Transition::Write(i, Fate::NotApplied));
        }
        if faults_left.unknown > 0 {
            transitions.extend([Fate::Unacknowledged, Fate::Late, Fate::Lost].map(|fate| Transition::Write(i, fate)));
        }
    } else if action != Action::Wait || replica.wakes(world) {
        transitions.push(Transition::Step(i));
    }
    let timeless = !replica.repairs && setup.request(i, replica.begun - 1).is_some_and(|it| it.as_of.is_none());
    if action == Action::Get && timeless {
        transitions.push(Transition::StepJustChanged(i));
    }
    // a change may happen just before the comparison, or just after it
    let changed = world.stored.is_some() && world.stored != replica.read;
    if matches!(action, Action::Replace { .. }) && changed && faults_left.overwrites > 0 {
        transitions.push(Transition::Overwrite(i));
    }
    if matches!(action, Action::Inspect { .. }) && faults_left.refusals > 0 {
        transitions.push(Transition::Refuse(i));
    }
    if matches!(action, Action::Inspect { .. } | Action::LogIn { .. }) && faults_left.outages > 0 {
        transitions.push(Transition::Unavailable(i));
    }
    if matches!(action, Action::Create(_) | Action::Replace { .. } | Action::Remove) && faults_left.lost_answers > 0 {
        transitions.push(Transition::LoseAnswer(i));
    }
    if faults_left.crashes > 0 {
        transitions.push(Transition::Crash(i));
        if writes {
            transitions.push(Transition::CrashWriting(i));
        }
    }
}
