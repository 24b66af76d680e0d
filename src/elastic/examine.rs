//! Whether the administrator's account can do its work, and whether the mapped roles exist: at start and now and then, in
//! the background, so that readiness costs Elasticsearch nothing.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Elastic;
use crate::cluster_client::{Call, NoResponse, Shape};

/// What the account must be allowed to do. `manage_security` holds both; by these names alone it can do little else. (Not
/// that it matters to a thief: who may write users may give them any role.)
const NEEDED: [&str; 2] = ["cluster:admin/xpack/security/user/get", "cluster:admin/xpack/security/user/put"];
/// Between two looks, and after one that found trouble.
const EVERY: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_secs(10);
/// Between two looks at the roles.
const ROLES_EVERY: Duration = Duration::from_secs(10 * 60);

impl Elastic {
    /// Looks for as long as it is polled, and keeps what it found.
    pub(super) async fn look_now_and_then(&self) {
        let (mut roles_due, mut warned) = (Instant::now(), Vec::new());
        loop {
            let found = self.account().await;
            let next = if found.is_ok() { EVERY } else { AGAIN };
            let well = found.is_ok();
            let why = found.as_ref().err().cloned().unwrap_or_default();
            if well && (self.condition.get().is_err() || self.cluster_id.known().uuid.is_none()) {
                // after an outage it may be another cluster
                self.cluster_id.read(&self.nodes, self.settings.timeout).await;
            }
            match (self.condition.set(found), well) {
                (true, true) => tracing::info!("Elasticsearch and the administrator's account work"),
                (true, false) => tracing::warn!(why, "Elasticsearch is not as it should be: nobody new can be let in"),
                (false, _) => {}
            }
            if well && Instant::now() >= roles_due {
                roles_due = Instant::now() + ROLES_EVERY;
                match self.missing_roles().await {
                    Ok(missing) if missing.is_empty() || missing == warned => warned = missing,
                    Ok(missing) => {
                        tracing::warn!(roles = missing.join(", "), "{MISSING}");
                        warned = missing;
                    }
                    Err(why) => tracing::debug!(why, "{UNSEEN}"),
                }
            }
            tokio::time::sleep(next).await;
        }
    }

    /// The account, and then the roles: what is worth knowing that is no fault.
    pub(super) async fn look_once(&self) -> Result<Vec<String>, String> {
        self.account().await?;
        self.cluster_id.read(&self.nodes, self.settings.timeout).await;
        let missing = match self.missing_roles().await {
            Ok(missing) if missing.is_empty() => None,
            Ok(missing) => Some(format!("{MISSING}: {}", missing.join(", "))),
            Err(why) => Some(format!("{UNSEEN}: {why}")),
        };
        Ok(self.cluster_id.remark().into_iter().chain(missing).collect())
    }

    /// Learns whose the account is, and whether it may do what is needed.
    pub(super) async fn account(&self) -> Result<(), String> {
        let who = self.json(&Call::get(&["_security", "_authenticate"]).expecting(Shape::Account)).await?;
        let name = who["username"].as_str().ok_or("_authenticate names nobody")?;
        *self.own_name.lock() = Some(name.to_owned());
        let call = Call::new(Method::POST, &["_security", "user", "_has_privileges"]);
        let may = self.json(&call.json(&json!({ "cluster": NEEDED })).expecting(Shape::Privileges)).await?;
        let lacks: Vec<_> = NEEDED.into_iter().filter(|action| may["cluster"][*action] != true).collect();
        if lacks.is_empty() { Ok(()) } else { Err(format!("the account {name} lacks {}", lacks.join(" and "))) }
    }

    /// Mapped roles that the API does not show. Roles of a `roles.yml` are not shown either.
    async fn missing_roles(&self) -> Result<Vec<String>, String> {
        let known = self.json(&Call::get(&["_security", "role"]).expecting(Shape::Roles)).await?;
        let mapped = self.settings.mapped_roles.iter();
        Ok(mapped.filter(|role| known.get(role.as_str()).is_none()).cloned().collect())
    }

    async fn json(&self, call: &Call<'_>) -> Result<Value, String> {
        let answer = self.nodes.send(call, self.settings.timeout).await.map_err(|NoResponse { why, .. }| why)?;
        self.recognise(&answer);
        if answer.status == StatusCode::OK { Ok(answer.into_body()) } else { Err(answer.describe()) }
    }
}

const MISSING: &str = "Mapped roles that Elasticsearch does not show: misspelt, not made yet, or from its roles.yml";
const UNSEEN: &str = "Whether the mapped roles exist could not be seen";
