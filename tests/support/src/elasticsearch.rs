//! A stand-in for Elasticsearch: the security API's users, and authentication for everything else.
//!
//! It is kept honest by the tests `elasticsearch_conformance` (official specification, official client, and the validation
//! classes of the real server).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use crate::faults::Faults;
use crate::puts::{Put, Puts};
use crate::users::{User, Users, Write};

mod administrator;
mod answers;
mod exchange;
mod login;
mod security;
mod tls;

pub use administrator::Administrator;
pub use exchange::Exchange;

use answers::{failure, product, unauthorized};
use exchange::Recorder;

/// The name and the password of the account that elastauth uses in Elasticsearch.
pub const ADMIN: (&str, &str) = ("provisioner", "provisioner-password");

struct Shared {
    users: Mutex<Users>,
    roles: Mutex<BTreeMap<String, Value>>,
    administrator: Mutex<Administrator>,
    faults: Mutex<Faults>,
    puts: Puts,
    requests: AtomicUsize,
    /// The names under which `_authenticate` was requested.
    logins: Mutex<Vec<String>>,
    recorder: Recorder,
    /// The major version with which vendored media types are compared.
    major: AtomicU8,
    /// The `cluster_uuid`, another one for each instance.
    cluster_uuid: Mutex<String>,
}

impl Default for Shared {
    fn default() -> Self {
        let roles = ["superuser", "kibana_admin", "kibana_user", "monitoring_user", "viewer", "dev"];
        Self {
            users: Mutex::default(),
            roles: Mutex::new(roles.into_iter().map(|role| (role.to_owned(), security::role())).collect()),
            administrator: Mutex::default(),
            faults: Mutex::default(),
            puts: Puts::default(),
            requests: AtomicUsize::default(),
            logins: Mutex::default(),
            recorder: Recorder::default(),
            major: AtomicU8::new(9),
            cluster_uuid: Mutex::new(fresh_uuid()),
        }
    }
}

/// A text of twenty-two characters, like Elasticsearch's own.
fn fresh_uuid() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{:011}{:011}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst))
}

/// A running stand-in; dropping it ends it.
pub struct Elasticsearch {
    /// The address to connect to, as `http://127.0.0.1:port`.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Elasticsearch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Elasticsearch {
    /// Starts a stand-in on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let router = router(&shared);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    fn behind<L>(listener: L, url: String) -> Self
    where
        L: axum::serve::Listener<Addr: std::fmt::Debug>,
    {
        let shared = Arc::<Shared>::default();
        let router = router(&shared);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    /// The address without the scheme, as `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Sets the faults of all later requests.
    pub fn fail(&self, faults: Faults) {
        *self.shared.faults.lock().unwrap() = faults;
    }

    /// Changes the administrator's account.
    pub fn administrator(&self, change: impl FnOnce(&mut Administrator)) {
        change(&mut self.shared.administrator.lock().unwrap());
    }

    /// Removes a role, so that it is as if it had never existed.
    pub fn forget_role(&self, name: &str) {
        self.shared.roles.lock().unwrap().remove(name);
    }

    /// Sets the major version: vendored media types have to name it or the one before.
    pub fn be_version(&self, major: u8) {
        self.shared.major.store(major, Ordering::SeqCst);
    }

    /// Becomes another cluster at the same address, without users.
    pub fn rebuild(&self) {
        *self.shared.cluster_uuid.lock().unwrap() = fresh_uuid();
        self.shared.users.lock().unwrap().all.clear();
    }

    /// Every PUT of a user, applied or not, in the order of arrival.
    #[must_use]
    pub fn puts(&self) -> Vec<Put> {
        self.shared.puts.all()
    }

    /// The number of PUTs that may still be applied or answered.
    #[must_use]
    pub fn open_puts(&self) -> usize {
        self.shared.puts.open()
    }

    /// The number of requests, except those of elastauth's health checks in the background.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// From now on requests and answers are recorded.
    pub fn record(&self) {
        self.shared.recorder.start();
    }

    /// All requests and answers since [`Self::record`].
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.recorder.all()
    }

    /// Every write that was applied, in order.
    #[must_use]
    pub fn history(&self) -> Vec<Write> {
        self.shared.users.lock().unwrap().history.clone()
    }

