//! Background work for records in use: their life is extended, their password is tried, and replaced before it is too old, they
//! are sealed with the present key, a change of roles that Elasticsearch did not take is written, and the store is shown that they
//! are in use.
//!
//! A write that its sender gave up can still be applied, even after a newer one; a fail-over may bring back an older record;
//! an administrator may change a password by hand. So a ready record is confirmed by a login at its first use after the
//! settling time, and again at intervals.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::limits::{SEALED_JUST_NOW, between_repairs};
use super::run::{Purpose, fresh};
use super::shared::Shared;
use super::{Broker, Error};
use crate::clock::now_millis;
use crate::credentials::near_cache::CachedCredential;
use crate::credentials::record::{Phase, Record, Written};
use crate::credentials::schedule::{BETWEEN_TOUCHES, MaintenanceSchedule, RETRY, TaskTime};
use crate::credentials::stored::Current;
use crate::credentials::{
    CacheKey, Caller, Day, Existing, InspectError, Login, OtherWriter, Provisioner, RequestContext, Store,
};
use crate::identity::Identity;
use crate::roles::Roles;

/// A failed task is repeated after this part of the settling time: after 30 s by default.
const RETRIES_PER_SETTLING: u32 = 3;
/// A record with no more than this left is soon written anew, and the day with it.
const RENEWED_ANYWAY: Duration = Duration::from_secs(3600);

/// The result of a confirmation.
#[derive(Debug, PartialEq, Eq)]
enum Confirmation {
    /// Elasticsearch has what was agreed.
    Right,
    /// Elasticsearch has what was agreed, and a day in the user's metadata that has passed.
    OldDay,
    /// Elasticsearch has another password, or with this one another stamp or fewer roles: these.
    Wrong(Option<Roles>),
    /// There was no clear answer: a later use tries again.
    Unknown,
}

impl<S: Store, P: Provisioner> Broker<S, P> {
    /// Starts those tasks of a record in use that are due.
    pub(super) fn maintain(&self, caller: &Caller, cached: &Arc<CachedCredential>) {
        let schedule = &cached.maintenance;
        let elapsed = cached.current.at.elapsed();
        let retry = self.shared.settings.settling / RETRIES_PER_SETTLING;
        if schedule.extend.begin(elapsed, retry) {
            let (shared, key, cached) = (Arc::clone(&self.shared), caller.key.clone(), Arc::clone(cached));
            self.shared.background.spawn(async move {
                if let Some(life) = shared.longer_life(&cached.current) {
                    shared.rewrite(&key, &cached.current, None, life).await;
                }
            });
        }
        if schedule.seal.begin(elapsed, retry) && self.shared.limits.sealed.begin(&caller.key, SEALED_JUST_NOW) {
            let (shared, key, cached) = (Arc::clone(&self.shared), caller.key.clone(), Arc::clone(cached));
            self.shared.background.spawn(async move {
                shared.rewrite(&key, &cached.current, None, cached.current.life_left()).await;
            });
        }
        if schedule.touch.begin(elapsed, BETWEEN_TOUCHES) {
            let (shared, key) = (Arc::clone(&self.shared), caller.key.clone());
            self.shared.background.spawn(async move { shared.touch(&key).await });
        }
        if schedule.confirm.begin(elapsed, retry) {
            let (broker, caller, cached) = (self.handle(), caller.clone(), Arc::clone(cached));
            self.shared.background.spawn(async move { broker.confirm_in_use(&caller, &cached).await });
        }
        if schedule.write.begin(elapsed, RETRY) {
            let purpose = Purpose::Obtain(self.shared.dated(&caller.entitlement));
            self.write_in_background(caller, cached, |schedule| &schedule.write, purpose);
        }
        if schedule.rotate.begin(elapsed, retry)
            && let Ok(fresh) = fresh()
        {
            let purpose = Purpose::Rotate(cached.current.written.record.clone(), fresh);
            self.write_in_background(caller, cached, |schedule| &schedule.rotate, purpose);
        }
    }

    /// Starts a run of this purpose, unless enough of them are under way: then the next use tries again.
    fn write_in_background(
        &self,
        caller: &Caller,
        cached: &Arc<CachedCredential>,
        task: impl FnOnce(&MaintenanceSchedule) -> &TaskTime,
        purpose: Purpose,
    ) {
        if self.shared.refusals.get(caller.identity()).is_some() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.shared.limits.writes).try_acquire_owned() else {
            task(&cached.maintenance).postpone_to_next_use();
            return;
        };
        let run = self.join_run(&caller.key, purpose, caller.identity(), &RequestContext::default(), None);
        let username = caller.identity().username.clone();
        self.shared.background.spawn(async move {
            if let Err(error) = run.await {
                tracing::debug!(user = username.as_str(), %error, "The user was not written in the background");
            }
            drop(permit);
        });
    }

    /// Tries the record's password, and has the record written once more where Elasticsearch does not have what was agreed.
    async fn confirm_in_use(&self, caller: &Caller, cached: &CachedCredential) {
        let (shared, key, identity, current) = (&self.shared, &caller.key, caller.identity(), &cached.current);
        let Ok(_permit) = shared.limits.confirmations.try_acquire() else {
            cached.maintenance.confirm.postpone_to_next_use();
            return;
        };
        let record = &current.written.record;
        let write_again = |in_force| {
            let purpose = Purpose::WriteAgain(record.clone(), in_force);
            self.join_run(key, purpose, identity, &RequestContext::default(), None)
        };
        match shared.confirm(current, identity).await {
            Confirmation::OldDay => {
                if let Err(error) = write_again(Some(record.roles.clone())).await {
                    tracing::debug!(user = identity.username.as_str(), %error, "The day was not written");
                }
            }
            Confirmation::Right => {
                shared.rewrite(key, current, Some(Phase::Confirmed), current.life_left()).await;
            }
            Confirmation::Wrong(in_force) => shared.repair(key, identity, write_again(in_force)).await,
            Confirmation::Unknown => {}
        }
    }
}

