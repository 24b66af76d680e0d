//! Changes of records, as Redis tells them: `CLIENT TRACKING ON BCAST PREFIX elastauth-` over RESP3, on a connection of its
//! own.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError, Value, cmd};
use tokio::sync::watch;

use crate::credentials::near::Link;

/// Between two signs of life: a connection that is dead without saying so is noticed after this and a command's time-out.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Between two attempts, doubling up to the second figure.
const BACK_OFF: Duration = Duration::from_millis(100);
const MAX_BACK_OFF: Duration = Duration::from_secs(5);
/// Where the server refuses tracking, an administrator may grant it later.
const REFUSED_BACK_OFF: Duration = Duration::from_secs(60);

/// How the line ended.
enum Ended {
    /// The server does not let us.
    Refused(RedisError),
    /// It was up, or not even that.
    Lost { was_up: bool, why: String },
}

/// Keeps the line up for ever.
pub(super) async fn run(client: Client, connect: Duration, command: Duration, link: Arc<Link>) {
    let (mut back_off, mut warned) = (BACK_OFF, false);
    loop {
        let ended = session(&client, connect, command, &link).await;
        match ended {
            Ended::Refused(error) => {
                link.unavailable();
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(
                        error = super::kind(&error),
                        "Redis does not tell of changes; grant +client|tracking"
                    );
                }
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
async fn session(client: &Client, connect: Duration, command: Duration, link: &Arc<Link>) -> Ended {
    let lost = |was_up, why: String| Ended::Lost { was_up, why };
    let (gone, mut going) = watch::channel(false);
    let told = Arc::clone(link);
    let pushed = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection {
            // at once, before anybody is served what may have changed since
            told.lost();
            gone.send_replace(true);
        } else if push.kind == PushKind::Invalidate {
            invalidate(&told, &push.data);
        }
        Ok::<(), std::convert::Infallible>(())
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(connect))
        .set_response_timeout(Some(command))
        .set_push_sender(pushed);
    let mut connection = match client.get_multiplexed_async_connection_with_config(&config).await {
        Ok(connection) => connection,
        Err(error) => return lost(false, super::kind(&error)),
    };
    let mut tracking = cmd("CLIENT");
    tracking.arg(&["TRACKING", "ON", "BCAST", "PREFIX", super::PREFIX]);
    match tracking.query_async::<()>(&mut connection).await {
        Ok(()) => {}
        Err(error) if super::refused(&error) => return Ended::Refused(error),
        Err(error) => return lost(false, super::kind(&error)),
    }
    link.begun();
    tracing::debug!("Redis tells of changes");
    loop {
        tokio::select! {
            _ = going.changed() => return lost(true, "the connection is closed".into()),
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        if let Err(error) = heartbeat(&mut connection).await {
            return lost(true, super::kind(&error));
        }
    }
}

/// `PING` is refused by narrow ACLs.
async fn heartbeat(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    cmd("GET").arg(super::PREFIX).query_async::<Value>(connection).await.map(|_| ())
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
