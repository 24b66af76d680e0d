//! Changes of records, as Redis tells them: `CLIENT TRACKING ON BCAST PREFIX elastauth-` over RESP3, on a connection of its
//! own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value, cmd};
use tokio::sync::watch;

use super::connect::{Connector, Greeting, reason};
use super::node::lacks_permission;
use super::{PREFIX, Settings};
use crate::credentials::near::Link;

/// Between two signs of life: a connection that is dead without saying so is noticed after this and a command's time-out.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// Between two attempts, doubling up to the second figure.
const BACK_OFF: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(5);
/// Where the server refuses tracking, an administrator may grant it later.
const REFUSED_BACK_OFF: Duration = Duration::from_secs(60);

/// How the line ended.
enum Ended {
    /// The server does not let us.
    Refused,
    /// It was up, or not even that.
    Lost { was_up: bool, why: String },
}

/// Keeps the line up for ever.
pub(super) async fn run(connector: &Connector, settings: &Settings, no_scripting: &AtomicBool, link: Arc<Link>) {
    let mut back_off = BACK_OFF;
    let mut told = Vec::new();
    loop {
        match session(connector, settings, no_scripting, &mut told, &link).await {
            Ended::Refused => {
                link.unavailable();
                back_off = REFUSED_BACK_OFF;
            }
            Ended::Lost { was_up, why } => {
                link.lost();
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

/// One connection, from its beginning to its end.
async fn session(
    connector: &Connector,
    settings: &Settings,
    no_scripting: &AtomicBool,
    told: &mut Vec<&'static str>,
    link: &Arc<Link>,
) -> Ended {
    let lost = |was_up, why: String| Ended::Lost { was_up, why };
    let (gone, mut going) = watch::channel(false);
    let pushes = Arc::clone(link);
    let pushed = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            // at once, before anybody is served what may have changed since
            pushes.lost();
            gone.send_replace(true);
        } else if push.kind == PushKind::Invalidate {
            invalidate(&pushes, &push.data);
        }
        Ok::<(), std::convert::Infallible>(())
    };
    let config =
        AsyncConnectionConfig::new().set_response_timeout(Some(settings.command_timeout)).set_push_sender(pushed);
    let mut connection = match connector.connect_with(&settings.address, config).await {
        Ok((connection, _)) => connection,
        Err(error) => return lost(false, error.to_string()),
    };
    let mut missing = Vec::new();
    match permitted(cmd("EVAL").arg("return 1").arg(1).arg(PREFIX), &mut connection).await {
        Ok(permitted) => {
            no_scripting.store(!permitted, Ordering::Relaxed);
            if !permitted {
                missing.extend(["+eval", "+evalsha"]);
            }
        }
        Err(why) => return lost(false, why),
    }
    let tracking = &["TRACKING", "ON", "BCAST", "PREFIX", PREFIX];
    let tracked = match permitted(cmd("CLIENT").arg(tracking), &mut connection).await {
        Ok(permitted) => permitted,
        Err(why) => return lost(false, why),
    };
    if !tracked {
        missing.push("+client|tracking");
    }
    say(&missing, told);
    if !tracked {
        return Ended::Refused;
    }
    link.begun();
    tracing::debug!("Redis tells of changes");
    loop {
        tokio::select! {
            _ = going.changed() => return lost(true, "the connection is closed".into()),
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        match Greeting::ask(&mut connection).await {
            Ok(greeting) if greeting.master => {}
            Ok(_) => return lost(true, "it is the master no longer".into()),
            Err(why) => return lost(true, why),
        }
    }
}

/// Whether the server does this for us.
async fn permitted(command: &redis::Cmd, connection: &mut MultiplexedConnection) -> Result<bool, String> {
    match command.query_async::<Value>(connection).await {
        Ok(_) => Ok(true),
        Err(error) if lacks_permission(&error) => Ok(false),
        Err(error) => Err(reason(&error)),
    }
}

/// Once, what to grant for the full guarantees.
fn say(missing: &[&'static str], told: &mut Vec<&'static str>) {
    if missing == told.as_slice() {
        return;
    }
    *told = missing.to_vec();
    if !missing.is_empty() {
        let grant = missing.join(" ");
        tracing::warn!(
            grant,
            "The Redis user may not do all that helps: without +eval and +evalsha compare-and-set finds out late what it \
             overwrote; without +client|tracking a change by another replica is noticed after up to two seconds"
        );
    }
}

/// The keys, or null after a flush.
fn invalidate(link: &Link, data: &[Value]) {
    for value in data {
        match value {
            Value::Array(keys) => {
                for key in keys {
                    match key {
                        Value::BulkString(key) => link.changed(key),
                        Value::SimpleString(key) => link.changed(key.as_bytes()),
                        _ => link.all_changed(),
                    }
                }
            }
            _ => link.all_changed(),
        }
    }
}
