//! Receives Redis's reports of changed records: `CLIENT TRACKING ON BCAST PREFIX elastauth-` over RESP3, on a connection of its
//! own to every master. Each master reports changes of its own keys, so that the connections to all of them must be up.
//!
//! Each connection is asked again and again whether it is up. Redis answers on it in the order in which it reports, and redis-rs
//! passes a report on before it completes a later answer. So an answer shows that every change from before the question has been
//! passed on, and what this process keeps may be trusted for a while ([`Invalidations`]).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value};
use tokio::sync::watch;

use super::client::RedisClient;
use super::connect::Hello;
use super::node::CommandError;
use super::rights::Rights;
use crate::clock::BootTime;
use crate::credentials::Invalidations;

/// Between an answer and the next question.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How much longer than `cache.redis_command_timeout` an answer may take on a machine that is busy: this process may get to
/// send the question, and to read the answer, late.
const BUSY: Duration = Duration::from_millis(500);

/// How long what is kept may be trusted after a question that was answered: a second and a half by default. Where answers come
/// within the time-out of commands, the next one comes before the end, with `BUSY` to spare.
fn trusted_for(command_timeout: Duration) -> Duration {
    command_timeout + HEARTBEAT + command_timeout + BUSY
}

/// The pause before the next attempt, which doubles with each failure up to `MAX_BACK_OFF`.
const BACK_OFF: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(5);
/// The pause after a server refused tracking: an administrator may grant it later.
const REFUSED_BACK_OFF: Duration = Duration::from_secs(60);

/// How one session, from connecting to the first lost connection, ended.
enum SessionEnd {
    /// A server does not permit tracking, or the map of the cluster.
    Refused,
    /// A connection was lost, or could not be made. `was_up` says whether all of them had been up.
    Lost { was_up: bool, why: String },
}

fn lost(was_up: bool, why: impl ToString) -> SessionEnd {
    SessionEnd::Lost { was_up, why: why.to_string() }
}

/// Keeps the connections up, and reports changes and outages to `invalidations`, for as long as the process lives.
pub(super) async fn run(servers: &Arc<RedisClient>, rights: &Rights, invalidations: Arc<Invalidations>) {
    let mut back_off = BACK_OFF;
    loop {
        match session(servers, rights, &invalidations).await {
            SessionEnd::Refused => {
                invalidations.unavailable();
                back_off = REFUSED_BACK_OFF;
            }
            SessionEnd::Lost { was_up, why } => {
                invalidations.lost();
                if was_up {
                    back_off = BACK_OFF;
                }
                tracing::debug!(why, "Redis does not report changes at present");
            }
        }
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(MAX_BACK_OFF);
    }
}

/// Connects to all masters, and returns when the first connection is lost.
async fn session(servers: &Arc<RedisClient>, rights: &Rights, invalidations: &Arc<Invalidations>) -> SessionEnd {
    let mut changes = servers.changes.subscribe();
    let masters = match servers.masters(&mut changes).await {
        Ok(masters) if masters.is_empty() => return lost(false, "no master is known"),
        Ok(masters) => masters,
        Err(CommandError::Refused(_)) => {
            rights.without_map();
            return SessionEnd::Refused;
        }
        Err(why) => return lost(false, why),
    };
    let (disconnect, mut disconnected) = watch::channel(false);
    let command_timeout = servers.settings.command_timeout;
    let mut asked = BootTime::now();
    let connecting = masters.iter().map(|master| async {
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(Some(command_timeout + BUSY))
            .set_push_sender(listener(invalidations, &disconnect));
        let mut connection = master.connect(&servers.connector, &config).await.map_err(|error| error.to_string())?;
        let permitted = Rights::ask(&mut connection).await?;
        Ok::<_, String>((connection, permitted))
    });
    let (mut connections, permitted): (Vec<_>, Vec<_>) = match try_join_all(connecting).await {
        Ok(connected) => connected.into_iter().unzip(),
        Err(why) => return lost(false, why),
    };
    if !rights.update(&permitted) {
        return SessionEnd::Refused;
    }
    // before, so that what a connection of before read is not taken for fresh
    servers.renew_after_first();
    // connecting may have taken longer than that: the first heartbeat is sent at once
    invalidations.begun_until(asked + trusted_for(command_timeout));
    tracing::debug!("Redis reports changes");
    loop {
        asked = BootTime::now();
        if let Err(why) = try_join_all(connections.iter_mut().map(still_master)).await {
            return lost(true, why);
        }
        invalidations.renewed(asked + trusted_for(command_timeout));
        tokio::select! {
            biased;
            _ = disconnected.changed() => return lost(true, "a connection is closed"),
            _ = changes.changed() => return lost(true, "another server is a master now"),
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
    }
}

/// The receiver of a connection's push messages, called by redis-rs.
fn listener(
    invalidations: &Arc<Invalidations>,
    disconnect: &watch::Sender<bool>,
) -> impl Fn(PushInfo) -> Result<(), Infallible> + use<> {
    let (invalidations, disconnect) = (Arc::clone(invalidations), disconnect.clone());
    move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            // at once: the next request must not be answered from an entry that may have changed since
            invalidations.lost();
            disconnect.send_replace(true);
        } else if push.kind == PushKind::Invalidate {
            invalidate(&invalidations, &push.data);
        }
        Ok(())
    }
}

async fn still_master(connection: &mut MultiplexedConnection) -> Result<(), String> {
    if Hello::ask(connection).await?.master { Ok(()) } else { Err("the server is the master no longer".into()) }
}

/// Passes on the content of an `invalidate` message: the changed keys, or null after a flush of the database.
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
