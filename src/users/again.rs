//! A second look, when no write that was sent before the acts can land any more.
//!
//! A replica that serves looks at a user straight before it writes it, and leaves alone whom it finds disabled or given up.
//! But a write that is already on its way then lands after the act and undoes it: it says `enabled: true`, makes a deleted
//! user anew, and carries the former stamp. Nothing can call it back, so that the only remedy is to look when it has landed.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use super::run::all;
use super::{Account, Directory, Line, Outcome, Progress, Task};
use crate::credentials::Store;

/// How often users are looked at again: what is done at the first time may itself be undone by a write that was sent in
/// between, while the user looked as before the act.
const LOOKS: usize = 2;

/// How long writes may take to land.
pub struct Settling<F> {
    /// `elasticsearch.settling`
    pub time: Duration,
    /// Resolves when the person does not want to wait any longer.
    pub interrupted: F,
}

/// Looks at those with whom something was done, and does it again where it was undone. What cannot be made sure of is in
/// the lines.
pub(super) async fn look<D: Directory, S: Store>(
    directory: &D,
    store: Option<&S>,
    task: &Task,
    settling: Settling<impl Future<Output = ()>>,
    (acted_on, lines): (&[&Account], &mut Vec<Line>),
    progress: &dyn Progress,
) {
    let mut interrupted = pin!(settling.interrupted);
    let mut watched = done(lines, acted_on);
    for looks in 1..=LOOKS {
        if watched.is_empty() {
            return;
        }
        progress.waits(settling.time, watched.len());
        tokio::select! {
            () = tokio::time::sleep(settling.time) => {}
            () = &mut interrupted => {
                progress.interrupted();
                return unsure(lines, &watched, "the wait was interrupted");
            }
        }
        let now = match directory.list().await {
            Ok(now) => now,
            Err(error) => return unsure(lines, &watched, &error.to_string()),
        };
        let now: HashMap<&str, &Account> = now.iter().map(|account| (account.name.as_str(), account)).collect();
        watched.retain(|before| now.get(before.name.as_str()).is_some_and(|now| task.is_undone(before, now)));
        if watched.is_empty() {
            return;
        }
        progress.undone(watched.len());
        let mut again = all(directory, store, task, &watched, progress).await;
        for line in again.iter_mut().filter(|line| looks == LOOKS && line.outcome == Outcome::Done) {
            line.outcome = Outcome::Failed(
                "done, and undone again and again: something goes on writing this user. If it is elastauth on behalf of the \
                 person, take the person's groups away at the identity provider"
                    .into(),
            );
        }
        watched = done(&again, &watched);
        set(lines, again);
    }
}

/// Those of the accounts with whom it was done.
fn done<'a>(lines: &[Line], accounts: &[&'a Account]) -> Vec<&'a Account> {
    let done = lines.iter().filter(|line| line.outcome == Outcome::Done).map(|line| line.user.as_str());
    let done: HashSet<&str> = done.collect();
    accounts.iter().filter(|account| done.contains(account.name.as_str())).copied().collect()
}

fn unsure(lines: &mut [Line], watched: &[&Account], why: &str) {
    let outcome = format!(
        "done, but not looked at again ({why}): a write that was on its way may have undone it; run the command again after \
         elasticsearch.settling"
    );
    let unsure = |account: &&Account| Line { user: account.name.clone(), outcome: Outcome::Failed(outcome.clone()) };
    set(lines, watched.iter().map(unsure).collect());
}

/// Puts these outcomes in the place of those that the same users had.
fn set(lines: &mut [Line], newer: Vec<Line>) {
    let mut newer: HashMap<String, Outcome> = newer.into_iter().map(|line| (line.user, line.outcome)).collect();
    for line in lines {
        if let Some(outcome) = newer.remove(&line.user) {
            line.outcome = outcome;
        }
    }
}
