//! What comes of a turn.

use elastauth::credentials::agreement::{Failure, WriteFailure};

use crate::loops::{Act, End, Goal, Heard, REJECTED, Seen, Swapped};
use crate::record::{ROLES, Rec, Stage};
use crate::turns::{Fate, Turn};
use crate::world::{MANY, Replica, Setup, User, World};

/// No elastauth makes this password.
const OF_A_PERSON: u8 = u8::MAX;

/// How a step goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Badly {
    No,
    JustNow,
    Overwrites,
}

pub(crate) fn act(setup: &Setup, world: &World, turn: Turn) -> World {
    let mut world = world.clone();
    match turn {
        Turn::Request(i) => {
            let replica = &mut world.replicas[i];
            let goal = setup.goal(i, replica, replica.begun).unwrap();
            replica.begun += 1;
            replica.run = Some(setup.loops.begin(replica.holder(i), goal));
        }
        Turn::Repair(i) => {
            let record = world.wrong.take().unwrap();
            let replica = &mut world.replicas[i];
            replica.repairs = true;
            replica.run = Some(setup.loops.begin(replica.holder(i), Goal::Repair(record)));
        }
        Turn::Go(i) => world.go(setup, i, Badly::No),
        Turn::GoJustNow(i) => world.go(setup, i, Badly::JustNow),
        Turn::Overwrite(i) => {
            world.left.overwrites -= 1;
            world.go(setup, i, Badly::Overwrites);
        }
        Turn::Write(i, fate) => world.write(setup, i, fate),
        Turn::Refuse(i) => {
            world.left.refusals -= 1;
            world.hear(setup, i, Heard::Inspected(Err(Failure::Refused(REJECTED))));
        }
        Turn::Crash(i) => world.crash(i),
        Turn::CrashWriting(i) => {
            world.send_late(i);
            world.crash(i);
        }
        Turn::Pause => {
            world.left.pauses -= 1;
            world.overdue = world.stored.and_then(Rec::holder).is_some();
            world.time_passes();
        }
        Turn::Overdue => world.overdue = true,
        Turn::Expire => world.lose(),
        Turn::Lose => {
            world.left.losses -= 1;
            world.lose();
        }
        Turn::Dump => world.dump = world.stored,
        Turn::Restore => {
            world.left.restores -= 1;
            world.doubt = true;
            world.overdue = false;
            world.stored = world.dump.take();
        }
        Turn::Land(n) => {
            let (record, with_password) = world.late[n].take().unwrap();
            world.late.sort_by_key(Option::is_none);
            world.unheard = true;
            // nobody hears whether it was
            let _ = world.apply(record, with_password);
        }
        Turn::Meddle => {
            world.left.meddlings -= 1;
            world.doubt = true;
            if let Some(user) = &mut world.elastic {
                user.password = OF_A_PERSON;
            }
        }
        Turn::Try => {
            world.trying = world.due();
            let right = world.trying.is_some_and(|(_, right)| right);
            (world.doubt, world.unheard) = (world.doubt && !right, world.unheard && !right);
            world.time_passes();
        }
        Turn::Tried => {
            let (record, right) = world.trying.take().unwrap();
            if !right {
                world.wrong = Some(record);
            } else if world.stored == Some(record) {
                world.stored = Some(Rec { stage: Stage::Confirmed, ..record });
            }
        }
    }
    world
}

impl World {
    /// Nobody sends any more what he read before.
    fn time_passes(&mut self) {
        for replica in &mut self.replicas {
            replica.fresh = false;
        }
    }

    fn lose(&mut self) {
        (self.stored, self.overdue) = (None, false);
    }

    fn crash(&mut self, i: usize) {
        self.left.crashes -= 1;
        let replica = &mut self.replicas[i];
        self.unheard |= replica.run.is_some_and(|run| run.owes);
        let (begun, restarts) = (replica.begun, replica.restarts + 1);
        *replica = Replica { begun, restarts, ..Replica::default() };
    }

    /// Its PUT will be applied, and nobody will hear of it.
    fn send_late(&mut self, i: usize) {
        let Some(Act::Write { record, with_password }) = self.replicas[i].run.map(|run| run.act) else { return };
        self.writes = (self.writes + 1).min(MANY);
        let free = self.late.iter_mut().find(|late| late.is_none()).unwrap();
        *free = Some((record, with_password));
    }

    pub(crate) fn apply(&mut self, record: Rec, with_password: bool) -> Result<(), WriteFailure> {
        let Rec { owner, .. } = record;
        let known = self.elastic.map(|user| user.password);
        let password = if with_password { Some(record.password) } else { known };
        let password = password.ok_or(WriteFailure::Missing)?;
        self.elastic = Some(User { owner, password, mark: record.mark() });
        Ok(())
    }

