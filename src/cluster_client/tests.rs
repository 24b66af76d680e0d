//! Which calls are repeated, at which node, and for how long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use tokio::net::TcpListener;

use super::account::Scheme;
use super::*;
use crate::credentials::RequestContext;

/// A node that gives these answers in turn, and then the last one again and again. For 99, which is no status, it closes the
/// connection without an answer.
struct Scripted {
    url: Url,
    asked: Arc<AtomicUsize>,
    headers: Arc<Mutex<Vec<HeaderMap>>>,
}

#[derive(Clone)]
struct Script {
    answers: Arc<[(u16, &'static str)]>,
    asked: Arc<AtomicUsize>,
    headers: Arc<Mutex<Vec<HeaderMap>>>,
}

async fn scripted(answers: &[(u16, &'static str)]) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (asked, headers) = (Arc::<AtomicUsize>::default(), Arc::<Mutex<Vec<HeaderMap>>>::default());
    let script = Script { answers: answers.into(), asked: Arc::clone(&asked), headers: Arc::clone(&headers) };
    let answer = |State(script): State<Script>, headers: HeaderMap| async move {
        let turn = script.asked.fetch_add(1, Ordering::SeqCst);
        script.headers.lock().push(headers);
        let (status, body) = script.answers[turn.min(script.answers.len() - 1)];
        // a handler that panics closes the connection
        (StatusCode::from_u16(status).unwrap(), body).into_response()
    };
    let router = Router::new().fallback(answer).with_state(script);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Scripted { url, asked, headers }
}

async fn closed() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap()
}

fn client_as(hosts: Vec<Url>, account: Account) -> ClusterClient {
    let media_type = "application/json".into();
    ClusterClient::new(Settings { hosts, account: Some(account), tls: Tls::default(), media_type }).unwrap()
}

fn account() -> Account {
    let scheme = Scheme::Basic { username: "provisioner".into() };
    Account { scheme, secret: "secret".to_owned().into(), file: None }
}

/// An error in the form in which both systems report it.
fn error(status: u16, kind: &str) -> &'static str {
    format!(r#"{{"error":{{"type":"{kind}","reason":"r"}},"status":{status}}}"#).leak()
}

const LIMIT: Duration = Duration::from_secs(3);

fn put() -> Call<'static> {
    Call::new(reqwest::Method::PUT, &["a"]).json(&serde_json::json!({}))
}

/// Requirement 24 and 25: which answers are repeated, for reads and writes alike.
#[tokio::test]
async fn only_what_may_pass_is_repeated() {
    for (status, kind, asked) in [
        (200, "", 1),
        (201, "", 1),
        (400, "t", 1),
        (403, "t", 1),
        (404, "t", 1),
        (409, "t", 1),
        (410, "t", 1),
        (500, "t", 1),
        (502, "t", 3),
        (503, "t", 3),
        (504, "t", 3),
        (429, "es_rejected_execution_exception", 3),
        (429, "cluster_block_exception", 1),
    ] {
        let body = if kind.is_empty() { "{}" } else { error(status, kind) };
        for call in [Call::get(&["a"]), put()] {
            let node = scripted(&[(status, body)]).await;
            let answer = client_as(vec![node.url], account()).send(&call, LIMIT).await.unwrap();
            assert_eq!((answer.status.as_u16(), node.asked.load(Ordering::SeqCst)), (status, asked), "{status} {body}");
        }
    }
}

/// Requirement 24: after an answer that may pass, the next attempt can succeed.
#[tokio::test]
async fn what_passes_ends_well_on_the_same_node_or_on_another() {
    let (node, client) = one(&[(503, error(503, "t")), (429, error(429, "t")), (200, "{}")]).await;
    let answer = client.send(&put(), LIMIT).await.unwrap();
    assert!(answer.status.is_success() && answer.after_unknown(), "the 503 may have been applied");
    assert_eq!(node.asked.load(Ordering::SeqCst), 3);
    let (bad, good) = (scripted(&[(502, "")]).await, scripted(&[(200, "{}")]).await);
    let client = client_as(vec![bad.url, good.url], account());
    for _ in 0..6 {
        assert!(client.send(&put(), LIMIT).await.unwrap().status.is_success());
    }
    let asked = (bad.asked.load(Ordering::SeqCst), good.asked.load(Ordering::SeqCst));
    assert_eq!(asked, (1, 6), "the failing one is left alone, and no other request is made: requirement 30");
}

async fn one(answers: &[(u16, &'static str)]) -> (Scripted, ClusterClient) {
    let node = scripted(answers).await;
    let client = client_as(vec![node.url.clone()], account());
    (node, client)
}

/// Requirement 24: a write that was sent and not answered is not sent again.
#[tokio::test]
async fn a_connection_that_breaks_after_a_write_leaves_its_outcome_unknown() {
    let broken = scripted(&[(99, "")]).await;
    let good = scripted(&[(200, "{}")]).await;
    let client = client_as(vec![broken.url.clone(), good.url.clone()], account());
    let error = client.send(&put(), LIMIT).await.unwrap_err();
    assert!(error.sent, "{}", error.why);
    assert_eq!(good.asked.load(Ordering::SeqCst), 0);
    let client = client_as(vec![broken.url, good.url], account());
    assert!(client.send(&Call::get(&["a"]), LIMIT).await.unwrap().status.is_success(), "a read goes on");
    let client = client_as(vec![closed().await], account());
    let error = client.send(&put(), LIMIT).await.unwrap_err();
    assert!(!error.sent, "certainly not applied: {}", error.why);
}

/// Requirement 23: the time-out covers all attempts at a call.
#[tokio::test]
async fn all_attempts_share_one_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let began = Instant::now();
    let client = client_as(vec![silent], account());
    let error = client.send(&put(), Duration::from_millis(200)).await.unwrap_err();
    assert!(error.sent && error.why.contains("200ms"), "{}", error.why);
    assert!(began.elapsed() < Duration::from_secs(2));
    let (node, client) = one(&[(503, "")]).await;
    let limit = PAUSE / 2;
    let _ = client.send(&put(), limit).await;
    assert_eq!(node.asked.load(Ordering::SeqCst), 1, "no second attempt after the deadline");
}

/// Requirement 28: a rejected credential is not sent again and again.
#[tokio::test]
async fn an_administrator_that_is_rejected_is_not_tried_again_for_a_while() {
    let (node, client) = one(&[(401, error(401, "security_exception"))]).await;
    assert_eq!(client.send(&put(), LIMIT).await.unwrap().status.as_u16(), 401);
    let error = client.send(&put(), LIMIT).await.unwrap_err();
    assert!(!error.sent && error.why.contains("rejected"), "{}", error.why);
    assert_eq!(node.asked.load(Ordering::SeqCst), 1);
    let own = Call::get(&["a"]).by_user("ann", "p");
    assert_eq!(client.send(&own, LIMIT).await.unwrap().status.as_u16(), 401, "users' own logins go on");
}

/// Requirement 28: a user's 401 says nothing about the administrator.
#[tokio::test]
async fn a_users_401_does_not_bar_the_administrator() {
    let (_node, client) = one(&[(401, error(401, "security_exception")), (200, "{}")]).await;
    let own = Call::get(&["a"]).by_user("ann", "p");
    assert_eq!(client.send(&own, LIMIT).await.unwrap().status.as_u16(), 401);
    assert_eq!(client.send(&put(), LIMIT).await.unwrap().status.as_u16(), 200);
}

/// Requirement 33: a secret in a file may be exchanged while the process runs.
#[tokio::test]
async fn a_rejected_secret_is_read_anew_and_the_call_repeated_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "id:two").unwrap();
    let node = scripted(&[(401, error(401, "security_exception")), (200, "{}")]).await;
    let account = Account { scheme: Scheme::ApiKey, secret: "id:one".to_owned().into(), file: Some(file) };
    let client = client_as(vec![node.url], account);
    assert!(client.send(&put(), LIMIT).await.unwrap().status.is_success());
    let headers = node.headers.lock();
    let shown: Vec<_> = headers.iter().map(|headers| headers["authorization"].to_str().unwrap().to_owned()).collect();
    assert_eq!(shown, ["ApiKey aWQ6b25l", "ApiKey aWQ6dHdv"]);
}

/// Requirement 42, and 16 for the default media type.
#[tokio::test]
async fn a_call_says_on_whose_behalf_it_is_made() {
    let (node, client) = one(&[(200, "{}")]).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let context = RequestContext::new("7c2f", trace);
    client.send(&put().on_behalf_of(&context), LIMIT).await.unwrap();
    client.send(&Call::get(&["a"]).on_behalf_of(&RequestContext::default()), LIMIT).await.unwrap();
    let headers = node.headers.lock();
    let [first, second] = headers.as_slice() else { panic!("two calls") };
    assert_eq!((&first["x-opaque-id"], &first["traceparent"]), (&"7c2f".parse().unwrap(), &trace.parse().unwrap()));
    assert_eq!(
        (&first["accept"], &first["content-type"]),
        (&"application/json".parse().unwrap(), &"application/json".parse().unwrap())
    );
    for absent in ["x-opaque-id", "traceparent", "content-type"] {
        assert!(!second.contains_key(absent), "{absent}");
    }
}

/// A login page, a default backend and a firewall are not nodes of the cluster.
#[tokio::test]
async fn what_something_else_answers_sends_a_read_to_the_next_node_and_leaves_a_write_unknown() {
    for (status, body) in
        [(200, "<html>"), (302, ""), (400, ""), (401, ""), (403, "{}"), (404, "default backend - 404")]
    {
        let (foreign, good) = (scripted(&[(status, body)]).await, scripted(&[(200, "{}")]).await);
        let client = client_as(vec![foreign.url.clone(), good.url.clone()], account());
        for _ in 0..3 {
            assert!(client.send(&Call::get(&["a"]), LIMIT).await.unwrap().status.is_success(), "{status}");
        }
        let asked = (foreign.asked.load(Ordering::SeqCst), good.asked.load(Ordering::SeqCst));
        assert_eq!(asked, (1, 3), "{status}: it is left alone like a node that does not answer");
        let client = client_as(vec![foreign.url, good.url], account());
        let error = client.send(&put(), LIMIT).await.unwrap_err();
        assert!(
            error.sent && error.why.contains(&status.to_string()) && error.why.contains("in its place"),
            "{}",
            error.why
        );
        assert_eq!(
            good.asked.load(Ordering::SeqCst),
            3,
            "{status}: a write that may have been applied is not sent again"
        );
    }
}

/// Requirement 28: only the cluster itself can reject the administrator.
#[tokio::test]
async fn a_401_of_something_else_does_not_bar_the_administrator() {
    let (node, client) = one(&[(401, "<html>401 Authorization Required</html>")]).await;
    for asked in 1..=3 {
        let error = client.send(&put(), LIMIT).await.unwrap_err();
        assert!(error.why.contains("in its place"), "{}", error.why);
        assert_eq!(node.asked.load(Ordering::SeqCst), asked);
    }
}
