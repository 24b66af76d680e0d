//! How each answer is read. The wire itself is tested against the stand-in, in `tests/process`.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, Uri};
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::credentials::Day;
use crate::outbound::Tls;

type Requests = Arc<Mutex<Vec<(Method, String, String)>>>;

struct Server {
    url: Url,
    requests: Requests,
}

async fn server(status: u16, body: &str) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let requests = Requests::default();
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    let body = body.to_owned();
    let answer = move |State(requests): State<Requests>, method: Method, uri: Uri, sent: Bytes| async move {
        let sent = String::from_utf8_lossy(&sent).into_owned();
        requests.lock().unwrap().push((method, uri.to_string(), sent));
        (status, body)
    };
    let router = Router::new().fallback(answer).with_state(Arc::clone(&requests));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Server { url, requests }
}

fn elastic(hosts: Vec<Url>) -> Elastic {
    let scheme = Scheme::Basic { username: "provisioner".into() };
    let account = nodes::Account { scheme, secret: "admin-secret".to_owned().into(), file: None };
    let nodes =
        nodes::Settings { hosts, account: Some(account), tls: Tls::default(), media_type: "application/json".into() };
    let patience = Duration::from_secs(2);
    Elastic::new(Settings {
        nodes,
        timeout: Duration::from_secs(2),
        write_timeout: Duration::from_secs(2),
        writes: Limits { concurrent: 4, queue: 64, patience, per_second: None },
        dry_run: false,
        cluster: "c".into(),
        store: "redis here".into(),
    })
    .unwrap()
}

fn name(text: &str) -> Username {
    Username::parse(text).unwrap()
}

fn owner() -> Owner {
    Owner { issuer: "i".into(), subject: "s".into() }
}

fn spec() -> UserSpec {
    let roles = Roles::new(["r"]);
    let (username, origin) = (name("ann"), Origin::default());
    UserSpec {
        username,
        owner: owner(),
        roles,
        as_of: 7,
        full_name: None,
        email: Some("e".into()),
        seen: Day::of(0),
        origin,
    }
}

