//! What there is: the store, Elasticsearch, the replicas, and what may still go wrong.

use std::fmt;

use elastauth::credentials::agreement::standing::outranked;

use crate::loops::{Act, Goal, Loops, Run, Seen};
use crate::record::{Mark, Rec, Stage, rank, same};

/// The most replicas.
pub const REPLICAS: usize = 3;
/// Writes are counted up to here.
pub const MANY: u8 = 60;

/// What one caller is entitled to.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Which subject asks for the one username.
    pub owner: u8,
    /// Which roles the replica's configuration makes of the caller's groups, a bit for each.
    pub roles: u8,
    /// The age of the token; headers have none.
    pub as_of: Option<u8>,
}

/// How often things may go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// The store loses the record.
    pub losses: u8,
    /// A replica ends at any step, also while its PUT is on its way, and is started again under a new claim.
    pub crashes: u8,
    /// The outcome of a PUT stays unknown: it is applied now, later, or never.
    pub unknown: u8,
    /// Elasticsearch refuses, at the GET or at the PUT.
    pub refusals: u8,
    /// What the store once held comes back.
    pub restores: u8,
    /// The time of a claim passes while everybody stands still.
    pub pauses: u8,
    /// A person changes the user's password in Elasticsearch.
    pub meddlings: u8,
    /// Without scripting: the record changes between a replica's comparison and its SET, which overwrites the change.
    pub overwrites: u8,
}

/// What is explored.
pub struct Setup {
    /// For each replica, one after another.
    pub requests: Vec<Vec<Request>>,
    /// What may go wrong.
    pub faults: Faults,
    /// Whether compare-and-set is one step.
    pub scripting: bool,
    /// Whether ready records are tried.
    pub confirmation: bool,
    /// The configuration that each replica runs, and the one that it runs after a restart.
    pub mappings: [(u8, u8); REPLICAS],
    /// The steps of the production code.
    pub loops: Loops,
}

/// A process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on one another")]
pub struct Replica {
    /// Requests that it has begun.
    pub begun: u8,
    /// How often it was started again.
    pub restarts: u8,
    /// Its flight.
    pub run: Option<Run>,
    /// The flight is a repair, not a request.
    pub repairs: bool,
    /// What it last read or wrote.
    pub read: Option<Rec>,
    /// That claim was overdue when it was read.
    pub read_overdue: bool,
    /// That claim's time is long enough for a PUT.
    pub fresh: bool,
    /// Without scripting: it has compared, and is about to delete.
    pub deletes: bool,
}

/// The user in Elasticsearch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "see Rec")]
pub struct User {
    pub owner: u8,
    pub password: u8,
    pub mark: Mark,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on one another")]
pub struct World {
    /// Those that there are.
    pub replicas: [Replica; REPLICAS],
    /// The record in the store.
    pub stored: Option<Rec>,
    /// Its claim's time has passed.
    pub overdue: bool,
    /// What a dump of the store holds.
    pub dump: Option<Rec>,
    /// The user.
    pub elastic: Option<User>,
    /// PUTs that nobody waits for any more, and whether the password goes with them.
    pub late: [Option<(Rec, bool)>; 2],
    /// A ready record that is being tried, and whether it is right.
    pub trying: Option<(Rec, bool)>,
    /// A ready record that waits for its repair.
    pub wrong: Option<Rec>,
    /// What may still go wrong.
    pub left: Faults,
    /// Passwords that were agreed.
    pub created: u8,
    /// PUTs.
    pub writes: u8,
    /// Which (password, roles) a 2xx was heard for.
    pub acknowledged: u128,
    /// Something was applied of which nobody has heard, and which nothing but a trial finds.
    pub unheard: bool,
    /// As of that, the store, or a person in Elasticsearch, also for what was confirmed before.
    pub doubt: bool,
    /// Subjects that got a credential.
    pub served: u8,
    /// A credential was handed out too early.
    pub early: bool,
    /// A credential was handed out to another than its owner, or with less than his token's roles.
    pub unmet: bool,
    /// Older roles came after newer ones.
    pub back: bool,
    /// The order of the latest roles of which a write was acknowledged, as far as that can be held against what is there.
    pub highest: (u8, u8),
}

impl Setup {
    /// With a store that has scripting, and without faults.
    #[must_use]
    pub fn new(requests: Vec<Vec<Request>>) -> Self {
        let loops = Loops::default();
        let mappings = [(1, 1); REPLICAS];
        Self { requests, faults: Faults::default(), scripting: true, confirmation: true, mappings, loops }
    }

    /// The most PUTs: one for each change, and so many more for each thing that goes wrong. A record that is lost, say, is made
    /// anew, raised as often as before, owed by whoever was writing meanwhile, and repaired.
    #[must_use]
    pub fn bound(&self) -> u8 {
        let Faults { losses, crashes, unknown, refusals, restores, pauses, meddlings, overwrites } = self.faults;
        let wrong = losses + crashes + unknown + refusals + restores + pauses + meddlings + overwrites;
        u8::try_from(self.requests.iter().flatten().count()).unwrap() + 6 * wrong
    }

