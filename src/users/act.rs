//! Does an action with users: reads each straight before it, and removes the cached record after it.

use futures_util::stream::{self, StreamExt as _};

use super::outcome::{Outcome, Progress, UserResult};
use super::task::{Action, Skipped, Task};
use super::{Account, Directory, DirectoryError, Stamp};
use crate::credentials::{CacheKey, Store, StoreError};
use crate::identity::Username;

/// How many users are changed at the same time: as many as a process writes by default when it serves.
const CONCURRENT: usize = 4;
/// How often an action, or the removal of a record, is tried against an elastauth that writes at the same time.
const TRIES: usize = 3;

/// Does the action with these accounts.
pub(super) async fn act<D: Directory, S: Store>(
    directory: &D,
    store: Option<&S>,
    task: &Task,
    accounts: &[&Account],
    progress: &dyn Progress,
) -> Vec<UserResult> {
    let acts = accounts.iter().map(|account| async {
        UserResult { user: account.name.clone(), outcome: act_on(directory, store, task, account).await }
    });
    let mut acts = stream::iter(acts).buffer_unordered(CONCURRENT);
    let mut results = Vec::with_capacity(accounts.len());
    progress.at(0, accounts.len());
    while let Some(result) = acts.next().await {
        results.push(result);
        progress.at(results.len(), accounts.len());
    }
    results
}

async fn act_on<D: Directory, S: Store>(directory: &D, store: Option<&S>, task: &Task, account: &Account) -> Outcome {
    let Ok(name) = Username::parse(&account.name) else {
        return Outcome::Refused("not a name that elastauth gives a user".into());
    };
    for _ in 0..TRIES {
        // the list may be minutes old
        let fresh = match directory.find(&name).await {
            Ok(Some(fresh)) => fresh,
            Ok(None) if task.action == Action::Delete => return Outcome::Done,
            Ok(None) => return Outcome::Failed("the user was deleted meanwhile".into()),
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let stamp = match task.judge(&fresh) {
            Ok(stamp) => stamp,
            // done by the try before this one, or by another administrator
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
    Outcome::Failed("another process writes this user again and again".into())
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

/// Removes the record, whatever it says by now: the user must not be served from it any more.
async fn forget<S: Store>(store: &S, key: &CacheKey) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let Some(entry) = store.get(key).await? else { return Ok(()) };
        if store.remove(key, &entry.bytes).await? {
            return Ok(());
        }
    }
    Err(StoreError::Unavailable("it changes all the time".into()))
}
