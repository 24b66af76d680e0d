//! A stand-in for Elasticsearch: the security API's users, and Basic authentication for everything else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use crate::faults::Faults;
use crate::faults::{Ending, Fate};
use crate::puts::{Put, Puts};
use crate::users::{User, Users, Write};

/// The administrator that elastauth is given.
pub const ADMIN: (&str, &str) = ("provisioner", "provisioner-password");

#[derive(Default)]
struct Shared {
    users: Mutex<Users>,
    faults: Mutex<Faults>,
    puts: Puts,
    requests: AtomicUsize,
    /// Names under which somebody asked who this is.
    logins: Mutex<Vec<String>>,
}

/// A running stand-in; it ends when dropped.
pub struct Elasticsearch {
    /// `http://127.0.0.1:port`
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
    /// On a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    /// `host:port`
    #[must_use]
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Changes what goes wrong.
    pub fn fail(&self, faults: Faults) {
        *self.shared.faults.lock().unwrap() = faults;
    }

    /// Every PUT of a user, applied or not, in the order in which they came.
    #[must_use]
    pub fn puts(&self) -> Vec<Put> {
        self.shared.puts.all()
    }

    /// How many PUTs may still be applied or answered.
    #[must_use]
    pub fn open_puts(&self) -> usize {
        self.shared.puts.open()
    }

    /// How often anything was asked.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Every applied write, in order.
    #[must_use]
    pub fn history(&self) -> Vec<Write> {
        self.shared.users.lock().unwrap().history.clone()
    }

    /// One user.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<User> {
        self.shared.users.lock().unwrap().all.get(name).cloned()
    }

    /// Puts a user there as a person would.
    pub fn seed(&self, name: &str, user: User) {
        self.shared.users.lock().unwrap().all.insert(name.to_owned(), user);
    }

    /// Takes a user away as a person would.
    pub fn delete(&self, name: &str) {
        self.shared.users.lock().unwrap().all.remove(name);
    }

    /// How often `_authenticate` was asked under this name, with whatever password.
    #[must_use]
    pub fn logins(&self, name: &str) -> usize {
        self.shared.logins.lock().unwrap().iter().filter(|asked| *asked == name).count()
    }
}

fn product(status: StatusCode, body: &Value) -> Response {
    (status, [("x-elastic-product", "Elasticsearch")], axum::Json(body.clone())).into_response()
}

fn unauthorized() -> Response {
    let body = json!({ "error": { "root_cause": [], "type": "security_exception",
        "reason": "unable to authenticate user for REST request" }, "status": 401 });
    let challenge = [("www-authenticate", r#"Basic realm="security", charset="UTF-8""#)];
    (StatusCode::UNAUTHORIZED, challenge, axum::Json(body)).into_response()
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    if uri.path() == "/_security/_authenticate"
        && let Some((name, _)) = presented(&headers)
    {
        shared.logins.lock().unwrap().push(name);
    }
    let Some((name, roles)) = login(&shared, &headers) else { return unauthorized() };
    let admin = name == ADMIN.0;
    if let Some((sender, user)) = uri.path().split_once("/_security/user/") {
        if !admin {
            let reason = format!("action [cluster:admin/xpack/security/user] is unauthorized for user [{name}]");
            let body = json!({ "error": { "type": "security_exception", "reason": reason }, "status": 403 });
            return product(StatusCode::FORBIDDEN, &body);
        }
        let user = decode(user);
        return match method {
            Method::GET => get(&shared, &user),
            Method::PUT | Method::POST => put(shared, sender, user, body).await,
            _ => product(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "not allowed", "status": 405 })),
        };
    }
    if uri.path() == "/_security/_authenticate" {
        let known = shared.users.lock().unwrap().all.get(&name).map(|user| user.shown(&name));
        let shown = known.unwrap_or_else(|| json!({ "username": name, "roles": roles, "metadata": {} }));
        return product(StatusCode::OK, &shown);
    }
    let received: Map<String, Value> = headers
        .iter()
        .filter(|(header, _)| *header != "authorization")
        .map(|(header, value)| (header.to_string(), value.to_str().unwrap_or("?").into()))
        .collect();
    let body = json!({ "username": name, "roles": roles, "headers": received,
                       "authorizations": headers.get_all("authorization").iter().count() });
    product(StatusCode::OK, &body)
}

