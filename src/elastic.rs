//! Provisioner over Elasticsearch's security API: `GET` and `PUT /_security/user/{name}`.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use url::Url;

use crate::credentials::{Existing, InspectError, Login, Password, Provisioner, Refused, UserSpec, WriteError};
use crate::identity::{Owner, Username};
use crate::outbound::Error;
use crate::roles::Roles;

mod client;
mod stamp;

use client::{Answer, Client, Lost};

/// `elasticsearch.*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base addresses; a path prefix is kept. At least one.
    pub hosts: Vec<Url>,
    /// The administrator's name.
    pub username: String,
    /// The administrator's password.
    pub password: SecretString,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Time-out of a read. Default 2 s.
    pub timeout: Duration,
    /// Time-out of a write. Default 5 s.
    pub write_timeout: Duration,
    /// Concurrent writes of this process. Default 4.
    pub max_writes: usize,
    /// Decides and logs, writes nothing, denies.
    pub dry_run: bool,
    /// Names the deployment in the ownership stamp.
    pub cluster: String,
}

/// Users that exist without our making: Elasticsearch's `ClientReservedRealm`.
const RESERVED: [&str; 7] =
    ["elastic", "kibana", "kibana_system", "logstash_system", "beats_system", "apm_system", "remote_monitoring_user"];

/// Makes native users.
pub struct Elastic {
    client: Client,
    settings: Settings,
    writes: Semaphore,
}

impl Elastic {
    /// Connects on first use.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let client = Client::new(&settings)?;
        let writes = Semaphore::new(settings.max_writes);
        Ok(Self { client, settings, writes })
    }

    fn reserved(&self, username: &Username) -> bool {
        RESERVED.contains(&username.as_str()) || username.as_str() == self.settings.username
    }

    fn body(&self, user: &UserSpec, password: Option<&Password>) -> Value {
        let mut body = json!({
            "roles": user.roles.iter().collect::<Vec<_>>(),
            "full_name": user.full_name,
            "email": user.email,
            "metadata": stamp::of(&self.settings.cluster, &user.owner, user.as_of),
            // the look at the user came just before: a disabled one is never written
            "enabled": true,
        });
        if let (Some(password), Some(body)) = (password, body.as_object_mut()) {
            body.insert("password".into(), password.expose().into());
        }
        body
    }
}

impl Provisioner for Elastic {
    async fn inspect(&self, username: &Username, owner: &Owner) -> Result<Existing, InspectError> {
        if self.reserved(username) {
            return Err(Refused::Reserved.into());
        }
        let answer = self.client.send(Method::GET, username, None, self.settings.timeout).await;
        let answer = answer.map_err(|Lost { why, .. }| InspectError::Unavailable(why))?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(Existing::Absent),
            StatusCode::OK => {
                let user = answer.json().and_then(|mut body| body.get_mut(username.as_str()).map(Value::take));
                let user = user.ok_or_else(|| InspectError::Unavailable("an answer that is no user".into()))?;
                Ok(stamp::check(&user, &self.settings.cluster, owner)?)
            }
            // the administrator's 401, 403 and 410 too are an outage, never the user's fault
            _ => Err(InspectError::Unavailable(answer.describe())),
        }
    }

    async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        let asked = self.client.authenticate(username.as_str(), password.expose(), self.settings.timeout).await;
        let answer = asked.map_err(|Lost { why, .. }| InspectError::Unavailable(why))?;
        match answer.status {
            StatusCode::UNAUTHORIZED => Ok(Login::Rejected),
            StatusCode::OK => {
                let roles = answer.json().and_then(|body| {
                    let names = body["roles"].as_array()?.iter().filter_map(Value::as_str);
                    Some(Roles::new(names))
                });
                let roles = roles.ok_or_else(|| InspectError::Unavailable("an answer without roles".into()))?;
                Ok(Login::Accepted(roles))
            }
            _ => Err(InspectError::Unavailable(answer.describe())),
        }
    }

    async fn write(&self, user: &UserSpec, password: Option<&Password>) -> Result<(), WriteError> {
        if self.settings.dry_run {
            tracing::info!(user = user.username.as_str(), roles = %user.roles, "Dry run: the user is not written");
            return Err(WriteError::Refused { refused: Refused::DryRun, detail: String::new() });
        }
        let permit = tokio::time::timeout(self.settings.write_timeout, self.writes.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(WriteError::Unavailable("too many writes are waiting".into()));
        };
        let body = self.body(user, password);
        let sent = self.client.send(Method::PUT, &user.username, Some(&body), self.settings.write_timeout).await;
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
        status if status.is_server_error() => Err(WriteError::Unknown(answer.describe())),
        _ => Err(WriteError::Unavailable(answer.describe())),
    }
}

#[cfg(test)]
mod tests;
