//! Computes the state of the world after a transition.

use elastauth::credentials::agreement::{Failure, WriteFailure};

use crate::machine::{Action, Event, Existing, Outcome, Purpose, REJECTED, Swap};
use crate::record::{Phase, ROLES, Record};
use crate::transitions::{Fate, Transition};
use crate::world::{MANY, Replica, Setup, User, World};

/// A user of which only the owner matters.
const OF_UNKNOWN_ROLES: Existing = Existing::Ours { stamp: None, kept: None };
/// A password that elastauth never generates.
const OF_A_PERSON: u8 = u8::MAX;

/// What goes wrong in a replica's step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mishap {
    No,
    JustChanged,
    Overwrites,
}

pub(crate) fn after(setup: &Setup, world: &World, transition: Transition) -> World {
    let mut world = world.clone();
    match transition {
        Transition::Request(i) => {
            let replica = &mut world.replicas[i];
            let purpose = setup.purpose(i, replica, replica.begun).unwrap();
            replica.begun += 1;
            replica.run = Some(setup.machine.begin(replica.holder(i), purpose));
        }
        Transition::Repair(i) => {
            let (record, in_force) = world.mismatched.take().unwrap();
            let replica = &mut world.replicas[i];
            replica.repairs = true;
            replica.run = Some(setup.machine.begin(replica.holder(i), Purpose::Repair(record, in_force)));
        }
        Transition::Step(i) => world.take_step(setup, i, Mishap::No),
        Transition::StepJustChanged(i) => world.take_step(setup, i, Mishap::JustChanged),
        Transition::Overwrite(i) => {
            world.faults_left.overwrites -= 1;
            world.take_step(setup, i, Mishap::Overwrites);
        }
        Transition::Write(i, fate) => world.write(setup, i, fate),
        Transition::Refuse(i) => {
            world.faults_left.refusals -= 1;
            world.deliver(setup, i, Event::Inspected(Err(Failure::Refused(REJECTED))));
        }
        Transition::Unavailable(i) => {
            world.faults_left.outages -= 1;
            let unavailable = Err(Failure::Unavailable);
            let logs_in = matches!(world.replicas[i].run.map(|run| run.action), Some(Action::LogIn { .. }));
            let event =
                if logs_in { Event::LoggedIn(Err(Failure::Unavailable)) } else { Event::Inspected(unavailable) };
            world.deliver(setup, i, event);
        }
        Transition::LoseAnswer(i) => {
            world.faults_left.lost_answers -= 1;
            world.lose_answer(setup, i);
        }
        Transition::Crash(i) => world.crash(i),
        Transition::CrashWriting(i) => {
            world.send_late(i);
            world.crash(i);
        }
        Transition::Pause => {
            world.faults_left.pauses -= 1;
            world.lease_expired = world.stored.and_then(Record::holder).is_some();
            world.time_passes();
        }
        Transition::ExpireLease => world.lease_expired = true,
        Transition::ExpireRecord | Transition::LoseLater => world.lose(),
        Transition::Lose => {
            world.faults_left.losses -= 1;
            world.lasting = false;
            world.lose();
        }
        Transition::ReplaceByLater => {
            world.faults_left.later_formats -= 1;
            (world.later, world.lasting, world.lease_expired) = (true, false, false);
        }
        Transition::Dump => world.dump = world.stored,
        Transition::Restore => {
            world.faults_left.restores -= 1;
            world.lasting = false;
            world.doubt = true;
            world.lease_expired = false;
            world.stored = world.dump.take();
        }
        Transition::ApplyLate(n) => {
            let (record, with_password) = world.late[n].take().unwrap();
            world.late.sort_by_key(Option::is_none);
            (world.unnoticed, world.landed) = (true, true);
            // no replica learns whether it was applied
            let _ = world.apply(record, with_password);
        }
        Transition::ChangePassword => {
            world.faults_left.password_changes -= 1;
            world.lasting = false;
            world.doubt = true;
            if let Some(user) = &mut world.elastic {
                user.password = OF_A_PERSON;
            }
        }
        Transition::BeginConfirmation => {
            world.confirming = world.due();
            let right = world.confirming.is_some_and(|(_, right)| right);
            (world.doubt, world.unnoticed) = (world.doubt && !right, world.unnoticed && !right);
            world.landed &= !right;
            world.time_passes();
        }
        Transition::EndConfirmation => {
            let (record, right) = world.confirming.take().unwrap();
            if !right {
                let user = world.elastic.filter(|user| user.password == record.password);
                world.mismatched = Some((record, user.map(|user| user.stamp.roles)));
            } else if world.stored == Some(record) && !world.later {
                world.stored = Some(Record { phase: Phase::Confirmed, ..record });
            }
        }
    }
    world
}