/// Basic is split at the first colon.
fn presented(headers: &HeaderMap) -> Option<(String, String)> {
    let basic = headers.get("authorization")?.to_str().ok()?.strip_prefix("Basic ")?;
    let pair = base64::engine::general_purpose::STANDARD.decode(basic).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (name, password) = pair.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

/// Disabled users and wrong passwords are alike.
fn login(shared: &Shared, headers: &HeaderMap) -> Option<(String, Vec<String>)> {
    let (name, password) = presented(headers)?;
    if (name.as_str(), password.as_str()) == ADMIN {
        return Some((name, vec!["superuser".into()]));
    }
    let users = shared.users.lock().unwrap();
    let user = users.all.get(&name).filter(|user| user.enabled && user.password == password)?;
    Some((name, user.roles.clone()))
}

fn decode(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: Vec<u8> = rest.by_ref().take(2).collect();
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn status(code: u16) -> Response {
    let body = json!({ "error": { "type": "fault", "reason": "as the test wants it" }, "status": code });
    product(StatusCode::from_u16(code).unwrap(), &body)
}

fn get(shared: &Shared, name: &str) -> Response {
    if let Some(code) = shared.faults.lock().unwrap().get_status {
        return status(code);
    }
    let users = shared.users.lock().unwrap();
    match users.all.get(name) {
        Some(user) => product(StatusCode::OK, &json!({ name: user.shown(name) })),
        None => product(StatusCode::NOT_FOUND, &json!({})),
    }
}

async fn put(shared: Arc<Shared>, sender: &str, name: String, body: Bytes) -> Response {
    let faults = shared.faults.lock().unwrap().clone();
    let Fate { delay, ending } = faults.of_a_put();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let underway = Arc::new(shared.puts.begin(sender.trim_start_matches('/'), &name, &body, ending));
    let apply = {
        let underway = Arc::clone(&underway);
        async move {
            tokio::time::sleep(delay).await;
            let mut users = shared.users.lock().unwrap();
            let outcome = users.put(&name, &body);
            if outcome.is_ok() {
                underway.applied();
            }
            outcome
        }
    };
    let applied = match ending {
        Ending::Refused(code) => {
            let answer = status(code);
            underway.answered(answer.status());
            return answer;
        }
        Ending::Lost => std::future::pending().await,
        Ending::Late => tokio::spawn(apply).await.unwrap(),
        _ if faults.apply_after_client_gave_up => tokio::spawn(apply).await.unwrap(),
        Ending::Answered | Ending::AnswerLost => apply.await,
    };
    if matches!(ending, Ending::AnswerLost | Ending::Late) {
        std::future::pending::<()>().await;
    }
    let answer = match applied {
        Ok(created) => product(StatusCode::OK, &json!({ "created": created })),
        Err(refused) => product(StatusCode::BAD_REQUEST, &refused),
    };
    underway.answered(answer.status());
    answer
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
        let full = json!({ "password": "secret-1", "roles": ["a"], "email": "e", "metadata": { "k": 1 } });
        assert_eq!(put(&server, "ann", full).await, (200, json!({ "created": true })));
        assert_eq!(log_in(&server, "ann", "secret-1").await, 200);
        assert_eq!(log_in(&server, "ann", "wrong").await, 401);
        let update = json!({ "roles": ["b"], "metadata": { "l": 2 } });
        assert_eq!(put(&server, "ann", update).await, (200, json!({ "created": false })));
        let user = server.user("ann").unwrap();
        assert_eq!((user.roles, user.email, user.metadata.len()), (vec!["b".to_owned()], Value::Null, 2));
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
