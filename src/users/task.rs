//! What is to be done, with whom, and who is left alone.

use std::collections::HashMap;
use std::time::Duration;

use super::{Account, Pattern, Stamp};
use crate::credentials::Day;
use crate::identity::Username;
use crate::roles::Version;

/// Who is meant: the named, or all that meet every rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// By name.
    pub names: Vec<String>,
    /// By a pattern of the name.
    pub matching: Option<Pattern>,
    /// Not seen for so long.
    pub inactive_for: Option<Duration>,
    /// Bound to this issuer.
    pub issuer: Option<String>,
    /// Made by the Go service.
    pub of_go_service: bool,
}

/// What becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Locks out.
    Disable,
    /// Removes.
    Delete,
    /// Gives up: the user stays, and elastauth leaves it alone.
    Release,
    /// Takes over what a person, or the Go service, made.
    Adopt {
        /// Whose users they are.
        issuer: String,
        /// And which one's.
        subjects: Subjects,
    },
    /// Exchanges the owner.
    Rebind {
        /// Whose users they are from now on; none for no change.
        issuer: Option<String>,
        /// And which one's.
        subjects: Subjects,
    },
}

/// How the subject is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subjects {
    /// As it was.
    Kept,
    /// The first one who comes with a token of the issuer for this name.
    First,
    /// This one, for each of them.
    Given(String),
    /// By username; who is not there is left alone.
    Listed(HashMap<String, String>),
}

/// A command.
#[derive(Clone, Debug)]
pub struct Task {
    /// What.
    pub action: Action,
    /// With whom.
    pub selection: Selection,
    /// The `cluster` of the configuration: whose stamp counts.
    pub cluster: String,
    /// Goes into new stamps, and is what inactivity counts from.
    pub today: Day,
}

/// Why somebody is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Skipped {
    /// Nothing is to be done.
    Already(&'static str),
    /// It may not be done.
    Refused(String),
}

impl Selection {
    /// Whether nobody is named and no rule is given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this account is meant. Rules about stamps leave out accounts without one.
    #[must_use]
    pub fn includes(&self, account: &Account, today: Day) -> bool {
        let stamp = account.stamp.as_ref();
        let named = self.names.is_empty() || self.names.contains(&account.name);
        let matches = self.matching.as_ref().is_none_or(|pattern| pattern.matches(&account.name));
        let idle = self.inactive_for.is_none_or(|idle| stamp.is_some_and(|stamp| stamp.day() <= today.before(idle)));
        let issued = self.issuer.as_ref().is_none_or(|issuer| stamp.is_some_and(|stamp| stamp.issuer == *issuer));
        named && matches && idle && issued && (!self.of_go_service || account.of_go_service)
    }
}

impl Task {
    /// The stamp that the account is to have, if the action changes that; or why it is left alone.
    pub(super) fn judge(&self, account: &Account) -> Result<Option<Stamp>, Skipped> {
        let refused = |why: &str| Err(Skipped::Refused(why.to_owned()));
        if account.reserved {
            return refused("built in, or the account of elastauth itself");
        }
        if let Err(error) = Username::parse(&account.name) {
            return Err(Skipped::Refused(error.to_string()));
        }
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
                // the oldest there can be: the first token that comes brings newer roles
                let (mapping, last_seen) = (Version::default(), Some(self.today));
                Ok(Some(Stamp { cluster, issuer, subject, as_of: 0, mapping, last_seen, store: None }))
            }
            (_, None) => refused("not made by elastauth"),
            (Action::Disable, Some(_)) if !account.enabled => Err(Skipped::Already("disabled already")),
            (Action::Disable | Action::Delete | Action::Release, Some(_)) => Ok(None),
            (Action::Rebind { issuer, subjects }, Some(before)) => {
                let subject = subjects.of(&account.name, before.subject.as_ref())?;
                let issuer = issuer.clone().unwrap_or_else(|| before.issuer.clone());
                if issuer == before.issuer && subject == before.subject {
                    return Err(Skipped::Already("bound so already"));
                }
                // the roles are the former subject's: whatever the new one brings is newer
                let (as_of, mapping, last_seen) = (0, Version::default(), Some(before.day()));
                Ok(Some(Stamp { issuer, subject, as_of, mapping, last_seen, ..before.clone() }))
            }
        }
    }
}

impl Task {
    /// Whether what was done with an account is undone: `before` is from before the act, `now` from some time after it.
    pub(super) fn is_undone(&self, before: &Account, now: &Account) -> bool {
        let first = matches!(self.action, Action::Rebind { subjects: Subjects::First, .. });
        let owner =
            |account: &Account| account.stamp.as_ref().map(|stamp| (stamp.issuer.clone(), stamp.subject.clone()));
        // the first subject may have come since, and is bound then as it should be
        self.judge(now).is_ok() && (!first || owner(now) == owner(before))
    }
}

impl Subjects {
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
