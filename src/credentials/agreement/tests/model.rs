//! The production code of the loop under the model checker `stateright`: every interleaving of two replicas with two
//! different tokens of one user.

use std::sync::Arc;

use stateright::{Checker, Model, Property};

use crate::credentials::agreement::*;
use crate::identity::Owner;
use crate::roles::Roles;

/// What may go wrong, and how often.
#[derive(Clone, Copy)]
struct Faults {
    losses: u8,
    crashes: u8,
    unknown_writes: u8,
    /// An older ready record comes back, as after a fail-over.
    rollbacks: u8,
    /// How often a ready record is tried once everything has settled.
    confirmations: u8,
    scripting: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Replica {
    requests: u8,
    running: Option<(State, Action)>,
    read: Option<Record>,
    /// A ready record that is being tried, and whether Elasticsearch has it.
    trying: Option<(Record, bool)>,
    repairing: bool,
    /// The repair has written the password. One that finds another record leaves it to that record's confirmation.
    rewrote: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    replicas: Vec<Replica>,
    stored: Option<Record>,
    elastic: Option<(Password, Roles)>,
    acknowledged: Vec<Password>,
    late: Vec<(Record, bool)>,
    writes: u8,
    passwords: u8,
    losses: u8,
    crashes: u8,
    unknown: u8,
    confirmations: u8,
    rollbacks: u8,
    /// The ready record before the present one.
    older: Option<Record>,
    /// What the store says was not tried since an older record came back.
    rolled_back: bool,
    /// A repair has just ended, and nothing else has begun.
    repaired: bool,
    used_early: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Turn {
    Request(usize),
    Go(usize),
    /// As `Go`, and another's claim counts as overdue, or a write's outcome stays unknown.
    GoBadly(usize),
    Crash(usize),
    Try(usize),
    Tried(usize),
    Lose,
    Land,
    RollBack,
}

impl Model for Faults {
    type State = World;
    type Action = Turn;

    fn init_states(&self) -> Vec<World> {
        let replica =
            Replica { requests: 2, running: None, read: None, trying: None, repairing: false, rewrote: false };
        vec![World {
            replicas: vec![replica.clone(), replica],
            stored: None,
            elastic: None,
            acknowledged: Vec::new(),
            late: Vec::new(),
            writes: 0,
            passwords: 0,
            losses: self.losses,
            crashes: self.crashes,
            unknown: self.unknown_writes,
            confirmations: self.confirmations,
            rollbacks: self.rollbacks,
            older: None,
            rolled_back: false,
            repaired: false,
            used_early: false,
        }]
    }

    fn actions(&self, world: &World, turns: &mut Vec<Turn>) {
        for (i, replica) in world.replicas.iter().enumerate() {
            if replica.trying.is_some() {
                turns.push(Turn::Tried(i));
                continue;
            }
            // the settling time: what is on its way has landed, and nobody still sends what was read before it
            let sending =
                |replica: &Replica| matches!(replica.running, Some((_, Action::Inspect | Action::Write { .. })));
            let settled = world.confirmations > 0 && world.late.is_empty() && !world.replicas.iter().any(sending);
            let due = |phase| phase == Phase::Ready || (phase == Phase::Confirmed && world.rolled_back);
            if replica.running.is_none() && settled && world.stored.as_ref().is_some_and(|r| due(r.phase)) {
                turns.push(Turn::Try(i));
            }
            match &replica.running {
                None if replica.requests > 0 => turns.push(Turn::Request(i)),
                None => {}
                Some((_, action)) => {
                    turns.push(Turn::Go(i));
                    let badly = match action {
                        Action::Get => world.abandoned(),
                        Action::Write { .. } => world.unknown > 0,
                        _ => false,
                    };
                    if badly {
                        turns.push(Turn::GoBadly(i));
                    }
                    if world.crashes > 0 {
                        turns.push(Turn::Crash(i));
                    }
                }
            }
        }
        if world.losses > 0 && world.stored.is_some() {
            turns.push(Turn::Lose);
        }
        if !world.late.is_empty() {
            turns.push(Turn::Land);
        }
        if world.rollbacks > 0 && world.older.is_some() && world.older != world.stored {
            turns.push(Turn::RollBack);
        }
    }

    fn next_state(&self, world: &World, turn: Turn) -> Option<World> {
        let mut world = world.clone();
        world.repaired = false;
        match turn {
            Turn::Try(i) => {
                let record = world.stored.clone()?;
                world.confirmations -= 1;
                let right = world.elastic == Some((record.password.clone(), record.roles.clone()));
                world.rolled_back = false;
                world.replicas[i].trying = Some((record, right));
            }
            Turn::Tried(i) => {
                let (record, right) = world.replicas[i].trying.take()?;
                if !right {
                    let me = Claim(u128::try_from(i).unwrap());
                    world.replicas[i].repairing = true;
                    world.replicas[i].running = Some(step(State::repair(me, record), Event::Start));
                } else if world.stored.as_ref() == Some(&record) {
                    world.stored = Some(record.in_phase(Phase::Confirmed));
                }
            }
            Turn::RollBack => {
                world.rollbacks -= 1;
                world.rolled_back = true;
                world.stored = world.older.take();
            }
            Turn::Request(i) => {
                let replica = &mut world.replicas[i];
                replica.requests -= 1;
                // each replica sees a token of its own age, with its own roles; the second request is the newer one
                let age = u64::try_from(i).unwrap() + 2 * u64::from(1 - replica.requests);
                let want = Want { owner: owner(), roles: Roles::new([format!("r{age}")]), as_of: AsOf::At(age) };
                let me = Claim(u128::try_from(i).unwrap());
                replica.running = Some(step(State::new(me, want), Event::Start));
            }
            Turn::Go(i) => world.go(i, false, self.scripting),
            Turn::GoBadly(i) => world.go(i, true, self.scripting),
            Turn::Crash(i) => {
                world.crashes -= 1;
                world.replicas[i].running = None;
                world.replicas[i].repairing = false;
                world.replicas[i].rewrote = false;
            }
            Turn::Lose => {
                world.losses -= 1;
                world.stored = None;
            }
            Turn::Land => {
                let (record, with_password) = world.late.remove(0);
                let _ = world.apply(&record, with_password);
            }
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no credential before its write was acknowledged", |_, w: &World| !w.used_early),
            Property::always("writes are bounded", |f: &Faults, w: &World| {
                // without scripting replicas may overwrite each other for as long as their steps interleave badly
                !f.scripting
                    || w.writes <= 8 + 4 * (f.losses + f.crashes + f.unknown_writes + f.rollbacks + f.confirmations)
            }),
            Property::always(
                "when nobody is in the loop, Elasticsearch has what the store says",
                |f: &Faults, w: &World| {
                    // what is only ready is confirmed later
                    let trusted =
                        |phase: Phase| if f.confirmations > 0 { phase == Phase::Confirmed } else { phase.is_ready() };
                    let found = w.stored.as_ref().filter(|record| trusted(record.phase));
                    !w.quiet() || w.rolled_back || found.is_none_or(|record| w.has(record))
                },
            ),
            // or the other properties would say nothing about repairs
            Property::sometimes("a repair ends", |f: &Faults, w: &World| f.confirmations == 0 || w.repaired),
            Property::always("what was repaired is right", |_, w: &World| {
                let found = w.stored.as_ref().filter(|record| record.phase.is_ready());
                !w.repaired || !w.quiet() || found.is_none_or(|record| w.has(record))
            }),
        ]
    }
}

fn owner() -> Owner {
    Owner { issuer: Arc::from("i"), subject: Arc::from("s") }
}

impl World {
    fn quiet(&self) -> bool {
        let idle = |replica: &Replica| replica.running.is_none() && replica.trying.is_none();
        self.late.is_empty() && self.replicas.iter().all(idle)
    }

    fn has(&self, record: &Record) -> bool {
        self.elastic == Some((record.password.clone(), record.roles.clone()))
    }

    /// A claim ages only when its holder is gone: live ones are never taken.
    fn abandoned(&self) -> bool {
        let Some(Phase::Pending { claim, .. }) = self.stored.as_ref().map(|record| record.phase) else { return false };
        usize::try_from(claim.0).is_ok_and(|holder| self.replicas[holder].running.is_none())
    }

    fn fresh(&mut self) -> Fresh {
        self.passwords += 1;
        Fresh { password: Password::known(format!("p{}", self.passwords)), born: 0 }
    }

    fn apply(&mut self, record: &Record, with_password: bool) -> Result<(), WriteFailure> {
        let password = match &self.elastic {
            _ if with_password => record.password.clone(),
            Some((password, _)) => password.clone(),
            None => return Err(WriteFailure::Missing),
        };
        self.elastic = Some((password, record.roles.clone()));
        Ok(())
    }

    fn go(&mut self, i: usize, badly: bool, scripting: bool) {
        let Some((state, action)) = self.replicas[i].running.take() else { return };
        let event = match action {
            Action::Get => {
                self.replicas[i].read.clone_from(&self.stored);
                match self.stored.clone() {
                    None => Event::Absent(self.fresh()),
                    Some(record) => {
                        Event::Found { record, overdue: badly, sight: Sight { now: 0, changed_just_now: false } }
                    }
                }
            }
            Action::Create(record) => {
                if self.stored.is_some() {
                    Event::Existed
                } else {
                    self.stored = Some(record.clone());
                    self.replicas[i].read = Some(record);
                    Event::Created
                }
            }
            Action::Replace(record, _) => {
                let outcome = match &self.stored {
                    None => Replaced::Missing,
                    found if *found == self.replicas[i].read => Replaced::Yes,
                    Some(_) if scripting => Replaced::Changed,
                    Some(_) => Replaced::Overwrote,
                };
                if matches!(outcome, Replaced::Yes | Replaced::Overwrote) {
                    if let Some(before) =
                        self.stored.take().filter(|before| self.rollbacks > 0 && before.phase.is_ready())
                    {
                        self.older = Some(before);
                    }
                    self.stored = Some(record.clone());
                    self.replicas[i].read = Some(record);
                }
                Event::Replaced(outcome)
            }
            Action::Remove => {
                if self.stored == self.replicas[i].read {
                    self.stored = None;
                }
                Event::Removed
            }
            Action::Inspect => {
                let existing = if self.elastic.is_some() { Existing::Ours } else { Existing::Absent };
                Event::Inspected(Ok(existing))
            }
            Action::Write { record, with_password } => {
                self.writes = (self.writes + 1).min(40);
                self.replicas[i].rewrote = self.replicas[i].repairing && with_password;
                if badly {
                    self.unknown -= 1;
                    self.late.push((record, with_password));
                    Event::Written(Err(WriteFailure::Unfinished))
                } else {
                    let result = self.apply(&record, with_password);
                    if result.is_ok() {
                        self.acknowledged.push(record.password);
                        self.acknowledged.sort_by(|a, b| a.expose().cmp(b.expose()));
                        self.acknowledged.dedup();
                    }
                    Event::Written(result)
                }
            }
            Action::Wait => Event::Waited,
            Action::Finish(_) => return,
        };
        let (state, action) = step(state, event);
        if let Action::Finish(outcome) = &action {
            if let Outcome::Ready(record) = outcome {
                self.used_early |= !self.acknowledged.contains(&record.password);
            }
            self.replicas[i].read = None;
            self.repaired = std::mem::take(&mut self.replicas[i].rewrote) && matches!(outcome, Outcome::Ready(_));
            self.replicas[i].repairing = false;
            return;
        }
        self.replicas[i].running = Some((state, action));
    }
}

fn check(name: &str, faults: Faults) -> impl Checker<Faults> {
    let checker = faults.checker().threads(2).spawn_bfs().join();
    println!("{name}: {} states", checker.unique_state_count());
    checker
}

const NONE: Faults =
    Faults { losses: 0, crashes: 0, unknown_writes: 0, rollbacks: 0, confirmations: 0, scripting: true };

#[test]
fn two_replicas_agree_whatever_the_interleaving() {
    check("no faults", NONE).assert_properties();
}

#[test]
fn two_replicas_agree_when_the_record_is_lost_at_any_moment() {
    check("a loss", Faults { losses: 1, ..NONE }).assert_properties();
}

#[test]
fn two_replicas_agree_when_one_crashes_at_any_moment() {
    check("a crash", Faults { crashes: 1, ..NONE }).assert_properties();
}

#[test]
fn two_replicas_agree_over_a_store_without_scripting() {
    check("no scripting", Faults { scripting: false, ..NONE }).assert_properties();
}

#[test]
fn without_confirmation_a_write_that_lands_late_is_not_noticed() {
    // what the confirmation of ready records is for; no credential is ever handed out early all the same
    let checker = check("a late write", Faults { unknown_writes: 1, ..NONE });
    checker.assert_any_discovery("when nobody is in the loop, Elasticsearch has what the store says");
    checker.assert_no_discovery("no credential before its write was acknowledged");
    checker.assert_no_discovery("writes are bounded");
}

#[test]
fn with_confirmation_a_write_that_lands_late_is_found_and_repaired() {
    check("a late write, confirmed", Faults { unknown_writes: 1, confirmations: 1, ..NONE }).assert_properties();
}

#[test]
fn with_confirmation_a_record_that_came_back_is_found_and_repaired() {
    check("a roll-back, confirmed", Faults { rollbacks: 1, confirmations: 1, ..NONE }).assert_properties();
}

#[test]
fn with_confirmation_a_late_write_and_a_crash_together_are_repaired() {
    let faults = Faults { unknown_writes: 1, crashes: 1, confirmations: 1, ..NONE };
    check("a late write and a crash, confirmed", faults).assert_properties();
}

#[test]
fn with_confirmation_a_late_write_and_a_loss_together_are_repaired() {
    let faults = Faults { unknown_writes: 1, losses: 1, confirmations: 1, ..NONE };
    check("a late write and a loss, confirmed", faults).assert_properties();
}