impl World {
    /// A lease that was read before is not fresh any more: no replica sends a PUT because of it.
    fn time_passes(&mut self) {
        for replica in &mut self.replicas {
            replica.fresh = false;
        }
    }

    fn lose(&mut self) {
        (self.stored, self.lease_expired, self.later) = (None, false, false);
    }

    fn crash(&mut self, i: usize) {
        self.faults_left.crashes -= 1;
        let replica = &mut self.replicas[i];
        let owes = replica.run.is_some_and(|run| run.owes);
        self.unnoticed |= owes;
        self.landed |= owes;
        let (begun, restarts) = (replica.begun, replica.restarts + 1);
        *replica = Replica { begun, restarts, ..Replica::default() };
    }

    /// The replica's PUT will be applied later, and no replica will receive its answer.
    fn send_late(&mut self, i: usize) {
        let Some(Action::Write { record, with_password }) = self.replicas[i].run.map(|run| run.action) else { return };
        self.writes = (self.writes + 1).min(MANY);
        let free = self.late.iter_mut().find(|late| late.is_none()).unwrap();
        *free = Some((record, with_password));
    }

    pub(crate) fn apply(&mut self, record: Record, with_password: bool) -> Result<(), WriteFailure> {
        let Record { owner, .. } = record;
        let known = self.elastic.map(|user| user.password);
        let password = if with_password { Some(record.password) } else { known };
        let password = password.ok_or(WriteFailure::Missing)?;
        self.elastic = Some(User { owner, password, stamp: record.stamp(), kept: record.password });
        Ok(())
    }

    fn write(&mut self, setup: &Setup, i: usize, fate: Fate) {
        let Some(Action::Write { record, with_password }) = self.replicas[i].run.map(|run| run.action) else { return };
        if fate == Fate::Late {
            self.send_late(i);
        } else if fate != Fate::Outranked {
            self.writes = (self.writes + 1).min(MANY);
        }
        let unknown = Err(WriteFailure::Unknown);
        let result = match fate {
            Fate::Applied => {
                let result = self.apply(record, with_password);
                if result.is_ok() {
                    self.acknowledged |= bit(record);
                    if setup.keeps_what_was_written() {
                        self.highest = self.highest.max((record.mapping, record.as_of));
                    }
                }
                result
            }
            Fate::Refused => {
                self.faults_left.refusals -= 1;
                Err(WriteFailure::Refused(REJECTED))
            }
            Fate::Outranked => Err(WriteFailure::Outranked),
            Fate::Unacknowledged => {
                self.unnoticed = true;
                let _ = self.apply(record, with_password);
                unknown
            }
            Fate::Late | Fate::Lost => unknown,
            Fate::NotApplied => {
                self.faults_left.outages -= 1;
                Err(WriteFailure::NotApplied)
            }
        };
        if matches!(fate, Fate::Unacknowledged | Fate::Late | Fate::Lost) {
            self.faults_left.unknown -= 1;
        }
        self.deliver(setup, i, Event::Written(result));
    }

    fn take_step(&mut self, setup: &Setup, i: usize, mishap: Mishap) {
        let Some(run) = self.replicas[i].run else { return };
        let event = match run.action {
            Action::Get if self.later => {
                // what a run owes stays unwritten when its patience ends
                (self.unnoticed, self.landed) = (self.unnoticed | run.owes, self.landed | run.owes);
                return self.end(i);
            }
            Action::Get => self.get(i, mishap == Mishap::JustChanged),
            Action::Create(new) if self.stored.is_none() => {
                self.created += 1;
                self.lease_expired = false;
                self.store(i, new);
                Event::Created
            }
            Action::Create(_) => Event::Existed,
            Action::Replace { new, lease_begins } => Event::Replaced(self.replace(setup, i, new, lease_begins, mishap)),
            Action::Remove => {
                let compared = self.stored == self.replicas[i].read && !self.later;
                if compared && !setup.scripting && !self.replicas[i].deletes {
                    self.replicas[i].deletes = true;
                    return;
                }
                let removes = compared || std::mem::take(&mut self.replicas[i].deletes);
                if removes {
                    self.replicas[i].deletes = false;
                    self.lose();
                }
                Event::Removed(removes)
            }
            Action::Inspect { owner, or_callers } => {
                let callers = || self.seen_by(self.subject(setup, i)).filter(|_| or_callers).map(|_| OF_UNKNOWN_ROLES);
                Event::Inspected(self.seen_by(owner).or_else(callers).ok_or(Failure::Refused(REJECTED)))
            }
            Action::LogIn { password, stamp } => {
                let accepted = self.elastic.is_some_and(|user| (user.password, user.stamp) == (password, stamp));
                if accepted {
                    self.acknowledged |= bit_of(password, stamp.roles);
                }
                Event::LoggedIn(Ok(accepted))
            }
            Action::Write { .. } => Event::LeaseTooShort,
            Action::Wait => Event::Waited,
            Action::Finish(_) => return,
        };
        self.deliver(setup, i, event);
    }

