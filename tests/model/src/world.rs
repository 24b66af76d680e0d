//! The state of the world: the store, Elasticsearch, the replicas, and the faults that may still happen.

use std::fmt;

use elastauth::credentials::agreement::standing::outranked;

use crate::machine::{Action, Existing, Machine, Purpose, Run};
use crate::record::{Phase, Record, Stamp, rank, same};

/// The largest number of replicas.
pub const REPLICAS: usize = 3;
/// The number up to which writes are counted.
pub const MANY: u8 = 60;

/// The roles to which one caller is entitled.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The subject that uses the one username.
    pub owner: u8,
    /// The roles to which the replica's configuration maps the caller's groups, a bit for each.
    pub roles: u8,
    /// The age of the token; none where headers name the caller.
    pub as_of: Option<u8>,
}

/// How often each fault may happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// The store loses the record.
    pub losses: u8,
    /// The process of a replica ends at any step, also while its PUT is on its way, and is started again as another lease holder.
    pub crashes: u8,
    /// The outcome of a PUT stays unknown: it is applied now, later, or never.
    pub unknown: u8,
    /// Elasticsearch refuses, at the GET or at the PUT.
    pub refusals: u8,
    /// A former record comes back to the store.
    pub restores: u8,
    /// A lease expires while no replica acts.
    pub pauses: u8,
    /// A person changes the user's password in Elasticsearch.
    pub password_changes: u8,
    /// Elasticsearch does not answer, at the GET, at the login or at the PUT, which is then not applied.
    pub outages: u8,
    /// A change in the store is made, and its answer is lost.
    pub lost_answers: u8,
    /// A replica of a later release replaces the record by one that this release must not read, until it is lost.
    pub later_formats: u8,
    /// Without scripting: the record changes between a replica's comparison and its SET, which overwrites the change.
    pub overwrites: u8,
}

/// One case to explore.
pub struct Setup {
    /// The requests of each replica, one after another.
    pub requests: Vec<Vec<Request>>,
    /// The faults that may happen.
    pub faults: Faults,
    /// Whether compare-and-set is one step.
    pub scripting: bool,
    /// Whether ready records are confirmed.
    pub confirmation: bool,
    /// The configuration that each replica runs, and the one that it runs after a restart.
    pub mappings: [(u8, u8); REPLICAS],
    /// The production code, step by step.
    pub machine: Machine,
}

/// One process of elastauth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on one another")]
pub struct Replica {
    /// How many requests it has begun.
    pub begun: u8,
    /// How often it was started again.
    pub restarts: u8,
    /// The run that is under way.
    pub run: Option<Run>,
    /// Whether the run is a repair, not a request.
    pub repairs: bool,
    /// The record that it last read or wrote.
    pub read: Option<Record>,
    /// Whether the lease of that record had expired when it was read.
    pub read_lease_expired: bool,
    /// Whether the rest of that record's lease is long enough for a PUT.
    pub fresh: bool,
    /// Without scripting: whether it has compared, and is about to delete.
    pub deletes: bool,
}

/// The user in Elasticsearch, if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "see Record")]
pub struct User {
    pub owner: u8,
    pub password: u8,
    pub stamp: Stamp,
    /// The password that is kept, sealed, beside the stamp.
    pub kept: u8,
}

/// Everything that distinguishes one state from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on one another")]
pub struct World {
    /// The replicas; those beyond the setup's never act.
    pub replicas: [Replica; REPLICAS],
    /// The record in the store.
    pub stored: Option<Record>,
    /// Whether the lease of the stored record has expired.
    pub lease_expired: bool,
    /// Whether the stored record is in a format of a later release.
    pub later: bool,
    /// The record in a dump of the store.
    pub dump: Option<Record>,
    /// The user in Elasticsearch.
    pub elastic: Option<User>,
    /// PUTs of senders that have given up, and whether each writes the password.
    pub late: [Option<(Record, bool)>; 2],
    /// A ready record that is being confirmed, and whether it matches Elasticsearch.
    pub confirming: Option<(Record, bool)>,
    /// A ready record that does not match Elasticsearch and waits for its repair, and the roles that the user has there with its
    /// password.
    pub mismatched: Option<(Record, Option<u8>)>,
    /// The faults that may still happen.
    pub faults_left: Faults,
    /// How many passwords were agreed.
    pub created: u8,
    /// How many PUTs were sent, up to [`MANY`].
    pub writes: u8,
    /// The pairs of password and roles for which a 2xx was received.
    pub acknowledged: u128,
    /// Whether a write was applied without an acknowledgement that anything received: only a confirmation finds it.
    pub unnoticed: bool,
    /// The same after a change in the store, or by a person in Elasticsearch, also of what was confirmed before.
    pub doubt: bool,
    /// Whether a record became ready, and since then none was lost or restored, and no person changed the password.
    pub lasting: bool,
    /// Whether a late PUT was applied, or a replica with a debt ended, since the last confirmation.
    pub landed: bool,
    /// The subjects that got a credential, a bit for each.
    pub served: u8,
    /// Whether a credential was handed out too early.
    pub early: bool,
    /// Whether a credential was handed out to another subject than its owner, or with fewer roles than the token's.
    pub unsatisfied: bool,
    /// Whether older roles replaced newer ones.
    pub back: bool,
    /// The order of the latest roles of an acknowledged write, where [`Setup::keeps_what_was_written`].
    pub highest: (u8, u8),
}

impl Setup {
    /// A setup with scripting, with confirmation, and without faults.
    #[must_use]
    pub fn new(requests: Vec<Vec<Request>>) -> Self {
        let machine = Machine::default();
        let mappings = [(1, 1); REPLICAS];
        Self { requests, faults: Faults::default(), scripting: true, confirmation: true, mappings, machine }
    }

