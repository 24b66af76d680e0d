//! Provisioner over Elasticsearch's security API: `GET` and `PUT /_security/user/{name}`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use crate::cluster_client::{
    self, Answer, Call, ClusterClient, ClusterId, Condition, ExpectedAnswer, NoResponse, System, WriteLimiter,
    WriteLimits,
};
use crate::credentials::{
    BackendStatus, Cluster, Existing, InspectError, Login, OtherWriter, Password, Provisioner, Refused, RequestContext,
    StoreName, Throughput, UserSpec, WriteError,
};
use crate::identity::{Owner, Username};
use crate::native_user::{PasswordField, PasswordHashing, Version, dry_run};
use crate::outbound::Error;
use crate::roles::Roles;

mod account;
mod body;
mod directory;
mod stamp;

pub use crate::native_user::Hashing;

/// How users are managed on Elasticsearch.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the cluster is reached, and with which account.
    pub connection: cluster_client::Settings,
    /// `elasticsearch.timeout`, of a read. Default 2 s.
    pub timeout: Duration,
    /// `elasticsearch.write_timeout`, of a write, waiting for its turn included. Default 5 s.
    pub write_timeout: Duration,
    /// How many writes of this process may be under way at once, and how long one waits.
    pub writes: WriteLimits,
    /// `elasticsearch.refresh`: when a write becomes visible to searches, on which logins do not depend. Default `False`.
    pub refresh: Refresh,
    /// `elasticsearch.password_hash`: where passwords are hashed. Default `There`.
    pub hashing: Hashing,
    /// Every role that a caller can get, to warn about those that do not exist.
    pub mapped_roles: Vec<String>,
    /// `elasticsearch.dry_run`: writes are only logged, and new users are denied.
    pub dry_run: bool,
    /// The name of the deployment in the ownership stamp.
    pub cluster: String,
    /// The store of the records, which the ownership stamp names by its mark.
    pub store: StoreName,
}

/// The query parameter `refresh` of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The write becomes visible with the next refresh of the index.
    False,
    /// The index is refreshed at once, which is work for the cluster at each write.
    True,
    /// The write waits for the next refresh.
    WaitFor,
}

impl Refresh {
    fn query(self) -> &'static str {
        match self {
            Self::False => "refresh=false",
            Self::True => "refresh=true",
            Self::WaitFor => "refresh=wait_for",
        }
    }
}

/// The users that are built into Elasticsearch: its `ClientReservedRealm`.
const RESERVED: [&str; 7] =
    ["elastic", "kibana", "kibana_system", "logstash_system", "beats_system", "apm_system", "remote_monitoring_user"];

/// Makes native users on Elasticsearch.
pub(crate) struct Elastic {
    client: ClusterClient,
    settings: Settings,
    writes: WriteLimiter,
    passwords: PasswordHashing,
    condition: Condition,
    cluster_id: ClusterId,
    /// The name of the account, also where it is used with a key or a token; known once Elasticsearch was asked.
    own_name: Mutex<Option<String>>,
    /// Whether the warning about another product was logged.
    warned_of_other_product: AtomicBool,
}

/// A write of one user.
struct Put<'a> {
    username: &'a Username,
    context: &'a RequestContext,
    /// The user without its password.
    body: Value,
    /// Until when its caller waits for the answer.
    ends: Instant,
}

impl Elastic {
    /// Connects on first use.
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let client = ClusterClient::new(settings.connection.clone())?.of(System::Elasticsearch);
        let writes = WriteLimiter::new(settings.writes);
        let passwords = PasswordHashing::new(settings.hashing, Version::TwoA);
        let cluster_id = ClusterId::new(&settings.connection.hosts);
        let condition = Condition::new(System::Elasticsearch);
        let (own_name, warned_of_other_product) = (Mutex::default(), AtomicBool::default());
        Ok(Self { client, settings, writes, passwords, condition, cluster_id, own_name, warned_of_other_product })
    }

    fn reserved(&self, username: &Username) -> bool {
        let name = username.as_str();
        let learned = || self.own_name.lock().as_deref() == Some(name);
        RESERVED.contains(&name) || self.settings.connection.is_own_account(name) || learned()
    }

    /// Sends a call with the administrator's credential. A 403 or 410 for it, like a 401 (which [`ClusterClient`] reports),
    /// is an outage that a person has to end, and never the fault of the user that the call is about.
    async fn send(&self, call: &Call<'_>, limit: Duration) -> Result<Answer, NoResponse> {
        let answer = self.client.send(call, limit).await?;
        if matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::GONE) {
            self.client.alert(&answer.describe());
        }
        self.warn_of_other_products(&answer);
        Ok(answer)
    }

    /// Warns once where an answer lacks the product's name. That is no more than a hint: proxies may remove it, and
    /// Elasticsearch before 7.14 does not send it; nor does OpenSearch.
    fn warn_of_other_products(&self, answer: &Answer) {
        let unnamed = answer.status.is_success() && answer.product().is_none();
        if unnamed && !self.warned_of_other_product.swap(true, Ordering::Relaxed) {
            tracing::warn!("What answers at elasticsearch.hosts does not say that it is Elasticsearch 7.14 or later");
        }
    }

    async fn put(&self, put: &Put<'_>, password: &PasswordField) -> Result<Answer, NoResponse> {
        let mut body = put.body.clone();
        password.put_into(&mut body, "password_hash");
        let call = Call::new(Method::PUT, &["_security", "user", put.username.as_str()]);
        let call = call.query(self.settings.refresh.query()).json(&body).on_behalf_of(put.context);
        let call = call.expecting(ExpectedAnswer::Written);
        self.send(&call, put.ends.saturating_duration_since(Instant::now())).await
    }

    /// Waits for its turn, and writes the user with this password, or without one. Where Elasticsearch does not take the hash, it
    /// gets the password in the clear.
    async fn put_with(&self, put: Put<'_>, password: Option<&Password>) -> Result<(), WriteError> {
        let permit = self.writes.admit().await;
        let _permit = permit.map_err(|too_many| WriteError::Unavailable(too_many.to_string()))?;
        let field = self.passwords.field(password).await?;
        let answer = self.put(&put, &field).await?;
        match password {
            Some(password) if body::refuses_hash(&answer, &field) => {
                if self.passwords.reject() {
                    tracing::error!(
                        reason = answer.reason(),
                        "elasticsearch.password_hash does not match the setting of the cluster: until the next start passwords \
                         are sent in the clear, and Elasticsearch hashes them"
                    );
                }
                outcome(&self.put(&put, &PasswordField::Plain(password.clone())).await?)
            }
            _ => outcome(&answer),
        }
    }

    /// The path and the body of a write of this user, without the password and its sealed form.
    pub(crate) fn preview(&self, user: &UserSpec) -> (String, Value) {
        let mut body = body::put(&self.settings.cluster, &self.settings.store.mark, user);
        stamp::hide_secret(&mut body);
        (format!("/_security/user/{}", user.username), body)
    }

    /// The user as Elasticsearch has it.
    async fn user(&self, username: &Username, context: &RequestContext) -> Result<Option<Value>, InspectError> {
        if self.reserved(username) {
            return Err(Refused::Reserved.into());
        }
        let call = Call::get(&["_security", "user", username.as_str()]).on_behalf_of(context);
        let call = call.expecting(ExpectedAnswer::User(username.as_str()));
        let answer = self.send(&call, self.settings.timeout).await?;
        match answer.status {
            StatusCode::OK => Ok(answer.into_entry(username.as_str())),
            // an error with this status says nothing about the user
            StatusCode::NOT_FOUND if answer.is_empty() => Ok(None),
            _ => Err(InspectError::Unavailable(answer.describe())),
        }
    }
}

