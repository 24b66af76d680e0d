//! Represents records in small numbers.

use std::sync::Arc;

use elastauth::credentials::Password;
use elastauth::credentials::agreement::Standing;
use elastauth::credentials::record::{self, LeaseHolder};
use elastauth::digest::Digest;
use elastauth::identity::Owner;
use elastauth::roles::{Roles, Version};

/// A record; passwords, roles and owners are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Whether its write is pending, acknowledged or confirmed.
    pub phase: Phase,
    /// The number of the password.
    pub password: u8,
    /// The set of roles, a bit for each.
    pub roles: u8,
    /// When the roles were true.
    pub as_of: u8,
    /// The configuration: configurations are numbered in the order in which processes were started with them.
    pub mapping: u8,
    /// The number of the subject.
    pub owner: u8,
}

/// The stamp of a user, with the roles that the user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "see Record")]
pub struct Stamp {
    pub roles: u8,
    pub as_of: u8,
    pub mapping: u8,
}

/// The number of roles in the model.
pub const ROLES: u8 = 3;
/// The rank of each set among all sets, in the order of their sorted names.
const RANK: [u8; 1 << ROLES] = [0, 1, 5, 2, 7, 4, 6, 3];
/// The third start is one of the first configuration again, like a restart in the middle of a roll-out, or a roll-back.
const DIGESTS: [u64; 4] = [0, 9, 3, 9];

/// The phase of a record, as the production code has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A write was acknowledged: [`record::Phase::Ready`].
    Ready,
    /// The password was accepted later: [`record::Phase::Confirmed`].
    Confirmed,
    /// A replica has the lease: [`record::Phase::Pending`].
    Pending {
        /// The replica that holds the lease.
        holder: u8,
        /// The holder writes once more.
        again: bool,
        /// Roles alone are to be written: Elasticsearch has the password, and the user at most these roles.
        in_force: Option<u8>,
        /// The last attempt failed, and the lease is given up.
        failed: bool,
    },
}

fn number(text: &str) -> u8 {
    text.parse().unwrap()
}

pub(crate) fn owner(n: u8) -> Owner {
    Owner { issuer: Arc::from("i"), subject: n.to_string().into() }
}

pub(crate) fn roles(bits: u8) -> Roles {
    Roles::new((0..ROLES).filter(|role| bits & (1 << role) != 0).map(|role| role.to_string()))
}

fn bits(roles: &Roles) -> u8 {
    roles.iter().map(|role| 1 << number(role)).sum()
}

pub(crate) fn rank(bits: u8) -> u8 {
    RANK[usize::from(bits)]
}

pub(crate) fn version(mapping: u8) -> Version {
    Version { since: mapping.into(), digest: Digest(DIGESTS[usize::from(mapping)]) }
}

/// Whether two starts are of one configuration.
pub(crate) fn same(mapping: u8, other: u8) -> bool {
    DIGESTS[usize::from(mapping)] == DIGESTS[usize::from(other)]
}

impl Stamp {
    /// Reads what the production code says of a user's roles.
    #[must_use]
    pub fn of(standing: &Standing) -> Self {
        let (as_of, mapping) = (standing.as_of.try_into().unwrap(), standing.mapping.since.try_into().unwrap());
        Self { roles: bits(&standing.roles), as_of, mapping }
    }

    /// The stamp as the production code represents it.
    #[must_use]
    pub fn standing(self) -> Standing {
        let Self { roles: bits, as_of, mapping } = self;
        Standing { mapping: version(mapping), as_of: as_of.into(), roles: roles(bits) }
    }
}

pub(crate) fn password(n: u8) -> Password {
    Password::known(n.to_string())
}

impl Record {
    /// The record as the production code represents it.
    #[must_use]
    pub fn record(self) -> record::Record {
        let phase = match self.phase {
            Phase::Ready => record::Phase::Ready,
            Phase::Confirmed => record::Phase::Confirmed,
            Phase::Pending { holder, again, in_force, failed } => {
                let holder = LeaseHolder(holder.into());
                record::Phase::Pending { holder, again, in_force: in_force.map(roles), failed }
            }
        };
        let (password, roles, owner) = (password(self.password), roles(self.roles), owner(self.owner));
        record::Record {
            phase,
            password,
            roles,
            as_of: self.as_of.into(),
            mapping: version(self.mapping),
            owner,
            born: 10,
        }
    }

    /// Reads a record of the production code.
    #[must_use]
    pub fn of(record: &record::Record) -> Self {
        let phase = match record.phase {
            record::Phase::Ready => Phase::Ready,
            record::Phase::Confirmed => Phase::Confirmed,
            record::Phase::Pending { holder, again, ref in_force, failed } => {
                let holder = holder.0.try_into().unwrap();
                Phase::Pending { holder, again, in_force: in_force.as_ref().map(bits), failed }
            }
        };
        Self {
            phase,
            password: number(record.password.expose()),
            roles: bits(&record.roles),
            as_of: record.as_of.try_into().unwrap(),
            mapping: record.mapping.since.try_into().unwrap(),
            owner: Self::owned_by(&record.owner),
        }
    }

    pub(crate) fn owned_by(owner: &Owner) -> u8 {
        number(&owner.subject)
    }

    /// Whether a write of the record was acknowledged.
    #[must_use]
    pub fn is_ready(self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Confirmed)
    }

    /// The replica that holds the lease.
    #[must_use]
    pub fn holder(self) -> Option<u8> {
        if let Phase::Pending { holder, .. } = self.phase { Some(holder) } else { None }
    }

    /// All roles that the user may have with the record's password; none where Elasticsearch may have another password.
    #[must_use]
    pub fn roles_in_force(self) -> Option<u8> {
        match self.phase {
            Phase::Ready | Phase::Confirmed => Some(self.roles),
            Phase::Pending { in_force, failed, .. } => {
                in_force.map(|roles| if failed { roles } else { roles | self.roles })
            }
        }
    }

    /// The order that decides which roles prevail.
    #[must_use]
    pub fn order(self) -> (u8, u8, u8) {
        (self.mapping, self.as_of, rank(self.roles))
    }

    /// The stamp that a write of the record gives to the user, with the roles.
    #[must_use]
    pub fn stamp(self) -> Stamp {
        let Self { roles, as_of, mapping, .. } = self;
        Stamp { roles, as_of, mapping }
    }
}
