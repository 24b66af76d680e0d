use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::header::LOCATION;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::endpoints::secure;
use super::*;

const KEYS: &str = r#"{"keys":[]}"#;

/// Serves on a port of its own; ends with the runtime of the test.
async fn serve(router: impl FnOnce(&str) -> Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let router = router(&origin);
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

fn discovery(issuer: &str, jwks_uri: &str) -> axum::routing::MethodRouter {
    let document = json!({"issuer": issuer, "jwks_uri": jwks_uri});
    get(move || async move { Json(document) })
}

fn settings(issuer: &str) -> Settings {
    Settings {
        issuer: issuer.into(),
        jwks_uri: None,
        userinfo_endpoint: None,
        introspection_endpoint: None,
        client: None,
        timeout: Duration::from_secs(3),
        ca_file: None,
    }
}

async fn fetch(issuer: &str) -> Result<Vec<u8>, String> {
    OidcProvider::new(settings(issuer)).unwrap().fetch().await.map_err(|error| error.to_string())
}

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn keys_are_found_by_discovery_with_and_without_a_trailing_slash() {
    for slash in ["", "/"] {
        let origin = serve(|origin| {
            let issuer = format!("{origin}/realms/main{slash}");
            Router::new()
                .route(&format!("/realms/main{WELL_KNOWN}"), discovery(&issuer, &format!("{origin}/keys")))
                .route("/keys", get(|| async { KEYS }))
        })
        .await;
        assert_eq!(fetch(&format!("{origin}/realms/main{slash}")).await.unwrap(), KEYS.as_bytes());
    }
}

#[tokio::test]
async fn a_document_for_another_issuer_is_refused() {
    let origin =
        serve(|origin| Router::new().route(WELL_KNOWN, discovery(&format!("{origin}/"), &format!("{origin}/keys"))))
            .await;
    let error = fetch(&origin).await.unwrap_err();
    assert!(error.contains("not the configured one"), "{error}");
}

#[tokio::test]
async fn discovery_is_kept_while_the_key_set_answers_and_dropped_when_it_does_not() {
    let (discoveries, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let origin = serve(|origin| {
        let document = json!({"issuer": origin, "jwks_uri": format!("{origin}/keys")});
        let (count, broken) = (discoveries.clone(), broken.clone());
        let answer = move || {
            count.fetch_add(1, Ordering::SeqCst);
            async move { Json(document) }
        };
        let keys = move || {
            let broken = broken.load(Ordering::SeqCst);
            async move { if broken { Err(axum::http::StatusCode::NOT_FOUND) } else { Ok(KEYS) } }
        };
        Router::new().route(WELL_KNOWN, get(answer)).route("/keys", get(keys))
    })
    .await;
    let keys = OidcProvider::new(settings(&origin)).unwrap();
    keys.fetch().await.unwrap();
    keys.fetch().await.unwrap();
    assert_eq!(discoveries.load(Ordering::SeqCst), 1);
    broken.store(true, Ordering::SeqCst);
    assert!(keys.fetch().await.unwrap_err().to_string().contains("404"));
    broken.store(false, Ordering::SeqCst);
    keys.fetch().await.unwrap();
    assert_eq!(discoveries.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_configured_address_skips_discovery_and_is_shown_without_its_secrets() {
    let origin = serve(|_| Router::new().route("/keys", get(|| async { KEYS }))).await;
    let configured = |path: &str| {
        let uri = format!("{}/{path}?token=SECRET", origin.replace("http://", "http://SECRET:SECRET@"));
        let settings = Settings { jwks_uri: Some(uri.parse().unwrap()), ..settings("https://id.example.com") };
        OidcProvider::new(settings).unwrap()
    };
    assert_eq!(configured("keys").fetch().await.unwrap(), KEYS.as_bytes());
    let error = configured("nothing").fetch().await.unwrap_err().to_string();
    assert!(error.contains("/nothing") && !error.contains("SECRET"), "{error}");
}

#[tokio::test]
async fn redirects_long_answers_and_silence_are_failures() {
    let origin = serve(|origin| {
        let target = format!("{origin}/keys");
        let redirect = move || async move {
            Response::builder().status(302).header(LOCATION, target).body(Body::empty()).unwrap()
        };
        Router::new()
            .route("/keys", get(|| async { KEYS }))
            .route("/redirect", get(redirect))
            .route("/long", get(|| async { vec![b' '; MAX_BYTES + 1] }))
            .route("/full", get(|| async { vec![b' '; MAX_BYTES] }))
            .route("/silence", get(std::future::pending::<&str>))
    })
    .await;
    let fetch = async |path: &str, timeout| {
        let uri = format!("{origin}{path}").parse().unwrap();
        let keys = OidcProvider::new(Settings { jwks_uri: Some(uri), timeout, ..settings(&origin) }).unwrap();
        keys.fetch().await.map(|body| body.len()).map_err(|error| error.to_string())
    };
    let long = Duration::from_secs(3);
    assert!(fetch("/redirect", long).await.unwrap_err().contains("302"));
    assert!(fetch("/long", long).await.unwrap_err().contains("more than 1048576 bytes"));
    assert_eq!(fetch("/full", long).await.unwrap(), MAX_BYTES);
    let error = fetch("/silence", Duration::from_millis(50)).await.unwrap_err();
    assert!(error.contains("timed out"), "{error}");
}

#[test]
fn keys_of_a_safe_issuer_must_come_over_https_or_from_this_machine() {
    let check = |issuer: &str, uri: &str| secure(&uri.parse().unwrap(), &issuer.parse().unwrap());
    assert!(check("https://id", "https://other/keys"));
    assert!(check("https://id", "http://127.0.0.1/keys"));
    assert!(check("https://id", "http://[::1]/keys"));
    assert!(check("https://id", "http://localhost/keys"));
    assert!(check("http://id", "http://id/keys"));
    assert!(!check("https://id", "http://id/keys"));
    assert!(!check("https://id", "http://localhost.example.com/keys"));
    assert!(!check("http://id", "file:///etc/passwd"));

    let insecure = Settings { jwks_uri: Some("http://u:p@id/keys?q".parse().unwrap()), ..settings("https://id") };
    let error = OidcProvider::new(insecure).unwrap_err().to_string();
    assert!(error.contains("http://id/keys ") && !error.contains("u:p"), "{error}");
}

#[test]
fn an_issuer_that_is_no_plain_url_is_refused() {
    for issuer in ["", "id.example.com", "ftp://id.example.com", "https://id?x=1", "https://id/#f", "file:///x"] {
        assert!(matches!(OidcProvider::new(settings(issuer)), Err(Error::Issuer)), "{issuer}");
    }
}

#[test]
fn an_authorities_file_must_be_there_and_hold_certificates() {
    let with = |path: &str| OidcProvider::new(Settings { ca_file: Some(path.into()), ..settings("https://id") });
    assert!(matches!(with("/nonexistent/ca.pem"), Err(Error::Client(outbound::Error::Read { .. }))));
    assert!(matches!(
        with(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")),
        Err(Error::Client(outbound::Error::Certificates { .. }))
    ));
}

/// What a request looked like: its `Authorization` and its body.
type Seen = Arc<std::sync::Mutex<Vec<(String, String)>>>;

/// A provider whose endpoints answer this, and what they were sent.
async fn provider(status: u16, kind: &'static str, answer: &'static str) -> (OidcProvider, Seen) {
    let seen = Seen::default();
    let endpoint = || {
        let seen = Arc::clone(&seen);
        axum::routing::any(move |request: axum::extract::Request| async move {
            let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
            let body = axum::body::to_bytes(request.into_body(), 1024).await.unwrap();
            seen.lock().unwrap().push((authorization.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap()));
            let response = Response::builder().status(status).header("content-type", kind);
            response.header(LOCATION, "/elsewhere").body(Body::from(answer)).unwrap()
        })
    };
    let origin = serve(|origin| {
        let document = json!({"issuer": origin, "userinfo_endpoint": format!("{origin}/userinfo"),
                              "introspection_endpoint": format!("{origin}/introspect")});
        Router::new()
            .route(WELL_KNOWN, get(move || async move { Json(document) }))
            .route("/userinfo", endpoint())
            .route("/introspect", endpoint())
            .route("/elsewhere", endpoint())
    })
    .await;
    let client = Some(("el:ast".to_owned(), "s e&cret".into()));
    (OidcProvider::new(Settings { client, ..settings(&origin) }).unwrap(), seen)
}

#[tokio::test]
async fn userinfo_is_asked_with_the_token_and_introspection_as_the_client() {
    let (provider, seen) = provider(200, "application/json", r#"{"sub":"1"}"#).await;
    for question in [Question::Userinfo, Question::Introspection] {
        let answer = provider.ask(question, "to.ken+1").await.unwrap();
        assert_eq!(answer, Answer::Document(br#"{"sub":"1"}"#.to_vec()));
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen[0], ("Bearer to.ken+1".into(), String::new()));
    // el%3Aast:s+e%26cret
    let basic = "Basic ZWwlM0Fhc3Q6cytlJTI2Y3JldA==".to_owned();
    assert_eq!(seen[1], (basic, "token=to.ken%2B1&token_type_hint=access_token".into()));
}

#[tokio::test]
async fn a_no_is_told_from_an_outage_and_from_a_client_that_is_not_let_in() {
    let refused = Ok(Answer::Refused);
    for (question, status, no) in [
        (Question::Userinfo, 400, true),
        (Question::Userinfo, 401, true),
        (Question::Userinfo, 403, true),
        (Question::Userinfo, 302, false),
        (Question::Userinfo, 404, false),
        (Question::Userinfo, 429, false),
        (Question::Userinfo, 500, false),
        (Question::Introspection, 400, false),
        (Question::Introspection, 401, false),
        (Question::Introspection, 403, false),
        (Question::Introspection, 302, false),
        (Question::Introspection, 503, false),
    ] {
        let (provider, seen) = provider(status, "application/json", "{}").await;
        let answer = provider.ask(question, "SECRET").await.map_err(|error| error.to_string());
        if no {
            assert_eq!(answer, refused, "{question:?} {status}");
        } else {
            let error = answer.unwrap_err();
            assert!(error.contains(&status.to_string()) && !error.contains("SECRET"), "{error}");
        }
        assert_eq!(seen.lock().unwrap().len(), 1, "no redirect takes the token elsewhere");
    }
}

#[tokio::test]
async fn a_signed_answer_is_an_outage_that_says_so() {
    let (provider, _) = provider(200, "application/jwt", "a.b.c").await;
    let error = provider.ask(Question::Userinfo, "t").await.unwrap_err().to_string();
    assert!(error.contains("signed token"), "{error}");
}

#[tokio::test]
async fn an_endpoint_that_the_document_does_not_have_is_named() {
    let origin = serve(|origin| Router::new().route(WELL_KNOWN, discovery(origin, &format!("{origin}/keys")))).await;
    let provider = OidcProvider::new(settings(&origin)).unwrap();
    for (question, name) in [(Question::Userinfo, "Userinfo"), (Question::Introspection, "Introspection")] {
        let error = provider.ask(question, "t").await.unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn introspection_never_sends_the_secret_in_plain_to_another_machine() {
    let endpoints = endpoints::Endpoints::new(&settings("https://id")).unwrap();
    let document = json!({"issuer": "https://id", "introspection_endpoint": "http://id/introspect"}).to_string();
    assert!(endpoints.discovered(document.as_bytes()).unwrap_err().to_string().contains("neither https"));
    let plain = Settings { introspection_endpoint: Some("http://id/x".parse().unwrap()), ..settings("https://id") };
    assert!(matches!(OidcProvider::new(plain), Err(Error::Insecure { key: "oidc.introspection_endpoint", .. })));
}