    /// The most PUTs: one for each change, and several more for each fault. A record that is lost, for example, is created
    /// anew, raised as often as before, owed by each replica that was writing meanwhile, and repaired.
    #[must_use]
    pub fn bound(&self) -> u8 {
        let Faults { losses, crashes, unknown, refusals, restores, pauses, password_changes, .. } = self.faults;
        let Faults { outages, lost_answers, later_formats, overwrites, .. } = self.faults;
        let of_the_store = losses + restores + lost_answers + later_formats + overwrites;
        let faults = of_the_store + crashes + unknown + refusals + pauses + password_changes + outages;
        u8::try_from(self.requests.iter().flatten().count()).unwrap() + 6 * faults
    }

    pub(crate) fn start(&self) -> World {
        World {
            replicas: [Replica::default(); REPLICAS],
            stored: None,
            lease_expired: false,
            later: false,
            dump: None,
            elastic: None,
            late: [None; 2],
            confirming: None,
            mismatched: None,
            faults_left: self.faults,
            created: 0,
            writes: 0,
            acknowledged: 0,
            unnoticed: false,
            doubt: false,
            lasting: false,
            landed: false,
            served: 0,
            early: false,
            unsatisfied: false,
            back: false,
            highest: (0, 0),
        }
    }

    /// Whether at most one record is lost and nothing else goes wrong, all callers are one subject, and their roles have a
    /// time. Otherwise a write may be applied that was never compared with what was written meanwhile: a PUT has no condition.
    /// And roles without a time do not replace roles that have just changed, whichever those are.
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

    /// The purpose of the replica's run, or of its next one.
    pub(crate) fn purpose(&self, i: usize, replica: &Replica, n: u8) -> Option<Purpose> {
        let Request { owner, roles, as_of } = self.request(i, n)?;
        Some(Purpose::Obtain { owner, roles, as_of, mapping: self.mapping(i, replica) })
    }

    /// The request that the replica's run serves, or would serve.
    pub(crate) fn request(&self, i: usize, n: u8) -> Option<Request> {
        self.requests.get(i)?.get(usize::from(n)).copied()
    }
}

impl Request {
    /// Whether this record may serve the request at a replica of this configuration: it has its roles, or later ones.
    pub(crate) fn is_satisfied_by(self, record: Record, mapping: u8) -> bool {
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
    /// The number of the process as a lease holder.
    pub(crate) fn holder(&self, i: usize) -> u8 {
        u8::try_from(i).unwrap() + 10 * self.restarts
    }

    /// Whether the waiting replica is notified of a change, or reads again by itself.
    pub(crate) fn wakes(&self, world: &World) -> bool {
        (world.stored, world.lease_expired) != (self.read, self.read_lease_expired) || world.later
    }
}

impl World {
    /// Whether no run is under way, and no PUT is on its way.
    #[must_use]
    pub fn quiet(&self) -> bool {
        self.late == [None; 2] && self.replicas.iter().all(|replica| replica.run.is_none())
    }

    /// Whether Elasticsearch has this record's user, password and stamp.
    #[must_use]
    pub fn has(&self, record: Record) -> bool {
        self.elastic.is_some_and(|user| {
            (user.owner, user.password, user.stamp) == (record.owner, record.password, record.stamp())
        })
    }

    /// The user as the administrator sees it for this owner; none when it is another subject's.
    pub(crate) fn seen_by(&self, owner: u8) -> Option<Existing> {
        match self.elastic {
            None => Some(Existing::Absent),
            Some(user) if user.owner == owner => {
                Some(Existing::Ours { stamp: Some(user.stamp), kept: Some(user.kept) })
            }
            Some(_) => None,
        }
    }

    /// Whether the user's stamp prevails over the record that this action is to write.
    pub(crate) fn outranks(&self, action: Action) -> bool {
        let (Action::Write { record, .. }, Some(user)) = (action, self.elastic) else { return false };
        let outranked = || outranked(&record.stamp().standing(), &user.stamp.standing()).is_some();
        user.owner == record.owner && user.stamp != record.stamp() && outranked()
    }

    /// Whether the lease's holder does nothing about it, so that the lease expires.
    pub(crate) fn abandoned(&self) -> bool {
        let Some(holder) = self.stored.and_then(Record::holder) else { return false };
        let acts = |replica: &Replica| match replica.run.map(|run| run.action) {
            None => false,
            Some(Action::Wait) => replica.wakes(self),
            Some(_) => true,
        };
        !(0..).zip(&self.replicas).any(|(i, replica)| replica.holder(i) == holder && acts(replica))
    }

    /// The stored record that is to be confirmed, and the result; none as long as there can be no result.
    pub(crate) fn due(&self) -> Option<(Record, bool)> {
        let record = self.stored.filter(|_| !self.later)?;
        let due = record.phase == Phase::Ready || (record.phase == Phase::Confirmed && self.doubt);
        let settled = self.late == [None; 2] && self.confirming.is_none() && self.mismatched.is_none();
        if !due || !settled {
            return None;
        }
        let logs_in = self.elastic.is_some_and(|user| user.password == record.password);
        let right = logs_in && self.elastic.is_some_and(|user| user.stamp == record.stamp());
        // a 401 means something only as long as the administrator sees this owner's user, or no user
        (right || logs_in || self.seen_by(record.owner).is_some()).then_some((record, right))
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lease_expired = if self.lease_expired { " (lease expired)" } else { "" };
        write!(f, "stored {:?}{lease_expired}; Elasticsearch {:?}; late {:?}", self.stored, self.elastic, self.late)
    }
}
