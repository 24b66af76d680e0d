//! Records as small numbers.

use std::sync::Arc;

use elastauth::credentials::Password;
use elastauth::credentials::record::{Claim, Phase, Record};
use elastauth::identity::Owner;
use elastauth::roles::Roles;

/// A record; passwords, roles and owners are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rec {
    /// How far it is.
    pub stage: Stage,
    /// Which password.
    pub password: u8,
    /// Which roles.
    pub roles: u8,
    /// When they were true.
    pub as_of: u8,
    /// Whose.
    pub owner: u8,
}

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
        claim: u8,
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

pub(crate) fn roles(n: u8) -> Roles {
    Roles::new([n.to_string()])
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
            Stage::Pending { claim, again, known } => {
                Phase::Pending { claim: Claim(claim.into()), again, password_known: known }
            }
        };
        let (password, roles, owner) = (password(self.password), roles(self.roles), owner(self.owner));
        Record { phase, password, roles, as_of: self.as_of.into(), owner, born: 0 }
    }

    /// Out of the production code.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let stage = match record.phase {
            Phase::Ready => Stage::Ready,
            Phase::Confirmed => Stage::Confirmed,
            Phase::Pending { claim, again, password_known } => {
                Stage::Pending { claim: claim.0.try_into().unwrap(), again, known: password_known }
            }
        };
        Self {
            stage,
            password: number(record.password.expose()),
            roles: number(&record.roles.to_string()),
            as_of: record.as_of.try_into().unwrap(),
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
    pub fn claim(self) -> Option<u8> {
        if let Stage::Pending { claim, .. } = self.stage { Some(claim) } else { None }
    }

    /// The order in which roles count.
    #[must_use]
    pub fn order(self) -> (u8, u8) {
        (self.as_of, self.roles)
    }
}
