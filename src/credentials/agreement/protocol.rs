//! What the driver is to do, and what it answers.

use super::Observation;
use crate::credentials::record::Record;
use crate::credentials::{Existing, Password, Refused};
use crate::identity::{Millis, Owner};

/// What the driver is to do. Compare-and-set is always against what was last read or written.
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
    /// Look at the Elasticsearch user; answer with `Inspected`.
    Inspect {
        /// Whose it is to be.
        owner: Owner,
        /// It may also be the caller's, because a write of his came last: now another's record is to be written over it.
        or_callers: bool,
    },
    /// Write the user; answer with `Written`.
    Write {
        /// What to write.
        record: Record,
        /// Whether the password goes with it.
        with_password: bool,
    },
    /// Wait until the record may have changed; answer with `Waited`.
    Wait,
    /// The end.
    Finish(Outcome),
}

/// The life to give to a replaced record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// A claim begins.
    Lease,
    /// The same claim goes on: what remains of its life.
    Remaining,
    /// A ready record's.
    Ready,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Begin by reading.
    Start,
    /// Nothing is stored.
    Absent(Fresh),
    /// Something is stored that no key opens for its place: to be replaced.
    Broken(Fresh),
    /// A record is stored.
    Found {
        /// It.
        record: Record,
        /// Whether a pending record's claim has lasted too long.
        overdue: bool,
        /// When.
        observation: Observation,
    },
    /// The created record is in place.
    Created,
    /// Another record was there first.
    Existed,
    /// How the compare-and-set ended.
    Replaced(Swap),
    /// The record is removed, or has changed.
    Removed,
    /// What stands in Elasticsearch.
    Inspected(Result<Existing, Failure>),
    /// How the write ended.
    Written(Result<(), WriteFailure>),
    /// The write was not sent: what is left of the claim's time is too short for it.
    Expired,
    /// The wait is over.
    Waited,
}

/// How a compare-and-set ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Swap {
    /// As expected.
    Yes,
    /// It was done although something else was there, and was this if it can be read: a store without scripting.
    Overwrote(Option<Record>),
    /// Something else was there, and still is.
    Changed,
    /// Nothing was there.
    Missing,
}

/// The randomness and the time that a new record needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fresh {
    /// A new password.
    pub password: Password,
    /// Now.
    pub born: Millis,
}

/// How a look at the user failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The user is to be left alone.
    Refused(Refused),
    /// An outage.
    Unavailable,
}

/// How a write failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteFailure {
    /// For good.
    Refused(Refused),
    /// A role-only write found no user.
    Missing,
    /// Not applied: by now the user's stamp counts for more than the record.
    Outranked,
    /// Not applied, or perhaps applied later: the record stays pending.
    Unfinished,
}

/// How the loop ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A write of this record was acknowledged, by me or by another.
    Ready(Record),
    /// The username serves another subject.
    OtherOwner,
    /// Elasticsearch's user is to be left alone.
    Refused(Refused),
    /// Elasticsearch did not acknowledge.
    Unavailable,
}
