//! Records as small numbers.

use std::sync::Arc;

use elastauth::credentials::Password;
use elastauth::credentials::agreement::Standing;
use elastauth::credentials::record::{LeaseHolder, Phase, Record};
use elastauth::digest::Digest;
use elastauth::identity::Owner;
use elastauth::roles::{Roles, Version};

/// A record; passwords, roles and owners are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rec {
    /// How far it is.
    pub stage: Stage,
    /// Which password.
    pub password: u8,
    /// Which roles, a bit for each.
    pub roles: u8,
    /// When they were true.
    pub as_of: u8,
    /// By which configuration: they are numbered in the order in which processes were started with them.
    pub mapping: u8,
    /// Whose.
    pub owner: u8,
}

/// What the stamp of a user says, with the roles that the user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "see Rec")]
pub struct Mark {
    pub roles: u8,
    pub as_of: u8,
    pub mapping: u8,
}

/// There are so many.
pub const ROLES: u8 = 3;
/// The place of each set among all, in the order of their sorted names.
const RANK: [u8; 1 << ROLES] = [0, 1, 5, 2, 7, 4, 6, 3];
/// The third start is one with the first configuration again, as a restart in the middle of a roll-out is, or a roll-back.
const DIGESTS: [u64; 4] = [0, 9, 3, 9];

/// A record's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// See [`Phase::Ready`].
    Ready,
    /// See [`Phase::Confirmed`].
    Confirmed,
    /// See [`Phase::Pending`].
    Pending {
        /// Whose turn it is.
        holder: u8,
        /// The holder writes once more.
        again: bool,
        /// Roles alone are to be written.
        known: bool,
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

impl Mark {
    /// As the production code knows it.
    #[must_use]
    pub fn standing(self) -> Standing {
        let Self { roles: bits, as_of, mapping } = self;
        Standing { mapping: version(mapping), as_of: as_of.into(), roles: roles(bits) }
    }
}

pub(crate) fn password(n: u8) -> Password {
    Password::known(n.to_string())
}

impl Rec {
    /// As the production code knows it.
    #[must_use]
    pub fn record(self) -> Record {
        let phase = match self.stage {
            Stage::Ready => Phase::Ready,
            Stage::Confirmed => Phase::Confirmed,
            Stage::Pending { holder, again, known } => {
                Phase::Pending { holder: LeaseHolder(holder.into()), again, password_known: known }
            }
        };
        let (password, roles, owner) = (password(self.password), roles(self.roles), owner(self.owner));
        Record { phase, password, roles, as_of: self.as_of.into(), mapping: version(self.mapping), owner, born: 10 }
    }

    /// Out of the production code.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let stage = match record.phase {
            Phase::Ready => Stage::Ready,
            Phase::Confirmed => Stage::Confirmed,
            Phase::Pending { holder, again, password_known } => {
                Stage::Pending { holder: holder.0.try_into().unwrap(), again, known: password_known }
            }
        };
        Self {
            stage,
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

    /// A write of it was acknowledged.
    #[must_use]
    pub fn is_ready(self) -> bool {
        matches!(self.stage, Stage::Ready | Stage::Confirmed)
    }

    /// Whose turn it is to write it.
    #[must_use]
    pub fn holder(self) -> Option<u8> {
        if let Stage::Pending { holder, .. } = self.stage { Some(holder) } else { None }
    }

    /// The order in which roles count.
    #[must_use]
    pub fn order(self) -> (u8, u8, u8) {
        (self.mapping, self.as_of, rank(self.roles))
    }

    /// What its write puts into the user's stamp, and its roles.
    #[must_use]
    pub fn mark(self) -> Mark {
        let Self { roles, as_of, mapping, .. } = self;
        Mark { roles, as_of, mapping }
    }
}
