//! What is asked about a token, and what the answers mean.

use serde_json::Value;

use super::*;

/// What a request looked like: its `Authorization` and its body.
type Seen = Arc<parking_lot::Mutex<Vec<(String, String)>>>;

/// A provider with endpoints that answer this, and what they were sent.
async fn provider(status: u16, kind: &'static str, answer: &'static str) -> (OidcProvider, Seen) {
    challenging(status, kind, answer, None, json!({})).await
}

/// The same with a challenge, and with more in the discovery document.
async fn challenging(
    status: u16,
    kind: &'static str,
    answer: &'static str,
    challenge: Option<&'static str>,
    more: Value,
) -> (OidcProvider, Seen) {
    let seen = Seen::default();
    let endpoint = || {
        let seen = Arc::clone(&seen);
        axum::routing::any(move |request: axum::extract::Request| async move {
            let authorization = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
            let body = axum::body::to_bytes(request.into_body(), 1024).await.unwrap();
            seen.lock().push((authorization.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap()));
            let response = Response::builder().status(status).header("content-type", kind);
            let response =
                challenge.iter().fold(response, |response, value| response.header("www-authenticate", *value));
            response.header(LOCATION, "/elsewhere").body(Body::from(answer)).unwrap()
        })
    };
    let origin = serve(|origin| {
        let mut document = json!({"issuer": origin, "userinfo_endpoint": format!("{origin}/userinfo"),
                              "introspection_endpoint": format!("{origin}/introspect")});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Router::new()
            .route(WELL_KNOWN, get(move || async move { Json(document) }))
            .route("/userinfo", endpoint())
            .route("/introspect", endpoint())
            .route("/elsewhere", endpoint())
    })
    .await;
    (OidcProvider::new(Settings { client: Some(client("el:ast", "s e&cret")), ..settings(&origin) }).unwrap(), seen)
}

/// Good for both questions.
const GOOD: &str = r#"{"sub":"1","active":true}"#;

#[tokio::test]
async fn userinfo_is_asked_with_the_token_and_introspection_as_the_client() {
    let (provider, seen) = provider(200, "application/json", GOOD).await;
    for question in [Question::Userinfo, Question::Introspection] {
        let answer = provider.ask(question, "to.ken+1").await.unwrap();
        assert_eq!(answer, Answer::Document(GOOD.into()));
    }
    let seen = seen.lock().clone();
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
        let (provider, seen) = provider(status, "application/json", r#"{"error":"invalid_token"}"#).await;
        let answer = provider.ask(question, "SECRET").await.map_err(|error| error.to_string());
        if no {
            assert_eq!(answer, refused, "{question:?} {status}");
        } else {
            let error = answer.unwrap_err();
            assert!(error.contains(&status.to_string()) && !error.contains("SECRET"), "{error}");
        }
        assert_eq!(seen.lock().len(), 1, "no redirect takes the token elsewhere");
    }
}

#[tokio::test]
async fn a_signed_answer_is_an_outage_that_says_so() {
    let (provider, _) = provider(200, "application/jwt", "a.b.c").await;
    let error = provider.ask(Question::Userinfo, "t").await.unwrap_err().to_string();
    assert!(error.contains("signed token"), "{error}");
}

