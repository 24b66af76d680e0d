//! The production code, one step at a time, each step remembered.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::RwLock;

use elastauth::credentials::agreement::{
    Action, Entitlement, Event, Failure, Fresh, Life, Observation, Outcome, State, Swap, WriteFailure, step,
};
use elastauth::credentials::record::LeaseHolder;
use elastauth::credentials::{Existing, Refused};
use elastauth::identity::{AsOf, Millis};
use elastauth::roles::Version;

use crate::record::{Mark, Rec, owner, password, roles, version};

/// By every process's clock.
const NOW: Millis = 10;

/// A flight's position in the loop, and what it is to do next.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    id: u32,
    /// What is next.
    pub act: Act,
    /// Ending now would leave Elasticsearch with something else than the store says.
    pub owes: bool,
}

impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Run {}

impl Hash for Run {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.id.hash(hasher);
    }
}

/// [`Action`]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the production code's actions")]
pub enum Act {
    Get,
    Create(Rec),
    Replace { new: Rec, claim_begins: bool },
    Remove,
    Inspect { owner: u8, or_callers: bool },
    Write { record: Rec, with_password: bool },
    Wait,
    Finish(End),
}

/// [`Outcome`]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the production code's outcomes")]
pub enum End {
    Ready(Rec),
    OtherOwner,
    Refused,
    Unavailable,
}

/// [`Event`]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are the production code's events")]
pub enum Heard {
    Absent { password: u8 },
    Found { record: Rec, overdue: bool, just_now: bool },
    Created,
    Existed,
    Replaced(Swapped),
    Removed,
    Inspected(Result<Seen, Failure>),
    Written(Result<(), WriteFailure>),
    Expired,
    Waited,
}

/// [`Existing`]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "it is the production code's")]
pub enum Seen {
    Absent,
    Ours(Option<Mark>),
}

/// [`Swap`]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are the production code's outcomes")]
pub enum Swapped {
    Yes,
    Overwrote(Rec),
    Changed,
    Missing,
}

/// How a flight begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Goal {
    /// A request; without a time its roles are true now.
    #[expect(missing_docs, reason = "see Request")]
    Obtain { owner: u8, roles: u8, as_of: Option<u8>, mapping: u8 },
    /// A record that Elasticsearch does not have.
    Repair(Rec),
}

#[derive(Default)]
struct Known {
    runs: Vec<(State, Action)>,
    ids: HashMap<(State, Action), u32>,
    begun: HashMap<(u8, Goal), Run>,
    steps: HashMap<(u32, Heard), Run>,
}

/// Every step that was ever taken.
#[derive(Default)]
pub struct Loops(RwLock<Known>);

impl Loops {
    /// The first step of a flight of this process.
    pub fn begin(&self, me: u8, goal: Goal) -> Run {
        if let Some(run) = self.0.read().unwrap().begun.get(&(me, goal)) {
            return *run;
        }
        let holder = LeaseHolder(me.into());
        let state = match goal {
            Goal::Obtain { owner: who, roles: which, as_of, mapping } => {
                let as_of = as_of.map_or(AsOf::Now, |at| AsOf::At(at.into()));
                State::new(
                    holder,
                    Entitlement { owner: owner(who), roles: roles(which), as_of, mapping: version(mapping) },
                )
            }
            Goal::Repair(record) => State::repair(holder, record.record()),
        };
        let mut known = self.0.write().unwrap();
        let run = known.run(step(state, Event::Start));
        known.begun.insert((me, goal), run);
        run
    }

    /// One step.
    pub fn step(&self, run: Run, heard: Heard) -> Run {
        if let Some(next) = self.0.read().unwrap().steps.get(&(run.id, heard)) {
            return *next;
        }
        let mut known = self.0.write().unwrap();
        let (state, _) = known.runs[usize::try_from(run.id).unwrap()].clone();
        let next = known.run(step(state, event(heard)));
        known.steps.insert((run.id, heard), next);
        next
    }

    /// How many different positions in the loop were seen.
    pub fn positions(&self) -> usize {
        self.0.read().unwrap().runs.len()
    }
}

impl Known {
    fn run(&mut self, position: (State, Action)) -> Run {
        let (owes, act) = (position.0.owes(), act(&position.1));
        let next = u32::try_from(self.runs.len()).unwrap();
        let id = *self.ids.entry(position.clone()).or_insert(next);
        if id == next {
            self.runs.push(position);
        }
        Run { id, act, owes }
    }
}

fn act(action: &Action) -> Act {
    match action {
        Action::Get => Act::Get,
        Action::Create(record) => Act::Create(Rec::of(record)),
        Action::Replace(record, life) => Act::Replace { new: Rec::of(record), claim_begins: *life == Life::Lease },
        Action::Remove => Act::Remove,
        Action::Inspect { owner, or_callers } => Act::Inspect { owner: Rec::owned_by(owner), or_callers: *or_callers },
        Action::Write { record, with_password } => {
            Act::Write { record: Rec::of(record), with_password: *with_password }
        }
        Action::Wait => Act::Wait,
        Action::Finish(outcome) => Act::Finish(match outcome {
            Outcome::Ready(record) => End::Ready(Rec::of(record)),
            Outcome::OtherOwner => End::OtherOwner,
            Outcome::Refused(_) => End::Refused,
            Outcome::Unavailable => End::Unavailable,
        }),
    }
}

fn event(heard: Heard) -> Event {
    match heard {
        Heard::Absent { password: n } => Event::Absent(Fresh { password: password(n), born: NOW }),
        Heard::Found { record, overdue, just_now } => {
            // what this process has heard of other starts is what its goal says
            let observation = Observation { now: NOW, changed_since: just_now, mapping: Version::default() };
            Event::Found { record: record.record(), lease_expired: overdue, observation }
        }
        Heard::Created => Event::Created,
        Heard::Existed => Event::Existed,
        Heard::Replaced(outcome) => Event::Replaced(match outcome {
            Swapped::Yes => Swap::Yes,
            Swapped::Overwrote(before) => Swap::Overwrote(Some(before.record())),
            Swapped::Changed => Swap::Changed,
            Swapped::Missing => Swap::Missing,
        }),
        Heard::Removed => Event::Removed,
        Heard::Inspected(result) => Event::Inspected(result.map(|seen| match seen {
            Seen::Absent => Existing::Absent,
            Seen::Ours(mark) => Existing::Ours(mark.map(Mark::standing)),
        })),
        Heard::Written(result) => Event::Written(result),
        Heard::Expired => Event::LeaseTooShort,
        Heard::Waited => Event::Waited,
    }
}

/// A user that Elasticsearch refuses to write.
pub const REJECTED: Refused = Refused::Rejected;
