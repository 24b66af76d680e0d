//! A browser that logs in, without Envoy: its requests go to elastauth as Checks, and it keeps cookies and follows redirects as
//! browsers do.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{self, HttpRequest};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use prost::Message as _;
use reqwest::Url;
use tonic::Status;

use crate::check::Checker;
use crate::secrets;

/// The cookie of a session.
pub const SESSION: &str = "__Host-elastauth";
/// What the cookies of attempts to log in begin with.
pub const ATTEMPT: &str = "__Host-elastauth-login-";

/// A request as Envoy describes it in a Check.
#[derive(Clone, Debug, Default)]
pub struct WebRequest {
    method: String,
    host: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl WebRequest {
    /// A request without headers; `path` is with its query.
    #[must_use]
    pub fn new(method: &str, host: &str, path: &str) -> Self {
        let (method, host, path) = (method.to_owned(), host.to_owned(), path.to_owned());
        Self { method, host, path, ..Self::default() }
    }

    /// What a browser sends when a person follows a link on a page of the same host.
    #[must_use]
    pub fn navigation(host: &str, path: &str) -> Self {
        Self::new("GET", host, path)
            .with("sec-fetch-mode", "navigate")
            .with("sec-fetch-site", "same-origin")
            .with("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
    }

    /// What a browser sends when a script of a page of the same host asks.
    #[must_use]
    pub fn script(method: &str, host: &str, path: &str) -> Self {
        let request = Self::new(method, host, path)
            .with("sec-fetch-mode", "cors")
            .with("sec-fetch-site", "same-origin")
            .with("accept", "*/*");
        if method == "GET" { request } else { request.with("origin", &format!("https://{host}")) }
    }

    /// The same with one more header. Envoy sends a header that is repeated in `header_map`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        self
    }

    /// The same with this value in place of the header's, or of none.
    #[must_use]
    pub fn but(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// The same with a form as its body.
    #[must_use]
    pub fn form(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self.but("content-type", "application/x-www-form-urlencoded")
    }

    /// The encoded `CheckRequest`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { method, host, path, headers, body } = self.clone();
        let repeats = |name: &str| headers.iter().filter(|(own, _)| own == name).count() > 1;
        let entry = |(key, value): &(String, String)| HeaderValue {
            key: key.clone(),
            raw_value: value.clone().into_bytes(),
            ..HeaderValue::default()
        };
        let (headers, header_map) = if headers.iter().any(|(name, _)| repeats(name)) {
            let all = headers.iter().map(entry).collect();
            (std::collections::HashMap::new(), Some(HeaderMap { headers: all }))
        } else {
            (headers.into_iter().collect(), None)
        };
        let http = HttpRequest { method, host, path, headers, header_map, body, ..HttpRequest::default() };
        let request = Some(attribute_context::Request { time: None, http: Some(http) });
        let attributes = Some(AttributeContext { request, ..AttributeContext::default() });
        CheckRequest { attributes }.encode_to_vec()
    }
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebReply {
    /// The status of an answer of elastauth's own; 200 for a request that was let through.
    pub status: i32,
    /// The user whose credential the request was let through with.
    pub user: Option<String>,
    /// The headers of an answer of elastauth's own, or those that Envoy sets on the request.
    pub headers: Vec<(String, String)>,
    /// The body of an answer of elastauth's own.
    pub body: String,
}

impl WebReply {
    /// Decodes a reply, and panics when it is not well formed.
    #[must_use]
    pub fn read(reply: &[u8]) -> Self {
        let reply = CheckResponse::decode(reply).unwrap();
        let texts = |headers: Vec<HeaderValueOption>| {
            headers.into_iter().filter_map(|option| option.header).map(|header| (header.key, header.value)).collect()
        };
        match reply.http_response.unwrap() {
            HttpResponse::OkResponse(ok) => {
                assert_eq!(reply.status.unwrap().code, 0);
                let headers: Vec<(String, String)> = texts(ok.headers);
                let basic = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
                let basic = basic.and_then(|(_, value)| value.strip_prefix("Basic ")).unwrap();
                let pair = String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap();
                let (user, password) = pair.split_once(':').unwrap();
                secrets::keep("a password", password);
                Self { status: 200, user: Some(user.to_owned()), headers, body: String::new() }
            }
            HttpResponse::DeniedResponse(denied) => {
                assert_ne!(reply.status.unwrap().code, 0, "an unset status means allow");
                let status = denied.status.unwrap().code;
                Self { status, user: None, headers: texts(denied.headers), body: denied.body }
            }
            HttpResponse::ErrorResponse(_) => panic!("an error would let failure_mode_allow decide"),
        }
    }

    /// The values of this header, in order.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of this header; empty where there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }

    /// The address that the browser is sent to.
    #[must_use]
    pub fn location(&self) -> &str {
        self.header("location")
    }

    /// A parameter of that address.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        parameter(self.location(), name)
    }

    /// The name of the cookie of the attempt that was started.
    #[must_use]
    pub fn attempt(&self) -> Option<&str> {
        let begun = self.all("set-cookie").into_iter().filter(|cookie| cookie.starts_with(ATTEMPT));
        begun.filter(|cookie| !ends(cookie)).find_map(|cookie| Some(cookie.split_once('=')?.0))
    }
}

/// A parameter of an address.
#[must_use]
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.query_pairs().find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
}

fn ends(cookie: &str) -> bool {
    cookie.split("; ").any(|attribute| attribute == "Max-Age=0")
}

