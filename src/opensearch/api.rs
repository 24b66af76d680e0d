//! The requests that are made of OpenSearch's security API: `_plugins/_security/api/internalusers`.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::answers::{self, Written};
use super::{Settings, stamp};
use crate::cluster_client::{self, Answer, Call, ClusterClient, ClusterId, NoResponse, Shape, System};
use crate::credentials::{
    Cluster, Existing, InspectError, Login, OtherWriter, Password, RequestContext, StoreName, UserSpec,
};
use crate::identity::{Owner, Username};
use crate::outbound::{Error, Tls};
use crate::roles::Roles;

const USERS: [&str; 4] = ["_plugins", "_security", "api", "internalusers"];
const PERMISSIONS: [&str; 4] = ["_plugins", "_security", "api", "permissionsinfo"];
/// All users come in one answer: up to some half a million.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
const LIST_BYTES: usize = 256 * 1024 * 1024;
const WHO: [&str; 3] = ["_plugins", "_security", "authinfo"];

/// What is sent of a password.
#[derive(Clone)]
pub(super) enum Secret {
    /// Nothing: the user keeps the one that it has.
    Kept,
    /// In the clear, for OpenSearch to hash.
    Password(Password),
    /// Hashed here.
    Hash(SecretString),
}

impl Secret {
    /// Whether only roles and attributes are written.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept)
    }
}

/// Which field of a user holds the roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleField {
    /// `backend_roles`: any text; OpenSearch's role mappings turn them into its roles.
    Backend,
    /// `opendistro_security_roles`: OpenSearch's own roles, which must exist.
    Security,
}

impl RoleField {
    fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend_roles",
            Self::Security => "opendistro_security_roles",
        }
    }

    /// Where `authinfo` shows them: `roles` are those that mappings gave, too.
    fn shown(self) -> &'static str {
        match self {
            Self::Backend => "backend_roles",
            Self::Security => "roles",
        }
    }
}

/// A cluster, as an administrator and as its users.
pub(super) struct Api {
    administrator: ClusterClient,
    /// Without the administrator's client certificate: over a connection that shows it, OpenSearch takes everybody for
    /// the administrator, whatever password is sent.
    users: ClusterClient,
    pub(super) cluster_id: ClusterId,
    cluster: String,
    store: StoreName,
    roles: RoleField,
    timeout: Duration,
}

fn path(name: Option<&Username>) -> Vec<&str> {
    USERS.into_iter().chain(name.map(Username::as_str)).collect()
}

