//! Does the work of the commands `elastauth cache`, `elastauth users` and `elastauth sessions`.

use std::future::Future;

use super::{Backend, Error};
use crate::config::{Cache, Settings};
use crate::credentials::purge::{self, Found};
use crate::credentials::seal::Seal;
use crate::credentials::{BackendStatus as _, Cluster, Day, Keys, StoreError};
use crate::file::{self, FileStore};
use crate::login::administer::{self, Listed, Selection as OfSessions};
use crate::memory::MemoryStore;
use crate::redis::RedisStore;
use crate::users::{self, Account, Action, Directory, Outcome, Progress, Selection, SettlingWait, Task, UserResult};

/// Finds the records that no key opens, and with `others` those of other clusters, and removes them if `act` agrees to what was
/// found. Returns what was found and how many records were removed.
pub async fn purge(
    settings: &Settings,
    others: bool,
    act: impl FnOnce(&Found) -> bool,
) -> Result<(Found, usize), Error> {
    let only = if others { Some(Backend::new(settings)?.ask_cluster().await) } else { None };
    match &settings.cache {
        Cache::Memory(_) => Err(Error::NoSharedCache),
        Cache::File(file) => purge_from(&FileStore::open(file)?, settings, only.as_ref(), act).await,
        Cache::Redis(redis) => purge_from(&RedisStore::new((**redis).clone()), settings, only.as_ref(), act).await,
    }
}

async fn purge_from<S: Keys>(
    store: &S,
    settings: &Settings,
    only: Option<&Cluster>,
    act: impl FnOnce(&Found) -> bool,
) -> Result<(Found, usize), Error> {
    let found = purge::find(store, &Seal::new(&settings.seal)?, only).await?;
    let removed = if act(&found) { purge::remove(store, &found.unreadable).await? } else { 0 };
    Ok((found, removed))
}

/// The sessions that are selected, by user and time.
pub async fn sessions(settings: &Settings, selection: &OfSessions) -> Result<Vec<Listed>, Error> {
    let seal = Seal::new(&settings.seal)?;
    match &settings.cache {
        Cache::Memory(_) => Err(Error::NoSharedCache),
        Cache::File(file) => Ok(administer::list(&FileStore::open(file)?, &seal, selection).await?),
        Cache::Redis(redis) => Ok(administer::list(&RedisStore::new((**redis).clone()), &seal, selection).await?),
    }
}

/// Ends the sessions that are selected; answers which those were, and how many of them were ended by this.
pub async fn end_sessions(settings: &Settings, selection: &OfSessions) -> Result<(Vec<Listed>, usize), Error> {
    match &settings.cache {
        Cache::Memory(_) => Err(Error::NoSharedCache),
        Cache::File(file) => end_in(&FileStore::open(file)?, settings, selection).await,
        Cache::Redis(redis) => end_in(&RedisStore::new((**redis).clone()), settings, selection).await,
    }
}

async fn end_in<S: Keys>(
    store: &S,
    settings: &Settings,
    selection: &OfSessions,
) -> Result<(Vec<Listed>, usize), Error> {
    let listed = administer::list(store, &Seal::new(&settings.seal)?, selection).await?;
    let ended = administer::end(store, &listed).await?;
    Ok((listed, ended))
}

/// Ends the sessions of the users that were disabled. A session that could not be ended is trouble for its user.
async fn end_of_disabled<S: Keys>(
    store: &S,
    settings: &Settings,
    task: &Task,
    results: &mut [UserResult],
) -> Result<(), Error> {
    let seal = match task.action {
        Action::Disable => Seal::new(&settings.seal)?,
        _ => return Ok(()),
    };
    let disabled = |result: &UserResult| matches!(result.outcome, Outcome::Done | Outcome::Unchanged(_));
    let ended: Result<_, StoreError> = async {
        let mut listed = administer::list(store, &seal, &OfSessions::All).await?;
        listed.retain(|session| {
            let of = |result: &&UserResult| result.user == session.username.as_str();
            results.iter().find(of).is_some_and(disabled)
        });
        administer::end(store, &listed).await
    }
    .await;
    if let Err(error) = ended {
        for result in results.iter_mut().filter(|result| disabled(result)) {
            result.outcome = Outcome::Failed(format!("done, but a session may still be there: {error}"));
        }
    }
    Ok(())
}

/// The users of this elastauth that are selected, by name.
pub async fn accounts(settings: &Settings, selection: &Selection, today: Day) -> Result<Vec<Account>, Error> {
    let backend = Backend::new(settings)?;
    let mut accounts = backend.directory().await?.list().await?;
    let ours = |account: &Account| account.stamp.as_ref().is_some_and(|stamp| stamp.cluster == settings.seal.cluster);
    accounts.retain(|account| ours(account) && selection.includes(account, today));
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(accounts)
}

/// Does the task, and waits for late writes until `act` resolves, by which the operator ends the wait; without `act`, only says what
/// it would do. Also returns a note about cached credentials that it cannot reach, if there are any.
pub async fn users(
    settings: &Settings,
    task: &Task,
    act: Option<impl Future<Output = ()>>,
    progress: &dyn Progress,
) -> Result<(Vec<UserResult>, Option<&'static str>), Error> {
    let act = act.map(|interrupted| SettlingWait { time: settings.credentials.settling, interrupted });
    let backend = Backend::new(settings)?;
    let directory = backend.directory().await?;
    let rotates = task.action.rotation().is_some();
    let unreachable = Some(if rotates {
        "an elastauth that runs has the cache to itself: it goes on with the former passwords, which the cluster refuses, \
         until it is restarted"
    } else {
        "the running elastauth has the cache to itself: it uses its cached credentials until cache.expiration, or until it \
         is restarted"
    });
    match &settings.cache {
        Cache::Redis(redis) => {
            let store = RedisStore::new((**redis).clone());
            Ok((users_in(&store, directory, settings, task, act, progress).await?, None))
        }
        Cache::File(file) => match FileStore::open(file) {
            Ok(store) => Ok((users_in(&store, directory, settings, task, act, progress).await?, None)),
            // it would go on with the former passwords, which the cluster refuses
            Err(error @ file::Error::InUse(_)) if rotates => Err(error.into()),
            Err(file::Error::InUse(_)) => {
                Ok((users::run(directory, None::<&FileStore>, task, act, progress).await?, unreachable))
            }
            Err(error) => Err(error.into()),
        },
        Cache::Memory(_) => Ok((users::run(directory, None::<&MemoryStore>, task, act, progress).await?, unreachable)),
    }
}

/// Does the task with the records and the sessions of this store.
async fn users_in<S: Keys>(
    store: &S,
    directory: &impl Directory,
    settings: &Settings,
    task: &Task,
    act: Option<SettlingWait<impl Future<Output = ()>>>,
    progress: &dyn Progress,
) -> Result<Vec<UserResult>, Error> {
    let acts = act.is_some();
    let mut results = users::run(directory, Some(store), task, act, progress).await?;
    if acts {
        end_of_disabled(store, settings, task, &mut results).await?;
    }
    Ok(results)
}
