//! Checks users again after an action, when no write that was sent before it can be applied any more.
//!
//! A replica that serves reads a user straight before it writes it, and does not write a user that is disabled or released.
//! But a write that was already on its way is applied after the action and undoes it: it says `enabled: true`, makes a
//! deleted user again, and carries the former stamp. It cannot be called back, so the only remedy is to check when it has
//! been applied.

use std::collections::{HashMap, HashSet};
use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use super::act::act;
use super::outcome::{Outcome, Progress, UserResult};
use super::task::Task;
use super::{Account, Directory};
use crate::credentials::Store;

/// How often users are checked again. What the first check repeats may itself be undone, by a write of a replica that read
/// the user while the action was undone.
const CHECKS: usize = 2;

/// How long to wait for writes that were sent before the action.
pub struct SettlingWait<F> {
    /// `elasticsearch.settling`: how long a write may take until it is applied.
    pub time: Duration,
    /// Resolves when the person does not want to wait any longer.
    pub interrupted: F,
}

/// Checks the users with which the action was done, and does it again where it was undone. The results of users for which that
/// cannot be made sure become failures.
pub(super) async fn recheck<D: Directory, S: Store>(
    directory: &D,
    store: Option<&S>,
    task: &Task,
    settling: SettlingWait<impl Future<Output = ()>>,
    (acted_on, results): (&[&Account], &mut Vec<UserResult>),
    progress: &dyn Progress,
) {
    let mut interrupted = pin!(settling.interrupted);
    let mut watched = done(results, acted_on);
    for check in 1..=CHECKS {
        if watched.is_empty() {
            return;
        }
        progress.waits(settling.time, watched.len());
        tokio::select! {
            () = tokio::time::sleep(settling.time) => {}
            () = &mut interrupted => {
                progress.interrupted();
                return unsure(results, &watched, "the wait was interrupted");
            }
        }
        let now = match directory.list().await {
            Ok(now) => now,
            Err(error) => return unsure(results, &watched, &error.to_string()),
        };
        let now: HashMap<&str, &Account> = now.iter().map(|account| (account.name.as_str(), account)).collect();
        watched.retain(|before| now.get(before.name.as_str()).is_some_and(|now| task.is_undone(before, now)));
        if watched.is_empty() {
            return;
        }
        progress.undone(watched.len());
        let mut again = act(directory, store, task, &watched, progress, pending()).await;
        for result in again.iter_mut().filter(|result| check == CHECKS && result.outcome == Outcome::Done) {
            result.outcome = Outcome::Failed(
                "done, and undone again and again: something goes on writing this user. If it is elastauth on behalf of the \
                 person, take the person's groups away at the identity provider"
                    .into(),
            );
        }
        watched = done(&again, &watched);
        replace(results, again);
    }
}

/// Those of the accounts with which the action was done.
fn done<'a>(results: &[UserResult], accounts: &[&'a Account]) -> Vec<&'a Account> {
    let done = results.iter().filter(|result| result.outcome == Outcome::Done).map(|result| result.user.as_str());
    let done: HashSet<&str> = done.collect();
    accounts.iter().filter(|account| done.contains(account.name.as_str())).copied().collect()
}

fn unsure(results: &mut [UserResult], watched: &[&Account], why: &str) {
    let why = format!(
        "done, but not looked at again ({why}): a write that was on its way may have undone it; run the command again after \
         elasticsearch.settling"
    );
    let unsure = |account: &&Account| UserResult { user: account.name.clone(), outcome: Outcome::Failed(why.clone()) };
    replace(results, watched.iter().map(unsure).collect());
}

/// Puts the newer outcomes in the place of those that the same users had.
fn replace(results: &mut [UserResult], newer: Vec<UserResult>) {
    let mut newer: HashMap<String, Outcome> = newer.into_iter().map(|result| (result.user, result.outcome)).collect();
    for result in results {
        if let Some(outcome) = newer.remove(&result.user) {
            result.outcome = outcome;
        }
    }
}
