//! Executes the production code one step at a time, and remembers each step.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::RwLock;

use elastauth::credentials::agreement::{
    self, Entitlement, Failure, Fresh, Life, Observation, State, WriteFailure, step,
};
use elastauth::credentials::record::LeaseHolder;
use elastauth::credentials::{DurableCopy, Refused};
use elastauth::identity::{AsOf, Millis};
use elastauth::roles::Version;

use crate::record::{Record, Stamp, owner, password, roles, version};

/// The time by every process's clock.
const NOW: Millis = 10;

/// A run's position in the protocol, and its next action.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    id: u32,
    /// The action that the replica executes next.
    pub action: Action,
    /// Whether a run that ended now could leave Elasticsearch and the store with different records.
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

/// [`agreement::Action`] in small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the production code's actions")]
pub enum Action {
    Get,
    Create(Record),
    Replace { new: Record, lease_begins: bool },
    Remove,
    Inspect { owner: u8, or_callers: bool },
    LogIn { password: u8, stamp: Stamp },
    Write { record: Record, with_password: bool },
    Wait,
    Finish(Outcome),
}

/// [`agreement::Outcome`] in small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the production code's outcomes")]
pub enum Outcome {
    Ready(Record),
    OtherOwner,
    Refused,
    Unavailable,
}

/// [`agreement::Event`] in small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are the production code's events")]
pub enum Event {
    Absent { password: u8 },
    Found { record: Record, lease_expired: bool, just_changed: bool },
    Created,
    Existed,
    Replaced(Swap),
    Removed(bool),
    Inspected(Result<Existing, Failure>),
    LoggedIn(Result<bool, Failure>),
    Written(Result<(), WriteFailure>),
    LeaseTooShort,
    Waited,
}

/// [`agreement::Inspected`] in small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "it is the production code's")]
pub enum Existing {
    Absent,
    Ours { stamp: Option<Stamp>, kept: Option<u8> },
}

/// [`agreement::Swap`] in small numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are the production code's outcomes")]
pub enum Swap {
    Yes,
    Overwrote(Record),
    Changed,
    Missing,
}

/// For what a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A request; where it has no time its roles are true now.
    #[expect(missing_docs, reason = "see Request")]
    Obtain { owner: u8, roles: u8, as_of: Option<u8>, mapping: u8 },
    /// A record that does not match Elasticsearch, and the roles that the user has there with the record's password.
    Repair(Record, Option<u8>),
}

#[derive(Default)]
struct Explored {
    runs: Vec<(State, agreement::Action)>,
    ids: HashMap<(State, agreement::Action), u32>,
    begun: HashMap<(u8, Purpose), Run>,
    steps: HashMap<(u32, Event), Run>,
}

/// Every step that was ever executed.
#[derive(Default)]
pub struct Machine(RwLock<Explored>);

impl Machine {
    /// The first step of a run of this replica.
    pub fn begin(&self, me: u8, purpose: Purpose) -> Run {
        if let Some(run) = self.0.read().unwrap().begun.get(&(me, purpose)) {
            return *run;
        }
        let holder = LeaseHolder(me.into());
        let state = match purpose {
            Purpose::Obtain { owner: subject, roles: set, as_of, mapping } => {
                let as_of = as_of.map_or(AsOf::Now, |at| AsOf::At(at.into()));
                State::new(
                    holder,
                    Entitlement { owner: owner(subject), roles: roles(set), as_of, mapping: version(mapping) },
                )
            }
            Purpose::Repair(record, in_force) => State::write_again(holder, record.record(), in_force.map(roles)),
        };
        let mut explored = self.0.write().unwrap();
        let run = explored.run(step(state, agreement::Event::Start));
        explored.begun.insert((me, purpose), run);
        run
    }

