//! Whether the administrator's account may manage users: at start and now and then, in the background, so that readiness
//! costs OpenSearch nothing.

use std::time::Duration;

use serde_json::Value;

use super::OpenSearch;
use crate::credentials::{BackendStatus as _, InspectError, RequestContext};
use crate::identity::Username;

/// Between two looks, and after one that found trouble.
const EVERY: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(10);
/// What the account has to be allowed on users.
const NEEDED: [&str; 3] = ["GET", "PUT", "PATCH"];

impl OpenSearch {
    /// Looks for as long as it is polled, and keeps what it found.
    pub(super) async fn look_now_and_then(&self) {
        loop {
            let found = self.account().await;
            let next = if found.is_ok() { EVERY } else { AGAIN };
            let why = found.as_ref().err().cloned();
            if found.is_ok() && (self.condition.get().is_err() || self.cluster().uuid.is_none()) {
                // after an outage it may be another cluster
                self.writer.api.read_cluster().await;
            }
            match (self.condition.set(found), why) {
                (true, None) => tracing::info!("OpenSearch and the administrator's account work"),
                (true, Some(why)) => {
                    tracing::warn!(why, "OpenSearch is not as it should be: nobody new can be let in");
                }
                (false, _) => {}
            }
            tokio::time::sleep(next).await;
        }
    }

    /// Any user will do to see whether users can be seen. What is disabled is known of roles only: to a client certificate
    /// `permissionsinfo` says that everything is, and lets it do all the same.
    pub(super) async fn account(&self) -> Result<(), String> {
        let api = &self.writer.api;
        let anybody = Username::parse("elastauth").map_err(|error| error.to_string())?;
        match api.user(&anybody, &RequestContext::default(), self.settings.timeout).await {
            Ok(_) | Err(InspectError::Refused(_)) => {}
            Err(InspectError::Unavailable(why)) => return Err(why),
        }
        let mut permissions = api.permissions().await?;
        if permissions["has_api_access"] != true {
            return Ok(());
        }
        let disabled = permissions["disabled_endpoints"]["INTERNALUSERS"].take();
        let disabled =
            |method: &&&str| disabled.as_array().into_iter().flatten().any(|other| other == &Value::from(**method));
        let lacks: Vec<&str> = NEEDED.iter().filter(disabled).copied().collect();
        if lacks.is_empty() {
            Ok(())
        } else {
            Err(format!("the account may not {} internal users", lacks.join(" and ")))
        }
    }
}