impl Provisioner for Elastic {
    async fn inspect(
        &self,
        username: &Username,
        owner: &Owner,
        context: &RequestContext,
    ) -> Result<Existing, InspectError> {
        match self.user(username, context).await? {
            Some(user) => {
                stamp::check(&user, &self.settings.cluster, owner)?;
                let uuid = self.cluster_id.known().uuid;
                Ok(Existing::Ours(stamp::stored(&user).ours(&user["roles"], uuid.as_deref())))
            }
            None => Ok(Existing::Absent),
        }
    }

    async fn other_writer(&self, username: &Username) -> Result<Option<OtherWriter>, InspectError> {
        let user = self.user(username, &RequestContext::default()).await?;
        Ok(user.and_then(|user| stamp::stored(&user).other_writer(&self.settings.store)))
    }

    async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        let call = Call::get(&["_security", "_authenticate"]).by_user(username.as_str(), password.expose());
        let answer = self.client.send(&call.expecting(ExpectedAnswer::Account), self.settings.timeout).await?;
        let body = answer.body();
        match answer.status {
            StatusCode::UNAUTHORIZED if answer.kind() == "security_exception" => Ok(Login::Rejected),
            StatusCode::OK if body["username"] == username.as_str() => {
                let names = body["roles"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let stamp = stamp::stored(body);
                let (seen, as_of) = (stamp.seen(), stamp.as_of());
                let mapping = as_of.map(|_| stamp.mapping());
                Ok(Login::Accepted { roles: Roles::new(names), seen, as_of, mapping })
            }
            // the answer to a proxy that sent a credential of its own
            StatusCode::OK => Err(InspectError::Unavailable("the answer is about another user".into())),
            _ => Err(InspectError::Unavailable(answer.describe())),
        }
    }

    async fn write(&self, user: &UserSpec, password: Option<&Password>) -> Result<(), WriteError> {
        if self.settings.dry_run {
            return Err(dry_run::instead_of_write(user));
        }
        let ends = Instant::now() + self.settings.write_timeout;
        let body = body::put(&self.settings.cluster, &self.settings.store.mark, user);
        let UserSpec { username, context, .. } = user;
        self.put_with(Put { username, context, body, ends }, password).await
    }
}

impl BackendStatus for Elastic {
    fn throughput(&self) -> Throughput {
        self.writes.throughput()
    }

    fn cluster(&self) -> Cluster {
        self.cluster_id.known()
    }

    async fn ask_cluster(&self) -> Cluster {
        self.cluster_id.ask(&self.client, self.settings.timeout).await
    }

    async fn rebuilt(&self) {
        self.cluster_id.rebuilt().await;
    }

    async fn watch(&self) {
        self.watch_account().await;
    }

    fn condition(&self) -> Result<(), String> {
        self.condition.get()
    }

    async fn examine(&self) -> Result<Vec<String>, String> {
        self.check_once().await
    }
}

/// The outcome of a write that was answered. The status decides first. A refusal of the user has an `error.type`, which an error from before the
/// handler of users lacks.
fn outcome(answer: &Answer) -> Result<(), WriteError> {
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    let detail = answer.describe();
    match answer.status {
        StatusCode::BAD_REQUEST if answer.reason().contains("password must be specified") => Err(WriteError::Missing),
        StatusCode::BAD_REQUEST if !answer.kind().is_empty() => {
            Err(WriteError::Refused { refused: Refused::Rejected, detail })
        }
        // with the 500 `clearing the cache … failed` the write was applied
        status if status.is_server_error() || answer.after_unknown() => Err(WriteError::Unknown(detail)),
        _ => Err(WriteError::Unavailable(detail)),
    }
}

#[cfg(test)]
mod tests;
