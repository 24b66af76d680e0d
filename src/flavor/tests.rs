//! How each product is recognised, by answers that real ones were seen to give.

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use url::Url;

use super::*;
use crate::cluster_client;
use crate::outbound::Tls;

const FORBIDDEN: &str =
    r#"{"error":{"type":"security_exception","reason":"no permissions for [cluster:monitor/main]"},"status":403}"#;
const NO_HANDLER: &str = r#"{"error":"no handler found for uri [/x] and method [GET]"}"#;

/// What is found where these paths have these answers: status, body, and whether Elasticsearch's header is there.
async fn found(answers: &'static [(&'static str, u16, &'static str, bool)]) -> Result<Flavor, String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let answer = move |uri: Uri| async move {
        let known = answers.iter().find(|(path, ..)| *path == uri.path());
        let (_, status, body, product) = *known.unwrap_or(&("", 400, NO_HANDLER, false));
        let answer: Response = (StatusCode::from_u16(status).unwrap(), body).into_response();
        if product { ([("x-elastic-product", "Elasticsearch")], answer).into_response() } else { answer }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let settings = cluster_client::Settings {
        hosts: vec![url],
        account: None,
        tls: Tls::default(),
        media_type: "application/json".into(),
    };
    find(&ClusterClient::new(settings).unwrap(), Duration::from_secs(2)).await
}

#[tokio::test]
async fn each_is_known_by_its_root() {
    for (answers, expected) in [
        (&[("/", 200, r#"{"version":{"number":"9.1.0"}}"#, true)][..], Flavor::Elasticsearch),
        (
            &[("/", 200, r#"{"version":{"number":"7.10.2"},"tagline":"You Know, for Search"}"#, false)],
            Flavor::Elasticsearch,
        ),
        (&[("/", 200, r#"{"version":{"distribution":"opensearch","number":"2.19.1"}}"#, false)], Flavor::OpenSearch),
        (
            &[(
                "/",
                200,
                r#"{"version":{"number":"7.10.2"},"tagline":"The OpenSearch Project: https://opensearch.org/"}"#,
                false,
            )],
            Flavor::OpenSearch,
        ),
    ] {
        assert_eq!(found(answers).await, Ok(expected));
    }
}

#[tokio::test]
async fn an_account_that_may_not_see_the_root_asks_who_it_is() {
    let account = ("/_plugins/_security/authinfo", 200, r#"{"user_name":"provisioner"}"#, false);
    assert_eq!(found(Box::leak(Box::new([("/", 403, FORBIDDEN, false), account]))).await, Ok(Flavor::OpenSearch));
    let account = ("/_security/_authenticate", 200, r#"{"username":"provisioner"}"#, true);
    assert_eq!(found(Box::leak(Box::new([("/", 403, FORBIDDEN, false), account]))).await, Ok(Flavor::Elasticsearch));
}

#[tokio::test]
async fn nothing_is_guessed() {
    for answers in [
        &[("/", 200, "<html>a proxy</html>", false)][..],
        &[("/", 200, "{}", false)],
        &[("/", 401, "Unauthorized", false)],
        &[("/", 503, "", false)],
        &[("/", 403, FORBIDDEN, false)],
        &[
            ("/", 403, FORBIDDEN, false),
            ("/_plugins/_security/authinfo", 200, "<html>", false),
            ("/_security/_authenticate", 200, "<html>", false),
        ],
    ] {
        assert!(found(answers).await.is_err(), "{answers:?}");
    }
}
