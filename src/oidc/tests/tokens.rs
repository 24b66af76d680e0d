//! Where logins begin and end, and the answers of the token endpoint.

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::*;
use crate::login::{Grant, RedeemError, TokenEndpoint as _, Tokens};

/// `Authorization` and body of each request.
type Seen = Arc<parking_lot::Mutex<Vec<(String, String)>>>;

const GOOD: &str =
    r#"{"access_token":"at","token_type":"Bearer","id_token":"i.d.t","refresh_token":"rt","expires_in":300}"#;

/// A provider with a token endpoint that answers this; more of the document; what it was sent, and how often it was discovered.
async fn provider(status: u16, kind: &'static str, answer: String, more: Value) -> (Settings, Seen, Arc<AtomicUsize>) {
    let (seen, discoveries) = (Seen::default(), Arc::<AtomicUsize>::default());
    let (log, count) = (Arc::clone(&seen), Arc::clone(&discoveries));
    let origin = serve(move |origin| {
        let mut document = json!({"issuer": origin, "token_endpoint": format!("{origin}/token"),
                                  "authorization_endpoint": format!("{origin}/authorize?realm=a")});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let discover = move || {
            count.fetch_add(1, Ordering::SeqCst);
            async move { Json(document) }
        };
        let token = move |request: axum::extract::Request| async move {
            let authorization = request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
            let body = axum::body::to_bytes(request.into_body(), 4096).await.unwrap();
            log.lock().push((authorization.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap()));
            let response = Response::builder().status(status).header(CONTENT_TYPE, kind).header(LOCATION, "/elsewhere");
            response.body(Body::from(answer)).unwrap()
        };
        Router::new().route(WELL_KNOWN, get(discover)).route("/token", axum::routing::post(token))
    })
    .await;
    (Settings { client: Some(client("el:ast", "s e&cret")), ..settings(&origin) }, seen, discoveries)
}

/// Redeems a refresh token that is a secret.
async fn redeem(settings: Settings) -> Result<Tokens, RedeemError> {
    let token = SecretString::from("SECRET+1");
    OidcProvider::new(settings).unwrap().redeem(Grant::Refresh(&token)).await
}

async fn answered(status: u16, kind: &'static str, body: impl Into<String>) -> Result<Tokens, RedeemError> {
    redeem(provider(status, kind, body.into(), json!({})).await.0).await
}

#[tokio::test]
async fn a_code_and_a_refresh_token_are_redeemed_in_the_clients_name() {
    let (code, verifier, token) = (SecretString::from("c/1"), SecretString::from("v~1"), SecretString::from("r+1"));
    let redirect_uri = "https://kibana.example.org/.elastauth/callback";
    let with_pkce = Grant::Code { code: &code, redirect_uri, verifier: Some(&verifier) };
    let without = Grant::Code { code: &code, redirect_uri, verifier: None };
    let exchange = "grant_type=authorization_code&code=c%2F1\
                    &redirect_uri=https%3A%2F%2Fkibana.example.org%2F.elastauth%2Fcallback";
    let refresh = "grant_type=refresh_token&refresh_token=r%2B1";
    let (post, basic) = (Some(ClientAuthMethod::Post), Some(ClientAuthMethod::Basic));
    let announced = json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]});
    let in_the_body = "&client_id=el%3Aast&client_secret=s+e%26cret";
    for (grant, form, method, more, in_body) in [
        (with_pkce, format!("{exchange}&code_verifier=v%7E1"), None, json!({}), false),
        (without, exchange.to_owned(), None, json!({}), false),
        (Grant::Refresh(&token), refresh.to_owned(), None, json!({}), false),
        (Grant::Refresh(&token), refresh.to_owned(), post, json!({}), true),
        (Grant::Refresh(&token), refresh.to_owned(), None, announced.clone(), true),
        (Grant::Refresh(&token), refresh.to_owned(), basic, announced, false),
    ] {
        let (settings, seen, _) = provider(200, "application/json", GOOD.into(), more.clone()).await;
        let provider = OidcProvider::new(Settings { client_auth: method, ..settings }).unwrap();
        let tokens = provider.redeem(grant).await.unwrap();
        let text = |token: &Option<SecretString>| token.as_ref().map(|token| token.expose_secret().to_owned());
        assert_eq!((text(&tokens.id_token), text(&tokens.refresh_token)), (Some("i.d.t".into()), Some("rt".into())));
        assert_eq!((tokens.access_token.expose_secret(), tokens.expires_in), ("at", Some(Duration::from_secs(300))));
        assert!(!format!("{tokens:?} {grant:?}").contains("r+1") && !format!("{tokens:?}").contains("i.d.t"));
        let seen = seen.lock().clone();
        let expected = if in_body {
            (String::new(), format!("{form}{in_the_body}"))
        } else {
            // el%3Aast:s+e%26cret
            ("Basic ZWwlM0Fhc3Q6cytlJTI2Y3JldA==".to_owned(), form)
        };
        assert_eq!(seen, [expected], "{method:?} {more}");
    }
}