impl Api {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let nodes = settings.nodes.clone();
        let tls = Tls { identity: None, ..nodes.tls.clone() };
        let users = ClusterClient::new(cluster_client::Settings { account: None, tls, ..nodes.clone() })?
            .of(System::OpenSearch);
        let cluster_id = ClusterId::new(&nodes.hosts);
        let administrator = ClusterClient::new(nodes)?.of(System::OpenSearch);
        let (cluster, store) = (settings.cluster.clone(), settings.store.clone());
        let (roles, timeout) = (settings.roles, settings.timeout);
        Ok(Self { administrator, users, cluster_id, cluster, store, roles, timeout })
    }

    /// Which cluster it is, asked unless that was done a moment ago.
    pub(super) async fn ask_cluster(&self) -> Cluster {
        self.cluster_id.ask(&self.administrator, self.timeout).await
    }

    /// The same, asked now.
    pub(super) async fn read_cluster(&self) {
        self.cluster_id.read(&self.administrator, self.timeout).await;
    }

    /// Whose the user is.
    pub(super) async fn look(
        &self,
        username: &Username,
        owner: &Owner,
        context: &RequestContext,
        limit: Duration,
    ) -> Result<Existing, InspectError> {
        match self.user(username, context, limit).await? {
            Some(user) => {
                stamp::check(&user, &self.cluster, owner)?;
                let uuid = self.cluster_id.known().uuid;
                Ok(Existing::Ours(stamp::standing(&user, self.roles.name(), uuid.as_deref())))
            }
            None => Ok(Existing::Absent),
        }
    }

    /// The elastauth with another store that last wrote the user.
    pub(super) async fn other_writer(&self, username: &Username) -> Result<Option<OtherWriter>, InspectError> {
        let user = self.user(username, &RequestContext::default(), self.timeout).await?;
        let theirs = user.and_then(|user| stamp::store(&user)).filter(|theirs| !self.store.is(theirs));
        Ok(theirs.map(|theirs| OtherWriter { theirs, ours: self.store.name.clone() }))
    }

    /// The user as it stands there.
    pub(super) async fn user(
        &self,
        username: &Username,
        context: &RequestContext,
        limit: Duration,
    ) -> Result<Option<Value>, InspectError> {
        let path = path(Some(username));
        let call = Call::get(&path).on_behalf_of(context).expecting(Shape::User(username.as_str()));
        let answer = self.administrator.send(&call, limit.min(self.timeout)).await.map_err(unavailable)?;
        match answer.status {
            StatusCode::OK => Ok(answer.into_body().get_mut(username.as_str()).map(Value::take)),
            StatusCode::NOT_FOUND if answers::says_absent(&answer, username) => Ok(None),
            _ => {
                self.alert(&answer);
                Err(InspectError::Unavailable(answer.describe()))
            }
        }
    }

    /// What the account may not do.
    pub(super) async fn permissions(&self) -> Result<Value, String> {
        let call = Call::get(&PERMISSIONS).expecting(Shape::Privileges);
        let answer = self.administrator.send(&call, self.timeout).await.map_err(|lost| lost.why)?;
        if answer.status == StatusCode::OK { Ok(answer.into_body()) } else { Err(answer.describe()) }
    }

    /// Logs in as the user.
    pub(super) async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        let call = Call::get(&WHO).as_user(username.as_str(), password.expose()).expecting(Shape::Account);
        let answer = self.users.send(&call, self.timeout).await.map_err(unavailable)?;
        let body = answer.body();
        match answer.status {
            StatusCode::UNAUTHORIZED => Ok(Login::Rejected),
            StatusCode::OK if body["user_name"] == username.as_str() => {
                let names = body[self.roles.shown()].as_array();
                let names = names.ok_or_else(|| InspectError::Unavailable("an answer without roles".into()))?;
                let roles = Roles::new(names.iter().filter_map(Value::as_str));
                // the names of attributes are shown, not what stands in them; and a write would cost everybody's login
                Ok(Login::Accepted { roles, seen: None, as_of: None, mapping: None })
            }
            // a proxy or a certificate that authenticates everybody as somebody else
            StatusCode::OK => Err(InspectError::Unavailable("the answer is about another user".into())),
            _ => Err(InspectError::Unavailable(answer.describe())),
        }
    }

    /// One user, made or replaced; without a secret it keeps its password. (No query: an unknown parameter gets 400.)
    pub(super) async fn put(&self, user: &UserSpec, secret: &Secret, limit: Duration) -> Written {
        let path = path(Some(&user.username));
        let call = Call::new(Method::PUT, &path).json(&self.body(user, secret)).on_behalf_of(&user.context);
        self.write(call, limit, Some(&user.username)).await
    }

    /// Several users at once, all or none.
    pub(super) async fn patch(&self, users: &[(&UserSpec, &Secret)], limit: Duration) -> Written {
        let operations: Vec<Value> = users.iter().flat_map(|(user, secret)| self.operations(user, secret)).collect();
        let path = path(None);
        self.write(Call::new(Method::PATCH, &path).json(&operations.into()), limit, None).await
    }

    /// Everybody, by name.
    pub(super) async fn users(&self) -> Result<Map<String, Value>, String> {
        let path = path(None);
        let call = Call::get(&path).at_most(LIST_BYTES).expecting(Shape::Users);
        let answer = self.administrator.send(&call, LIST_TIMEOUT).await.map_err(|lost| lost.why)?;
        let why = answer.describe();
        match (answer.status, answer.into_body()) {
            (StatusCode::OK, Value::Object(users)) => Ok(users),
            _ => Err(why),
        }
    }

    /// Any other write of one user, or of a part of one.
    pub(super) async fn change(
        &self,
        method: Method,
        name: Option<&Username>,
        body: Option<&Value>,
        limit: Duration,
    ) -> Written {
        let path = path(name);
        let call = Call::new(method, &path);
        let call = if let Some(body) = body { call.json(body) } else { call };
        self.write(call, limit, name).await
    }

    async fn write(&self, call: Call<'_>, limit: Duration, one: Option<&Username>) -> Written {
        // to a PUT, a PATCH and a DELETE alike
        let sent = self.administrator.send(&call.expecting(Shape::Written), limit).await;
        let denied = sent.as_ref().ok().filter(|answer| answer.status == StatusCode::FORBIDDEN);
        let described = denied.map(Answer::describe);
        let written = answers::of_a_write(sent, one);
        if let (Written::Failed(_), Some(described)) = (&written, described) {
            self.administrator.alert(&described);
        }
        written
    }

    fn alert(&self, answer: &Answer) {
        if answer.status == StatusCode::FORBIDDEN {
            self.administrator.alert(&answer.describe());
        }
    }

    pub(super) fn preview(&self, user: &UserSpec) -> (String, Value) {
        (format!("/{}", path(Some(&user.username)).join("/")), self.body(user, &Secret::Kept))
    }

    fn body(&self, user: &UserSpec, secret: &Secret) -> Value {
        let mut body = json!({
            self.roles.name(): user.roles.iter().collect::<Vec<_>>(),
            "attributes": stamp::of(&self.cluster, &self.store.mark, user),
        });
        match secret {
            Secret::Kept => {}
            Secret::Password(password) => body["password"] = password.expose().into(),
            Secret::Hash(hash) => body["hash"] = hash.expose_secret().into(),
        }
        body
    }

    /// JSON Patch (RFC 6902). A whole user without a password is never added: where it is absent OpenSearch would make one
    /// that nobody can log in as. A username has no `~` or `/` that RFC 6901 would have escaped.
    fn operations(&self, user: &UserSpec, secret: &Secret) -> Vec<Value> {
        let (at, mut body) = (format!("/{}", user.username), self.body(user, secret));
        let operation = |op: &str, path: String, value: Value| json!({ "op": op, "path": path, "value": value });
        match secret {
            Secret::Kept => [self.roles.name(), "attributes"]
                .map(|field| operation("replace", format!("{at}/{field}"), body[field].take()))
                .into(),
            Secret::Password(_) | Secret::Hash(_) => vec![operation("add", at, body)],
        }
    }
}

fn unavailable(lost: NoResponse) -> InspectError {
    InspectError::Unavailable(lost.why)
}
