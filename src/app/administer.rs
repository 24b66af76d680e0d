//! Does the work of the commands `elastauth cache` and `elastauth users`.

use std::future::Future;

use super::{Backend, Error};
use crate::config::{Cache, Settings};
use crate::credentials::purge::{self, Found};
use crate::credentials::seal::Seal;
use crate::credentials::{BackendStatus as _, Cluster, Day, Keys};
use crate::file::{self, FileStore};
use crate::memory::MemoryStore;
use crate::redis::RedisStore;
use crate::users::{self, Account, Directory as _, Progress, Selection, SettlingWait, Task, UserResult};

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
            Ok((users::run(directory, Some(&store), task, act, progress).await?, None))
        }
        Cache::File(file) => match FileStore::open(file) {
            Ok(store) => Ok((users::run(directory, Some(&store), task, act, progress).await?, None)),
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