    pub(crate) fn start(&self) -> World {
        World {
            replicas: [Replica::default(); REPLICAS],
            stored: None,
            overdue: false,
            dump: None,
            elastic: None,
            late: [None; 2],
            trying: None,
            wrong: None,
            left: self.faults,
            created: 0,
            writes: 0,
            acknowledged: 0,
            unheard: false,
            doubt: false,
            served: 0,
            early: false,
            unmet: false,
            back: false,
            highest: (0, 0),
        }
    }

    /// Nothing but one record is lost, all callers are one subject, and their roles have a time. After more than that a write may be applied that was
    /// never compared with what was written meanwhile: a PUT has no condition. And roles without a time leave alone what has just
    /// changed, whatever it was.
    #[must_use]
    pub fn keeps_what_was_written(&self) -> bool {
        let one = self.requests.iter().flatten().all(|request| request.as_of.is_some() && request.owner == 0);
        one && self.faults.losses <= 1 && Faults { losses: 0, ..self.faults } == Faults::default()
    }

    /// The configuration that this replica runs.
    pub(crate) fn mapping(&self, i: usize, replica: &Replica) -> u8 {
        let (first, restarted) = self.mappings[i];
        if replica.restarts > 0 { restarted } else { first }
    }

    /// What the replica's flight is for, or would be.
    pub(crate) fn goal(&self, i: usize, replica: &Replica, n: u8) -> Option<Goal> {
        let Request { owner, roles, as_of } = self.request(i, n)?;
        Some(Goal::Obtain { owner, roles, as_of, mapping: self.mapping(i, replica) })
    }

    /// The request that the replica's flight is for, or would be.
    pub(crate) fn request(&self, i: usize, n: u8) -> Option<Request> {
        self.requests.get(i)?.get(usize::from(n)).copied()
    }
}

impl Request {
    /// Whether this record may serve it at a replica of this configuration: it has its roles, or later ones.
    pub(crate) fn is_satisfied_by(self, record: Rec, mapping: u8) -> bool {
        let Self { owner, roles, as_of } = self;
        let less = record.roles & !roles == 0;
        let met = match as_of {
            _ if record.roles == roles => true,
            None => same(record.mapping, mapping) || record.mapping > mapping,
            Some(at) if same(record.mapping, mapping) => (record.as_of, rank(record.roles)) >= (at, rank(roles)),
            Some(at) if mapping > record.mapping => at + 1 < record.as_of && less,
            Some(at) => record.as_of + 1 >= at || less,
        };
        record.owner == owner && met
    }
}

impl Replica {
    /// A process's name in records.
    pub(crate) fn holder(&self, i: usize) -> u8 {
        u8::try_from(i).unwrap() + 10 * self.restarts
    }

    /// It is told of a change, or looks again by itself.
    pub(crate) fn wakes(&self, world: &World) -> bool {
        (world.stored, world.overdue) != (self.read, self.read_overdue)
    }
}

impl World {
    /// Nobody is in the loop, and no PUT is on its way.
    #[must_use]
    pub fn quiet(&self) -> bool {
        self.late == [None; 2] && self.replicas.iter().all(|replica| replica.run.is_none())
    }

    /// Elasticsearch has what this record says.
    #[must_use]
    pub fn has(&self, record: Rec) -> bool {
        let Rec { owner, password, .. } = record;
        self.elastic == Some(User { owner, password, mark: record.mark() })
    }

    /// What the administrator sees for this owner; none when it is another's user.
    pub(crate) fn seen_by(&self, owner: u8) -> Option<Seen> {
        match self.elastic {
            None => Some(Seen::Absent),
            Some(user) if user.owner == owner => Some(Seen::Ours(Some(user.mark))),
            Some(_) => None,
        }
    }

    /// What this is to write counts for less than what stands there.
    pub(crate) fn outranks(&self, act: Act) -> bool {
        let (Act::Write { record, .. }, Some(user)) = (act, self.elastic) else { return false };
        let outranked = || outranked(&record.mark().standing(), &user.mark.standing()).is_some();
        user.owner == record.owner && user.mark != record.mark() && outranked()
    }

    /// The claim's holder does nothing about it, so that its time passes.
    pub(crate) fn abandoned(&self) -> bool {
        let Some(holder) = self.stored.and_then(Rec::holder) else { return false };
        let acts = |replica: &Replica| match replica.run.map(|run| run.act) {
            None => false,
            Some(Act::Wait) => replica.wakes(self),
            Some(_) => true,
        };
        !(0..).zip(&self.replicas).any(|(i, replica)| replica.holder(i) == holder && acts(replica))
    }

    /// The stored record that is due to be tried, and what will be found: none as long as nothing can be known.
    pub(crate) fn due(&self) -> Option<(Rec, bool)> {
        let record = self.stored?;
        let due = record.stage == Stage::Ready || (record.stage == Stage::Confirmed && self.doubt);
        let settled = self.late == [None; 2] && self.trying.is_none() && self.wrong.is_none();
        if !due || !settled {
            return None;
        }
        let logs_in = self.elastic.is_some_and(|user| user.password == record.password);
        let right = logs_in && self.elastic.is_some_and(|user| user.mark == record.mark());
        // a 401 counts only as long as the administrator sees this owner's user, or nobody
        (right || logs_in || self.seen_by(record.owner).is_some()).then_some((record, right))
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overdue = if self.overdue { " (overdue)" } else { "" };
        write!(f, "stored {:?}{overdue}; Elasticsearch {:?}; late {:?}", self.stored, self.elastic, self.late)
    }
}
