//! How answers are read and what is sent again, against a server that answers as the real one was seen to. `tests/opensearch`
//! runs against the real one.

use std::collections::HashSet;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use futures_util::future::join_all;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::cluster_client::account::Scheme;
use crate::cluster_client::{self, Account};
use crate::credentials::Day;
use crate::digest::Digest;
use crate::outbound::Tls;
use crate::roles::{Roles, Version};

/// The method, the last segment of the path and the body of each request.
type Requests = Arc<Mutex<Vec<(Method, String, Value)>>>;
/// The status and the text for such a request; none for the answer of an OpenSearch without users.
type Script = Arc<dyn Fn(&Method, &str, &Value) -> Option<(u16, String)> + Send + Sync>;

struct Server {
    url: url::Url,
    requests: Requests,
}

async fn server(script: impl Fn(&Method, &str, &Value) -> Option<(u16, String)> + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (requests, script) = (Requests::default(), Arc::new(script) as Script);
    let handle = |State((requests, script)): State<(Requests, Script)>, method: Method, uri: Uri, body: Bytes| async move {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let last = uri.path().rsplit('/').next().unwrap().to_owned();
        let reply = script(&method, &last, &body).unwrap_or_else(|| match method {
            Method::GET => (404, format!(r#"{{"status":"NOT_FOUND","message":"user '{last}' not found."}}"#)),
            _ => (200, r#"{"status":"OK","message":"Resource updated."}"#.into()),
        });
        requests.lock().push((method, last, body));
        (StatusCode::from_u16(reply.0).unwrap(), reply.1)
    };
    let router = Router::new().fallback(handle).with_state((Arc::clone(&requests), script));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server { url, requests }
}

impl Server {
    /// The methods and last segments of the requests.
    fn asked(&self) -> Vec<String> {
        self.requests.lock().iter().map(|(method, last, _)| format!("{method} {last}")).collect()
    }
}

fn settings(url: url::Url) -> Settings {
    let scheme = Scheme::Basic { username: "provisioner".into() };
    let account = Some(Account { scheme, secret: "admin-secret".to_owned().into(), file: None });
    let media_type = "application/json".into();
    Settings {
        connection: cluster_client::Settings { hosts: vec![url], account, tls: Tls::default(), media_type },
        timeout: Duration::from_secs(2),
        write_timeout: Duration::from_secs(5),
        dry_run: false,
        cluster: "c".into(),
        store: "memory".into(),
        roles: RoleField::Backend,
        hashing: Hashing::There,
        write_interval: Duration::from_millis(1),
        max_batch: 100,
    }
}

fn opensearch(server: &Server) -> OpenSearch {
    OpenSearch::new(settings(server.url.clone())).unwrap()
}

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn owner() -> Owner {
    Owner { issuer: "i".into(), subject: "s".into() }
}

fn spec(user: &str) -> UserSpec {
    UserSpec {
        username: name(user),
        owner: owner(),
        roles: Roles::new(["r"]),
        as_of: 7,
        mapping: Version { since: 3, digest: Digest(255) },
        cluster_uuid: None,
        full_name: None,
        email: None,
        seen: Day::of(0),
        copy: None,
        context: RequestContext::default(),
    }
}

const CONFLICT: &str = r#"{"status":"CONFLICT","message":"version conflict"}"#;

#[expect(clippy::unnecessary_wraps, reason = "as a script answers")]
fn answer(status: u16, body: &str) -> Option<(u16, String)> {
    Some((status, body.to_owned()))
}

async fn write(server: &Server, password: bool) -> Result<(), WriteError> {
    let secret = Password::generate().unwrap();
    opensearch(server).write(&spec("ann"), password.then_some(&secret)).await
}

/// Requirement 31: errors come in four forms of JSON, and as plain text.
#[tokio::test]
async fn a_write_is_read_by_its_status_first() {
    for (status, body, expected) in [
        (201, r#"{"status":"CREATED","message":"'ann' created."}"#, "ok"),
        (200, r#"{"status":"OK","message":"No updates required"}"#, "ok"),
        (400, r#"{"status":"error","reason":"Weak password"}"#, "rejected"),
        (400, r#"{"status":"BAD_REQUEST","message":"Please specify either 'hash' or 'password'"}"#, "missing"),
        (400, r#"{"error":"no handler found for uri [/x] and method [PUT]"}"#, "unavailable"),
        (400, "<html>a proxy</html>", "unknown"),
        (401, "Unauthorized", "unavailable"),
        (403, r#"{"status":"FORBIDDEN","message":"Resource 'ann' is reserved."}"#, "reserved"),
        (403, r#"{"status":"FORBIDDEN","message":"Resource 'role' is reserved."}"#, "rejected"),
        (403, r#"{"status":"FORBIDDEN","message":"No permission to access REST API"}"#, "unavailable"),
        (404, r#"{"status":"NOT_FOUND","message":"Resource 'ann' is not available."}"#, "reserved"),
        (404, r#"{"status":"NOT_FOUND","message":"role 'x' not found."}"#, "rejected"),
        (404, "<html>a proxy</html>", "unknown"),
        (429, r#"{"error":{"type":"t","reason":"r"},"status":429}"#, "unavailable"),
        (500, r#"{"error":{"root_cause":[],"type":"exception","reason":"r"},"status":500}"#, "unknown"),
        (503, "OpenSearch Security not initialized.", "unknown"),
        (301, "", "unknown"),
        (200, "<html>a login page</html>", "unknown"),
    ] {
        let server = server(move |method, _, _| (*method == Method::PUT).then(|| (status, body.to_owned()))).await;
        let found = match write(&server, true).await {
            Ok(()) => "ok",
            Err(WriteError::Missing) => "missing",
            Err(WriteError::Outranked) => "outranked",
            Err(WriteError::Unavailable(_)) => "unavailable",
            Err(WriteError::Unknown(_)) => "unknown",
            Err(WriteError::Refused { refused: Refused::Reserved, .. }) => "reserved",
            Err(WriteError::Refused { refused: Refused::Rejected, .. }) => "rejected",
            Err(WriteError::Refused { .. }) => "refused",
        };
        assert_eq!(found, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn an_absent_user_is_one_that_opensearch_says_is_absent_and_trouble_is_an_outage() {
    let server = server(|_, _, _| None).await;
    let found = opensearch(&server).inspect(&name("ann"), &owner(), &RequestContext::default()).await;
    assert_eq!(found.unwrap(), Existing::Absent);
    for (status, body) in [
        (404, "<html>"),
        (404, "{}"),
        (404, r#"{"status":"NOT_FOUND","message":"no such route"}"#),
        (401, "Unauthorized"),
        (403, "{}"),
        (503, ""),
        (200, "{}"),
    ] {
        let server = self::server(move |_, _, _| answer(status, body)).await;
        let found = opensearch(&server).inspect(&name("ann"), &owner(), &RequestContext::default()).await;
        assert!(matches!(found, Err(InspectError::Unavailable(_))), "{status} {body}");
    }
}

#[tokio::test]
async fn a_login_is_about_the_user_who_asked_or_proves_nothing() {
    let log_in = async |status, body: &'static str| {
        let server = server(move |_, _, _| answer(status, body)).await;
        opensearch(&server).log_in(&name("ann"), &Password::generate().unwrap()).await
    };
    let accepted = log_in(200, r#"{"user_name":"ann","backend_roles":["b"],"roles":["c"]}"#).await.unwrap();
    assert_eq!(
        accepted,
        Login::Accepted { roles: Roles::new(["b"]), seen: None, as_of: None, mapping: None },
        "not the mapped ones"
    );
    assert_eq!(log_in(401, "Unauthorized").await.unwrap(), Login::Rejected);
    for (status, body) in
        [(200, r#"{"user_name":"CN=super","backend_roles":["b"]}"#), (200, "{}"), (403, "{}"), (503, ""), (500, "")]
    {
        assert!(matches!(log_in(status, body).await, Err(InspectError::Unavailable(_))), "{status} {body}");
    }
}

/// Requirement 30: a new user that does not wait for others costs one inspection, before `write`, and one write.
#[tokio::test]
async fn a_write_that_does_not_wait_is_one_request_and_sends_what_the_user_is_to_be() {
    let server = server(|_, _, _| None).await;
    write(&server, true).await.unwrap();
    write(&server, false).await.unwrap();
    assert_eq!(server.asked(), ["PUT ann", "PUT ann"]);
    let requests = server.requests.lock();
    assert_eq!(requests[0].2["backend_roles"], json!(["r"]));
    assert_eq!(requests[0].2["password"].as_str().unwrap().len(), 43);
    assert!(requests[1].2.get("password").is_none() && requests[1].2.get("hash").is_none());
    assert_eq!(requests[1].2["attributes"]["elastauth.io/subject"], "s", "a write replaces attributes");
}

/// Requirement 41: after a conflict a user is inspected and written again, within the deadline.
#[tokio::test]
async fn after_a_conflict_the_user_is_looked_at_again_and_the_write_repeated() {
    let left = Mutex::new(3);
    let server = server(move |method, _, _| {
        let mut left = left.lock();
        let now = *method == Method::PUT && *left > 0;
        *left -= i32::from(now);
        now.then(|| (409, CONFLICT.to_owned()))
    })
    .await;
    write(&server, true).await.unwrap();
    assert_eq!(server.asked(), ["PUT ann", "GET ann", "PUT ann", "GET ann", "PUT ann", "GET ann", "PUT ann"]);

    let taken = json!({ "ann": { "attributes": {} } }).to_string();
    let server = self::server(
        move |method, _, _| {
            if *method == Method::PUT { answer(409, CONFLICT) } else { Some((200, taken.clone())) }
        },
    )
    .await;
    let refused = write(&server, true).await;
    assert!(matches!(refused, Err(WriteError::Refused { refused: Refused::NotOurs, .. })), "{refused:?}");
    assert_eq!(server.asked(), ["PUT ann", "GET ann"], "a person that made the user meanwhile keeps it");
}

#[tokio::test]
async fn conflicts_without_end_are_given_up_in_time_and_certainly_not_applied() {
    let server = server(|method, _, _| (*method == Method::PUT).then(|| (409, CONFLICT.into()))).await;
    let mut settings = settings(server.url.clone());
    settings.write_timeout = Duration::from_secs(1);
    let (began, password) = (Instant::now(), Password::generate().unwrap());
    let written = OpenSearch::new(settings).unwrap().write(&spec("ann"), Some(&password)).await;
    assert!(matches!(written, Err(WriteError::Unavailable(_))), "{written:?}");
    assert!(began.elapsed() < Duration::from_millis(1500));
}

/// The names of the users in a JSON Patch.
fn named(body: &Value) -> HashSet<String> {
    let paths = body.as_array().into_iter().flatten().filter_map(|operation| operation["path"].as_str());
    paths.filter_map(|path| path.split('/').nth(1)).map(str::to_owned).collect()
}

/// Writes so many users at once, every third without a password, and gives back the results.
async fn crowd(server: &Server, count: usize, interval: Duration) -> Vec<Result<(), WriteError>> {
    let mut settings = settings(server.url.clone());
    settings.write_interval = interval;
    settings.max_batch = 20;
    let (opensearch, password) = (OpenSearch::new(settings).unwrap(), Password::generate().unwrap());
    let users: Vec<_> = (0..count).map(|i| spec(&format!("u{i}"))).collect();
    let writes = users.iter().enumerate().map(|(i, user)| opensearch.write(user, (i % 3 != 2).then_some(&password)));
    join_all(writes).await
}

#[expect(clippy::unnecessary_wraps, reason = "as a script answers")]
fn ours(user: &str) -> Option<(u16, String)> {
    let user = json!({ user: { "attributes": stamp::of("c", "memory", &spec(user)) } });
    Some((200, user.to_string()))
}

#[tokio::test]
async fn what_waits_goes_out_together_after_a_look_at_each_and_never_two_at_once() {
    let server = server(|method, user, _| if *method == Method::GET { ours(user) } else { None }).await;
    for written in crowd(&server, 45, Duration::from_millis(400)).await {
        written.unwrap();
    }
    let requests = server.requests.lock();
    let patches: Vec<_> = requests.iter().filter(|(method, ..)| *method == Method::PATCH).collect();
    assert_eq!(patches.len(), 3, "the first that came, and twice all that waited, twenty at most");
    let mut written = HashSet::new();
    for (_, _, body) in &patches {
        let users = named(body);
        assert!(users.len() <= 20 && users.is_disjoint(&written));
        written.extend(users);
        for operation in body.as_array().unwrap() {
            let whole = operation["path"].as_str().unwrap().matches('/').count() == 1;
            assert_eq!(operation["op"], if whole { "add" } else { "replace" });
            assert!(!whole || operation["value"]["password"].is_string(), "a whole user has a password: {operation}");
        }
    }
    assert_eq!(written.len(), 45);
    let looks = requests.iter().filter(|(method, ..)| *method == Method::GET).count();
    assert_eq!(looks, 25, "those that waited; the first twenty had been inspected just before");
}

#[tokio::test]
async fn one_bad_user_in_a_batch_is_found_and_the_others_are_written() {
    let bad = |body: &Value| named(body).contains("u7");
    let server = server(move |method, last, body| match *method {
        Method::GET => ours(last),
        Method::PATCH if bad(body) => answer(404, r#"{"status":"NOT_FOUND","message":"role 'r' not found."}"#),
        Method::PUT if last == "u7" => answer(404, r#"{"status":"NOT_FOUND","message":"role 'r' not found."}"#),
        _ => None,
    })
    .await;
    for (i, written) in crowd(&server, 16, Duration::from_millis(1)).await.into_iter().enumerate() {
        match i {
            7 => assert!(matches!(written, Err(WriteError::Refused { refused: Refused::Rejected, .. })), "{written:?}"),
            _ => written.unwrap(),
        }
    }
    let writes = server.asked().iter().filter(|asked| !asked.starts_with("GET")).count();
    assert!(writes <= 9, "halves, not each alone: {writes}");
}

/// Writes six users at once, among them `u3`, which must not be written. They wait for a first write and are inspected again;
/// then the others are written together. Answers the result of `u3`.
async fn six_that_wait(server: &Server) -> Result<(), WriteError> {
    let mut settings = settings(server.url.clone());
    settings.write_interval = Duration::from_millis(600);
    let (opensearch, password) = (OpenSearch::new(settings).unwrap(), Password::generate().unwrap());
    opensearch.write(&spec("first"), Some(&password)).await.unwrap();
    let users: Vec<_> = (0..6).map(|i| spec(&format!("u{i}"))).collect();
    let mut written = join_all(users.iter().map(|user| opensearch.write(user, Some(&password)))).await;
    let left_out = written.remove(3);
    for written in written {
        written.unwrap();
    }
    let requests = server.requests.lock();
    let (_, _, patch) = requests.iter().find(|(method, ..)| *method == Method::PATCH).unwrap();
    assert!(!named(patch).contains("u3") && named(patch).len() == 5);
    left_out
}

#[tokio::test]
async fn a_user_that_became_anothers_while_it_waited_is_left_out() {
    let theirs = json!({ "u3": { "attributes": {} } }).to_string();
    let server = server(move |method, last, _| match *method {
        Method::GET if last == "u3" => Some((200, theirs.clone())),
        Method::GET => ours(last),
        Method::PATCH | Method::PUT => None,
        _ => answer(405, "{}"),
    })
    .await;
    let written = six_that_wait(&server).await;
    assert!(matches!(written, Err(WriteError::Refused { refused: Refused::NotOurs, .. })), "{written:?}");
}

/// Where writes wait for one another, the inspection before `write` is out of date by the time that the user is written.
#[tokio::test]
async fn a_user_that_got_newer_roles_while_it_waited_is_left_out_as_outranked() {
    let newer = UserSpec { as_of: 8, ..spec("u3") };
    let newer = json!({ "u3": { "backend_roles": ["less"], "attributes": stamp::of("c", "memory", &newer) } });
    let server = server(move |method, last, _| match *method {
        Method::GET if last == "u3" => Some((200, newer.to_string())),
        Method::GET => ours(last),
        _ => None,
    })
    .await;
    let written = six_that_wait(&server).await;
    assert!(matches!(written, Err(WriteError::Outranked)), "{written:?}");
}

#[tokio::test]
async fn a_hash_is_sent_instead_of_the_password_and_the_account_itself_is_reserved() {
    let server = server(|_, _, _| None).await;
    let mut settings = settings(server.url.clone());
    settings.hashing = Hashing::Here { cost: 4, cores: 1 };
    let (opensearch, password) = (OpenSearch::new(settings).unwrap(), Password::generate().unwrap());
    opensearch.write(&spec("ann"), Some(&password)).await.unwrap();
    let found = opensearch.inspect(&name("provisioner"), &owner(), &RequestContext::default()).await;
    assert!(matches!(found, Err(InspectError::Refused(Refused::Reserved))));
    let requests = server.requests.lock();
    let (method, _, body) = &requests[0];
    assert_eq!(*method, Method::PUT);
    assert!(body.get("password").is_none() && body["hash"].as_str().unwrap().starts_with("$2y$04$"), "{body}");
    assert!(!body.to_string().contains(password.expose()));
}

/// Requirement 37: OpenSearch answers 201 to a hash that it cannot use, for example where it is set to PBKDF2.
#[tokio::test]
async fn the_first_hash_is_tried_and_where_it_does_not_work_opensearch_hashes_loudly() {
    for works in [true, false] {
        let in_the_clear = Mutex::new(false);
        let server = server(move |method, last, body| {
            let mut in_the_clear = in_the_clear.lock();
            *in_the_clear |= *method == Method::PUT && body.get("password").is_some();
            match (last, works || *in_the_clear) {
                ("authinfo", true) => answer(200, r#"{"user_name":"ann","backend_roles":["r"],"roles":[]}"#),
                ("authinfo", false) => answer(401, "Unauthorized"),
                _ => None,
            }
        })
        .await;
        let mut settings = settings(server.url.clone());
        settings.hashing = Hashing::Here { cost: 4, cores: 1 };
        let (opensearch, password) = (OpenSearch::new(settings).unwrap(), Password::generate().unwrap());
        for _ in 0..2 {
            opensearch.write(&spec("ann"), Some(&password)).await.unwrap();
        }
        let requests = server.requests.lock();
        let sent = |field: &str| requests.iter().filter(|(_, _, body)| body.get(field).is_some()).count();
        assert_eq!((sent("hash"), sent("password")), if works { (2, 0) } else { (1, 2) });
        let logins = requests.iter().filter(|(_, last, _)| last == "authinfo").count();
        assert_eq!(logins, if works { 1 } else { 2 }, "and never again");
    }
}

#[tokio::test]
async fn the_account_is_examined_in_advance() {
    for (users, permissions, expected) in [
        (None, r#"{"has_api_access":true,"disabled_endpoints":{}}"#, Ok(())),
        (None, r#"{"has_api_access":true,"disabled_endpoints":{"INTERNALUSERS":["DELETE"],"ROLES":["GET"]}}"#, Ok(())),
        (
            None,
            r#"{"has_api_access":true,"disabled_endpoints":{"INTERNALUSERS":["PUT","PATCH"]}}"#,
            Err("may not PUT and PATCH"),
        ),
        (None, r#"{"has_api_access":false,"disabled_endpoints":{"INTERNALUSERS":["GET","PUT"]}}"#, Ok(())),
        (answer(403, r#"{"status":"FORBIDDEN","message":"No permission"}"#), "{}", Err("No permission")),
        (answer(401, "Unauthorized"), "{}", Err("Unauthorized")),
    ] {
        let server = server(move |_, last, _| match last {
            "permissionsinfo" => answer(200, permissions),
            _ => users.clone(),
        })
        .await;
        let found = opensearch(&server).examine().await;
        match expected {
            Ok(()) => assert_eq!(found, Ok(Vec::new()), "{permissions}"),
            Err(part) => assert!(found.as_ref().is_err_and(|why| why.contains(part)), "{found:?}"),
        }
    }
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_refuses() {
    let server = server(|_, _, _| None).await;
    let mut settings = settings(server.url.clone());
    settings.dry_run = true;
    let written = OpenSearch::new(settings).unwrap().write(&spec("ann"), None).await;
    assert!(matches!(written, Err(WriteError::Refused { refused: Refused::DryRun, .. })));
    assert!(server.asked().is_empty());
}

mod foreign;
