//! Tests the account that the Compose setup creates for elastauth.

use std::process::Command;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elastauth_support::process::{run_beside, said};
use elastauth_support::servers::root;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The requests that were received: method and path, credentials, body.
type Requests = Arc<Mutex<Vec<(String, String, Value)>>>;

async fn keep(
    State(requests): State<Requests>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> &'static str {
    let basic = headers["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap();
    let credentials = String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap();
    let body = serde_json::from_str(&body).unwrap();
    requests.lock().unwrap().push((format!("{method} {uri}"), credentials, body));
    "{}"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setup_makes_an_account_with_the_documented_role_and_nothing_else() {
    let (requests, listener) = (Requests::default(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(keep).with_state(Arc::clone(&requests));
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    // characters with a meaning in JSON or in curl's configuration
    let passwords = [r#"of-the-"admin"istrator\ $1"#, r#"of-\elastauth""#, "of-kibana"];
    let mut command = Command::new("bash");
    command.arg(root().join("envoy/compose/setup.sh")).env("ELASTICSEARCH", url);
    for (name, password) in ["ELASTIC_PASSWORD", "ELASTAUTH_PASSWORD", "KIBANA_PASSWORD"].iter().zip(passwords) {
        command.env(name, password);
    }
    let output = run_beside(command, "").await;
    assert!(output.status.success(), "{}", said(&output));
    server.abort();

    let actions = json!(["cluster:admin/xpack/security/user/put", "read_security", "cluster:monitor/main"]);
    let administrator = format!("elastic:{}", passwords[0]);
    let expected = [
        ("PUT /_security/role/elastauth", json!({ "cluster": actions })),
        (
            "PUT /_security/user/elastauth",
            json!({ "password": passwords[1], "roles": ["elastauth"], "full_name": "elastauth" }),
        ),
        ("POST /_security/user/kibana_system/_password", json!({ "password": passwords[2] })),
    ];
    let expected = expected.map(|(what, body)| (what.to_owned(), administrator.clone(), body));
    assert_eq!(*requests.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setup_that_elasticsearch_refuses_fails_and_says_why() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let refuse = async || (axum::http::StatusCode::UNAUTHORIZED, "unable to authenticate user [elastic]");
    let server = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(refuse)).await.unwrap() });
    let mut command = Command::new("bash");
    command.arg(root().join("envoy/compose/setup.sh")).env("ELASTICSEARCH", url);
    for name in ["ELASTIC_PASSWORD", "ELASTAUTH_PASSWORD", "KIBANA_PASSWORD"] {
        command.env(name, "of-an-account");
    }
    let output = run_beside(command, "").await;
    assert!(!output.status.success());
    assert!(said(&output).contains("unable to authenticate user [elastic]"), "{}", said(&output));
    server.abort();
}
