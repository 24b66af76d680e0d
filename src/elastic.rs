//! Provisioner over Elasticsearch's security API: `GET` and `PUT /_security/user/{name}`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use crate::cluster_client::account::Scheme;
use crate::cluster_client::{
    self, Answer, Call, ClusterClient, ClusterId, Condition, Limits, NoResponse, Shape, System, Writes,
};
use crate::credentials::{
    BackendStatus, Cluster, Existing, InspectError, Login, OtherWriter, Password, Provisioner, Refused, RequestContext,
    StoreName, Throughput, UserSpec, WriteError,
};
use crate::identity::{Owner, Username};
use crate::outbound::Error;
use crate::roles::Roles;

mod body;
mod directory;
mod examine;
mod stamp;

pub use body::Hashing;

use body::{Hashes, Secret};

/// `elasticsearch.*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where, and as whom.
    pub nodes: cluster_client::Settings,
    /// Time-out of a read. Default 2 s.
    pub timeout: Duration,
    /// Time-out of a write, waiting for its turn included. Default 5 s.
    pub write_timeout: Duration,
    /// How many writes of this process at once, and how long they wait.
    pub writes: Limits,
    /// When a write shows in searches; what logs in does not depend on it. Default `False`.
    pub refresh: Refresh,
    /// Who hashes passwords. Default there.
    pub hashing: Hashing,
    /// Every role that a caller can get: those that do not exist are warned about.
    pub mapped_roles: Vec<String>,
    /// Decides and logs, writes nothing, denies.
    pub dry_run: bool,
    /// Names the deployment in the ownership stamp.
    pub cluster: String,
    /// Names the store of the records, in the ownership stamp by its mark.
    pub store: StoreName,
}

/// `refresh` of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// With the next refresh of the index.
    False,
    /// At once: work for the cluster at each login.
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

/// Users that exist without our making: Elasticsearch's `ClientReservedRealm`.
const RESERVED: [&str; 7] =
    ["elastic", "kibana", "kibana_system", "logstash_system", "beats_system", "apm_system", "remote_monitoring_user"];

/// Makes native users.
pub struct Elastic {
    nodes: ClusterClient,
    settings: Settings,
    writes: Writes,
    hashes: Hashes,
    condition: Condition,
    cluster_id: ClusterId,
    /// Whose the administrator's key or token is, once Elasticsearch has said so.
    own_name: Mutex<Option<String>>,
    /// Whether the warning about the product was given.
    stranger: AtomicBool,
}