    /// The subject for which the run acts.
    fn subject(&self, setup: &Setup, i: usize) -> u8 {
        let replica = &self.replicas[i];
        match replica.read {
            Some(record) if replica.repairs => record.owner,
            _ => setup.request(i, replica.begun - 1).unwrap().owner,
        }
    }

    fn get(&mut self, i: usize, just_changed: bool) -> Event {
        let (stored, lease_expired, created) = (self.stored, self.lease_expired, self.created);
        let replica = &mut self.replicas[i];
        (replica.read, replica.read_lease_expired, replica.fresh) = (stored, lease_expired, !lease_expired);
        match stored {
            // each reader generates another password
            None => Event::Absent { password: 3 * created + u8::try_from(i).unwrap() },
            Some(record) => Event::Found { record, lease_expired, just_changed },
        }
    }

    fn store(&mut self, i: usize, new: Record) {
        self.stored = Some(new);
        // a run does not learn of a lease that expired before its change, until it reads again
        let replica = &mut self.replicas[i];
        (replica.read, replica.read_lease_expired, replica.fresh) = (Some(new), false, !self.lease_expired);
    }

    fn replace(&mut self, setup: &Setup, i: usize, new: Record, lease_begins: bool, mishap: Mishap) -> Swap {
        let Some(before) = self.stored else { return Swap::Missing };
        let outcome = match Some(before) == self.replicas[i].read {
            _ if self.later => return Swap::Changed,
            true => Swap::Yes,
            false if mishap == Mishap::Overwrites => Swap::Overwrote(before),
            false => return Swap::Changed,
        };
        // only a refused change puts the former roles back; the same roles may get the time of the user's stamp
        let earlier = before.roles != new.roles && before.order() > new.order();
        self.back |= outcome == Swap::Yes && earlier && setup.faults.refusals == 0;
        let failed = matches!(new.phase, Phase::Pending { failed: true, .. });
        self.lease_expired = failed || (self.lease_expired && !lease_begins && !new.is_ready());
        self.lasting |= new.is_ready();
        self.store(i, new);
        outcome
    }

    /// The change is made. A run that owes a write reads again, and any other ends without an answer.
    fn lose_answer(&mut self, setup: &Setup, i: usize) {
        let Some(run) = self.replicas[i].run else { return };
        self.take_step(setup, i, Mishap::No);
        if run.owes {
            self.replicas[i].run = Some(setup.machine.step(run, Event::Waited));
        } else {
            self.end(i);
        }
    }

    /// The run ends.
    fn end(&mut self, i: usize) {
        let Replica { begun, restarts, .. } = self.replicas[i];
        self.replicas[i] = Replica { begun, restarts, ..Replica::default() };
    }

    fn deliver(&mut self, setup: &Setup, i: usize, event: Event) {
        let Some(run) = self.replicas[i].run else { return };
        let run = setup.machine.step(run, event);
        let Action::Finish(end) = run.action else {
            self.replicas[i].run = Some(run);
            return;
        };
        let replica = self.replicas[i];
        let begun = replica.begun;
        self.end(i);
        if let (Outcome::Ready(record), false) = (end, replica.repairs) {
            let request = setup.request(i, begun - 1).unwrap();
            self.early |= self.acknowledged & bit(record) == 0;
            self.unsatisfied |= !request.is_satisfied_by(record, setup.mapping(i, &replica));
            self.served |= 1 << record.owner;
        }
    }
}

fn bit(record: Record) -> u128 {
    bit_of(record.password, record.roles)
}

fn bit_of(password: u8, roles: u8) -> u128 {
    1 << (u32::from(password) * (1 << ROLES) + u32::from(roles))
}
