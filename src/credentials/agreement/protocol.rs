//! The vocabulary between the state machine and its driver: actions that the driver executes, and events that it answers with.

use super::entitlement::Observation;
use super::standing::Standing;
use crate::credentials::record::Record;
use crate::credentials::{DurableCopy, Password, Refused};
use crate::identity::{Millis, Owner};

/// What the driver is to do next. Each compare-and-set is against what this run last read or wrote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the store; answer with `Absent`, `Broken` or `Found`.
    Get,
    /// Set if absent; answer with `Created` or `Existed`.
    Create(Record),
    /// Compare and set; answer with `Replaced`.
    Replace(Record, Life),
    /// Compare and delete; answer with `Removed`.
    Remove,
    /// Log in as the user with the password that is kept beside the user's stamp; answer with `LoggedIn`.
    LogIn {
        /// The password that was kept.
        password: Password,
        /// The roles and the stamp that the user must have.
        standing: Standing,
    },
    /// Look at the Elasticsearch user; answer with `Inspected`.
    Inspect {
        /// The subject to which the user has to belong.
        owner: Owner,
        /// The user may also belong to the caller, because this run has written it for the caller: another subject's record
        /// is now to be written over that.
        or_callers: bool,
    },
    /// Write the user; answer with `Written`, or with `LeaseTooShort` if the write was not sent.
    Write {
        /// The record to write.
        record: Record,
        /// Whether the password is written too, or the roles and the stamp alone.
        with_password: bool,
    },
    /// Wait until the record may have changed; answer with `Waited`.
    Wait,
    /// End the run with this outcome.
    Finish(Outcome),
}

/// The life to give to a replaced record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// A lease begins: the life of a pending record, or that of a ready one where Elasticsearch has its password.
    Lease,
    /// What remains of the record's life: the same lease continues.
    Remaining,
    /// The life of a ready record, `cache.expiration`.
    Ready,
}

/// What the driver observed after an action.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The run begins; the first action is to read.
    Start,
    /// The store has no record.
    Absent(Fresh),
    /// The store has bytes that no key opens for this username: to be replaced.
    Broken(Fresh),
    /// The store has a record.
    Found {
        /// The record that was read.
        record: Record,
        /// Whether the record is pending and its lease has expired.
        lease_expired: bool,
        /// The circumstances of the read.
        observation: Observation,
    },
    /// The created record is in place.
    Created,
    /// Another record was there first.
    Existed,
    /// How the compare-and-set ended.
    Replaced(Swap),
    /// The compare-and-delete has ended; `false` where the record had changed, and is still there.
    Removed(bool),
    /// What the administrator sees of the user in Elasticsearch.
    Inspected(Result<Inspected, Failure>),
    /// Whether Elasticsearch accepts the kept password, for a user with those roles and that stamp.
    LoggedIn(Result<bool, Failure>),
    /// How the write ended.
    Written(Result<(), WriteFailure>),
    /// The write was not sent: the rest of the lease is too short for it.
    LeaseTooShort,
    /// The wait is over.
    Waited,
}

/// How a compare-and-set ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Swap {
    /// The expected record was there and is replaced.
    Yes,
    /// A store without scripting replaced another record than the expected one: this one, if it can be read.
    Overwrote(Option<Record>),
    /// Another record was there, and still is.
    Changed,
    /// No record was there.
    Missing,
}

/// The randomness and the time that a new record needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fresh {
    /// A password that was generated for this record.
    pub password: Password,
    /// The time by this process's clock.
    pub born: Millis,
}

/// How the inspection of the user failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The user must not be changed.
    Refused(Refused),
    /// Elasticsearch does not answer, or the administrator's account does not work.
    Unavailable,
}

/// What the inspection of the user found, seen from one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Inspected {
    /// There is no such user.
    Absent,
    /// The owner's user, made by elastauth, and enabled.
    Ours {
        /// The user's roles, and what its stamp says of them; none where the stamp says nothing.
        standing: Option<Standing>,
        /// The password that is kept beside the stamp, if it opens and is not too old.
        kept: Option<DurableCopy>,
    },
}

/// How a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteFailure {
    /// Elasticsearch refused the user; repeating the write would not help.
    Refused(Refused),
    /// A role-only write found no user.
    Missing,
    /// The write was not sent: the user's stamp prevails over the record by now.
    Outranked,
    /// Certainly not applied.
    NotApplied,
    /// It may have been applied, or may be applied later.
    Unknown,
}

/// How a run ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A write of this record was acknowledged, to this replica or to another.
    Ready(Record),
    /// The username serves another subject.
    OtherOwner,
    /// The Elasticsearch user must not be changed.
    Refused(Refused),
    /// Elasticsearch did not acknowledge.
    Unavailable,
}
