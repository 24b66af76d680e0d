//! What Envoy makes of answers that a Check server gives in the application's place (redirects, cookies, pages), and what it says
//! of a browser's request to that server. The server is a scripted one, so that Envoy alone is examined.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use elastauth::login::{Response, pages};
use elastauth_support::envoy::exchange;
use elastauth_support::http;
use elastauth_support::servers::Envoy;
use elastauth_support::upstream::Upstream;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use reqwest::Method;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::codegen::tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

/// A Check server that always gives the same answer and keeps what it was asked.
#[derive(Clone)]
struct Scripted {
    answer: Arc<Mutex<Response>>,
    asked: Arc<Mutex<Vec<HttpRequest>>>,
}

#[tonic::async_trait]
impl Authorization for Scripted {
    async fn check(&self, check: tonic::Request<CheckRequest>) -> Result<tonic::Response<CheckResponse>, Status> {
        let http = check.into_inner().attributes.unwrap().request.unwrap().http.unwrap();
        self.asked.lock().unwrap().push(http);
        Ok(tonic::Response::new(denial(&self.answer.lock().unwrap())))
    }
}

/// The same message that `src/envoy/response.rs` makes of an answer.
fn denial(response: &Response) -> CheckResponse {
    let header = |(name, value): &(&str, String)| HeaderValueOption {
        header: Some(HeaderValue { key: (*name).to_owned(), value: value.clone(), ..HeaderValue::default() }),
        ..HeaderValueOption::default()
    };
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(response.status) }),
        headers: response.headers.iter().map(header).collect(),
        body: response.body.clone(),
    };
    CheckResponse {
        status: Some(rpc::Status { code: 7, ..rpc::Status::default() }),
        http_response: Some(HttpResponse::DeniedResponse(denied)),
        ..CheckResponse::default()
    }
}

/// Envoy between the scripted server and an upstream that nothing may reach.
struct Bench {
    envoy: Envoy,
    upstream: Upstream,
    scripted: Scripted,
    server: JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Bench {
    async fn start(edit: impl FnOnce(String) -> String) -> Option<Self> {
        let scripted = Scripted { answer: Arc::new(Mutex::new(Response::new(403))), asked: Arc::default() };
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<AuthorizationServer<Scripted>>().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let routes = Server::builder().add_service(health).add_service(AuthorizationServer::new(scripted.clone()));
        let serving = routes.serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        let upstream = Upstream::start().await;
        let envoy = Envoy::start_edited(&[&address], &upstream.address, edit).await?;
        Some(Self { envoy, upstream, scripted, server })
    }

    async fn get(&self, method: Method, answer: Response) -> reqwest::Response {
        *self.scripted.answer.lock().unwrap() = answer;
        http().request(method, format!("{}/app?x=y", self.envoy.url)).send().await.unwrap()
    }
}

fn values<'a>(response: &'a reqwest::Response, name: &str) -> Vec<&'a str> {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_cookies_and_pages_reach_the_browser_as_they_are_and_nothing_reaches_the_upstream() {
    let Some(bench) = Bench::start(|text| text).await else { return };
    let long = format!("https://id.example.org/authorize?state={}", "x".repeat(4000));
    let cookie = |n: usize| format!("__Host-elastauth-login-{n:08}={}; Secure; Path=/", "y".repeat(2800));
    let page = || pages::login_failed(403, "login_nonce", "<why> \u{e9}", "request-1", "/.elastauth/login");
    let large = Response { body: "z".repeat(40_000), ..page() };
    for (case, answer) in [
        ("a redirect", Response::redirect(302, &long).with_cookies((0..6).map(cookie))),
        ("a redirect after a form", Response::redirect(303, "/app?x=y#z").with_cookies(["a=; Max-Age=0".to_owned()])),
        ("a page", page()),
        ("a large page", large),
        ("a page of success", pages::confirm_logout("/.elastauth")),
        ("a page with cookies", pages::logged_out("/.elastauth").with_cookies(["a=1".to_owned(), "b=2".to_owned()])),
        (
            "JSON of a 401",
            Response::error(401, "session_missing", "log in", "request-1")
                .with("www-authenticate", r#"Bearer realm="elastauth""#),
        ),
        ("nothing but a status", Response::new(200)),
        ("a refused form", Response::error(400, "x", "y", "")),
        ("too many", pages::too_many_logins("login_loop", "request-1", "/")),
        ("an outage", Response::error(503, "x", "y", "").with("retry-after", "1")),
    ] {
        for method in [Method::GET, Method::POST, Method::HEAD] {
            let head = method == Method::HEAD;
            let response = bench.get(method, answer.clone()).await;
            assert_eq!(response.status(), answer.status, "{case}");
            for (name, _) in &answer.headers {
                let sent: Vec<_> = answer.headers.iter().filter(|(known, _)| known == name).map(|(_, v)| v).collect();
                assert_eq!(values(&response, name), sent, "{case}: {name}");
            }
            // what a browser would read in another way if Envoy added it
            for name in ["content-type", "location", "set-cookie", "www-authenticate"] {
                if !answer.body.is_empty() && !answer.headers.iter().any(|(known, _)| *known == name) {
                    assert!(values(&response, name).is_empty(), "{case}: {name}");
                }
            }
            let body = response.text().await.unwrap();
            assert_eq!(body, if head { "" } else { &answer.body }, "{case}");
        }
    }
    assert!(bench.upstream.seen().is_empty(), "a denial, whatever its status");
}