/// A person's browser at one host.
pub struct Browser {
    /// The host in the address bar.
    pub host: String,
    /// Who is logged in at the provider, in this browser.
    pub user: String,
    cookies: Mutex<BTreeMap<String, String>>,
    http: reqwest::Client,
}

/// Where a login has led a browser.
#[derive(Debug)]
pub struct LoggedIn {
    /// The answer of the callback.
    pub reply: WebReply,
    /// The path and the query with which the provider sent the browser back.
    pub callback: String,
}

impl Browser {
    /// A browser without cookies of this host.
    #[must_use]
    pub fn new(host: &str, user: &str) -> Self {
        Self::with(crate::http(), host, user)
    }

    /// The same with this client for the provider, of which many browsers may have one.
    #[must_use]
    pub fn with(http: reqwest::Client, host: &str, user: &str) -> Self {
        Self { host: host.to_owned(), user: user.to_owned(), cookies: Mutex::default(), http }
    }

    /// Its cookies, as it sends them; empty where it has none.
    #[must_use]
    pub fn cookies(&self) -> String {
        let cookies = self.cookies.lock().unwrap();
        cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// The value of a cookie.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(name).cloned()
    }

    /// The names of its cookies that begin so.
    #[must_use]
    pub fn named(&self, prefix: &str) -> Vec<String> {
        self.cookies.lock().unwrap().keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// From now on it has this cookie, however it came by it.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// From now on it does not have this cookie.
    pub fn forget(&self, name: &str) {
        self.cookies.lock().unwrap().remove(name);
    }

    /// The request with the browser's cookies.
    #[must_use]
    pub fn own(&self, request: WebRequest) -> WebRequest {
        let cookies = self.cookies();
        if cookies.is_empty() { request } else { request.with("cookie", &cookies) }
    }

    /// Sends a request with the browser's cookies, and keeps those of the answer.
    pub async fn try_send(&self, to: &Checker, request: WebRequest) -> Result<WebReply, Status> {
        let reply = WebReply::read(&to.check(self.own(request).encode()).await?);
        self.take(&reply);
        Ok(reply)
    }

    /// As [`Self::try_send`], where the replica is there.
    pub async fn send(&self, to: &Checker, request: WebRequest) -> WebReply {
        self.try_send(to, request).await.unwrap()
    }

    /// Goes to a page, and follows no redirect.
    pub async fn navigate(&self, to: &Checker, path: &str) -> WebReply {
        self.send(to, WebRequest::navigation(&self.host, path)).await
    }

    /// Asks as a script of a page does.
    pub async fn ask(&self, to: &Checker, method: &str, path: &str) -> WebReply {
        self.send(to, WebRequest::script(method, &self.host, path)).await
    }

    /// Keeps the cookies of an answer, and ends those that it ends. Browsers keep a cookie with the prefix `__Host-` only with these attributes.
    pub fn take(&self, reply: &WebReply) {
        for cookie in reply.all("set-cookie") {
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            let has = |wanted: &str| attributes.split(';').any(|attribute| attribute.trim() == wanted);
            let sound = name.starts_with("__Host-") && has("Secure") && has("HttpOnly") && has("Path=/");
            assert!(sound && has("SameSite=Lax") && !attributes.contains("Domain"), "{cookie}");
            if ends(cookie) {
                self.forget(name);
            } else {
                self.set_cookie(name, value);
                if name == SESSION || name.starts_with(ATTEMPT) {
                    secrets::keep("a cookie", value);
                }
            }
        }
        for name in ["state", "nonce", "code_challenge"] {
            if let Some(value) = reply.parameter(name).filter(|_| reply.status == 302) {
                secrets::keep("a parameter of the login", &value);
            }
        }
    }

    /// Goes from elastauth's redirect to the provider, which logs the person in, and returns the path and query that the provider
    /// sends the browser back to.
    pub async fn at_provider(&self, redirect: &WebReply) -> String {
        self.try_at_provider(redirect).await.unwrap_or_else(|| panic!("the provider does not answer"))
    }

    /// As [`Self::at_provider`]; none where the provider does not answer, or not with a redirect.
    pub async fn try_at_provider(&self, redirect: &WebReply) -> Option<String> {
        assert_eq!(redirect.status, 302, "{redirect:?}");
        let request = self.http.get(redirect.location()).header("cookie", format!("user={}", self.user));
        let back = request.send().await.ok()?;
        let back = Url::parse(back.headers().get("location")?.to_str().ok()?).unwrap();
        let origin = back.origin().ascii_serialization();
        assert_eq!(origin, format!("https://{}", self.host), "the provider was told of another host");
        let query = back.query().map(|query| format!("?{query}")).unwrap_or_default();
        Some(format!("{}{query}", back.path()))
    }

    /// Goes to a page without a session, logs in, and returns the answer of the callback.
    pub async fn log_in(&self, to: &Checker, path: &str) -> LoggedIn {
        let redirect = self.navigate(to, path).await;
        let callback = self.at_provider(&redirect).await;
        let reply = self.back(to, &callback).await;
        LoggedIn { reply, callback }
    }

    /// Follows the provider's redirect.
    pub async fn back(&self, to: &Checker, callback: &str) -> WebReply {
        self.send(to, Self::returning(&self.host, callback)).await
    }

    /// The request that the provider's redirect makes of a browser.
    #[must_use]
    pub fn returning(host: &str, callback: &str) -> WebRequest {
        WebRequest::navigation(host, callback).but("sec-fetch-site", "cross-site")
    }
}