#[tokio::test]
async fn a_public_client_says_its_name_and_shows_nothing() {
    let (settings, seen, _) = provider(200, "application/json", GOOD.into(), json!({})).await;
    let client = Some(Client { id: "kibana login".into(), secret: None });
    redeem(Settings { client, client_auth: Some(ClientAuthMethod::Basic), ..settings }).await.unwrap();
    let form = "grant_type=refresh_token&refresh_token=SECRET%2B1&client_id=kibana+login";
    assert_eq!(*seen.lock(), [(String::new(), form.to_owned())]);
}

/// `Refused` says that the grant will not succeed later; everything that does not say so for certain is `Unknown`.
#[tokio::test]
async fn only_an_error_of_oauth_is_a_refusal() {
    let (json, html) = ("application/json", "text/html");
    for (status, kind, body, error) in [
        (400, json, r#"{"error":"invalid_grant"}"#, Some("invalid_grant")),
        (400, html, r#"{"error":"invalid_grant"}"#, Some("invalid_grant")),
        (401, json, r#"{"error":"invalid_client","error_description":"x"}"#, Some("invalid_client")),
        (403, json, r#"{"error":"access_denied"}"#, Some("access_denied")),
        (400, json, r#"{"error":"interaction_required","suberror":"x"}"#, Some("interaction_required")),
        // for now
        (400, json, r#"{"error":"temporarily_unavailable"}"#, None),
        (400, json, r#"{"error":"server_error"}"#, None),
        (429, json, r#"{"error":"invalid_grant"}"#, None),
        (500, json, r#"{"error":"invalid_grant"}"#, None),
        (503, json, r#"{"error":"invalid_grant"}"#, None),
        // what stands before the provider
        (400, html, "<html>400 The plain HTTP request was sent to HTTPS port</html>", None),
        (401, html, "<html>sign in</html>", None),
        (401, json, r#"{"status":401,"error":"Unauthorized","path":"/token"}"#, None),
        (403, json, r#"{"message":"Forbidden"}"#, None),
        (400, json, r#"{"error":{"code":400}}"#, None),
        (400, json, r#"{"error":""}"#, None),
        (400, json, r#"["error"]"#, None),
        (400, json, "", None),
        (404, json, r#"{"error":"invalid_grant"}"#, None),
        (302, html, "", None),
        (204, json, "", None),
    ] {
        match (answered(status, kind, body).await.unwrap_err(), error) {
            (RedeemError::Refused { error, .. }, Some(expected)) => assert_eq!(error, expected),
            (RedeemError::Unknown(why), None) => assert!(why.contains(&status.to_string()), "{body}: {why}"),
            (other, _) => panic!("{status} {body}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_none() {
    let with = |member: &str, value: Value| {
        let mut answer: Value = serde_json::from_str(GOOD).unwrap();
        answer[member] = value;
        answer.to_string()
    };
    for (body, why) in [
        (String::new(), "without an access_token"),
        ("<html>sign in</html>".into(), "without an access_token"),
        ("{}".into(), "without an access_token"),
        (GOOD[..GOOD.len() - 1].to_owned(), "without an access_token"),
        (r#"{"error":"invalid_grant"}"#.into(), "without an access_token"),
        (with("access_token", json!("")), "without an access_token"),
        (with("access_token", json!(7)), "a token that is not a text"),
        (with("id_token", json!({})), "a token that is not a text"),
        (with("refresh_token", json!(false)), "a token that is not a text"),
        (with("token_type", json!("DPoP")), "a token_type that is not Bearer"),
        (with("token_type", json!(null)), "a token_type that is not Bearer"),
        (" ".repeat(MAX_BYTES + 1), "more than 1048576 bytes"),
    ] {
        match answered(200, "application/json", body.clone()).await {
            Err(RedeemError::Unknown(error)) => assert!(error.contains(why), "{body:.60}: {error}"),
            other => panic!("{body:.60}: {other:?}"),
        }
    }
    for (member, value) in [("token_type", json!("bEARER")), ("id_token", json!(null)), ("refresh_token", json!(""))] {
        let tokens = answered(200, "application/json", with(member, value.clone())).await.unwrap();
        assert_eq!(tokens.id_token.is_none(), member == "id_token", "{member} {value}");
        assert_eq!(tokens.refresh_token.is_none(), member == "refresh_token", "{member} {value}");
    }
}

#[tokio::test]
async fn the_life_of_a_token_is_read_as_providers_write_it() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    for (value, life) in [
        (json!(300), seconds(300)),
        (json!("300"), seconds(300)),
        (json!(" 300 "), seconds(300)),
        (json!(299.9), Some(Duration::from_secs_f64(299.9))),
        (json!(1e300), seconds(315_360_000)),
        (json!("inf"), seconds(315_360_000)),
        (json!(0), None),
        (json!(-1), None),
        (json!("NaN"), None),
        (json!("soon"), None),
        (json!(null), None),
        (json!([300]), None),
    ] {
        let body = json!({"access_token": "at", "token_type": "bearer", "expires_in": value}).to_string();
        assert_eq!(answered(200, "application/json", body).await.unwrap().expires_in, life, "{value}");
    }
}

#[tokio::test]
async fn errors_show_neither_what_was_sent_nor_what_moves_a_cursor() {
    let described = |text: &str| json!({"error": "invalid_grant", "error_description": text}).to_string();
    for (body, expected) in [
        (described("token is not active"), Some("token is not active")),
        (described("a\u{1b}[2J\r\nb"), Some("a\\u001b[2J\\r\\nb")),
        (described(&"x".repeat(1000)), Some(&*"x".repeat(200))),
        (described("the token SECRET+1 is not active"), None),
        (described("the client has the secret s e&cret"), None),
        (described(""), None),
        (json!({"error": "invalid_grant", "error_description": ["x"]}).to_string(), None),
    ] {
        let error = answered(400, "application/json", body.clone()).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
        let RedeemError::Refused { description, .. } = error else { panic!("{body}") };
        assert_eq!(description.as_deref(), expected, "{body}");
    }
    let echo = answered(500, "text/plain; SECRET", "SECRET+1 s e&cret").await.unwrap_err();
    assert!(!format!("{echo:?}").contains("SECRET+1"), "{echo:?}");
}

/// A port that takes the request and closes the connection without an answer, as often as it is asked.
async fn closes_after_the_request() -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            assert!(connection.read(&mut request).await.unwrap() > 0);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (origin, asked)
}

#[tokio::test]
async fn what_certainly_did_not_arrive_is_told_from_what_may_have() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silence = serve(|_| Router::new().fallback(std::future::pending::<()>)).await;
    let (closing, asked) = closes_after_the_request().await;
    let at = |origin: &str| Settings {
        token_endpoint: Some(format!("{origin}/token").parse().unwrap()),
        client: Some(client("elastauth", "s")),
        timeout: Duration::from_millis(200),
        ..settings("http://127.0.0.1:1")
    };
    let not_sent = async |settings| matches!(redeem(settings).await, Err(RedeemError::NotSent(_)));
    assert!(not_sent(at(&format!("http://{unused}"))).await, "the connection is refused");
    assert!(not_sent(Settings { token_endpoint: None, ..at(&closing) }).await, "nothing is discovered");
    let endless = Settings { issuer: silence.clone(), token_endpoint: None, ..at(&closing) };
    assert!(not_sent(endless).await, "discovery does not answer");
    assert!(not_sent(Settings { client: None, ..at(&closing) }).await, "there is no client");
    assert!(matches!(redeem(at(&silence)).await, Err(RedeemError::Unknown(why)) if why.contains("timed out")));
    assert!(matches!(redeem(at(&closing)).await, Err(RedeemError::Unknown(_))));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "a grant is never sent a second time");
}

#[tokio::test]
async fn a_token_endpoint_that_is_gone_is_discovered_anew() {
    let (settings, seen, discoveries) = provider(404, "text/html", "gone".into(), json!({})).await;
    let provider = OidcProvider::new(settings).unwrap();
    for times in 1..=2 {
        let token = SecretString::from("t");
        assert!(matches!(provider.redeem(Grant::Refresh(&token)).await, Err(RedeemError::Unknown(_))));
        assert_eq!((seen.lock().len(), discoveries.load(Ordering::SeqCst)), (times, times));
    }
    // and people are sent where it was meanwhile
    assert!(provider.endpoints().await.unwrap().authorization.path() == "/authorize");
    assert_eq!(discoveries.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn where_browsers_are_sent_is_discovered_once_for_all_logins() {
    let more =
        json!({"end_session_endpoint": "http://127.0.0.1/bye", "authorization_response_iss_parameter_supported": true});
    let (settings, _, discoveries) = provider(200, "application/json", GOOD.into(), more).await;
    let provider = OidcProvider::new(settings).unwrap();
    for found in futures_util::future::join_all((0..50).map(|_| provider.endpoints())).await {
        let found = found.unwrap();
        assert_eq!((found.authorization.path(), found.authorization.query()), ("/authorize", Some("realm=a")));
        assert_eq!(found.end_session.unwrap().as_str(), "http://127.0.0.1/bye");
        assert!(found.names_itself);
    }
    assert_eq!(discoveries.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_address_for_browsers_that_is_none_is_not_used() {
    for (address, why) in [
        (json!(null), "has no authorization_endpoint"),
        (json!(""), "has no authorization_endpoint"),
        (json!("/authorize"), "not a whole URL"),
        (json!("javascript:alert(1)"), "neither https nor on this machine"),
        (json!("ftp://id/authorize"), "neither https nor on this machine"),
    ] {
        let (settings, ..) =
            provider(200, "application/json", GOOD.into(), json!({"authorization_endpoint": address})).await;
        let error = OidcProvider::new(settings).unwrap().endpoints().await.unwrap_err().to_string();
        assert!(error.contains(why), "{address}: {error}");
    }
    // one for logouts only costs the logout at the provider; and only `true` announces a name
    for (address, iss) in
        [(json!("TBD"), json!(false)), (json!("javascript:alert(1)"), json!("true")), (json!(7), json!(null))]
    {
        let more = json!({"end_session_endpoint": address, "authorization_response_iss_parameter_supported": iss});
        let (settings, ..) = provider(200, "application/json", GOOD.into(), more).await;
        let found = OidcProvider::new(settings).unwrap().endpoints().await.unwrap();
        assert_eq!((found.end_session, found.names_itself), (None, false), "{address} {iss}");
    }
    for (key, settings) in [
        (
            "oidc.authorization_endpoint",
            Settings { authorization_endpoint: Some(url("http://id/x")), ..settings("https://id") },
        ),
        ("oidc.token_endpoint", Settings { token_endpoint: Some(url("http://id/x")), ..settings("https://id") }),
        (
            "oidc.end_session_endpoint",
            Settings { end_session_endpoint: Some(url("http://id/x")), ..settings("https://id") },
        ),
    ] {
        assert!(
            matches!(OidcProvider::new(settings), Err(Error::Insecure { key: named, .. }) if named == key),
            "{key}"
        );
    }
}

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

#[tokio::test]
async fn configured_addresses_need_no_discovery_and_win_over_it() {
    let (discovered, _, discoveries) =
        provider(200, "application/json", GOOD.into(), json!({"end_session_endpoint": "http://127.0.0.1/bye"})).await;
    let own = Settings {
        authorization_endpoint: Some(url("https://login/authorize")),
        end_session_endpoint: Some(url("https://login/bye")),
        ..discovered.clone()
    };
    let provider = OidcProvider::new(own).unwrap();
    let found = provider.endpoints().await.unwrap();
    assert_eq!((found.authorization.as_str(), discoveries.load(Ordering::SeqCst)), ("https://login/authorize", 0));
    assert_eq!(found.end_session, Some(url("https://login/bye")));

    // only discovery knows where logouts go; if it fails, people log in all the same
    let one = Settings { authorization_endpoint: Some(url("https://login/authorize")), ..discovered };
    let found = OidcProvider::new(one.clone()).unwrap().endpoints().await.unwrap();
    assert_eq!(
        (found.authorization.as_str(), found.end_session),
        ("https://login/authorize", Some(url("http://127.0.0.1/bye")))
    );
    let down = OidcProvider::new(Settings { issuer: "http://127.0.0.1:1".into(), ..one }).unwrap();
    for _ in 0..2 {
        let found = down.endpoints().await.unwrap();
        assert_eq!((found.authorization.as_str(), found.end_session), ("https://login/authorize", None));
    }
}

#[tokio::test]
async fn a_provider_that_is_down_is_not_asked_by_every_login() {
    let asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&asked);
    let failing = move || {
        count.fetch_add(1, Ordering::SeqCst);
        async { axum::http::StatusCode::BAD_GATEWAY }
    };
    let origin = serve(|_| Router::new().route(WELL_KNOWN, get(failing))).await;
    let provider = OidcProvider::new(settings(&origin)).unwrap();
    for outcome in futures_util::future::join_all((0..50).map(|_| provider.endpoints())).await {
        assert!(outcome.unwrap_err().to_string().contains("502"));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