/// RFC 6750 §3, and what providers were seen to do instead.
#[tokio::test]
async fn a_refusal_is_the_providers_own_and_a_gateways_page_is_an_outage() {
    let (json, html, text) = ("application/json", "text/html", "text/plain");
    let bearer = Some(r#"Bearer realm="x", error="invalid_token""#);
    for (status, kind, body, challenge, refused) in [
        (401, json, r#"{"error":"invalid_token"}"#, bearer, true),
        (401, html, "<html>expired</html>", bearer, true),
        (403, text, "", Some(r#"bearer error="insufficient_scope""#), true),
        (400, text, "", Some("DPoP algs=\"ES256\""), true),
        (401, text, "", Some(r#"Basic realm="a", Bearer realm="b""#), true),
        // without a challenge: an OAuth error, or an empty 401
        (401, json, r#"{"error":"invalid_token","error_description":"d"}"#, None, true),
        (401, json, r#"{"error":{"code":401,"message":"m"}}"#, None, true),
        (403, json, r#"{"error":"access_denied"}"#, None, true),
        (400, json, r#"{"error":"invalid_request"}"#, None, true),
        (401, text, "", None, true),
        (401, text, "Unauthorized", None, true),
        (401, json, "{}", None, true),
        // what stands before the provider
        (401, html, "<html>sign in</html>", None, false),
        (401, text, "<html>sign in</html>", None, false),
        (401, html, "", None, false),
        (401, text, "", Some(r#"Basic realm="gateway""#), false),
        (401, text, "Unauthorized", Some("Negotiate"), false),
        (401, json, r#"{"message":"Unauthorized"}"#, None, false),
        (401, json, r#"{"status":401,"error":"Unauthorized","path":"/userinfo"}"#, None, false),
        (403, html, "<html>blocked</html>", None, false),
        (403, json, r#"{"message":"Forbidden"}"#, None, false),
        (403, text, "RBAC: access denied", None, false),
        (403, text, "", None, false),
        (400, html, "<html>400 The plain HTTP request was sent to HTTPS port</html>", None, false),
        (400, text, "", None, false),
        (404, json, r#"{"error":"invalid_token"}"#, bearer, false),
    ] {
        let (provider, _) = challenging(status, kind, body, challenge, json!({})).await;
        let answer = provider.ask(Question::Userinfo, "t").await.map_err(|error| error.to_string());
        assert_eq!(answer == Ok(Answer::Refused), refused, "{status} {kind} {body} {challenge:?}: {answer:?}");
        assert!(refused || answer.unwrap_err().contains(&status.to_string()));
    }
}

#[tokio::test]
async fn an_answer_that_is_not_the_providers_decides_nothing() {
    for (kind, body) in [
        ("text/html", "<html>sign in</html>"),
        ("application/json", ""),
        ("application/json", "[]"),
        ("application/json", "{}"),
        ("application/json", r#"{"message":"ok"}"#),
        ("application/json", r#"{"sub":"1","act"#),
        ("application/json", r#"{"active":"true"}"#),
        ("application/xml", "<Error/>"),
    ] {
        let (provider, _) = provider(200, kind, body).await;
        for question in [Question::Userinfo, Question::Introspection] {
            let error = provider.ask(question, "t").await.unwrap_err().to_string();
            assert!(error.contains(kind) && error.contains("is it the provider"), "{body}: {error}");
        }
        let uri = |path: &str| format!("{}{path}", provider.endpoints.discovery().origin().ascii_serialization());
        let keys = Settings { jwks_uri: Some(uri("/userinfo").parse().unwrap()), ..settings("https://id") };
        let error = OidcProvider::new(keys).unwrap().fetch().await.unwrap_err().to_string();
        assert!(error.contains("not a key set"), "{body}: {error}");
    }
}

/// A login page at the provider's address is no discovery document, and the keys are looked for anew.
#[tokio::test]
async fn a_page_in_the_place_of_the_key_set_makes_discovery_start_anew() {
    let (pages, documents) = (Arc::new(AtomicBool::new(false)), Arc::<AtomicUsize>::default());
    let origin = serve(|origin| {
        let document = json!({"issuer": origin, "jwks_uri": format!("{origin}/keys")});
        let (page, count) = (Arc::clone(&pages), Arc::clone(&documents));
        let answer = move || {
            count.fetch_add(1, Ordering::SeqCst);
            async move { Json(document) }
        };
        let keys = move || async move { if page.load(Ordering::SeqCst) { "<html>sign in</html>" } else { KEYS } };
        Router::new().route(WELL_KNOWN, get(answer)).route("/keys", get(keys))
    })
    .await;
    let provider = OidcProvider::new(settings(&origin)).unwrap();
    provider.fetch().await.unwrap();
    pages.store(true, Ordering::SeqCst);
    assert!(provider.fetch().await.is_err());
    pages.store(false, Ordering::SeqCst);
    provider.fetch().await.unwrap();
    assert_eq!(documents.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_secret_goes_into_the_body_where_the_provider_announces_only_that() {
    let (basic, post) = ("client_secret_basic", "client_secret_post");
    for (more, in_the_body) in [
        (json!({}), false),
        (json!({ "introspection_endpoint_auth_methods_supported": [post] }), true),
        (json!({ "token_endpoint_auth_methods_supported": ["private_key_jwt", post] }), true),
        (json!({ "token_endpoint_auth_methods_supported": [basic, post] }), false),
        (
            json!({ "token_endpoint_auth_methods_supported": [post],
                 "introspection_endpoint_auth_methods_supported": [basic] }),
            false,
        ),
        (
            json!({ "token_endpoint_auth_methods_supported": [basic],
                 "introspection_endpoint_auth_methods_supported": [post] }),
            true,
        ),
        (json!({ "introspection_endpoint_auth_methods_supported": ["none"] }), false),
        (json!({ "token_endpoint_auth_methods_supported": post }), false),
    ] {
        let (provider, seen) = challenging(200, "application/json", GOOD, None, more.clone()).await;
        provider.ask(Question::Introspection, "to.ken+1").await.unwrap();
        let (authorization, body) = seen.lock()[0].clone();
        let token = "token=to.ken%2B1&token_type_hint=access_token";
        if in_the_body {
            let secret = "&client_id=el%3Aast&client_secret=s+e%26cret";
            assert_eq!((authorization, body), (String::new(), format!("{token}{secret}")), "{more}");
        } else {
            assert_eq!((authorization.starts_with("Basic "), body.as_str()), (true, token), "{more}");
        }
    }
}
