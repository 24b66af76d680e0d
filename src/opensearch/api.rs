//! Makes the requests to the REST API of OpenSearch's security plugin: `_plugins/_security/api/internalusers` and its
//! neighbours.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::outcome::{self, WriteOutcome};
use super::settings::{RoleField, Settings};
use super::stamp;
use crate::cluster_client::{
    self, Answer, Call, ClusterClient, ClusterId, ExpectedAnswer, LIST_BYTES, LIST_TIMEOUT, System,
};
use crate::credentials::{Existing, InspectError, Login, OtherWriter, Password, RequestContext, StoreName, UserSpec};
use crate::identity::{Owner, Username};
use crate::native_user::PasswordField;
use crate::outbound::{Error, Tls};
use crate::roles::Roles;

const USERS: [&str; 4] = ["_plugins", "_security", "api", "internalusers"];
const PERMISSIONS: [&str; 4] = ["_plugins", "_security", "api", "permissionsinfo"];
const AUTHINFO: [&str; 3] = ["_plugins", "_security", "authinfo"];

/// Sends the requests, with the administrator's credential and with those of users.
pub(super) struct Api {
    pub(super) administrator: ClusterClient,
    /// For logins of users. It has no client certificate: over a connection with the administrator's, OpenSearch takes every
    /// user for the administrator, whatever password is sent.
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
        let connection = settings.connection.clone();
        let tls = Tls { identity: None, ..connection.tls.clone() };
        let users = ClusterClient::new(cluster_client::Settings { account: None, tls, ..connection.clone() })?
            .of(System::OpenSearch);
        let cluster_id = ClusterId::new(&connection.hosts);
        let administrator = ClusterClient::new(connection)?.of(System::OpenSearch);
        let (cluster, store) = (settings.cluster.clone(), settings.store.clone());
        let (roles, timeout) = (settings.roles, settings.timeout);
        Ok(Self { administrator, users, cluster_id, cluster, store, roles, timeout })
    }

    /// Whether the user exists and may be written for this owner.
    pub(super) async fn inspect(
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
                Ok(Existing::Ours(stamp::stored(&user).ours(&user[self.roles.name()], uuid.as_deref())))
            }
            None => Ok(Existing::Absent),
        }
    }

    /// The elastauth with another store than ours that last wrote the user, if one did.
    pub(super) async fn other_writer(&self, username: &Username) -> Result<Option<OtherWriter>, InspectError> {
        let user = self.user(username, &RequestContext::default(), self.timeout).await?;
        Ok(user.and_then(|user| stamp::stored(&user).other_writer(&self.store)))
    }

    /// The user as OpenSearch has it.
    pub(super) async fn user(
        &self,
        username: &Username,
        context: &RequestContext,
        limit: Duration,
    ) -> Result<Option<Value>, InspectError> {
        let path = path(Some(username));
        let call = Call::get(&path).on_behalf_of(context).expecting(ExpectedAnswer::User(username.as_str()));
        let answer = self.administrator.send(&call, limit.min(self.timeout)).await?;
        match answer.status {
            StatusCode::OK => Ok(answer.into_entry(username.as_str())),
            StatusCode::NOT_FOUND if outcome::says_absent(&answer, username) => Ok(None),
            _ => {
                self.alert(&answer);
                Err(InspectError::Unavailable(answer.describe()))
            }
        }
    }

    /// Which methods of the API the account may not use.
    pub(super) async fn permissions(&self) -> Result<Value, String> {
        let call = Call::get(&PERMISSIONS).expecting(ExpectedAnswer::Privileges);
        self.read(&call, self.timeout).await
    }

    /// Tries the user's own credential.
    pub(super) async fn log_in(&self, username: &Username, password: &Password) -> Result<Login, InspectError> {
        let call =
            Call::get(&AUTHINFO).by_user(username.as_str(), password.expose()).expecting(ExpectedAnswer::Account);
        let answer = self.users.send(&call, self.timeout).await?;
        let body = answer.body();
        match answer.status {
            StatusCode::UNAUTHORIZED => Ok(Login::Rejected),
            StatusCode::OK if body["user_name"] == username.as_str() => {
                let names = body[self.roles.name_in_authinfo()].as_array();
                let names = names.ok_or_else(|| InspectError::Unavailable("the answer has no roles".into()))?;
                let roles = Roles::new(names.iter().filter_map(Value::as_str));
                // of attributes only the names are shown; and to write the day would make every node forget all logins
                Ok(Login::Accepted { roles, seen: None, as_of: None, mapping: None })
            }
            // a proxy or a certificate authenticates every user as another one
            StatusCode::OK => Err(InspectError::Unavailable("the answer is about another user".into())),
            _ => Err(InspectError::Unavailable(answer.describe())),
        }
    }

    /// Makes or replaces one user. There is no query, as OpenSearch answers unknown parameters with 400.
    pub(super) async fn put(&self, user: &UserSpec, password: &PasswordField, limit: Duration) -> WriteOutcome {
        let path = path(Some(&user.username));
        let call = Call::new(Method::PUT, &path).json(&self.body(user, password)).on_behalf_of(&user.context);
        self.write(call, limit, Some(&user.username)).await
    }

    /// Writes several users in one request, either all or none.
    pub(super) async fn patch(&self, users: &[(&UserSpec, &PasswordField)], limit: Duration) -> WriteOutcome {
        let operations: Vec<Value> =
            users.iter().flat_map(|(user, password)| self.operations(user, password)).collect();
        let path = path(None);
        self.write(Call::new(Method::PATCH, &path).json(&operations.into()), limit, None).await
    }

    /// All users, by their names.
    pub(super) async fn users(&self) -> Result<Map<String, Value>, String> {
        let path = path(None);
        let call = Call::get(&path).at_most(LIST_BYTES).expecting(ExpectedAnswer::Users);
        match self.read(&call, LIST_TIMEOUT).await? {
            Value::Object(users) => Ok(users),
            _ => Err("the list of users is not a JSON object".into()),
        }
    }

    /// The body of an answer with 200.
    async fn read(&self, call: &Call<'_>, limit: Duration) -> Result<Value, String> {
        let answer = self.administrator.send(call, limit).await.map_err(|error| error.why)?;
        if answer.status == StatusCode::OK { Ok(answer.into_body()) } else { Err(answer.describe()) }
    }

    /// Makes another write, of one user or a part of it.
    pub(super) async fn change(
        &self,
        method: Method,
        name: Option<&Username>,
        body: Option<&Value>,
        limit: Duration,
    ) -> WriteOutcome {
        let path = path(name);
        let call = Call::new(method, &path);
        let call = if let Some(body) = body { call.json(body) } else { call };
        self.write(call, limit, name).await
    }

    async fn write(&self, call: Call<'_>, limit: Duration, one: Option<&Username>) -> WriteOutcome {
        // OpenSearch confirms a PUT, a PATCH and a DELETE in the same form
        let sent = self.administrator.send(&call.expecting(ExpectedAnswer::Written), limit).await;
        let denied = sent.as_ref().ok().filter(|answer| answer.status == StatusCode::FORBIDDEN);
        let described = denied.map(Answer::describe);
        let outcome = outcome::write_outcome(sent, one);
        if let (WriteOutcome::Failed(_), Some(described)) = (&outcome, described) {
            self.administrator.alert(&described);
        }
        outcome
    }

    fn alert(&self, answer: &Answer) {
        if answer.status == StatusCode::FORBIDDEN {
            self.administrator.alert(&answer.describe());
        }
    }

    pub(super) fn preview(&self, user: &UserSpec) -> (String, Value) {
        let mut body = self.body(user, &PasswordField::Unchanged);
        stamp::hide_secret(&mut body["attributes"]);
        (format!("/{}", path(Some(&user.username)).join("/")), body)
    }

    fn body(&self, user: &UserSpec, password: &PasswordField) -> Value {
        let mut body = json!({
            self.roles.name(): user.roles.iter().collect::<Vec<_>>(),
            "attributes": stamp::of(&self.cluster, &self.store.mark, user),
        });
        password.put_into(&mut body, "hash");
        body
    }

    /// The JSON Patch (RFC 6902) that writes the user. A whole user without a password is never added: where there is none,
    /// OpenSearch would make one that cannot log in. A username has no `~` or `/`, which RFC 6901 would have escaped.
    fn operations(&self, user: &UserSpec, password: &PasswordField) -> Vec<Value> {
        let (at, mut body) = (format!("/{}", user.username), self.body(user, password));
        let operation = |op: &str, path: String, value: Value| json!({ "op": op, "path": path, "value": value });
        match password {
            PasswordField::Unchanged => [self.roles.name(), "attributes"]
                .map(|field| operation("replace", format!("{at}/{field}"), body[field].take()))
                .into(),
            PasswordField::Plain(_) | PasswordField::Hash(_) => vec![operation("add", at, body)],
        }
    }
}
