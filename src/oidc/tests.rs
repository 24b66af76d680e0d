use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::header::LOCATION;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::endpoints::secure;
use std::time::Duration;

use super::reply::MAX_BYTES;
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
        authorization_endpoint: None,
        token_endpoint: None,
        end_session_endpoint: None,
        client: None,
        client_auth: None,
        timeout: Duration::from_secs(3),
        ca_file: None,
    }
}

async fn fetch(issuer: &str) -> Result<Vec<u8>, String> {
    OidcProvider::new(settings(issuer)).unwrap().fetch().await.map_err(|error| error.to_string())
}

fn client(id: &str, secret: &str) -> Client {
    Client { id: id.into(), secret: Some(secret.into()) }
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
            .route("/full", get(|| async { format!("{KEYS}{}", " ".repeat(MAX_BYTES - KEYS.len())) }))
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

mod addresses;
mod questions;
mod tokens;