impl Elastic {
    /// Connects on first use.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let nodes = ClusterClient::new(settings.nodes.clone())?.of(System::Elasticsearch);
        let writes = Writes::new(settings.writes);
        let hashes = Hashes::new(settings.hashing);
        let cluster_id = ClusterId::new(&settings.nodes.hosts);
        let (condition, own_name, stranger) = (Condition::default(), Mutex::default(), AtomicBool::default());
        Ok(Self { nodes, settings, writes, hashes, condition, cluster_id, own_name, stranger })
    }

    fn reserved(&self, username: &Username) -> bool {
        let account = self.settings.nodes.account.as_ref().map(|account| &account.scheme);
        let own = matches!(account, Some(Scheme::Basic { username: own }) if own == username.as_str());
        let learned = || self.own_name.lock().as_deref() == Some(username.as_str());
        RESERVED.contains(&username.as_str()) || own || learned()
    }

    /// As the administrator. His 403 and 410, like his 401 (which [`ClusterClient`] tells of), are an outage that a person has to
    /// end, never the user's fault.
    async fn ask(&self, call: &Call<'_>, limit: Duration) -> Result<Answer, NoResponse> {
        let answer = self.nodes.send(call, limit).await?;
        if matches!(answer.status, StatusCode::FORBIDDEN | StatusCode::GONE) {
            self.nodes.alert(&answer.describe());
        }
        self.recognise(&answer);
        Ok(answer)
    }

    /// Proxies and OpenSearch do not send it, nor did Elasticsearch before 7.14: worth a line, no more.
    fn recognise(&self, answer: &Answer) {
        let stranger = answer.status.is_success() && answer.headers.get("x-elastic-product").is_none();
        if stranger && !self.stranger.swap(true, Ordering::Relaxed) {
            tracing::warn!("What answers for elasticsearch.hosts does not say that it is Elasticsearch 7.14 or later");
        }
    }

    async fn put(&self, user: &UserSpec, secret: &Secret, ends: Instant) -> Result<Answer, NoResponse> {
        let body = body::put(&self.settings.cluster, &self.settings.store.mark, user, secret);
        let call = Call::new(Method::PUT, &["_security", "user", user.username.as_str()]);
        let call = call.query(self.settings.refresh.query()).json(&body).on_behalf_of(&user.context);
        let call = call.expecting(Shape::Written);
        self.ask(&call, ends.saturating_duration_since(Instant::now())).await
    }

    /// What a write of this user says, but for the password: the path, and the body.
    #[must_use]
    pub fn preview(&self, user: &UserSpec) -> (String, Value) {
        let body = body::put(&self.settings.cluster, &self.settings.store.mark, user, &Secret::Kept);
        (format!("/_security/user/{}", user.username), body)
    }

    /// The user as it stands there.
    async fn user(&self, username: &Username, context: &RequestContext) -> Result<Option<Value>, InspectError> {
        if self.reserved(username) {
            return Err(Refused::Reserved.into());
        }
        let call = Call::get(&["_security", "user", username.as_str()]).on_behalf_of(context);
        let answer = self.ask(&call.expecting(Shape::User(username.as_str())), self.settings.timeout).await;
        let answer = answer.map_err(|NoResponse { why, .. }| InspectError::Unavailable(why))?;
        match answer.status {
            StatusCode::OK => Ok(answer.into_body().get_mut(username.as_str()).map(Value::take)),
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
                Ok(Existing::Ours(stamp::standing(&user, self.cluster_id.known().uuid.as_deref())))
            }
            None => Ok(Existing::Absent),
        }
    }

    async fn other_writer(&self, username: &Username) -> Result<Option<OtherWriter>, InspectError> {
        let user = self.user(username, &RequestContext::default()).await?;
        let ours = &self.settings.store;
        let theirs = user.and_then(|user| stamp::store(&user)).filter(|theirs| !ours.is(theirs));
        Ok(theirs.map(|theirs| OtherWriter { theirs, ours: ours.name.clone() }))
    }

    async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        let call = Call::get(&["_security", "_authenticate"]).as_user(username.as_str(), password.expose());
        let asked = self.nodes.send(&call.expecting(Shape::Account), self.settings.timeout).await;
        let answer = asked.map_err(|NoResponse { why, .. }| InspectError::Unavailable(why))?;
        let body = answer.body();
        match answer.status {
            StatusCode::UNAUTHORIZED if answer.kind() == "security_exception" => Ok(Login::Rejected),
            StatusCode::OK if body["username"] == username.as_str() => {
                let names = body["roles"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let (seen, as_of) = (stamp::seen(body), stamp::as_of(body));
                let mapping = as_of.map(|_| stamp::mapping(body));
                Ok(Login::Accepted { roles: Roles::new(names), seen, as_of, mapping })
            }
            // a proxy that shows a credential of its own
            StatusCode::OK => Err(InspectError::Unavailable("the answer is about another user".into())),
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
        let secret = self.hashes.secret(password).await?;
        let sent = self.put(user, &secret, ends).await;
        match (&sent, password) {
            (Ok(answer), Some(password)) if self.hashes.refused(&secret, answer) => {
                outcome(self.put(user, &Secret::Plain(password.clone()), ends).await)
            }
            _ => outcome(sent),
        }
    }
}

impl BackendStatus for Elastic {
    fn throughput(&self) -> Throughput {
        self.writes.pace()
    }

    fn cluster(&self) -> Cluster {
        self.cluster_id.known()
    }

    async fn ask_cluster(&self) -> Cluster {
        self.cluster_id.ask(&self.nodes, self.settings.timeout).await
    }

    async fn rebuilt(&self) {
        self.cluster_id.rebuilt().await;
    }

    async fn watch(&self) {
        self.look_now_and_then().await;
    }

    fn condition(&self) -> Result<(), String> {
        self.condition.get()
    }

    async fn examine(&self) -> Result<Vec<String>, String> {
        self.look_once().await
    }
}

/// What became of a write. Errors are read by their status first; a refusal of the user has a type, which what never reached
/// the handler of users lacks.
fn outcome(sent: Result<Answer, NoResponse>) -> Result<(), WriteError> {
    let answer = match sent {
        Ok(answer) => answer,
        Err(NoResponse { why, sent: false }) => return Err(WriteError::Unavailable(why)),
        Err(NoResponse { why, sent: true }) => return Err(WriteError::Unknown(why)),
    };
    let detail = answer.describe();
    match answer.status {
        StatusCode::OK => Ok(()),
        StatusCode::BAD_REQUEST if answer.reason().contains("password must be specified") => Err(WriteError::Missing),
        StatusCode::BAD_REQUEST if !answer.kind().is_empty() => {
            Err(WriteError::Refused { refused: Refused::Rejected, detail })
        }
        // 500 `clearing the cache … failed` means that the write was applied
        status if status.is_server_error() || answer.after_unknown() => Err(WriteError::Unknown(detail)),
        _ => Err(WriteError::Unavailable(detail)),
    }
}

#[cfg(test)]
mod tests;
