//! Does an action with users: reads each straight before it, and removes the cached record after it.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, StreamExt as _};

use super::outcome::{Outcome, Progress, UserResult};
use super::task::{Action, Skipped, Task};
use super::{Account, Directory, DirectoryError, Stamp};
use crate::credentials::{CacheKey, Store, StoreError};
use crate::identity::Username;

/// How many users are changed at the same time: as many as a process writes by default when it serves.
const CONCURRENT: usize = 4;
/// The same for new passwords, of which the cluster hashes each: replicas that serve write meanwhile.
const ROTATED_AT_ONCE: usize = 1;
/// How often an action, or the removal of a record, is tried against an elastauth that writes at the same time.
const TRIES: usize = 3;

/// Does the action with these accounts, until `stop` resolves: what is begun then is ended, and nothing more is begun.
pub(super) async fn act<D: Directory, S: Store>(
    directory: &D,
    store: Option<&S>,
    task: &Task,
    accounts: &[&Account],
    progress: &dyn Progress,
    stop: impl Future<Output = ()>,
) -> Vec<UserResult> {
    let stopped = AtomicBool::new(false);
    let acts = accounts.iter().map(|account| async {
        let outcome = if stopped.load(Ordering::Relaxed) {
            Outcome::Failed("not done: the run was interrupted".into())
        } else {
            act_on(directory, store, task, account).await
        };
        UserResult { user: account.name.clone(), outcome }
    });
    let concurrent = if task.action.rotation().is_some() { ROTATED_AT_ONCE } else { CONCURRENT };
    let mut acts = pin!(stream::iter(acts).buffer_unordered(concurrent));
    let mut stop = pin!(stop);
    let mut results = Vec::with_capacity(accounts.len());
    progress.at(0, accounts.len());
    loop {
        tokio::select! {
            () = &mut stop, if !stopped.load(Ordering::Relaxed) => stopped.store(true, Ordering::Relaxed),
            result = acts.next() => {
                let Some(result) = result else { return results };
                results.push(result);
                progress.at(results.len(), accounts.len());
            }
        }
    }
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
        let (key, rotation) = (CacheKey::of(&name), task.action.rotation());
        // a record that stays would hand out the former password, and a replica would write that once more
        if rotation.is_some()
            && let Some(store) = store
            && let Err(error) = store.get(&key).await
        {
            return Outcome::Failed(format!("not done: {error}"));
        }
        let performed = perform(directory, &task.action, &name, stamp.as_ref()).await;
        if let (Err(error), None) = (&performed, rotation) {
            return Outcome::Failed(error.to_string());
        }
        // adopted users have no record of ours, and the Go service may still be using its own
        if !matches!(task.action, Action::Adopt { .. })
            && let Some(store) = store
            && let Err(error) = forget(store, &key).await
        {
            return Outcome::Failed(format!("done, but the cached record may still be there: {error}"));
        }
        if let Err(error) = performed {
            return Outcome::Failed(error.to_string());
        }
        if rotation.is_some_and(|rotation| !rotation.leaves_copies()) {
            return Outcome::Done;
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
        Action::Rotate(rotation) => {
            let (password, copy) = rotation.make(name).map_err(DirectoryError)?;
            directory.renew(name, &password, copy.as_ref()).await
        }
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