    /// A copy of the user of this name, if it exists.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<User> {
        self.shared.users.lock().unwrap().all.get(name).cloned()
    }

    /// Creates a user directly, as an administrator would.
    pub fn seed(&self, name: &str, user: User) {
        self.shared.users.lock().unwrap().all.insert(name.to_owned(), user);
    }

    /// Removes the sealed password from the user's metadata: what is lost from the cache then costs a new one.
    pub fn forget_copy(&self, name: &str) {
        let mut users = self.shared.users.lock().unwrap();
        let user = users.all.get_mut(name).unwrap();
        user.metadata["elastauth"].as_object_mut().unwrap().remove("secret").unwrap();
    }

    /// Deletes a user directly, as an administrator would.
    pub fn delete(&self, name: &str) {
        self.shared.users.lock().unwrap().all.remove(name);
    }

    /// The number of requests of `_authenticate` under this name, with whatever password.
    #[must_use]
    pub fn logins(&self, name: &str) -> usize {
        self.shared.logins.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    let keep = axum::middleware::from_fn_with_state(Arc::clone(shared), exchange::keep);
    Router::new().fallback(answer).with_state(Arc::clone(shared)).layer(keep)
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Some(why) = answers::media_type_trouble(&headers, shared.major.load(Ordering::SeqCst)) {
        return failure(400, "media_type_header_exception", &why);
    }
    // the prefix distinguishes senders that were configured with different addresses
    let (sender, path) = uri.path().split_once("/_security/").unwrap_or(("", ""));
    let presented = login::presented(&headers);
    let root = method == Method::GET && !uri.path().trim_matches('/').contains('/');
    let background = root || ["_authenticate", "user/_has_privileges", "role"].contains(&path);
    let administrator = presented.as_ref().is_some_and(login::Presented::is_administrators);
    if !(background && administrator) {
        shared.requests.fetch_add(1, Ordering::SeqCst);
    }
    if let (true, Some(login::Presented::Basic(name, _))) = (path == "_authenticate", &presented) {
        shared.logins.lock().unwrap().push(name.clone());
    }
    let Some(caller) = presented.and_then(|presented| login::log_in(&shared, &presented)) else {
        return unauthorized();
    };
    if !path.is_empty() {
        return security::answer(shared, &caller, sender, (method, path, uri.query()), body).await;
    }
    if administrator && root {
        const ACTION: &str = "cluster:monitor/main";
        if shared.administrator.lock().unwrap().lacks.iter().any(|lack| lack == ACTION) {
            let reason = format!("action [{ACTION}] is unauthorized for user [{}]", caller.name);
            return failure(403, "security_exception", &reason);
        }
        let uuid = shared.cluster_uuid.lock().unwrap().clone();
        return product(StatusCode::OK, &answers::info(shared.major.load(Ordering::SeqCst), &uuid));
    }
    if let Some(status) = shared.faults.lock().unwrap().other_status {
        return failure(status, "security_exception", "as the test wants it");
    }
    let received: Map<String, Value> = headers
        .iter()
        .filter(|(header, _)| *header != "authorization")
        .map(|(header, value)| (header.to_string(), value.to_str().unwrap_or("?").into()))
        .collect();
    let body = json!({ "username": caller.name, "roles": caller.roles, "headers": received,
                       "authorizations": headers.get_all("authorization").iter().count() });
    product(StatusCode::OK, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn put(server: &Elasticsearch, name: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/_security/user/{name}", server.url);
        let sent = crate::http().put(url).basic_auth(ADMIN.0, Some(ADMIN.1)).json(&body).send().await.unwrap();
        (sent.status().as_u16(), sent.json().await.unwrap())
    }

    async fn log_in(server: &Elasticsearch, name: &str, password: &str) -> u16 {
        let sent = crate::http().get(&server.url).basic_auth(name, Some(password)).send().await.unwrap();
        sent.status().as_u16()
    }

    #[tokio::test]
    async fn users_are_created_replaced_and_updated_as_elasticsearch_does() {
        let server = Elasticsearch::start().await;
        let full =
            json!({ "password": "secret-1", "roles": ["a"], "email": "e", "metadata": { "k": { "a": 1, "b": 1 } } });
        assert_eq!(put(&server, "ann", full).await, (200, json!({ "created": true })));
        assert_eq!(log_in(&server, "ann", "secret-1").await, 200);
        assert_eq!(log_in(&server, "ann", "wrong").await, 401);
        let update = json!({ "roles": ["b"], "metadata": { "k": { "b": 2 }, "l": 2 } });
        assert_eq!(put(&server, "ann", update).await, (200, json!({ "created": false })));
        let user = server.user("ann").unwrap();
        assert_eq!((user.roles, user.email), (vec!["b".to_owned()], Value::Null));
        assert_eq!(Value::from(user.metadata), json!({ "k": { "a": 1, "b": 2 }, "l": 2 }), "objects are merged, too");
        assert_eq!(log_in(&server, "ann", "secret-1").await, 200, "the password stays");
        let disable = json!({ "roles": ["b"], "enabled": false });
        assert_eq!(put(&server, "ann", disable).await.0, 200);
        assert_eq!(log_in(&server, "ann", "secret-1").await, 401);
        assert_eq!(put(&server, "ann", json!({ "password": "secret-2", "roles": [] })).await.0, 200);
        assert_eq!(log_in(&server, "ann", "secret-2").await, 200, "a PUT enables again");
    }

    #[tokio::test]
    async fn what_elasticsearch_refuses_is_a_400_that_says_why() {
        let server = Elasticsearch::start().await;
        for (name, body, why) in [
            ("ann", json!({ "password": "secret-1" }), "roles are missing"),
            ("ann", json!({ "roles": [] }), "password must be specified"),
            ("ann", json!({ "roles": [], "password": "short" }), "at least [6]"),
            ("ann", json!({ "roles": [], "password": "secret-1", "x": 1 }), "unexpected field [x]"),
            ("ann", json!({ "roles": [], "password": "secret-1", "password_hash": "h" }), "password_hash"),
            ("ann", json!({ "roles": [], "password": "secret-1", "metadata": { "_x": 1 } }), "start with [_]"),
            ("elastic", json!({ "roles": [], "password": "secret-1" }), "reserved"),
            ("%C3%BC", json!({ "roles": [], "password": "secret-1" }), "printable"),
        ] {
            let (status, answer) = put(&server, name, body).await;
            assert_eq!(status, 400);
            assert!(answer["error"]["reason"].as_str().unwrap().contains(why), "{answer}");
        }
        assert!(server.history().is_empty());
    }
}