impl<S: Store, P: Provisioner> Shared<S, P> {
    /// Shows the store that the record is in use: hits in the near cache do not. Where too many others are at it, this one's turn
    /// comes with a later use.
    async fn touch(&self, key: &CacheKey) {
        let Ok(_permit) = self.limits.touches.try_acquire() else { return };
        if let Err(error) = self.store.touch(key).await {
            tracing::debug!(cacheKey = key.as_str(), %error, "The store was not shown that the record is in use");
        }
    }

    /// Writes the record once more, unless that was done just now: then something else writes the user, and the log says so,
    /// with the other elastauth where there is one.
    async fn repair<F>(&self, key: &CacheKey, identity: &Identity, write_again: F)
    where
        F: Future<Output = Result<Record, Error>>,
    {
        let user = identity.username.as_str();
        let first = self.limits.repaired.begin(key, between_repairs(&self.settings));
        match self.provisioner.other_writer(&identity.username).await {
            Ok(Some(OtherWriter { theirs, ours })) => tracing::error!(
                user,
                other_cache = theirs,
                this_cache = ours,
                "An elastauth with another cache wrote this user: each locks the other's users out. Give all of them one \
                 cache (cache.type: redis, the same redis_host and redis_db) and one secret_key, or each a cluster of its \
                 own. (What other_cache shows is a digest of that cache's name.)"
            ),
            Ok(None) | Err(_) if first => {
                tracing::warn!(user, "Elasticsearch does not have what was agreed: the user is written again");
            }
            Ok(None) | Err(_) => tracing::error!(
                user,
                "Elasticsearch again does not have what was agreed: an administrator or another program also writes this \
                 user. Find it and stop it; until then Elasticsearch may refuse the user's requests"
            ),
        }
        if first && let Err(error) = write_again.await {
            tracing::warn!(user, %error, "The user was not repaired");
        }
    }

    /// Whether a new day in Elasticsearch is worth a write: a record that ends soon is written anew anyway.
    fn outlives_the_day(&self, current: &Current) -> bool {
        self.settings.extend || current.remaining > RENEWED_ANYWAY
    }

    async fn confirm(&self, current: &Current, identity: &Identity) -> Confirmation {
        let record = &current.written.record;
        match self.provisioner.log_in(&identity.username, &record.password).await {
            Ok(login @ Login::Accepted { seen, .. }) if login.shows(&record.standing()) => {
                let passed = seen.is_some_and(|day| day < Day::of(now_millis()));
                if passed && self.outlives_the_day(current) { Confirmation::OldDay } else { Confirmation::Right }
            }
            Ok(Login::Accepted { roles, .. }) => Confirmation::Wrong(Some(roles)),
            // Elasticsearch also answers 401 while its security index is unavailable: the administrator must be able to see
            // the user, or to see that it is gone
            Ok(Login::Rejected) => {
                match self.provisioner.inspect(&identity.username, &record.owner, &RequestContext::default()).await {
                    Ok(Existing::Ours(_) | Existing::Absent) => Confirmation::Wrong(None),
                    Err(InspectError::Refused(refused)) => {
                        tracing::warn!(
                            user = identity.username.as_str(),
                            error = %refused,
                            "The user's password could not be confirmed"
                        );
                        Confirmation::Unknown
                    }
                    Err(InspectError::Unavailable(_)) => Confirmation::Unknown,
                }
            }
            Err(error) => {
                tracing::debug!(
                    user = identity.username.as_str(),
                    %error,
                    "The user's password could not be confirmed"
                );
                Confirmation::Unknown
            }
        }
    }

    /// Writes the same record with another life, and in another phase if one is given. If that fails, a later use tries again.
    async fn rewrite(&self, key: &CacheKey, current: &Current, phase: Option<Phase>, life: Duration) {
        let record = &current.written.record;
        let (record, aged) = match phase {
            Some(phase) => (record.in_phase(phase), Duration::ZERO),
            // a phase goes on ageing when only its life is extended
            None => (record.clone(), current.age()),
        };
        // the password is the same either way: where this fails, the cached entry stays, and serves while the store does not answer
        if let Err(error) = self.write_aged(key, current, record, aged, life).await {
            tracing::debug!(%error, "The record was not rewritten");
        }
    }

    /// Writes a record over the same user's that was read, with this age of its phase and this life.
    pub(super) async fn write_aged(
        &self,
        key: &CacheKey,
        current: &Current,
        record: Record,
        aged: Duration,
        life: Duration,
    ) -> Result<(), Error> {
        let cluster = self.provisioner.cluster().or_as(&current.written.cluster);
        let written = Written { record, life, aged, cluster, unknown: current.written.unknown.clone() };
        let bytes = self.sealed(key, &written)?;
        self.store.replace(key, &current.bytes, &bytes, life.max(Duration::from_millis(1))).await?;
        self.near_cache.invalidate(key);
        Ok(())
    }
}
