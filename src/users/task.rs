//! A task of an administrator: the action, the users that it is for, and the rules by which users are left alone.

use std::collections::HashMap;
use std::time::Duration;

use super::rotation::Rotation;
use super::{Account, Pattern, Stamp};
use crate::credentials::Day;
use crate::identity::Username;
use crate::roles::Version;

/// The users that a task is for: they meet every rule that is given, and are among the names if any are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The names; empty for users of any name.
    pub names: Vec<String>,
    /// A pattern that the name has to match.
    pub matching: Option<Pattern>,
    /// Only users that were not seen for so long.
    pub inactive_for: Option<Duration>,
    /// Only users that belong to this issuer.
    pub issuer: Option<String>,
    /// Only users that the Go service made.
    pub of_go_service: bool,
}

/// What is done with the users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Locks the user out, and keeps it.
    Disable,
    /// Removes the user for good.
    Delete,
    /// Takes the stamp off: the user stays as it is, and elastauth leaves it alone.
    Release,
    /// Puts a stamp on a user that a person or the Go service made.
    Adopt {
        /// The issuer that the users belong to from now on.
        issuer: String,
        /// The subject of each user.
        subjects: SubjectSource,
    },
    /// Gives the user a new password: the former one is refused from then on.
    Rotate(Rotation),
    /// Exchanges the owner of a user, as after a change of the identity provider.
    Rebind {
        /// The issuer that the users belong to from now on; none for no change.
        issuer: Option<String>,
        /// The subject of each user.
        subjects: SubjectSource,
    },
}

/// Where the subject of a user comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectSource {
    /// The stamp: the subject stays as it is.
    Kept,
    /// The first token of the issuer for this name: its subject gets the user.
    First,
    /// The command: this subject for every user.
    Given(String),
    /// A list by username; users that are not in it are left alone.
    Listed(HashMap<String, String>),
}

/// A task of an administrator.
#[derive(Clone, Debug)]
pub struct Task {
    /// The action that is done.
    pub action: Action,
    /// The users that it is done with.
    pub selection: Selection,
    /// `cluster` of the configuration: only users with the stamp of this deployment are touched.
    pub cluster: String,
    /// The day that new stamps get, and from which inactivity is counted.
    pub today: Day,
}

/// Why a user is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// The user already is as the action would leave it.
    Already(&'static str),
    /// The action may not be done with this user.
    Refused(String),
}

impl Selection {
    /// Whether there is neither a name nor a rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the task is for this account. Accounts without a stamp do not meet rules about stamps.
    #[must_use]
    pub(crate) fn includes(&self, account: &Account, today: Day) -> bool {
        let stamp = account.stamp.as_ref();
        let named = self.names.is_empty() || self.names.contains(&account.name);
        let matches = self.matching.as_ref().is_none_or(|pattern| pattern.matches(&account.name));
        let idle = self.inactive_for.is_none_or(|idle| stamp.is_some_and(|stamp| stamp.day() <= today.before(idle)));
        let issued = self.issuer.as_ref().is_none_or(|issuer| stamp.is_some_and(|stamp| stamp.issuer == *issuer));
        named && matches && idle && issued && (!self.of_go_service || account.of_go_service)
    }
}

impl Action {
    /// How new passwords are made, if that is the action.
    pub(crate) fn rotation(&self) -> Option<&Rotation> {
        if let Self::Rotate(rotation) = self { Some(rotation) } else { None }
    }
}

impl Task {
    /// The stamp that the account is to get, if the action changes it, or why the account is left alone.
    pub(super) fn judge(&self, account: &Account) -> Result<Option<Stamp>, Skipped> {
        let refused = |why: &str| Err(Skipped::Refused(why.to_owned()));
        if account.reserved {
            return refused("built in, or the account of elastauth itself");
        }
        let name = Username::parse(&account.name).map_err(|error| Skipped::Refused(error.to_string()))?;
        let foreign = account.stamp.as_ref().filter(|stamp| stamp.cluster != self.cluster);
        if let Some(stamp) = foreign {
            return Err(Skipped::Refused(format!("belongs to the elastauth of cluster {}", stamp.cluster)));
        }
        match (&self.action, &account.stamp) {
            (Action::Adopt { .. }, Some(_)) => Err(Skipped::Already("elastauth's already")),
            (Action::Adopt { .. }, None) if account.roles.contains("superuser") => refused("holds superuser"),
            (Action::Adopt { issuer, subjects }, None) => {
                let subject = subjects.of(&account.name, None)?;
                let (cluster, issuer) = (self.cluster.clone(), issuer.clone());
                // the oldest time there is, so that the roles of the first token are newer
                let (mapping, last_seen) = (Version::default(), Some(self.today));
                Ok(Some(Stamp { cluster, issuer, subject, as_of: 0, mapping, last_seen, store: None }))
            }
            (_, None) => refused("not made by elastauth"),
            (Action::Disable, Some(_)) if !account.enabled => Err(Skipped::Already("disabled already")),
            (Action::Rotate(rotation), Some(_)) if rotation.has_newer(&name, account.copy.as_ref()) => {
                Err(Skipped::Already("has a newer password"))
            }
            (Action::Rotate(_) | Action::Disable | Action::Delete | Action::Release, Some(_)) => Ok(None),
            (Action::Rebind { issuer, subjects }, Some(before)) => {
                let subject = subjects.of(&account.name, before.subject.as_ref())?;
                let issuer = issuer.clone().unwrap_or_else(|| before.issuer.clone());
                if issuer == before.issuer && subject == before.subject {
                    return Err(Skipped::Already("bound so already"));
                }
                // the oldest time there is: the roles are the former subject's, and those of the new one must be newer
                let (as_of, mapping, last_seen) = (0, Version::default(), Some(before.day()));
                Ok(Some(Stamp { issuer, subject, as_of, mapping, last_seen, ..before.clone() }))
            }
        }
    }
}

impl Task {
    /// Whether the action is undone: `before` is the account before it, and `now` some time after it.
    pub(super) fn is_undone(&self, before: &Account, now: &Account) -> bool {
        if let Action::Rotate(rotation) = &self.action
            && !rotation.leaves_copies()
        {
            // nothing in the user tells the one password from the other
            return false;
        }
        let first = matches!(self.action, Action::Rebind { subjects: SubjectSource::First, .. });
        let owner =
            |account: &Account| account.stamp.as_ref().map(|stamp| (stamp.issuer.clone(), stamp.subject.clone()));
        // the first subject may have come since, and then has the user as it should
        self.judge(now).is_ok() && (!first || owner(now) == owner(before))
    }
}

impl SubjectSource {
    fn of(&self, name: &str, before: Option<&String>) -> Result<Option<String>, Skipped> {
        match self {
            Self::Kept => Ok(before.cloned()),
            Self::First => Ok(None),
            Self::Given(subject) => Ok(Some(subject.clone())),
            Self::Listed(subjects) => match subjects.get(name) {
                Some(subject) => Ok(Some(subject.clone())),
                None => Err(Skipped::Refused("not in the list of subjects".into())),
            },
        }
    }
}
