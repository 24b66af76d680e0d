//! Writes some users in one request after inspecting each, and again when another write came between.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::api::Api;
use super::outcome::WriteOutcome;
use super::queue::Job;
use crate::clock::jittered;
use crate::credentials::{Existing, InspectError, Ours, WriteError};

/// How long an inspection stays valid: a user that waited longer, for other writes or for a hash, is inspected again.
const INSPECTION_VALID: Duration = Duration::from_millis(250);
/// How many users are inspected at the same time.
const INSPECTIONS: usize = 8;
/// The pause after a conflict. It doubles up to the second figure, and up to half of it is left out by chance.
const BACK_OFF: Duration = Duration::from_millis(20);
const MAX_BACK_OFF: Duration = Duration::from_millis(640);

/// Writes users and gives each its result.
pub(super) struct Writer {
    pub(super) api: Api,
    /// A write that has less time than this is not begun.
    pub(super) least: Duration,
}

impl Writer {
    /// OpenSearch refuses a whole request for one user in it. Then the halves are tried, down to that user, so that the
    /// others are written and each gets its own result. After a refused request no node forgets any login.
    pub(super) async fn write(&self, jobs: Vec<Job>) {
        let mut groups = vec![jobs];
        while let Some(group) = groups.pop() {
            if let Some(mut refused) = self.together(group).await {
                let half = refused.split_off(refused.len() / 2);
                groups.extend([half, refused]);
            }
        }
    }

    /// Writes all in one request, which is repeated after conflicts. Gives back those that have to be tried in parts.
    async fn together(&self, mut jobs: Vec<Job>) -> Option<Vec<Job>> {
        let mut back_off = BACK_OFF;
        loop {
            jobs = self.inspect(in_time(jobs, self.least)).await;
            let ends = jobs.iter().map(|job| job.ends).min()?;
            let limit = ends.saturating_duration_since(Instant::now());
            let outcome = match jobs.as_slice() {
                [only] => self.api.put(&only.user, &only.password, limit).instrument(only.span.clone()).await,
                several => {
                    let users: Vec<_> = several.iter().map(|job| (&job.user, &job.password)).collect();
                    self.api.patch(&users, limit).await
                }
            };
            match outcome {
                WriteOutcome::Applied => {
                    tracing::debug!(users = jobs.len(), "Users written in one request");
                    finish(jobs, &Ok(()));
                    return None;
                }
                WriteOutcome::Conflict(why) => {
                    let pause = jittered(back_off, 0.5..=1.0);
                    if Instant::now() + pause + self.least > ends {
                        // certainly not applied: the document had another version by then
                        finish(jobs, &Err(WriteError::Unavailable(why)));
                        return None;
                    }
                    tokio::time::sleep(pause).await;
                    back_off = (back_off * 2).min(MAX_BACK_OFF);
                    for job in &mut jobs {
                        // the write that came between may have been of this user
                        job.inspected_at = None;
                    }
                }
                WriteOutcome::Refused(_) if jobs.len() > 1 => return Some(jobs),
                WriteOutcome::Refused(error) | WriteOutcome::Failed(error) => {
                    finish(jobs, &Err(error));
                    return None;
                }
            }
        }
    }

    /// Inspects the users and gives back those that may be written.
    async fn inspect(&self, jobs: Vec<Job>) -> Vec<Job> {
        let inspected = stream::iter(jobs).map(|job| self.inspect_one(job)).buffered(INSPECTIONS);
        inspected.filter_map(std::future::ready).collect().await
    }

    async fn inspect_one(&self, mut job: Job) -> Option<Job> {
        if job.inspected_at.is_some_and(|at| at.elapsed() < INSPECTION_VALID) {
            return Some(job);
        }
        let now = Instant::now();
        let limit = job.ends.saturating_duration_since(now);
        let inspection = self.api.inspect(&job.user.username, &job.user.owner, &job.user.context, limit);
        let found = inspection.instrument(job.span.clone()).await;
        let error = match found {
            Ok(Existing::Absent) if job.password.is_unchanged() => WriteError::Missing,
            // another replica wrote it while it waited here: the run that asked for this write has to agree on that first
            Ok(Existing::Ours(Ours { standing: Some(stamp), .. })) if job.user.is_outranked_by(&stamp) => {
                WriteError::Outranked
            }
            Ok(Existing::Absent | Existing::Ours(_)) => {
                job.inspected_at = Some(now);
                return Some(job);
            }
            Err(InspectError::Refused(refused)) => {
                WriteError::Refused { refused, detail: "found before the write".into() }
            }
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
    finish(late, &Err(WriteError::Unavailable("there were too many writes before this one".into())));
    jobs
}