/// The headers of the last request, as Envoy sends them with `encode_raw_headers`.
fn asked(bench: &Bench) -> (HttpRequest, Vec<(String, String)>) {
    let asked = bench.scripted.asked.lock().unwrap().pop().unwrap();
    let map = asked.header_map.clone().unwrap();
    let headers = map.headers.into_iter().map(|h| (h.key, String::from_utf8(h.raw_value).unwrap())).collect();
    (asked, headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_says_of_itself_reaches_the_check_and_the_body_of_a_form_where_that_is_configured() {
    let bodies = |text| {
        exchange(
            text,
            "encode_raw_headers: true",
            "encode_raw_headers: true\n              \
             with_request_body: { max_request_bytes: 65536, allow_partial_message: true, pack_as_bytes: true }",
        )
    };
    for with_bodies in [false, true] {
        let bench = if with_bodies { Bench::start(bodies).await } else { Bench::start(|text| text).await };
        let Some(bench) = bench else { return };
        let url = format!("{}/.elastauth/callback?code=a%2fb&state=%0d%0a//x", bench.envoy.url);
        let request = http()
            .post(url)
            .header("accept", "text/html,*/*;q=0.8")
            .header("origin", "null")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-site", "cross-site")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body("logout_token=x");
        assert_eq!(request.send().await.unwrap().status(), 403);
        let (http, headers) = asked(&bench);
        assert_eq!(http.path, "/.elastauth/callback?code=a%2fb&state=%0d%0a//x", "the query stays as it is");
        let all = |name: &str| -> Vec<&str> {
            headers.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value).collect()
        };
        assert_eq!(all("accept"), ["text/html,*/*;q=0.8"]);
        assert_eq!(all("origin"), ["null"]);
        assert_eq!((all("sec-fetch-mode"), all("sec-fetch-site")), (vec!["navigate"], vec!["cross-site"]));
        assert_eq!(all("content-type"), ["application/x-www-form-urlencoded"]);
        assert_eq!(all("cookie"), ["a=1", "b=2"], "each by itself");
        let body = [http.body.as_bytes(), &http.raw_body].concat();
        assert_eq!(body, if with_bodies { &b"logout_token=x"[..] } else { b"" });
        // in HTTP/1.1; Envoy makes the same of the handshake by CONNECT in HTTP/2 (RFC 8441)
        let handshake = reqwest::Client::get(&elastauth_support::http(), format!("{}/app", bench.envoy.url))
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("origin", "https://evil.org");
        assert_eq!(handshake.send().await.unwrap().status(), 403);
        let (http, headers) = asked(&bench);
        assert_eq!(http.method, "GET");
        assert!(headers.contains(&("upgrade".to_owned(), "websocket".to_owned())), "{headers:?}");
        assert!(headers.contains(&("origin".to_owned(), "https://evil.org".to_owned())), "{headers:?}");
    }
}
