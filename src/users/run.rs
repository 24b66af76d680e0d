//! Doing it: a look straight before each act, and the cached record gone after it.

use std::future::Future;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};

use super::again::{self, Settling};
use super::task::Skipped;
use super::{Account, Action, Directory, DirectoryError, Stamp, Task};
use crate::credentials::{CacheKey, Store, StoreError};
use crate::identity::Username;

/// Users at once: as many as a process writes when it serves.
const CONCURRENT: usize = 4;
/// How often an act, or the removal of a record, is tried against an elastauth that is just writing.
const TRIES: usize = 3;

/// What became of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who.
    pub user: String,
    /// What.
    pub outcome: Outcome,
}

/// What became of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It would be done.
    Planned,
    /// There is nothing to do.
    Unchanged(&'static str),
    /// It may not be done.
    Refused(String),
    /// It could not be done, or not in full.
    Failed(String),
}

impl Outcome {
    /// Whether a person must look at it.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Failed(_))
    }
}

/// Told of how far a long run is.
pub trait Progress: Send + Sync {
    /// So many users of how many.
    fn at(&self, done: usize, all: usize);

    /// Something was done with so many users, and they are looked at again after this time.
    fn waits(&self, time: Duration, users: usize);

    /// With so many of them it was undone meanwhile, and is done again.
    fn undone(&self, users: usize);

    /// The wait was interrupted: they are not looked at again.
    fn interrupted(&self);
}

/// Does the task, and looks again after the settling time; or, without one, says what it would do. Who is named and not
/// there, or may not be touched, is in the answer; who is meant by a rule only, and may not be touched, is so for
/// [`Action::Adopt`] alone, where the reason is news.
pub async fn run<D: Directory, S: Store>(
    directory: &D,
    store: Option<&S>,
    task: &Task,
    act: Option<Settling<impl Future<Output = ()>>>,
    progress: &dyn Progress,
) -> Result<Vec<Line>, DirectoryError> {
    let mut accounts = directory.list().await?;
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    let named = |name: &String| task.selection.names.contains(name);
    let absent = task.selection.names.iter().filter(|name| !accounts.iter().any(|account| account.name == **name));
    let absent = absent.map(|name| Line { user: name.clone(), outcome: Outcome::Refused("no such user".into()) });
    let mut lines: Vec<Line> = absent.collect();
    let mut planned = Vec::new();
    for account in accounts.iter().filter(|account| task.selection.includes(account, task.today)) {
        let outcome = match task.judge(account) {
            Ok(_) => {
                planned.push(account);
                continue;
            }
            Err(Skipped::Already(why)) => Outcome::Unchanged(why),
            Err(Skipped::Refused(why)) => Outcome::Refused(why),
        };
        let adopts = matches!(task.action, Action::Adopt { .. }) && !account.reserved;
        if named(&account.name) || adopts || !outcome.is_trouble() {
            lines.push(Line { user: account.name.clone(), outcome });
        }
    }
    match act {
        None => {
            lines.extend(planned.iter().map(|account| Line { user: account.name.clone(), outcome: Outcome::Planned }));
        }
        Some(settling) => {
            lines.extend(all(directory, store, task, &planned, progress).await);
            // nobody writes a user that is not elastauth's yet
            if !matches!(task.action, Action::Adopt { .. }) {
                again::look(directory, store, task, settling, (&planned, &mut lines), progress).await;
            }
        }
    }
    lines.sort_by(|a, b| a.user.cmp(&b.user));
    Ok(lines)
}

/// Acts on all of them.
pub(super) async fn all<D: Directory, S: Store>(
    directory: &D,
    store: Option<&S>,
    task: &Task,
    accounts: &[&Account],
    progress: &dyn Progress,
) -> Vec<Line> {
    let acts = accounts.iter().map(|account| async {
        Line { user: account.name.clone(), outcome: one(directory, store, task, account).await }
    });
    let mut acts = stream::iter(acts).buffer_unordered(CONCURRENT);
    let mut lines = Vec::with_capacity(accounts.len());
    progress.at(0, accounts.len());
    while let Some(line) = acts.next().await {
        lines.push(line);
        progress.at(lines.len(), accounts.len());
    }
    lines
}

async fn one<D: Directory, S: Store>(directory: &D, store: Option<&S>, task: &Task, account: &Account) -> Outcome {
    let Ok(name) = Username::parse(&account.name) else { return Outcome::Refused("not a name of elastauth's".into()) };
    for _ in 0..TRIES {
        // the list may be minutes old
        let fresh = match directory.find(&name).await {
            Ok(Some(fresh)) => fresh,
            Ok(None) if task.action == Action::Delete => return Outcome::Done,
            Ok(None) => return Outcome::Failed("gone meanwhile".into()),
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let stamp = match task.judge(&fresh) {
            Ok(stamp) => stamp,
            // the former try did it, or somebody else
            Err(Skipped::Already(_)) => return Outcome::Done,
            Err(Skipped::Refused(_)) if task.action == Action::Release && fresh.stamp.is_none() => {
                return Outcome::Done;
            }
            Err(Skipped::Refused(why)) => return Outcome::Refused(why),
        };
        if let Err(error) = perform(directory, &task.action, &name, stamp.as_ref()).await {
            return Outcome::Failed(error.to_string());
        }
        // adopted users have no record of ours, and the Go service may still be using its own
        if !matches!(task.action, Action::Adopt { .. })
            && let Some(store) = store
            && let Err(error) = forget(store, &CacheKey::of(&name)).await
        {
            return Outcome::Failed(format!("done, but the cached record may still be there: {error}"));
        }
    }
    Outcome::Failed("somebody writes this user again and again".into())
}

async fn perform<D: Directory>(
    directory: &D,
    action: &Action,
    name: &Username,
    stamp: Option<&Stamp>,
) -> Result<(), DirectoryError> {
    match action {
        Action::Disable => directory.disable(name).await,
        Action::Delete => directory.delete(name).await,
        Action::Release | Action::Adopt { .. } | Action::Rebind { .. } => directory.mark(name, stamp).await,
    }
}

/// Whatever the record says by now: it is of a user who is not to be served by it any more.
async fn forget<S: Store>(store: &S, key: &CacheKey) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let Some(entry) = store.get(key).await? else { return Ok(()) };
        if store.remove(key, &entry.bytes).await? {
            return Ok(());
        }
    }
    Err(StoreError::Unavailable("it changes all the time".into()))
}
