//! Checks in the background whether the administrator's account may manage users.

use serde_json::Value;

use super::OpenSearch;
use crate::credentials::{InspectError, RequestContext};
use crate::identity::Username;

/// The methods that the account has to be allowed on users.
const NEEDED: [&str; 3] = ["GET", "PUT", "PATCH"];

impl OpenSearch {
    /// Checks the account again and again, for as long as it is polled.
    pub(super) async fn watch_account(&self) {
        loop {
            let found = self.account().await;
            let api = &self.writer.api;
            let interval =
                self.condition.update(found, &api.cluster_id, &api.administrator, self.settings.timeout).await;
            tokio::time::sleep(interval).await;
        }
    }

    /// Reads some user, which shows whether users can be read, and asks for disabled methods. These are heeded only where the
    /// account works by a role: for a client certificate `permissionsinfo` shows all as disabled, and yet they are allowed.
    pub(super) async fn account(&self) -> Result<(), String> {
        let api = &self.writer.api;
        let some_user = Username::parse("elastauth").map_err(|error| error.to_string())?;
        match api.user(&some_user, &RequestContext::default(), self.settings.timeout).await {
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