    /// The step that follows when this event is observed.
    pub fn step(&self, run: Run, event: Event) -> Run {
        if let Some(next) = self.0.read().unwrap().steps.get(&(run.id, event)) {
            return *next;
        }
        let mut explored = self.0.write().unwrap();
        let (state, _) = explored.runs[usize::try_from(run.id).unwrap()].clone();
        let next = explored.run(step(state, in_production(event)));
        explored.steps.insert((run.id, event), next);
        next
    }

    /// How many different positions in the protocol were reached.
    pub fn positions(&self) -> usize {
        self.0.read().unwrap().runs.len()
    }
}

impl Explored {
    fn run(&mut self, position: (State, agreement::Action)) -> Run {
        let (owes, action) = (position.0.owes(), in_numbers(&position.1));
        let next = u32::try_from(self.runs.len()).unwrap();
        let id = *self.ids.entry(position.clone()).or_insert(next);
        if id == next {
            self.runs.push(position);
        }
        Run { id, action, owes }
    }
}

fn in_numbers(action: &agreement::Action) -> Action {
    match action {
        agreement::Action::Get => Action::Get,
        agreement::Action::Create(record) => Action::Create(Record::of(record)),
        agreement::Action::Replace(record, life) => {
            Action::Replace { new: Record::of(record), lease_begins: *life == Life::Lease }
        }
        agreement::Action::Remove => Action::Remove,
        agreement::Action::Inspect { owner, or_callers } => {
            Action::Inspect { owner: Record::owned_by(owner), or_callers: *or_callers }
        }
        agreement::Action::LogIn { password, standing } => {
            Action::LogIn { password: password.expose().parse().unwrap(), stamp: Stamp::of(standing) }
        }
        agreement::Action::Write { record, with_password } => {
            Action::Write { record: Record::of(record), with_password: *with_password }
        }
        agreement::Action::Wait => Action::Wait,
        agreement::Action::Finish(outcome) => Action::Finish(match outcome {
            agreement::Outcome::Ready(record) => Outcome::Ready(Record::of(record)),
            agreement::Outcome::OtherOwner => Outcome::OtherOwner,
            agreement::Outcome::Refused(_) => Outcome::Refused,
            agreement::Outcome::Unavailable => Outcome::Unavailable,
        }),
    }
}

fn in_production(event: Event) -> agreement::Event {
    match event {
        Event::Absent { password: n } => agreement::Event::Absent(Fresh { password: password(n), born: NOW }),
        Event::Found { record, lease_expired, just_changed } => {
            // the version in the purpose already includes the other starts that this process knows of
            let observation = Observation { now: NOW, changed_since: just_changed, mapping: Version::default() };
            agreement::Event::Found { record: record.record(), lease_expired, observation }
        }
        Event::Created => agreement::Event::Created,
        Event::Existed => agreement::Event::Existed,
        Event::Replaced(outcome) => agreement::Event::Replaced(match outcome {
            Swap::Yes => agreement::Swap::Yes,
            Swap::Overwrote(before) => agreement::Swap::Overwrote(Some(before.record())),
            Swap::Changed => agreement::Swap::Changed,
            Swap::Missing => agreement::Swap::Missing,
        }),
        Event::Removed(removed) => agreement::Event::Removed(removed),
        Event::LoggedIn(result) => agreement::Event::LoggedIn(result),
        Event::Inspected(result) => agreement::Event::Inspected(result.map(|seen| match seen {
            Existing::Absent => agreement::Inspected::Absent,
            Existing::Ours { stamp, kept } => {
                let kept = kept.map(|n| DurableCopy { password: password(n), born: NOW });
                agreement::Inspected::Ours { standing: stamp.map(Stamp::standing), kept }
            }
        })),
        Event::Written(result) => agreement::Event::Written(result),
        Event::LeaseTooShort => agreement::Event::LeaseTooShort,
        Event::Waited => agreement::Event::Waited,
    }
}

/// The refusal of a user that Elasticsearch does not accept.
pub const REJECTED: Refused = Refused::Rejected;
