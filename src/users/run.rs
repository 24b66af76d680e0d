//! Runs a task of an administrator: selects users, does the action with them, and checks them again after the settling time.

use std::future::{Future, pending};

use futures_util::FutureExt as _;

use super::act::act;
use super::outcome::{Outcome, Progress, UserResult};
use super::recheck::{self, SettlingWait};
use super::task::{Action, Skipped, Task};
use super::{Directory, DirectoryError};
use crate::credentials::Store;

/// Does the task, and checks the users again after the settling time; without one, only says what it would do. The answer has a
/// result for each user that was named, also if it does not exist or may not be touched. Users that only match a rule and may
/// not be touched are left out, except for [`Action::Adopt`], where the reason is of interest.
pub async fn run<D: Directory, S: Store>(
    directory: &D,
    store: Option<&S>,
    task: &Task,
    settling: Option<SettlingWait<impl Future<Output = ()>>>,
    progress: &dyn Progress,
) -> Result<Vec<UserResult>, DirectoryError> {
    let mut accounts = directory.list().await?;
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    let named = |name: &String| task.selection.names.contains(name);
    let absent = task.selection.names.iter().filter(|name| !accounts.iter().any(|account| account.name == **name));
    let absent = absent.map(|name| UserResult { user: name.clone(), outcome: Outcome::Refused("no such user".into()) });
    let mut results: Vec<UserResult> = absent.collect();
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
            results.push(UserResult { user: account.name.clone(), outcome });
        }
    }
    match settling {
        None => results
            .extend(planned.iter().map(|account| UserResult { user: account.name.clone(), outcome: Outcome::Planned })),
        Some(settling) => {
            let (time, interrupted) = (settling.time, settling.interrupted.shared());
            let stop = async {
                // the other actions take moments
                if task.action.rotation().is_none() {
                    pending::<()>().await;
                }
                interrupted.clone().await;
            };
            results.extend(act(directory, store, task, &planned, progress, stop).await);
            // no replica writes a user that is not elastauth's yet
            if !matches!(task.action, Action::Adopt { .. }) {
                let settling = SettlingWait { time, interrupted };
                recheck::recheck(directory, store, task, settling, (&planned, &mut results), progress).await;
            }
        }
    }
    results.sort_by(|a, b| a.user.cmp(&b.user));
    Ok(results)
}
