//! Checks in the background whether the administrator's account has the privileges that it needs, and whether the mapped roles
//! exist.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Elastic;
use crate::cluster_client::{Call, ExpectedAnswer, NoResponse};

/// The privileges that the account needs. `manage_security` holds both, but with these alone the account can do little else.
/// (A thief of its credential is not held back by that: an account that can write users can give them any role.)
const NEEDED: [&str; 2] = ["cluster:admin/xpack/security/user/get", "cluster:admin/xpack/security/user/put"];
/// How often the roles are checked.
const ROLES_INTERVAL: Duration = Duration::from_secs(10 * 60);

impl Elastic {
    /// Checks the account again and again, for as long as it is polled.
    pub(super) async fn watch_account(&self) {
        let (mut check_roles_at, mut warned) = (Instant::now(), Vec::new());
        loop {
            let found = self.account().await;
            let works = found.is_ok();
            let timeout = self.settings.timeout;
            let interval = self.condition.update(found, &self.cluster_id, &self.client, timeout).await;
            if works && Instant::now() >= check_roles_at {
                check_roles_at = Instant::now() + ROLES_INTERVAL;
                match self.missing_roles().await {
                    Ok(missing) if missing.is_empty() || missing == warned => warned = missing,
                    Ok(missing) => {
                        tracing::warn!(roles = missing.join(", "), "{MISSING}");
                        warned = missing;
                    }
                    Err(why) => tracing::debug!(why, "{UNSEEN}"),
                }
            }
            tokio::time::sleep(interval).await;
        }
    }

    /// Checks the account and the roles once. Answers what is not an error, but worth a warning.
    pub(super) async fn check_once(&self) -> Result<Vec<String>, String> {
        self.account().await?;
        self.cluster_id.read(&self.client, self.settings.timeout).await;
        let missing = match self.missing_roles().await {
            Ok(missing) if missing.is_empty() => None,
            Ok(missing) => Some(format!("{MISSING}: {}", missing.join(", "))),
            Err(why) => Some(format!("{UNSEEN}: {why}")),
        };
        Ok(self.cluster_id.remark().into_iter().chain(missing).collect())
    }

    /// Learns the name of the account, and whether it has the privileges.
    pub(super) async fn account(&self) -> Result<(), String> {
        let call = Call::get(&["_security", "_authenticate"]).expecting(ExpectedAnswer::Account);
        let account = self.json(&call).await?;
        let name = account["username"].as_str().ok_or("the answer of _authenticate has no username")?;
        *self.own_name.lock() = Some(name.to_owned());
        let call = Call::new(Method::POST, &["_security", "user", "_has_privileges"]);
        let call = call.json(&json!({ "cluster": NEEDED })).expecting(ExpectedAnswer::Privileges);
        let privileges = self.json(&call).await?;
        let lacks: Vec<_> = NEEDED.into_iter().filter(|action| privileges["cluster"][*action] != true).collect();
        if lacks.is_empty() { Ok(()) } else { Err(format!("the account {name} lacks {}", lacks.join(" and "))) }
    }

    /// Mapped roles that the API does not show. It does not show the roles of a `roles.yml` either.
    async fn missing_roles(&self) -> Result<Vec<String>, String> {
        let known = self.json(&Call::get(&["_security", "role"]).expecting(ExpectedAnswer::Roles)).await?;
        let mapped = self.settings.mapped_roles.iter();
        Ok(mapped.filter(|role| known.get(role.as_str()).is_none()).cloned().collect())
    }

    async fn json(&self, call: &Call<'_>) -> Result<Value, String> {
        let answer = self.client.send(call, self.settings.timeout).await.map_err(|NoResponse { why, .. }| why)?;
        self.warn_of_other_products(&answer);
        if answer.status == StatusCode::OK { Ok(answer.into_body()) } else { Err(answer.describe()) }
    }
}

const MISSING: &str = "Mapped roles that Elasticsearch does not show: misspelt, not made yet, or from its roles.yml";
const UNSEEN: &str = "It could not be checked whether the mapped roles exist";
