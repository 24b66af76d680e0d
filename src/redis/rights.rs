//! What the ACL permits beyond reading and writing records: scripts, and reports of changes. Both are optional.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value, cmd};

use super::connect::{lacks_permission, reason};

/// The beginning of all keys that elastauth uses, which the documented ACL line names.
pub(super) const PREFIX: &str = "elastauth-";

/// What the servers permitted when they were last asked.
#[derive(Default)]
pub(super) struct Rights {
    /// Scripts are refused: compare-and-set falls back to `SET … XX GET`.
    no_scripts: AtomicBool,
    /// The missing rights that were logged last, so that the log says it once.
    logged: Mutex<String>,
}

/// What one server permits.
#[derive(Clone, Copy)]
pub(super) struct Permitted {
    scripts: bool,
    tracking: bool,
}

impl Rights {
    pub(super) fn scripts(&self) -> bool {
        !self.no_scripts.load(Ordering::Relaxed)
    }

    pub(super) fn without_scripts(&self) {
        self.no_scripts.store(true, Ordering::Relaxed);
    }

    /// Runs a script that does nothing, and switches tracking on for this connection.
    pub(super) async fn ask(connection: &mut MultiplexedConnection) -> Result<Permitted, String> {
        let scripts = permitted(cmd("EVAL").arg("return 1").arg(1).arg(PREFIX), connection).await?;
        let tracking = ["TRACKING", "ON", "BCAST", "PREFIX", PREFIX];
        let tracking = permitted(cmd("CLIENT").arg(&tracking), connection).await?;
        Ok(Permitted { scripts, tracking })
    }

    /// Remembers what every one of the servers permits, and returns whether all of them report changes.
    pub(super) fn update(&self, servers: &[Permitted]) -> bool {
        let scripts = servers.iter().all(|server| server.scripts);
        let tracking = servers.iter().all(|server| server.tracking);
        self.no_scripts.store(!scripts, Ordering::Relaxed);
        let grants = [(scripts, "+eval +evalsha"), (tracking, "+client|tracking")];
        let missing: Vec<_> = grants.into_iter().filter(|(there, _)| !there).map(|(_, grant)| grant).collect();
        self.log(&missing.join(" "));
        tracking
    }

    /// Logs what to grant in a cluster that refuses its map of slots.
    pub(super) fn without_map(&self) {
        self.log("+cluster|slots +asking +eval +evalsha +client|tracking");
    }

    /// Logs, once for each set of missing rights, what to grant for the full guarantees.
    fn log(&self, grant: &str) {
        let mut logged = self.logged.lock();
        if *logged == grant {
            return;
        }
        grant.clone_into(&mut logged);
        if !grant.is_empty() {
            tracing::warn!(grant, "{CONSEQUENCES}");
        }
    }
}

const CONSEQUENCES: &str = "The Redis user lacks optional rights. Without +eval and +evalsha, a record may be overwritten \
    between comparing and writing, which is detected afterwards; without +client|tracking (and, in a cluster, \
    +cluster|slots), a change by another replica is noticed after up to two seconds";

/// Whether the server permits this command.
async fn permitted(command: &Cmd, connection: &mut MultiplexedConnection) -> Result<bool, String> {
    match command.query_async::<Value>(connection).await {
        Ok(_) => Ok(true),
        Err(error) if lacks_permission(&error) => Ok(false),
        // in a cluster another node owns the key of this script; that the node redirects shows that it permits the command
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => Ok(true),
        Err(error) => Err(reason(&error)),
    }
}