    fn write(&mut self, setup: &Setup, i: usize, fate: Fate) {
        let Some(Act::Write { record, with_password }) = self.replicas[i].run.map(|run| run.act) else { return };
        if fate == Fate::Late {
            self.send_late(i);
        } else if fate != Fate::Outranked {
            self.writes = (self.writes + 1).min(MANY);
        }
        let unfinished = Err(WriteFailure::Unfinished);
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
                self.left.refusals -= 1;
                Err(WriteFailure::Refused(REJECTED))
            }
            Fate::Outranked => Err(WriteFailure::Outranked),
            Fate::Unheard => {
                self.unheard = true;
                let _ = self.apply(record, with_password);
                unfinished
            }
            Fate::Late | Fate::Never => unfinished,
        };
        if matches!(fate, Fate::Unheard | Fate::Late | Fate::Never) {
            self.left.unknown -= 1;
        }
        self.hear(setup, i, Heard::Written(result));
    }

    fn go(&mut self, setup: &Setup, i: usize, badly: Badly) {
        let Some(run) = self.replicas[i].run else { return };
        let heard = match run.act {
            Act::Get => self.get(i, badly == Badly::JustNow),
            Act::Create(new) if self.stored.is_none() => {
                self.created += 1;
                self.overdue = false;
                self.store(i, new);
                Heard::Created
            }
            Act::Create(_) => Heard::Existed,
            Act::Replace { new, claim_begins } => Heard::Replaced(self.replace(setup, i, new, claim_begins, badly)),
            Act::Remove => {
                let compared = self.stored == self.replicas[i].read;
                if compared && !setup.scripting && !self.replicas[i].deletes {
                    self.replicas[i].deletes = true;
                    return;
                }
                if compared || std::mem::take(&mut self.replicas[i].deletes) {
                    self.replicas[i].deletes = false;
                    self.lose();
                }
                Heard::Removed
            }
            Act::Inspect { owner, or_callers } => {
                let callers = || self.seen_by(self.subject(setup, i)).filter(|_| or_callers).map(|_| Seen::Ours(None));
                Heard::Inspected(self.seen_by(owner).or_else(callers).ok_or(Failure::Refused(REJECTED)))
            }
            Act::Write { .. } => Heard::Expired,
            Act::Wait => Heard::Waited,
            Act::Finish(_) => return,
        };
        self.hear(setup, i, heard);
    }

    /// For whom the flight is.
    fn subject(&self, setup: &Setup, i: usize) -> u8 {
        let replica = &self.replicas[i];
        match replica.read {
            Some(record) if replica.repairs => record.owner,
            _ => setup.request(i, replica.begun - 1).unwrap().owner,
        }
    }

    fn get(&mut self, i: usize, just_now: bool) -> Heard {
        let (stored, overdue, created) = (self.stored, self.overdue, self.created);
        let replica = &mut self.replicas[i];
        (replica.read, replica.read_overdue, replica.fresh) = (stored, overdue, !overdue);
        match stored {
            // another one for each reader
            None => Heard::Absent { password: 3 * created + u8::try_from(i).unwrap() },
            Some(record) => Heard::Found { record, overdue, just_now },
        }
    }

    fn store(&mut self, i: usize, new: Rec) {
        self.stored = Some(new);
        let overdue = self.overdue;
        let replica = &mut self.replicas[i];
        (replica.read, replica.read_overdue, replica.fresh) = (Some(new), overdue, !overdue);
    }

    fn replace(&mut self, setup: &Setup, i: usize, new: Rec, claim_begins: bool, badly: Badly) -> Swapped {
        let Some(before) = self.stored else { return Swapped::Missing };
        let outcome = match Some(before) == self.replicas[i].read {
            true => Swapped::Yes,
            false if badly == Badly::Overwrites => Swapped::Overwrote(before),
            false => return Swapped::Changed,
        };
        // only a refused change puts the roles before it back
        self.back |= outcome == Swapped::Yes && before.order() > new.order() && setup.faults.refusals == 0;
        self.overdue &= !claim_begins && !new.is_ready();
        self.store(i, new);
        outcome
    }

    fn hear(&mut self, setup: &Setup, i: usize, heard: Heard) {
        let Some(run) = self.replicas[i].run else { return };
        let run = setup.loops.step(run, heard);
        let Act::Finish(end) = run.act else {
            self.replicas[i].run = Some(run);
            return;
        };
        let replica = self.replicas[i];
        let Replica { begun, restarts, .. } = replica;
        self.replicas[i] = Replica { begun, restarts, ..Replica::default() };
        if let (End::Ready(record), false) = (end, replica.repairs) {
            let request = setup.request(i, begun - 1).unwrap();
            self.early |= self.acknowledged & bit(record) == 0;
            self.unmet |= !request.is_satisfied_by(record, setup.mapping(i, &replica));
            self.served |= 1 << record.owner;
        }
    }
}

fn bit(record: Rec) -> u128 {
    1 << (u32::from(record.password) * (1 << ROLES) + u32::from(record.roles))
}
