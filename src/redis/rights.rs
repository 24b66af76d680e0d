//! What the ACL lets this user do, beyond reading and writing records.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, ServerErrorKind, Value, cmd};

use super::PREFIX;
use super::connect::reason;
use super::node::lacks_permission;

/// What is known of it.
#[derive(Default)]
pub(super) struct Rights {
    /// Scripts are refused: compare-and-set falls back to `SET … XX GET`.
    no_scripts: AtomicBool,
    /// What the log said last.
    told: Mutex<String>,
}

/// What one server allows.
#[derive(Clone, Copy)]
pub(super) struct Seen {
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

    /// Tries a script that does nothing, and begins tracking.
    pub(super) async fn ask(line: &mut MultiplexedConnection) -> Result<Seen, String> {
        let scripts = permitted(cmd("EVAL").arg("return 1").arg(1).arg(PREFIX), line).await?;
        let tracking = permitted(cmd("CLIENT").arg(&["TRACKING", "ON", "BCAST", "PREFIX", PREFIX]), line).await?;
        Ok(Seen { scripts, tracking })
    }

    /// What all servers together allow; answers whether they tell of changes.
    pub(super) fn are(&self, seen: &[Seen]) -> bool {
        let (scripts, tracking) = (seen.iter().all(|seen| seen.scripts), seen.iter().all(|seen| seen.tracking));
        self.no_scripts.store(!scripts, Ordering::Relaxed);
        let grants = [(scripts, "+eval +evalsha"), (tracking, "+client|tracking")];
        let missing: Vec<_> = grants.into_iter().filter(|(there, _)| !there).map(|(_, grant)| grant).collect();
        self.tell(&missing.join(" "));
        tracking
    }

    /// The map of the cluster is refused.
    pub(super) fn without_map(&self) {
        self.tell("+cluster|slots +asking +eval +evalsha +client|tracking");
    }

    /// Once, what to grant for the full guarantees.
    fn tell(&self, grant: &str) {
        let mut told = self.told.lock();
        if *told == grant {
            return;
        }
        grant.clone_into(&mut told);
        if !grant.is_empty() {
            tracing::warn!(grant, "{CONSEQUENCES}");
        }
    }
}

const CONSEQUENCES: &str = "The Redis user may not do all that helps. Without +eval and +evalsha, compare-and-set finds out \
    late what it overwrote; without +client|tracking (and, in a cluster, +cluster|slots), what another replica changes is \
    noticed after up to two seconds";

/// Whether a server does this for us.
async fn permitted(command: &Cmd, line: &mut MultiplexedConnection) -> Result<bool, String> {
    match command.query_async::<Value>(line).await {
        Ok(_) => Ok(true),
        Err(error) if lacks_permission(&error) => Ok(false),
        // in a cluster another node owns that key: it would have been done there
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => Ok(true),
        Err(error) => Err(reason(&error)),
    }
}
