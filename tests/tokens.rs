//! Tokens, whole process through a real Envoy: where they come from, which of them the provider is asked about, and several
//! issuers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::servers::{Elastauth, Envoy, config};
use elastauth_support::upstream::Upstream;
use reqwest::Method;
use serde_json::{Value, json};

/// The status, and the request that reached Elasticsearch.
async fn ask(envoy: &Envoy, headers: &[(&str, &str)]) -> (u16, Value) {
    let request = elastauth_support::http().get(format!("{}/_search", envoy.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

async fn user(envoy: &Envoy, token: &str) -> (u16, String) {
    let (status, body) = ask(envoy, &[("authorization", &format!("Bearer {token}"))]).await;
    (status, body["username"].as_str().unwrap_or_default().to_owned())
}

/// The configuration with further lines about its issuer.
fn with(issuer: &Issuer, elasticsearch: &Elasticsearch, more: &str) -> String {
    config(&issuer.url, &elasticsearch.url, "  type: memory").replacen("oidc:\n", &format!("oidc:\n{more}"), 1)
}

async fn named_places(raw_headers: bool) {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = with(&issuer, &elasticsearch, "  token_cookie: session\n  token_header: X-Token\n");
    let elastauth = Elastauth::start(elastauth!(), &yaml);
    let Some(envoy) = Envoy::start(&elastauth.grpc, elasticsearch.address(), raw_headers).await else { return };
    let token = issuer.token("ann", &["admins"]);
    let cookie = |before: &str, after: &str| format!("{before}session={token}{after}");
    for (cookie, left) in [
        (cookie("", ""), Value::Null),
        (cookie("a=1; ", "; b=2"), json!("a=1; b=2")),
        (cookie("a=1; ", ""), json!("a=1")),
    ] {
        let (status, body) = ask(&envoy, &[("cookie", &cookie)]).await;
        assert_eq!((status, &body["username"], &body["headers"]["cookie"]), (200, &json!("ann"), &left));
        assert_eq!(body["authorizations"], 1);
    }
    // a cookie with a token is removed even when the token in the header is used
    let both = [("authorization", format!("Bearer {token}")), ("cookie", cookie("a=1; ", ""))];
    let (status, body) = ask(&envoy, &both.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    assert_eq!((status, &body["headers"]["cookie"]), (200, &json!("a=1")));
    let (status, body) = ask(&envoy, &[("cookie", "a=1"), ("x-token", &token)]).await;
    assert_eq!((status, &body["headers"]["cookie"], &body["headers"]["x-token"]), (200, &json!("a=1"), &Value::Null));

    let other = cookie("", "");
    for refused in [
        &[("cookie", other.as_str()), ("cookie", other.as_str())][..],
        &[("cookie", "session=forged")],
        &[("x-token", token.as_str()), ("x-token", token.as_str())],
        &[("cookie", "a=1")],
        &[("x-other", token.as_str())],
    ] {
        assert_eq!(ask(&envoy, refused).await.0, 401, "{refused:?}");
    }
    assert!(!elastauth.process.lines().join("\n").contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_that_another_login_leaves_there_never_go_on_whatever_lets_the_request_through() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let upstream = Upstream::start().await;
    let yaml = with(&issuer, &elasticsearch, "  strip_cookies: [BearerToken, \"Oauth*\"]\n");
    let elastauth = Elastauth::start(elastauth!(), &format!("{yaml}policy:\n  preflight: allow\n"));
    let Some(envoy) = Envoy::start(&elastauth.grpc, &upstream.address, true).await else { return };
    let token = format!("Bearer {}", issuer.token("ann", &["admins"]));
    let preflight = [("origin", "https://a.example.org"), ("access-control-request-method", "POST")];
    for (sent, left) in [
        ("sid=1; BearerToken=secret; OauthHMAC=x; OauthNonce-1=y; theme=dark", &["sid=1; theme=dark"][..]),
        ("BearerToken=secret", &[]),
        ("BearerTokens=1; MyOauth=2", &["BearerTokens=1; MyOauth=2"]),
    ] {
        for (method, headers) in [(Method::GET, &[("authorization", &*token)][..]), (Method::OPTIONS, &preflight)] {
            let request = elastauth_support::http().request(method.clone(), &envoy.url).header("cookie", sent);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            assert_eq!(request.send().await.unwrap().status(), 200);
            assert_eq!(upstream.seen().last().unwrap().header("cookie"), left, "{method} with {sent}");
        }
    }
    assert!(!elastauth.process.lines().join("\n").contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_from_a_named_cookie_or_header_counts_and_goes_no_further_raw_headers_on() {
    named_places(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_from_a_named_cookie_or_header_counts_and_goes_no_further_raw_headers_off() {
    named_places(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_is_asked_about_opaque_tokens_and_its_outage_is_no_401() {
    let userinfo = json!({"sub": "1", "preferred_username": "ann", "groups": ["admins"]});
    let mut introspected = userinfo.clone();
    introspected["aud"] = json!("elastauth");
    for (way, claims) in [
        ("  token_validation: both\n", &userinfo),
        ("  token_validation: introspection\n  client_secret: hush-of-elastauth\n", &introspected),
    ] {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let way = format!("{way}  introspection_ttl: 1s\n");
        let elastauth = Elastauth::start(elastauth!(), &with(&issuer, &elasticsearch, &way));
        let Some(envoy) = Envoy::start(&elastauth.grpc, elasticsearch.address(), true).await else { return };
        issuer.grant("opaque-1", claims.clone());
        issuer.grant("opaque-2", claims.clone());
        assert_eq!(user(&envoy, "opaque-1").await, (200, "ann".to_owned()), "{way}");
        assert_eq!(user(&envoy, "unknown").await.0, 401, "{way}");
        // a revoked token is refused when the kept answer about it has expired
        issuer.revoke("opaque-1");
        let begun = std::time::Instant::now();
        while user(&envoy, "opaque-1").await.0 == 200 {
            assert!(begun.elapsed().as_secs() < 10, "{way}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(user(&envoy, "opaque-1").await.0, 401, "{way}");
        issuer.set_down(true);
        assert_eq!(user(&envoy, "opaque-2").await.0, 503, "{way}");
        elastauth.process.wait_for_line(0, &["provider_unavailable"]);
        let log = elastauth.process.lines().join("\n");
        assert!(!log.contains("opaque-") && !log.contains("hush"), "{way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_issuer_names_its_own_users_and_its_outage_is_its_own() {
    let (staff, partners) = (Issuer::start().await, Issuer::start().await);
    let elasticsearch = Elasticsearch::start().await;
    let list = format!(
        "oidc:\n- issuer: \"{}\"\n  client_id: elastauth\n- issuer: \"{}\"\n  client_id: elastauth\n  username_prefix: partner-\n  keys_cooldown: 500ms\n",
        staff.url, partners.url
    );
    let single = config("", &elasticsearch.url, "  type: memory");
    let yaml = format!("{list}{}", &single[single.find("cache:").unwrap()..]);
    partners.set_down(true);
    let elastauth = Elastauth::start(elastauth!(), &yaml);
    let Some(envoy) = Envoy::start(&elastauth.grpc, elasticsearch.address(), true).await else { return };
    assert_eq!(user(&envoy, &staff.token("ann", &["admins"])).await, (200, "ann".to_owned()));
    assert_eq!(user(&envoy, &partners.token("ann", &["admins"])).await.0, 503);
    // the other issuer's key has the same id, and the claims name this issuer
    assert_eq!(user(&envoy, &partners.sign(&staff.claims("eve", &["admins"], 0))).await.0, 401);
    assert_eq!(elasticsearch.user("ann").unwrap().metadata["elastauth"]["issuer"], json!(staff.url));
    partners.set_down(false);
    let token = partners.token("ann", &["admins"]);
    let begun = std::time::Instant::now();
    while user(&envoy, &token).await.0 == 503 {
        assert!(begun.elapsed().as_secs() < 10);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(user(&envoy, &token).await, (200, "partner-ann".to_owned()));
}
