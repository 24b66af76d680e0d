//! What may happen next.

use crate::loops::Act;
use crate::record::{Rec, Stage};
use crate::world::{Replica, Setup, World};

/// What becomes of a PUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Applied, and acknowledged.
    Applied,
    /// Answered with 400.
    Refused,
    /// Not sent: where writes wait for one another, the user is looked at once more, and has roles that count for more.
    Outranked,
    /// Applied now, and nobody hears of it.
    Unheard,
    /// Applied later, whatever happens until then.
    Late,
    /// Lost.
    Never,
}

/// One thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// A request comes to this replica.
    Request(usize),
    /// This replica begins the repair.
    Repair(usize),
    /// This replica takes its next step.
    Go(usize),
    /// As `Go`, and what it reads has just changed.
    GoJustNow(usize),
    /// As `Go`, and it overwrites what it has not read.
    Overwrite(usize),
    /// Its PUT.
    Write(usize, Fate),
    /// The GET of the user says that it is to be left alone.
    Refuse(usize),
    /// It ends.
    Crash(usize),
    /// It ends while its PUT is on its way.
    CrashWriting(usize),
    /// The time of all claims passes.
    Pause,
    /// The time of a claim passes that nobody works on.
    Overdue,
    /// And then its record's life.
    Expire,
    /// The record is lost.
    Lose,
    /// A dump is taken.
    Dump,
    /// And comes back.
    Restore,
    /// A late PUT is applied.
    Land(usize),
    /// A person changes the password.
    Meddle,
    /// The settling time has passed, and the record is tried.
    Try,
    /// What came of it is known.
    Tried,
}

pub(crate) fn turns(setup: &Setup, world: &World, turns: &mut Vec<Turn>) {
    for (i, replica) in world.replicas.iter().enumerate().take(setup.requests.len()) {
        match replica.run {
            None => {
                if setup.request(i, replica.begun).is_some() {
                    turns.push(Turn::Request(i));
                }
                if world.wrong.is_some() {
                    turns.push(Turn::Repair(i));
                }
            }
            Some(run) => steps(setup, world, i, replica, run.act, turns),
        }
    }
    let left = &world.left;
    if world.abandoned() && !world.overdue {
        turns.push(Turn::Overdue);
    }
    // a pending record lives as long as a PUT of it may still be applied
    if world.abandoned() && world.overdue && world.late == [None; 2] {
        turns.push(Turn::Expire);
    }
    let pending = matches!(world.stored, Some(Rec { stage: Stage::Pending { .. }, .. }));
    let writes = |replica: &Replica| replica.fresh && matches!(replica.run.map(|run| run.act), Some(Act::Write { .. }));
    let passes = (pending && !world.overdue) || world.replicas.iter().any(writes);
    for (may, turn) in [
        (left.pauses > 0 && passes, Turn::Pause),
        (left.losses > 0 && world.stored.is_some(), Turn::Lose),
        (left.restores > 0 && world.dump.is_none() && world.stored.is_some(), Turn::Dump),
        (left.restores > 0 && world.dump.is_some() && world.dump != world.stored, Turn::Restore),
        (left.meddlings > 0 && world.elastic.is_some(), Turn::Meddle),
        (setup.confirmation && world.due().is_some(), Turn::Try),
        (world.trying.is_some(), Turn::Tried),
        (world.late[0].is_some(), Turn::Land(0)),
        (world.late[1].is_some(), Turn::Land(1)),
    ] {
        if may {
            turns.push(turn);
        }
    }
}

/// Those of one flight.
fn steps(setup: &Setup, world: &World, i: usize, replica: &Replica, act: Act, turns: &mut Vec<Turn>) {
    let left = &world.left;
    let writes = matches!(act, Act::Write { .. }) && replica.fresh;
    if writes {
        turns.push(Turn::Write(i, Fate::Applied));
        if left.refusals > 0 {
            turns.push(Turn::Write(i, Fate::Refused));
        }
        if world.outranks(act) {
            turns.push(Turn::Write(i, Fate::Outranked));
        }
        if left.unknown > 0 {
            turns.extend([Fate::Unheard, Fate::Late, Fate::Never].map(|fate| Turn::Write(i, fate)));
        }
    } else if act != Act::Wait || replica.wakes(world) {
        turns.push(Turn::Go(i));
    }
    let timeless = !replica.repairs && setup.request(i, replica.begun - 1).is_some_and(|it| it.as_of.is_none());
    if act == Act::Get && timeless {
        turns.push(Turn::GoJustNow(i));
    }
    // a change may come just before the comparison, or just after it
    let changed = world.stored.is_some() && world.stored != replica.read;
    if matches!(act, Act::Replace { .. }) && changed && left.overwrites > 0 {
        turns.push(Turn::Overwrite(i));
    }
    if matches!(act, Act::Inspect { .. }) && left.refusals > 0 {
        turns.push(Turn::Refuse(i));
    }
    if left.crashes > 0 {
        turns.push(Turn::Crash(i));
        if writes {
            turns.push(Turn::CrashWriting(i));
        }
    }
}