#[tokio::test]
async fn a_write_is_read_by_its_status_first() {
    for (status, body, expected) in [
        (200, r#"{"created":true}"#, "ok"),
        (400, r#"{"error":{"reason":"password must be specified unless you are updating"}}"#, "missing"),
        (400, r#"{"error":{"reason":"roles are missing"}}"#, "refused"),
        (400, "<html>bad</html>", "refused"),
        (401, r#"{"error":"bare string"}"#, "unavailable"),
        (403, "", "unavailable"),
        (410, "", "unavailable"),
        (429, r#"{"error":{"type":"cluster_block_exception"}}"#, "unavailable"),
        (301, "", "unavailable"),
        (500, r#"{"error":{"reason":"clearing the cache for [ann] failed"}}"#, "unknown"),
        (503, "", "unknown"),
    ] {
        let server = server(status, body).await;
        let password = Password::generate().unwrap();
        let found = elastic(vec![server.url]).write(&spec(), Some(&password)).await;
        let text = format!("{found:?}");
        assert!(!text.contains(password.expose()) && !text.contains("admin-secret"));
        let kind = match found {
            Ok(()) => "ok",
            Err(WriteError::Missing) => "missing",
            Err(WriteError::Refused { .. }) => "refused",
            Err(WriteError::Unavailable(_)) => "unavailable",
            Err(WriteError::Unknown(_)) => "unknown",
        };
        assert_eq!(kind, expected, "{status} {body}");
    }
}

#[tokio::test]
async fn a_write_sends_roles_stamp_and_enabled_and_the_password_only_when_told_to() {
    let server = server(200, "{}").await;
    let elastic = elastic(vec![server.url]);
    let password = Password::generate().unwrap();
    elastic.write(&spec(), Some(&password)).await.unwrap();
    elastic.write(&spec(), None).await.unwrap();
    let requests = server.requests.lock().unwrap().clone();
    let (method, uri, body) = &requests[0];
    assert_eq!((method.as_str(), uri.as_str()), ("PUT", "/_security/user/ann?refresh=false"));
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["password"], password.expose());
    assert_eq!((&body["roles"], &body["enabled"], &body["email"]), (&json!(["r"]), &json!(true), &json!("e")));
    assert_eq!(body["metadata"]["managed_by"], "elastauth");
    let stamp = json!({ "cluster": "c", "store": "redis here", "issuer": "i", "subject": "s", "unbound": false,
                        "as_of": 7, "last_seen": "1970-01-01" });
    assert_eq!(body["metadata"]["elastauth"], stamp);
    assert!(!requests[1].2.contains("password"));
}

#[tokio::test]
async fn reserved_names_and_the_administrator_are_refused_without_a_request() {
    let server = server(200, "{}").await;
    let elastic = elastic(vec![server.url]);
    for reserved in ["elastic", "kibana_system", "provisioner"] {
        let found = elastic.inspect(&name(reserved), &owner(), &Origin::default()).await;
        assert!(matches!(found, Err(InspectError::Refused(Refused::Reserved))), "{reserved}");
    }
    assert!(server.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_look_that_finds_nobody_is_no_error_and_trouble_is_an_outage() {
    let missing = server(404, "{}").await;
    assert_eq!(
        elastic(vec![missing.url]).inspect(&name("ann"), &owner(), &Origin::default()).await.unwrap(),
        Existing::Absent
    );
    for (status, body) in [(401, "x"), (403, ""), (429, ""), (500, ""), (503, ""), (200, "no json"), (200, "{}")] {
        let server = server(status, body).await;
        let found = elastic(vec![server.url]).inspect(&name("ann"), &owner(), &Origin::default()).await;
        assert!(matches!(found, Err(InspectError::Unavailable(_))), "{status} {body}");
    }
}

#[tokio::test]
async fn the_next_node_is_asked_when_one_cannot_be_reached_and_the_dead_one_rests() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = Url::parse(&format!("http://{}", closed.local_addr().unwrap())).unwrap();
    drop(closed);
    let live = server(200, "{}").await;
    let elastic = elastic(vec![dead.clone(), live.url]);
    for _ in 0..4 {
        elastic.write(&spec(), None).await.unwrap();
    }
    assert_eq!(live.requests.lock().unwrap().len(), 4);
    let alone = super::tests::elastic(vec![dead]);
    let found = alone.write(&spec(), None).await;
    assert!(matches!(found, Err(WriteError::Unavailable(_))), "certainly not applied: {found:?}");
}

#[tokio::test]
async fn an_oversize_answer_is_not_read_to_its_end() {
    let server = server(200, &"x".repeat(2 * 1024 * 1024)).await;
    let found = elastic(vec![server.url]).inspect(&name("ann"), &owner(), &Origin::default()).await;
    assert!(matches!(found, Err(InspectError::Unavailable(why)) if why.contains("1048576 bytes")));
}

#[tokio::test]
async fn a_login_is_accepted_with_its_roles_rejected_or_an_outage() {
    let log_in = async |status, body: &str| {
        let server = server(status, body).await;
        elastic(vec![server.url]).log_in(&name("ann"), &Password::generate().unwrap()).await
    };
    let accepted = log_in(200, r#"{"username":"ann","roles":["b","a"]}"#).await.unwrap();
    assert_eq!(accepted, Login::Accepted { roles: Roles::new(["a", "b"]), seen: None });
    assert_eq!(log_in(401, "{}").await.unwrap(), Login::Rejected);
    let stamped = r#"{"roles":[],"metadata":{"managed_by":"elastauth","elastauth":{"last_seen":"2026-11-25"}}}"#;
    assert_eq!(
        log_in(200, stamped).await.unwrap(),
        Login::Accepted { roles: Roles::default(), seen: Day::parse("2026-11-25") }
    );
    let old = r#"{"roles":[],"metadata":{"managed_by":"elastauth","elastauth":{}}}"#;
    assert_eq!(log_in(200, old).await.unwrap(), Login::Accepted { roles: Roles::default(), seen: Some(Day::of(0)) });
    for (status, body) in [(200, "{}"), (403, "{}"), (429, "{}"), (500, "{}"), (503, "{}")] {
        assert!(matches!(log_in(status, body).await, Err(InspectError::Unavailable(_))), "{status} {body}");
    }
}
