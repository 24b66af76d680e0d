//! Changes of records, as Redis tells them: `CLIENT TRACKING ON BCAST PREFIX elastauth-` over RESP3, on a connection of its
//! own to every master. A change is told by the master that owns the key, so that all of them must be there.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value};
use tokio::sync::watch;

use super::client::RedisClient;
use super::connect::Greeting;
use super::node::CommandError;
use super::rights::Rights;
use crate::credentials::Invalidations;

/// Between two signs of life: a connection that is dead without saying so is noticed after this and a command's time-out.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// Between two attempts, doubling up to the second figure.
const BACK_OFF: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(5);
/// Where the server refuses tracking, an administrator may grant it later.
const REFUSED_BACK_OFF: Duration = Duration::from_secs(60);

/// How the lines ended.
enum Ended {
    /// A server does not let us.
    Refused,
    /// They were up, or not even that.
    Lost { was_up: bool, why: String },
}

fn lost(was_up: bool, why: impl ToString) -> Ended {
    Ended::Lost { was_up, why: why.to_string() }
}

/// Keeps the lines up for ever.
pub(super) async fn run(servers: &RedisClient, rights: &Rights, invalidations: Arc<Invalidations>) {
    let mut back_off = BACK_OFF;
    loop {
        match session(servers, rights, &invalidations).await {
            Ended::Refused => {
                invalidations.unavailable();
                back_off = REFUSED_BACK_OFF;
            }
            Ended::Lost { was_up, why } => {
                invalidations.lost();
                if was_up {
                    back_off = BACK_OFF;
                }
                tracing::debug!(why, "Redis does not tell of changes now");
            }
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(MAX_BACK_OFF);
    }
}

/// From the beginning of all lines to the end of the first.
async fn session(servers: &RedisClient, rights: &Rights, invalidations: &Arc<Invalidations>) -> Ended {
    let mut changes = servers.changes.subscribe();
    let masters = match servers.masters(&mut changes).await {
        Ok(masters) if masters.is_empty() => return lost(false, "no master is known"),
        Ok(masters) => masters,
        Err(CommandError::Refused(_)) => {
            rights.without_map();
            return Ended::Refused;
        }
        Err(why) => return lost(false, why),
    };
    let (gone, mut going) = watch::channel(false);
    let lines = masters.iter().map(|master| async {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(servers.settings.command_timeout))
            .set_push_sender(listener(invalidations, &gone));
        let mut line = master.connect(&servers.connector, &config).await.map_err(|error| error.to_string())?;
        let seen = Rights::ask(&mut line).await?;
        Ok::<_, String>((line, seen))
    });
    let (mut lines, seen): (Vec<_>, Vec<_>) = match try_join_all(lines).await {
        Ok(lines) => lines.into_iter().unzip(),
        Err(why) => return lost(false, why),
    };
    if !rights.are(&seen) {
        return Ended::Refused;
    }
    invalidations.begun();
    tracing::debug!("Redis tells of changes");
    loop {
        tokio::select! {
            biased;
            _ = going.changed() => return lost(true, "a connection is closed"),
            _ = changes.changed() => return lost(true, "another server is a master now"),
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        if let Err(why) = try_join_all(lines.iter_mut().map(still_master)).await {
            return lost(true, why);
        }
    }
}

/// Passes on what is told.
fn listener(
    invalidations: &Arc<Invalidations>,
    gone: &watch::Sender<bool>,
) -> impl Fn(PushInfo) -> Result<(), Infallible> + use<> {
    let (invalidations, gone) = (Arc::clone(invalidations), gone.clone());
    move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            // at once, before anybody is served what may have changed since
            invalidations.lost();
            gone.send_replace(true);
        } else if push.kind == PushKind::Invalidate {
            invalidate(&invalidations, &push.data);
        }
        Ok(())
    }
}

async fn still_master(line: &mut MultiplexedConnection) -> Result<(), String> {
    if Greeting::ask(line).await?.master { Ok(()) } else { Err("it is the master no longer".into()) }
}

/// The keys, or null after a flush.
fn invalidate(invalidations: &Invalidations, data: &[Value]) {
    for value in data {
        match value {
            Value::Array(keys) => {
                for key in keys {
                    match key {
                        Value::BulkString(key) => invalidations.changed(key),
                        Value::SimpleString(key) => invalidations.changed(key.as_bytes()),
                        _ => invalidations.all_changed(),
                    }
                }
            }
            _ => invalidations.all_changed(),
        }
    }
}
