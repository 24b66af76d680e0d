//! One round of writes: a look at each user, then all of them in one request, and again when another write came between.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::answers::Written;
use super::api::Api;
use super::queue::Job;
use crate::clock::jittered;
use crate::credentials::{Existing, InspectError, WriteError};

/// A look at a user holds this long; after waiting for other writes, or for a hash, the user is looked at again.
const LOOK_HOLDS: Duration = Duration::from_millis(250);
/// Looks at once.
const LOOKS: usize = 8;
/// After a conflict; doubles up to the second figure, and half of it is left to chance.
const BACK_OFF: Duration = Duration::from_millis(20);
const MAX_BACK_OFF: Duration = Duration::from_millis(640);

/// Writes some users and finishes each of them.
pub(super) struct Writer {
    pub(super) api: Api,
    /// A write that has less time than this is not begun.
    pub(super) least: Duration,
}

impl Writer {
    /// Where OpenSearch refuses a whole request for one user in it, the halves are tried, down to that user: the others
    /// must not suffer, and each hears what is said of it alone. A refused request makes nobody forget anything.
    pub(super) async fn write(&self, jobs: Vec<Job>) {
        let mut groups = vec![jobs];
        while let Some(group) = groups.pop() {
            if let Some(mut refused) = self.together(group).await {
                let half = refused.split_off(refused.len() / 2);
                groups.extend([half, refused]);
            }
        }
    }

    /// All in one request, repeated while others write at the same time. Gives back what has to be tried in parts.
    async fn together(&self, mut jobs: Vec<Job>) -> Option<Vec<Job>> {
        let mut back_off = BACK_OFF;
        loop {
            jobs = self.look(in_time(jobs, self.least)).await;
            let ends = jobs.iter().map(|job| job.ends).min()?;
            let limit = ends.saturating_duration_since(Instant::now());
            let written = match jobs.as_slice() {
                [only] => self.api.put(&only.user, &only.secret, limit).instrument(only.span.clone()).await,
                several => {
                    let users: Vec<_> = several.iter().map(|job| (&job.user, &job.secret)).collect();
                    self.api.patch(&users, limit).await
                }
            };
            match written {
                Written::Applied => {
                    tracing::debug!(users = jobs.len(), "Users written in one request");
                    finish(jobs, &Ok(()));
                    return None;
                }
                Written::Conflict(why) => {
                    let pause = jittered(back_off, 0.5..=1.0);
                    if Instant::now() + pause + self.least > ends {
                        // certainly not applied: the number of the document had moved on
                        finish(jobs, &Err(WriteError::Unavailable(why)));
                        return None;
                    }
                    tokio::time::sleep(pause).await;
                    back_off = (back_off * 2).min(MAX_BACK_OFF);
                    for job in &mut jobs {
                        // whoever came between may have written this user
                        job.looked = None;
                    }
                }
                Written::Refused(_) if jobs.len() > 1 => return Some(jobs),
                Written::Refused(error) | Written::Failed(error) => {
                    finish(jobs, &Err(error));
                    return None;
                }
            }
        }
    }

    /// Keeps those that may be written.
    async fn look(&self, jobs: Vec<Job>) -> Vec<Job> {
        let looks = stream::iter(jobs).map(|job| self.look_at(job)).buffered(LOOKS);
        looks.filter_map(std::future::ready).collect().await
    }

    async fn look_at(&self, mut job: Job) -> Option<Job> {
        if job.looked.is_some_and(|looked| looked.elapsed() < LOOK_HOLDS) {
            return Some(job);
        }
        let looked = Instant::now();
        let limit = job.ends.saturating_duration_since(looked);
        let look = self.api.look(&job.user.username, &job.user.owner, &job.user.context, limit);
        let found = look.instrument(job.span.clone()).await;
        let error = match found {
            Ok(Existing::Absent) if job.secret.is_kept() => WriteError::Missing,
            // written by another replica while it waited here: its flight agrees on that first
            Ok(Existing::Ours(Some(stamp))) if job.user.is_outranked_by(&stamp) => WriteError::Outranked,
            Ok(Existing::Absent | Existing::Ours(_)) => {
                job.looked = Some(looked);
                return Some(job);
            }
            Err(InspectError::Refused(refused)) => WriteError::Refused { refused, detail: "found so".into() },
            Err(InspectError::Unavailable(why)) => WriteError::Unavailable(why),
        };
        job.finish(Err(error));
        None
    }
}

fn finish(jobs: Vec<Job>, result: &Result<(), WriteError>) {
    for job in jobs {
        job.finish(result.clone());
    }
}

fn in_time(jobs: Vec<Job>, least: Duration) -> Vec<Job> {
    let (late, jobs): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.is_late(least));
    finish(late, &Err(WriteError::Unavailable("too many writes came before this one".into())));
    jobs
}
