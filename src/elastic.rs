//! Provisioner over Elasticsearch's security API: `GET` and `PUT /_security/user/{name}`.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::credentials::{
    Existing, InspectError, Login, Origin, OtherWriter, Password, Provisioner, Refused, UserSpec, WriteError,
};
use crate::identity::{Owner, Username};
use crate::nodes::account::Scheme;
use crate::nodes::{self, Answer, Call, Limits, Lost, Nodes, Writes};
use crate::outbound::Error;
use crate::roles::Roles;

mod stamp;

/// `elasticsearch.*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where, and as whom.
    pub nodes: nodes::Settings,
    /// Time-out of a read. Default 2 s.
    pub timeout: Duration,
    /// Time-out of a write, waiting for its turn included. Default 5 s.
    pub write_timeout: Duration,
    /// How many writes of this process at once, and how many wait.
    pub writes: Limits,
    /// Decides and logs, writes nothing, denies.
    pub dry_run: bool,
    /// Names the deployment in the ownership stamp.
    pub cluster: String,
    /// Names the store of the records in the ownership stamp.
    pub store: String,
}

/// Users that exist without our making: Elasticsearch's `ClientReservedRealm`.
const RESERVED: [&str; 7] =
    ["elastic", "kibana", "kibana_system", "logstash_system", "beats_system", "apm_system", "remote_monitoring_user"];

/// Makes native users.
pub struct Elastic {
    nodes: Nodes,
    settings: Settings,
    writes: Writes,
}

impl Elastic {
    /// Connects on first use.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let nodes = Nodes::new(settings.nodes.clone())?;
        let writes = Writes::new(settings.writes);
        Ok(Self { nodes, settings, writes })
    }

    fn reserved(&self, username: &Username) -> bool {
        let account = self.settings.nodes.account.as_ref().map(|account| &account.scheme);
        let own = matches!(account, Some(Scheme::Basic { username: own }) if own == username.as_str());
        RESERVED.contains(&username.as_str()) || own
    }

    fn body(&self, user: &UserSpec, password: Option<&Password>) -> Value {
        let mut body = json!({
            "roles": user.roles.iter().collect::<Vec<_>>(),
            "full_name": user.full_name,
            "email": user.email,
            "metadata": stamp::of(&self.settings.cluster, &self.settings.store, user),
            // the look at the user came just before: a disabled one is never written
            "enabled": true,
        });
        if let (Some(password), Some(body)) = (password, body.as_object_mut()) {
            body.insert("password".into(), password.expose().into());
        }
        body
    }
}

impl Elastic {
    /// The administrator's 401, 403 and 410 are an outage, never the user's fault. (A 401 is told of by [`Nodes`].)
    fn alert(&self, answer: &Answer) {
        if matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::GONE) {
            self.nodes.alert(&answer.describe());
        }
    }
}

impl Elastic {
    /// The user as it stands there.
    async fn user(&self, username: &Username, origin: &Origin) -> Result<Option<Value>, InspectError> {
        if self.reserved(username) {
            return Err(Refused::Reserved.into());
        }
        let call = Call::get(&["_security", "user", username.as_str()]).on_behalf_of(origin);
        let answer = self.nodes.send(&call, self.settings.timeout).await;
        let answer = answer.map_err(|Lost { why, .. }| InspectError::Unavailable(why))?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => {
                let user = answer.json().and_then(|mut body| body.get_mut(username.as_str()).map(Value::take));
                user.map(Some).ok_or_else(|| InspectError::Unavailable("an answer that is no user".into()))
            }
            _ => {
                self.alert(&answer);
                Err(InspectError::Unavailable(answer.describe()))
            }
        }
    }
}

impl Provisioner for Elastic {
    async fn inspect(&self, username: &Username, owner: &Owner, origin: &Origin) -> Result<Existing, InspectError> {
        match self.user(username, origin).await? {
            Some(user) => Ok(stamp::check(&user, &self.settings.cluster, owner)?),
            None => Ok(Existing::Absent),
        }
    }

    async fn other_writer(&self, username: &Username) -> Result<Option<OtherWriter>, InspectError> {
        let user = self.user(username, &Origin::default()).await?;
        let theirs = user.and_then(|user| stamp::store(&user)).filter(|theirs| *theirs != self.settings.store);
        Ok(theirs.map(|theirs| OtherWriter { theirs, ours: self.settings.store.clone() }))
    }

    async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        let call = Call::get(&["_security", "_authenticate"]).as_user(username.as_str(), password.expose());
        let asked = self.nodes.send(&call, self.settings.timeout).await;
        let answer = asked.map_err(|Lost { why, .. }| InspectError::Unavailable(why))?;
        match answer.status {
            StatusCode::UNAUTHORIZED => Ok(Login::Rejected),
            StatusCode::OK => {
                let accepted = answer.json().and_then(|body| {
                    let names = body["roles"].as_array()?.iter().filter_map(Value::as_str);
                    Some(Login::Accepted { roles: Roles::new(names), seen: stamp::seen(&body) })
                });
                accepted.ok_or_else(|| InspectError::Unavailable("an answer without roles".into()))
            }
            _ => Err(InspectError::Unavailable(answer.describe())),
        }
    }

    async fn write(&self, user: &UserSpec, password: Option<&Password>) -> Result<(), WriteError> {
        if self.settings.dry_run {
            tracing::info!(user = user.username.as_str(), roles = %user.roles, "Dry run: the user is not written");
            return Err(WriteError::Refused { refused: Refused::DryRun, detail: String::new() });
        }
        let ends = Instant::now() + self.settings.write_timeout;
        let permit = self.writes.admit().await;
        let _permit = permit.map_err(|full| WriteError::Unavailable(full.to_string()))?;
        let body = self.body(user, password);
        let call = Call::new(Method::PUT, &["_security", "user", user.username.as_str()]);
        let call = call.query("refresh=false").json(&body).on_behalf_of(&user.origin);
        let sent = self.nodes.send(&call, ends.saturating_duration_since(Instant::now())).await;
        if let Ok(answer) = &sent {
            self.alert(answer);
        }
        outcome(sent)
    }
}

/// Errors are read by their status first.
fn outcome(sent: Result<Answer, Lost>) -> Result<(), WriteError> {
    let answer = match sent {
        Ok(answer) => answer,
        Err(Lost { why, sent: false }) => return Err(WriteError::Unavailable(why)),
        Err(Lost { why, sent: true }) => return Err(WriteError::Unknown(why)),
    };
    match answer.status {
        status if status.is_success() => Ok(()),
        StatusCode::BAD_REQUEST if answer.reason().contains("password must be specified") => Err(WriteError::Missing),
        StatusCode::BAD_REQUEST => Err(WriteError::Refused { refused: Refused::Rejected, detail: answer.describe() }),
        // 500 `clearing the cache … failed` means that the write was applied
        status if status.is_server_error() || answer.after_unknown() => Err(WriteError::Unknown(answer.describe())),
        _ => Err(WriteError::Unavailable(answer.describe())),
    }
}

#[cfg(test)]
mod tests;
