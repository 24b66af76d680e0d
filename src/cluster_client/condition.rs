//! Whether the back end and the administrator's account work, as the last check in the background found it.

use std::time::Duration;

use parking_lot::Mutex;

use super::{ClusterClient, ClusterId, System};

/// From one check to the next, and after one that found trouble.
const INTERVAL: Duration = Duration::from_secs(60);
const INTERVAL_IN_TROUBLE: Duration = Duration::from_secs(10);

/// The result of the last check. Readiness is answered from it, so that probes cost the cluster nothing.
pub(crate) struct Condition {
    system: System,
    last: Mutex<Result<(), String>>,
}

impl Condition {
    pub(crate) fn new(system: System) -> Self {
        Self { system, last: Mutex::new(Err("not checked yet".into())) }
    }

    /// What the last check found.
    pub(crate) fn get(&self) -> Result<(), String> {
        self.last.lock().clone()
    }

    /// Takes what a check found, logs it where it differs from the last, and answers how long to wait until the next one. After
    /// an outage another cluster may answer, so the cluster is then asked which one it is.
    pub(crate) async fn update(
        &self,
        found: Result<(), String>,
        cluster_id: &ClusterId,
        client: &ClusterClient,
        timeout: Duration,
    ) -> Duration {
        if found.is_ok() && (self.get().is_err() || cluster_id.known().uuid.is_none()) {
            cluster_id.read(client, timeout).await;
        }
        let interval = if found.is_ok() { INTERVAL } else { INTERVAL_IN_TROUBLE };
        let before = std::mem::replace(&mut *self.last.lock(), found.clone());
        if before != found {
            let system = self.system.name();
            match found {
                Ok(()) => tracing::info!("{system} and the administrator's account work"),
                Err(why) => tracing::warn!(
                    why,
                    "{system} or the administrator's account does not work: users that are not cached yet are denied until it \
                     does"
                ),
            }
        }
        interval
    }
}
