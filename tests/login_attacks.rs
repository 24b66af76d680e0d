//! The login under attack: what an attacker sends, or makes a person's browser send, is refused with a reason in the log, and
//! nothing has changed after it.
//!
//! The cookies, codes, states and tokens of all logins here are secrets that no line of the log may contain, also at its most
//! detailed (`tests/support/src/secrets.rs`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::fixture::serve;
use elastauth_support::issuer::SigningKey;
use elastauth_support::scripted_provider::{Iss, LOGOUT_EVENT, ScriptedProvider};
use elastauth_support::servers::Elastauth;
use elastauth_support::web::{ATTEMPT, Browser, SESSION, WebReply, WebRequest};
use futures_util::future::join_all;
use reqwest::Url;
use serde_json::{Value, json};

const HOST: &str = "kibana.example.org";
const NEIGHBOUR: &str = "search.example.org";

/// An elastauth that logs people in on two hosts.
struct Bench {
    provider: ScriptedProvider,
    elasticsearch: Elasticsearch,
    elastauth: Elastauth,
    checker: Checker,
}

impl Bench {
    async fn start() -> Self {
        Self::start_at(ScriptedProvider::start().await).await
    }

    async fn start_at(provider: ScriptedProvider) -> Self {
        let elasticsearch = Elasticsearch::start().await;
        let more = "  logout_paths: [/logout, /api/security/logout]\n";
        let hosts = format!("[{HOST}, {NEIGHBOUR}]");
        let yaml = provider.config(&elasticsearch.url, "  type: memory", &hosts, more);
        let (elastauth, checker) = serve(elastauth!(), &yaml.replace("log_level: debug", "log_level: trace")).await;
        Self { provider, elasticsearch, elastauth, checker }
    }

    /// A browser in which this person is logged in.
    async fn logged_in(&self, user: &str) -> Browser {
        let browser = Browser::new(HOST, user);
        let login = browser.log_in(&self.checker, "/").await;
        assert_eq!((login.reply.status, login.reply.location()), (303, "/"), "{login:?}");
        browser
    }

    /// Sends a request as it is, with no cookies but its own.
    async fn send(&self, request: &WebRequest) -> WebReply {
        WebReply::read(&self.checker.check(request.encode()).await.unwrap())
    }

    /// The status of the answer and the reason in the log.
    async fn refusal(&self, request: &WebRequest) -> (i32, String) {
        let (reply, reason) = self.refused(request).await;
        (reply.status, reason)
    }

    /// The answer, which is a refusal, and the reason in the log.
    async fn refused(&self, request: &WebRequest) -> (WebReply, String) {
        let from = self.elastauth.process.lines().len();
        let reply = self.send(request).await;
        assert!(reply.user.is_none() && !(200..400).contains(&reply.status), "{request:?}: {reply:?}");
        assert!(reply.all("set-cookie").iter().all(|cookie| !cookie.starts_with("__Host-elastauth=")), "{reply:?}");
        let line = self.elastauth.process.wait_for_line(from, &["Request denied"]);
        let line: Value = serde_json::from_str(&line).unwrap();
        (reply, line["reason"].as_str().unwrap().to_owned())
    }

    /// Fails unless this person is let in by the browser's session.
    async fn is_in(&self, browser: &Browser, what: &str) {
        let reply = browser.ask(&self.checker, "GET", "/app").await;
        assert_eq!(reply.user.as_deref(), Some(&*browser.user), "{what}: {reply:?}");
    }

    /// Fails unless the browser's session has ended.
    async fn is_out(&self, browser: &Browser, what: &str) {
        let request = browser.own(WebRequest::script("GET", HOST, "/app"));
        assert_eq!(self.refusal(&request).await, (401, "session_ended".to_owned()), "{what}");
    }

    fn redeemed(&self) -> usize {
        self.provider.redemptions().len()
    }
}

fn returning(browser: &Browser, callback: &str) -> WebRequest {
    browser.own(Browser::returning(&browser.host, callback))
}

fn forbidden(reason: &str) -> (i32, String) {
    (403, reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_another_browser_began_logs_nobody_in() {
    let bench = Bench::start().await;
    // an attacker logs in up to the callback, and makes the victim's browser go there
    let (attacker, victim) = (Browser::new(HOST, "mallory"), Browser::new(HOST, "ann"));
    let redirect = attacker.navigate(&bench.checker, "/").await;
    let trap = attacker.at_provider(&redirect).await;
    let name = redirect.attempt().unwrap();
    assert_eq!(bench.refusal(&returning(&victim, &trap)).await, forbidden("login_state_unknown"), "no cookie");

    let own = victim.navigate(&bench.checker, "/").await;
    assert_eq!(bench.refusal(&returning(&victim, &trap)).await, forbidden("login_state_unknown"), "its own attempt");
    let value = victim.cookie(own.attempt().unwrap()).unwrap();
    let renamed = Browser::new(HOST, "ann");
    renamed.set_cookie(name, &value);
    assert_eq!(bench.refusal(&returning(&renamed, &trap)).await, forbidden("login_state_unknown"), "another's value");
    let cut = attacker.cookie(name).unwrap();
    renamed.set_cookie(name, &cut[..cut.len() - 4]);
    assert_eq!(bench.refusal(&returning(&renamed, &trap)).await, forbidden("login_state_unknown"), "a damaged value");
    renamed.set_cookie(name, "");
    assert_eq!(bench.refusal(&returning(&renamed, &trap)).await, forbidden("login_state_unknown"), "an empty value");
    let twice = WebRequest::navigation(HOST, &trap).with("cookie", &format!("{name}={value}; {}", attacker.cookies()));
    assert_eq!(bench.refusal(&twice).await, forbidden("login_state_unknown"), "two of the same name");

    // the attempt of one host is nothing on another
    let neighbour = attacker.own(Browser::returning(NEIGHBOUR, &trap));
    assert_eq!(bench.refusal(&neighbour).await, forbidden("login_state_unknown"), "another host");
    assert_eq!(bench.redeemed(), 0, "no code was redeemed");
    assert!(bench.elasticsearch.history().is_empty(), "nobody was made a user");

    assert_eq!(attacker.back(&bench.checker, &trap).await.status, 303, "only the browser that began it can finish it");
    bench.is_in(&attacker, "and the victim's login is as before").await;
    let callback = victim.at_provider(&own).await;
    assert_eq!(victim.back(&bench.checker, &callback).await.status, 303);
    bench.is_in(&victim, "the victim").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_and_its_code_work_once() {
    let bench = Bench::start().await;
    let browser = Browser::new(HOST, "ann");
    let redirect = browser.navigate(&bench.checker, "/").await;
    let callback = browser.at_provider(&redirect).await;
    let (name, value) = (redirect.attempt().unwrap(), browser.cookie(redirect.attempt().unwrap()).unwrap());
    assert_eq!(browser.back(&bench.checker, &callback).await.status, 303);
    assert!(browser.named(ATTEMPT).is_empty(), "the attempt's cookie is ended");
    let session = browser.cookie(SESSION).unwrap();
    // reloaded by a person who is in: it leads on, and does nothing
    let reloaded = bench.send(&returning(&browser, &callback)).await;
    assert_eq!((reloaded.status, reloaded.location(), reloaded.all("set-cookie").len()), (303, "/", 0));
    assert_eq!(bench.redeemed(), 1);

    let thief = Browser::new(HOST, "mallory");
    thief.set_cookie(name, &value);
    assert_eq!(bench.refusal(&returning(&thief, &callback)).await, forbidden("login_code_refused"), "with its cookie");
    assert_eq!(browser.cookie(SESSION).unwrap(), session);

    // the code of one person in the login of another: PKCE and the nonce bind it to the browser
    let (attacker, victim) = (Browser::new(HOST, "mallory"), Browser::new(HOST, "bob"));
    let stolen = victim.navigate(&bench.checker, "/").await;
    let stolen = victim.at_provider(&stolen).await;
    let code = Url::parse(&format!("https://{HOST}{stolen}")).unwrap();
    let code = code.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let redirect = attacker.navigate(&bench.checker, "/").await;
    let state = redirect.parameter("state").unwrap();
    let issuer: String = url_encoded(&bench.provider.url);
    let injected = format!("/.elastauth/callback?code={code}&state={state}&iss={issuer}");
    assert_eq!(bench.refusal(&returning(&attacker, &injected)).await, forbidden("login_code_refused"), "injected");
}

fn url_encoded(text: &str) -> String {
    Url::parse_with_params("http://x", [("", text)]).unwrap().query().unwrap()[1..].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_provider_sends_to_the_callback_is_refused() {
    let bench = Bench::start().await;
    let browser = Browser::new(HOST, "ann");
    let redirect = browser.navigate(&bench.checker, "/").await;
    let callback = browser.at_provider(&redirect).await;
    let state = redirect.parameter("state").unwrap();
    for query in [
        String::new(),
        "?".to_owned(),
        "?code=a-code-of-nobody".to_owned(),
        format!("?state={state}"),
        format!("?code=a-code-of-nobody&state={}", state.to_uppercase()),
        format!("?code=a-code-of-nobody&state={}", &state[..31]),
        format!("?code=a-code-of-nobody&state={state}&state={state}"),
        format!("?code=a-code-of-nobody&code=another-code&state={state}"),
        format!("?code=a-code-of-nobody&error=access_denied&state={state}"),
        format!("?code=&state={state}"),
        format!("?code=a%0d%0ab&state={state}"),
        format!("?code=a%00b&state={state}"),
        format!("?code={}&state={state}", "c".repeat(17_000)),
    ] {
        let request = returning(&browser, &format!("/.elastauth/callback{query}"));
        assert_eq!(bench.refusal(&request).await, (400, "login_callback_invalid".to_owned()), "{query}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let request = browser.own(WebRequest::script(method, HOST, &callback));
        assert_eq!(bench.refusal(&request).await, (404, "login_path_unknown".to_owned()), "{method}");
    }
    for path in
        ["/.elastauth", "/.elastauth/", "/.elastauth/callback/", "/.elastauth/x", "/.elastauth/callback/../session"]
    {
        let request = browser.own(WebRequest::navigation(HOST, path));
        assert_eq!(bench.refusal(&request).await, (404, "login_path_unknown".to_owned()), "{path}");
    }
    assert_eq!(bench.redeemed(), 0);
    assert_eq!(browser.back(&bench.checker, &callback).await.status, 303, "and the login goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_token_that_does_not_belong_to_the_login_is_refused() {
    let bench = Bench::start().await;
    let nothing = || Value::Null;
    for (nonce, claim, value, expected) in [
        (Some("0123456789abcdef0123456789abcdef"), "x", nothing(), (403, "login_nonce")),
        (Some(""), "x", nothing(), (403, "login_nonce")),
        (None, "nonce", json!(["a"]), (403, "login_nonce")),
        (None, "at_hash", json!("MTIzNDU2Nzg5MDEyMzQ1Ng"), (403, "login_access_token_hash")),
        (None, "at_hash", json!(1), (403, "login_access_token_hash")),
        (None, "aud", json!("another-client"), (401, "token_audience")),
        (None, "aud", json!(["elastauth", "another-client"]), (401, "token_authorized_party")),
        (None, "iss", json!("https://another.example"), (401, "token_issuer")),
        (None, "exp", json!(1), (401, "token_expired")),
        (None, "iat", json!(99_999_999_999_u64), (401, "token_issued_in_future")),
        (None, "sub", json!(""), (401, "token_claim_missing")),
        (None, "preferred_username", json!("a b"), (403, "username_refused")),
        (None, "events", json!({ LOGOUT_EVENT: {} }), (401, "token_kind")),
    ] {
        bench.provider.script(|script| {
            script.nonce = nonce.map(str::to_owned);
            script.claims.clear();
            script.claims.insert(claim.to_owned(), value.clone());
        });
        let browser = Browser::new(HOST, "ann");
        let redirect = browser.navigate(&bench.checker, "/").await;
        let callback = browser.at_provider(&redirect).await;
        let (status, reason) = expected;
        let refusal = bench.refusal(&returning(&browser, &callback)).await;
        assert_eq!(refusal, (status, reason.to_owned()), "{nonce:?} {claim} {value}");
    }
    assert!(bench.elasticsearch.history().is_empty(), "nobody was made a user");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_provider_is_refused_before_the_code_goes_anywhere() {
    for (announces, iss, refused) in [
        (true, Iss::Other("https://another.example".to_owned()), true),
        (true, Iss::Other(String::new()), true),
        (true, Iss::Missing, true),
        (true, Iss::Own, false),
        (false, Iss::Other("https://another.example".to_owned()), true),
        (false, Iss::Missing, false),
        (false, Iss::Own, false),
    ] {
        let bench = Bench::start_at(ScriptedProvider::start_with(announces).await).await;
        bench.provider.script(|script| script.iss = iss.clone());
        let browser = Browser::new(HOST, "ann");
        let redirect = browser.navigate(&bench.checker, "/").await;
        let callback = browser.at_provider(&redirect).await;
        if refused {
            assert_eq!(bench.refusal(&returning(&browser, &callback)).await, forbidden("login_issuer"), "{iss:?}");
            let slash = format!("{}%2F", url_encoded(&bench.provider.url));
            let slash = format!("{}&iss={slash}", callback.split("&iss=").next().unwrap());
            assert_eq!(bench.refusal(&returning(&browser, &slash)).await, forbidden("login_issuer"), "to the letter");
            assert_eq!(bench.redeemed(), 0);
        } else {
            assert_eq!(browser.back(&bench.checker, &callback).await.status, 303, "{announces} {iss:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_provider_is_a_page_without_its_markup_and_a_log_line_without_its_control_characters() {
    let bench = Bench::start().await;
    for (error, description) in [
        ("<script>alert(1)</script>", "\"><img src=x onerror=alert(2)>"),
        ("access_denied", "\u{1b}[2J\r\n{\"level\":\"ERROR\",\"msg\":\"forged\"}\u{202e}"),
        ("login_required", &"long ".repeat(3000)),
    ] {
        bench.provider.script(|script| script.error = Some((error.to_owned(), description.to_owned())));
        let browser = Browser::new(HOST, "ann");
        let redirect = browser.navigate(&bench.checker, "/app").await;
        let callback = browser.at_provider(&redirect).await;
        let from = bench.elastauth.process.lines().len();
        let (reply, reason) = bench.refused(&returning(&browser, &callback)).await;
        assert_eq!((reply.status, &*reason), (403, "login_refused"), "a page, and no second start");
        page(&reply);
        assert!(!reply.body.contains("onerror=alert") || reply.body.contains("&#60;img"), "{}", reply.body);
        for line in &bench.elastauth.process.lines()[from..] {
            assert!(line.len() < 3000 && !line.contains(['\u{1b}', '\u{202e}']), "{line}");
            let line: Value = serde_json::from_str(line).unwrap();
            assert_ne!(line["msg"], "forged");
        }
        // without the state of this browser it is anybody's text, and not even read
        let foreign = Browser::new(HOST, "ann");
        assert_eq!(bench.refusal(&returning(&foreign, &callback)).await, forbidden("login_state_unknown"));
    }
}

/// Fails unless this is a page that runs nothing and loads nothing.
fn page(reply: &WebReply) {
    assert!(reply.header("content-type").starts_with("text/html"), "{reply:?}");
    assert!(!reply.body.contains("<script") && !reply.body.contains("<img"), "{}", reply.body);
    let policy = reply.header("content-security-policy");
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_ends_on_a_page_of_the_same_host_whatever_the_address_was() {
    let bench = Bench::start().await;
    let long = format!("/{}", "a".repeat(5000));
    let mut tabs = Vec::new();
    for (path, expected) in [
        ("/app/discover?_g=(a:b)&x=1", "/app/discover?_g=(a:b)&x=1"),
        ("/app#/view/1", "/app#/view/1"),
        ("/a%2F%2Fb", "/a%2F%2Fb"),
        ("//evil.example", "/"),
        ("///evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\n/evil.example", "/"),
        ("/./%2e%2e//evil.example", "/"),
        ("/..//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("//evil.example@kibana.example.org/", "/"),
        ("javascript:alert(1)", "/"),
        ("evil.example", "/"),
        ("", "/"),
        ("/x\r\nset-cookie: a=b", "/"),
        ("/.elastauth/logout", "/"),
        ("/.elastauth/login?return_to=//evil.example", "/"),
        ("/%2eelastauth/logout", "/"),
        ("/x/../.elastauth/logout", "/"),
        ("/.elastauth", "/"),
        (&long, "/"),
    ] {
        let request = format!("/.elastauth/login?return_to={}", url_encoded(path));
        tabs.push((format!("return_to={path:?}"), request, expected.to_owned()));
    }
    // the address itself, as far as Envoy lets it through
    for (path, expected) in [
        ("/app/discover?_g=(a:b)&x=1", "/app/discover?_g=(a:b)&x=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/%0d%0aset-cookie:%20a=b", "/%0d%0aset-cookie:%20a=b"),
        ("https://evil.example/", "/"),
        (&long, "/"),
    ] {
        tabs.push((format!("{path:?}"), path.to_owned(), expected.to_owned()));
    }
    for (what, path, expected) in tabs {
        let browser = Browser::new(HOST, "ann");
        let login = browser.log_in(&bench.checker, &path).await;
        assert_eq!((login.reply.status, login.reply.location()), (303, &*expected), "{what}");
        let there = Url::parse(&format!("https://{HOST}/")).unwrap().join(login.reply.location()).unwrap();
        assert_eq!(there.host_str(), Some(HOST), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_listed_is_never_part_of_a_redirect() {
    let bench = Bench::start().await;
    let ann = bench.logged_in("ann").await;
    let long = format!("{HOST}.{}", "a".repeat(5000));
    for host in [
        "evil.example",
        "",
        "kibana.example.org.",
        "kibana.example.org:8443",
        "kibana.example.org:80",
        "kibana.example.org@evil.example",
        "kibana.example.org,evil.example",
        "kibana.example.org/",
        " kibana.example.org",
        "xkibana.example.org",
        &long,
    ] {
        for path in ["/", "/.elastauth/login", "/.elastauth/callback?code=x&state=y", "/.elastauth/logout"] {
            let request =
                WebRequest::navigation(host, path).with("x-forwarded-host", HOST).with("cookie", &ann.cookies());
            let (reply, reason) = bench.refused(&request).await;
            assert_eq!((reply.status, &*reason), (401, "credentials_missing"), "{host}{path}");
            assert_eq!((reply.location(), reply.all("set-cookie").len()), ("", 0), "{host}{path}");
        }
    }
    for host in ["KIBANA.example.org", "kibana.example.org:443"] {
        let request = WebRequest::navigation(host, "/").with("x-forwarded-host", "evil.example");
        let redirect = bench.send(&request).await;
        let back = redirect.parameter("redirect_uri").unwrap();
        assert_eq!(back, format!("https://{HOST}/.elastauth/callback"), "the address is the configuration's");
    }
    bench.is_in(&ann, "her session is as before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_cookie_is_nothing_on_another_host_and_two_are_none() {
    let bench = Bench::start().await;
    let (ann, mallory) = (bench.logged_in("ann").await, bench.logged_in("mallory").await);
    let (own, other) = (ann.cookie(SESSION).unwrap(), mallory.cookie(SESSION).unwrap());
    assert!(SESSION.len() + 1 + own.len() <= 80, "the session cookie has {} bytes", SESSION.len() + 1 + own.len());
    let neighbour = WebRequest::script("GET", NEIGHBOUR, "/app").with("cookie", &format!("{SESSION}={own}"));
    assert_eq!(bench.refusal(&neighbour).await, (401, "session_ended".to_owned()));
    let away = WebRequest::navigation(NEIGHBOUR, "/app").with("cookie", &format!("{SESSION}={own}"));
    assert_eq!(bench.send(&away).await.status, 302, "a person logs in there");
    let show = WebRequest::script("GET", NEIGHBOUR, "/.elastauth/session").with("cookie", &format!("{SESSION}={own}"));
    assert_eq!(bench.refusal(&show).await, (401, "session_ended".to_owned()));
    let end = WebRequest::script("POST", NEIGHBOUR, "/.elastauth/logout").with("cookie", &format!("{SESSION}={own}"));
    bench.send(&end).await;
    bench.is_in(&ann, "after a logout on another host").await;

    let app = || WebRequest::script("GET", HOST, "/app");
    for request in [
        app().with("cookie", &format!("{SESSION}={other}; {SESSION}={own}")),
        app().with("cookie", &format!("{SESSION}={own}; {SESSION}={own}")),
        app().with("cookie", &format!("{SESSION}={own}")).with("cookie", &format!("{SESSION}={other}")),
        app().with("cookie", &format!("{SESSION}=; {SESSION}={own}")),
    ] {
        assert_eq!(bench.refusal(&request).await, (401, "credentials_repeated".to_owned()), "{request:?}");
    }
    // a neighbouring host can set a cookie of its own with a comma in its value, and so appear to set one of ours
    let planted = app().with("cookie", &format!("x=1,{SESSION}={other}"));
    assert_eq!(bench.refusal(&planted).await, (401, "credentials_missing".to_owned()));
    let beside = app().with("cookie", &format!("{SESSION}={own}; x=1,{SESSION}={other}"));
    assert_eq!(bench.send(&beside).await.user.as_deref(), Some("ann"));
    // only the form that elastauth makes
    for value in [
        format!("{own}="),
        own[..42].to_owned(),
        format!("{own}A"),
        format!("{own}%00"),
        own.to_lowercase(),
        String::new(),
        "deleted".to_owned(),
    ] {
        let request = app().with("cookie", &format!("{SESSION}={value}"));
        assert_eq!(bench.send(&request).await.status, 401, "{value}");
    }
    for name in ["__host-elastauth", "elastauth", "__Secure-elastauth", "__Host-elastauth-"] {
        let request = app().with("cookie", &format!("{name}={own}"));
        assert_eq!(bench.refusal(&request).await, (401, "credentials_missing".to_owned()), "{name}");
    }
    bench.is_in(&ann, "her session is as before").await;
    bench.is_in(&mallory, "and the other one").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_login_has_a_new_session_and_ends_the_browsers_former_one() {
    let bench = Bench::start().await;
    // fixation: a cookie that an attacker has planted does not survive the login
    let planted = URL_SAFE_NO_PAD.encode([7; 32]);
    let browser = Browser::new(HOST, "ann");
    browser.set_cookie(SESSION, &planted);
    assert_eq!(browser.log_in(&bench.checker, "/").await.reply.status, 303);
    let first = browser.cookie(SESSION).unwrap();
    assert_ne!(first, planted);
    let with_planted = WebRequest::script("GET", HOST, "/app").with("cookie", &format!("{SESSION}={planted}"));
    assert_eq!(bench.refusal(&with_planted).await, (401, "session_ended".to_owned()));

    let again = browser.log_in(&bench.checker, "/.elastauth/login").await;
    assert_eq!(again.reply.status, 303);
    assert_ne!(browser.cookie(SESSION).unwrap(), first);
    bench.is_in(&browser, "the new session").await;
    let with_first = WebRequest::script("GET", HOST, "/app").with("cookie", &format!("{SESSION}={first}"));
    // requests of the former session may be on their way: it ends a little later
    let ends = Instant::now() + Duration::from_secs(30);
    while bench.send(&with_first).await.status == 200 {
        assert!(Instant::now() < ends, "the former session does not end");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(bench.refusal(&with_first).await, (401, "session_ended".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn starts_without_an_end_take_no_memory_and_a_browser_has_five_at_most() {
    let bench = Bench::start().await;
    let start = |from: usize, count: usize| {
        let checks = (from..from + count).map(|n| {
            let request = WebRequest::navigation(HOST, &format!("/app/{n}?{}", "q".repeat(1000)));
            let check = bench.checker.check(request.encode());
            async move { assert_eq!(WebReply::read(&check.await.unwrap()).status, 302) }
        });
        join_all(checks)
    };
    for n in 0..20 {
        start(n * 50, 50).await;
    }
    let before = bench.elastauth.process.resident();
    for n in 0..200 {
        start(n * 50, 50).await;
    }
    let grown = bench.elastauth.process.resident().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more after 10,000 starts");

    let browser = Browser::new(HOST, "ann");
    let mut redirects = Vec::new();
    for n in 0..12 {
        redirects.push(browser.navigate(&bench.checker, &format!("/tab/{n}")).await);
        assert!(browser.named(ATTEMPT).len() <= 5);
    }
    // the youngest one is among those that can still be finished
    let callback = browser.at_provider(&redirects[11]).await;
    let reply = browser.back(&bench.checker, &callback).await;
    assert_eq!((reply.status, reply.location()), (303, "/tab/11"));
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_of_eight_kilobytes_disturb_nobody() {
    let bench = Bench::start().await;
    let ann = bench.logged_in("ann").await;
    let huge = "x".repeat(8192);
    let own = ann.cookies();
    let request = WebRequest::script("GET", HOST, "/app").with("cookie", &format!("{own}; other={huge}"));
    let reply = bench.send(&request).await;
    assert_eq!(reply.user.as_deref(), Some("ann"));
    let passed: Vec<_> = reply.all("cookie").into_iter().chain(reply.all("Cookie")).collect();
    assert!(passed.iter().all(|cookies| !cookies.contains("elastauth")), "our cookies do not go on: {passed:?}");

    let mut attempts = String::new();
    for n in 0..200 {
        write!(attempts, "; {ATTEMPT}{n:08x}={}", "y".repeat(30)).unwrap();
    }
    for cookies in [
        format!("{SESSION}={huge}"),
        format!("{ATTEMPT}00000000={huge}"),
        attempts[2..].to_owned(),
        format!("__Host-elastauth-logins={}", "1.".repeat(4096)),
        format!("__Host-elastauth-logins={}", "99999999999999999999.".repeat(400)),
        ";".repeat(8192),
        "=".repeat(8192),
        format!("{SESSION}=\"{huge}"),
    ] {
        let shown: String = cookies.chars().take(60).collect();
        let navigation = WebRequest::navigation(HOST, "/app").with("cookie", &cookies);
        let reply = bench.send(&navigation).await;
        assert_eq!(reply.status, 302, "{shown}");
        let set: usize = reply.all("set-cookie").iter().map(|cookie| cookie.len()).sum();
        assert!(set < 6000, "{set} bytes of cookies are set: {shown}");
        let script = WebRequest::script("GET", HOST, "/app").with("cookie", &cookies);
        assert_eq!(bench.send(&script).await.status, 401, "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_logout_token_ends_no_session() {
    let bench = Bench::start().await;
    let ann = Browser::new(HOST, "ann");
    let login = ann.log_in(&bench.checker, "/").await;
    let code = Url::parse(&format!("https://{HOST}{}", login.callback)).unwrap();
    let code = code.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let sid = bench.provider.sid(&code).unwrap();
    bench.is_in(&ann, "at first").await;

    let good = || {
        let mut claims = bench.provider.logout_claims();
        claims["sid"] = sid.as_str().into();
        claims["sub"] = "id-of-ann".into();
        claims
    };
    let but = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        claims
    };
    let without = |names: &[&str]| {
        let mut claims = good();
        for name in names {
            claims.as_object_mut().unwrap().remove(*name);
        }
        bench.provider.sign_logout(&claims)
    };
    let now = good()["iat"].as_u64().unwrap();
    let signed = |claims: Value| bench.provider.sign_logout(&claims);
    let none = format!(
        "{}.{}.",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"logout+jwt"}"#),
        URL_SAFE_NO_PAD.encode(good().to_string())
    );
    let unsigned = signed(good());
    let unsigned = format!("{}.{}", unsigned.rsplit_once('.').unwrap().0, "A".repeat(86));
    let forged = [
        ("another key", SigningKey::new("key-1").sign(&good())),
        ("a key that is not published", SigningKey::new("key-2").sign(&good())),
        ("no algorithm", none),
        ("no signature", unsigned),
        ("an ID token", bench.provider.token("ann")),
        (
            "an ID token by name",
            bench.provider.sign_as("JWT", &{
                let mut claims = good();
                claims.as_object_mut().unwrap().remove("events");
                claims
            }),
        ),
        ("an access token by name", bench.provider.sign_as("at+jwt", &good())),
        ("another issuer", signed(but("iss", json!("https://another.example")))),
        ("another client", signed(but("aud", json!("another-client")))),
        ("no audience", without(&["aud"])),
        ("no issuer", without(&["iss"])),
        ("no time", without(&["iat"])),
        ("an old one", signed(but("iat", json!(now - 3600)))),
        ("one of the future", signed(but("iat", json!(now + 3600)))),
        ("an expired one", signed(but("exp", json!(now - 600)))),
        ("no event", without(&["events"])),
        ("another event", signed(but("events", json!({ "http://schemas.openid.net/event/other": {} })))),
        ("an event that is no object", signed(but("events", json!({ LOGOUT_EVENT: "yes" })))),
        ("a list of events", signed(but("events", json!([LOGOUT_EVENT])))),
        ("a nonce", signed(but("nonce", json!("n")))),
        ("neither sid nor sub", without(&["sid", "sub"])),
        ("a sid that is no text", signed(but("sid", json!(17)))),
        ("nothing", String::new()),
        ("no token", "a.b.c".to_owned()),
        ("a long one", "a".repeat(60_000)),
    ];
    let path = "/.elastauth/backchannel-logout";
    let post = |body: &str| WebRequest::new("POST", HOST, path).form(body);
    for (what, token) in &forged {
        let (reply, reason) = bench.refused(&post(&format!("logout_token={token}"))).await;
        assert_eq!((reply.status, &*reason), (400, "logout_token_invalid"), "{what}");
        assert_eq!(reply.header("cache-control"), "no-store", "{what}");
        bench.is_in(&ann, what).await;
    }
    let token = signed(good());
    for (what, request) in [
        ("an empty body", post("")),
        ("two tokens", post(&format!("logout_token={token}&logout_token={token}"))),
        ("JSON", post(&format!("logout_token={token}")).but("content-type", "application/json")),
    ] {
        assert_eq!(bench.refusal(&request).await, (400, "logout_token_invalid".to_owned()), "{what}");
    }
    let get = WebRequest::new("GET", HOST, &format!("{path}?logout_token={token}"));
    assert_eq!(bench.refusal(&get).await, (404, "login_path_unknown".to_owned()));
    let elsewhere = WebRequest::new("POST", "evil.example", path).form(&format!("logout_token={token}"));
    assert_eq!(bench.refusal(&elsewhere).await, (401, "credentials_missing".to_owned()));
    let as_bearer = WebRequest::script("GET", HOST, "/app").with("authorization", &format!("Bearer {token}"));
    assert_eq!(bench.refusal(&as_bearer).await, (401, "token_kind".to_owned()), "a logout token lets nobody in");
    bench.is_in(&ann, "after all of them").await;

    // a true one of another session ends that one only
    let foreign = post(&format!("logout_token={}", signed(but("sid", json!("another-session")))));
    assert_eq!(bench.send(&foreign).await.status, 200);
    bench.is_in(&ann, "after the logout of another session").await;

    let reply = bench.send(&post(&format!("logout_token={token}"))).await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"));
    bench.is_out(&ann, "after her own logout").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_cannot_log_a_person_out() {
    let bench = Bench::start().await;
    let ann = bench.logged_in("ann").await;
    let request = |method: &str, path: &str, mode: &str, site: &str| {
        let request = WebRequest::new(method, HOST, path).with("sec-fetch-mode", mode).with("accept", "text/html");
        let request = if site.is_empty() { request } else { request.with("sec-fetch-site", site) };
        if method == "POST" { request.with("origin", "https://evil.example").form("") } else { request }
    };
    for path in ["/.elastauth/logout", "/logout", "/api/security/logout"] {
        for (what, method, mode, site) in [
            ("an image", "GET", "no-cors", "cross-site"),
            ("a link", "GET", "navigate", "cross-site"),
            ("a link of a neighbour", "GET", "navigate", "same-site"),
            ("a bookmark, or a link in an e-mail", "GET", "navigate", "none"),
            ("an old browser's link", "GET", "navigate", ""),
            ("a frame", "GET", "nested-navigate", "cross-site"),
            ("a script", "GET", "cors", "cross-site"),
            ("a prefetch", "HEAD", "no-cors", "cross-site"),
            ("a form", "POST", "navigate", "cross-site"),
            ("a form of a neighbour", "POST", "navigate", "same-site"),
            ("an old browser's form", "POST", "navigate", ""),
            ("a beacon", "POST", "no-cors", "cross-site"),
        ] {
            let reply = bench.send(&ann.own(request(method, path, mode, site))).await;
            assert!(reply.all("set-cookie").is_empty(), "{what} to {path}: {reply:?}");
            assert_eq!(reply.location(), "", "{what} to {path}: {reply:?}");
            bench.is_in(&ann, what).await;
        }
    }
    // the person is asked, on a page that no other site can frame
    let asked = bench.send(&ann.own(request("GET", "/.elastauth/logout", "navigate", "cross-site"))).await;
    assert_eq!(asked.status, 200);
    page(&asked);
    assert_eq!(bench.provider.logouts().len(), 0);

    let click = WebRequest::navigation(HOST, "/.elastauth/logout").but("sec-fetch-site", "same-origin");
    let reply = ann.send(&bench.checker, click).await;
    assert_eq!(reply.status, 303);
    assert!(reply.location().starts_with(&format!("{}/end?", bench.provider.url)), "{}", reply.location());
    assert_eq!(ann.cookie(SESSION), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_changes_nothing_for_a_page_of_another_site() {
    let bench = Bench::start().await;
    let ann = bench.logged_in("ann").await;
    let own = &format!("https://{HOST}");
    let sent: &[(&str, &str)] = &[];
    for method in ["POST", "PUT", "PATCH", "DELETE", "post", "QUERY", ""] {
        for headers in [
            &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")][..],
            &[("sec-fetch-site", "same-site"), ("origin", "https://search.example.org")],
            &[("sec-fetch-site", "cross-site"), ("origin", own)],
            // lies: only a program can send these, or a browser with a fault
            &[("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
            &[("sec-fetch-site", "none"), ("origin", "https://evil.example")],
            &[("sec-fetch-site", "same-origin, cross-site"), ("origin", own)],
            &[("sec-fetch-site", "cross-site,same-origin"), ("origin", own)],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin"), ("origin", own)],
            &[("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-origin"), ("origin", own)],
            &[("sec-fetch-site", "Same-Origin"), ("origin", own)],
            &[("sec-fetch-site", ""), ("origin", own)],
            &[("sec-fetch-site", "same-origin"), ("origin", own), ("origin", "https://evil.example")],
            // a browser without these headers
            sent,
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://kibana.example.org")],
            &[("origin", "https://kibana.example.org:8443")],
            &[("origin", "https://kibana.example.org.evil.example")],
            &[("origin", own), ("origin", own)],
            &[("referer", "https://kibana.example.org/")],
        ] {
            let request = WebRequest::new(method, HOST, "/api/index").with("cookie", &ann.cookies());
            let request = headers.iter().fold(request, |request, (name, value)| request.with(name, value));
            assert_eq!(bench.refusal(&request).await, forbidden("cross_site"), "{method} {headers:?}");
        }
        for headers in [
            &[("sec-fetch-site", "same-origin"), ("origin", own)][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("origin", own)],
        ] {
            let request = WebRequest::new(method, HOST, "/api/index").with("cookie", &ann.cookies());
            let request = headers.iter().fold(request, |request, (name, value)| request.with(name, value));
            assert_eq!(bench.send(&request).await.user.as_deref(), Some("ann"), "{method} {headers:?}");
        }
    }
    let socket = || WebRequest::new("GET", HOST, "/socket").with("upgrade", "websocket").with("cookie", &ann.cookies());
    for request in [
        socket().with("origin", "https://evil.example"),
        socket().with("origin", "https://evil.example").with("sec-fetch-site", "cross-site"),
        socket().with("origin", own).with("sec-fetch-site", "cross-site"),
        socket().with("sec-fetch-site", "same-origin"),
        socket().with("origin", "null"),
        socket(),
        WebRequest::new("CONNECT", HOST, "/socket")
            .with("cookie", &ann.cookies())
            .with("origin", "https://evil.example"),
    ] {
        assert_eq!(bench.refusal(&request).await, forbidden("cross_site"), "{request:?}");
    }
    assert_eq!(bench.send(&socket().with("origin", own)).await.user.as_deref(), Some("ann"));
    // a token is no cookie: a page of another site cannot send it
    let bearer = format!("Bearer {}", bench.provider.token("bob"));
    let request =
        WebRequest::new("POST", HOST, "/api/index").with("authorization", &bearer).with("cookie", &ann.cookies());
    assert_eq!(bench.send(&request).await.user.as_deref(), Some("bob"), "a token goes before the cookie");
    let read = WebRequest::new("GET", HOST, "/app").with("sec-fetch-site", "cross-site").with("cookie", &ann.cookies());
    assert_eq!(bench.send(&read).await.user.as_deref(), Some("ann"), "a link from elsewhere is followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_navigation_is_redirected_and_no_post_is_lost() {
    let bench = Bench::start().await;
    let dead = bench.logged_in("ann").await;
    let gone = dead.cookies();
    assert!(dead.ask(&bench.checker, "POST", "/.elastauth/logout").await.status < 400);
    let html = "text/html,application/xhtml+xml";
    for cookie in [None, Some(&*gone)] {
        let request = |method: &str, path: &str, headers: &[(&str, &str)]| {
            let request = WebRequest::new(method, HOST, path);
            let request = cookie.iter().fold(request, |request, cookie| request.with("cookie", cookie));
            headers.iter().fold(request, |request, (name, value)| request.with(name, value))
        };
        for (method, headers) in [
            ("GET", &[("sec-fetch-mode", "cors"), ("accept", html)][..]),
            ("GET", &[("sec-fetch-mode", "no-cors"), ("accept", html)]),
            ("GET", &[("sec-fetch-mode", "nested-navigate"), ("accept", html)]),
            ("GET", &[("sec-fetch-mode", "websocket")]),
            ("GET", &[("sec-fetch-mode", "navigate"), ("x-requested-with", "XMLHttpRequest")]),
            ("GET", &[("sec-fetch-mode", "navigate"), ("kbn-xsrf", "true")]),
            ("GET", &[("sec-fetch-mode", "navigate"), ("osd-xsrf", "osd")]),
            ("GET", &[("sec-fetch-mode", "navigate"), ("upgrade", "websocket")]),
            ("GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "navigate")]),
            ("GET", &[("accept", "application/json")]),
            ("GET", &[("accept", "*/*")]),
            ("GET", &[]),
            ("POST", &[("sec-fetch-mode", "navigate"), ("accept", html)]),
            ("POST", &[("accept", html)]),
            ("PUT", &[("accept", html)]),
            ("DELETE", &[("sec-fetch-mode", "navigate"), ("accept", html)]),
            ("OPTIONS", &[("accept", html)]),
            ("get", &[("sec-fetch-mode", "navigate"), ("accept", html)]),
        ] {
            let (reply, reason) = bench.refused(&request(method, "/api/saved_objects?x=1", headers)).await;
            // what another site may have made the browser send is refused as such where there is a cookie
            let expected =
                if cookie.is_none() { &["credentials_missing"][..] } else { &["session_ended", "cross_site"] };
            assert!(expected.contains(&&*reason), "{method} {headers:?}: {reason}");
            assert_eq!(reply.location(), "", "{method} {headers:?}");
            if reason != "cross_site" {
                assert_eq!(reply.status, 401, "{method} {headers:?}");
                assert!(!reply.header("www-authenticate").is_empty(), "{method} {headers:?}: {reply:?}");
            }
            let body: Value = serde_json::from_str(&reply.body).unwrap();
            assert_eq!(body["error"], reason, "{method} {headers:?}");
            // nor does the address of the login redirect a script
            let (reply, _reason) = bench.refused(&request(method, "/.elastauth/login", headers)).await;
            assert!(
                [401, 404].contains(&reply.status) && reply.location().is_empty(),
                "{method} {headers:?}: {reply:?}"
            );
        }
        for (method, headers) in [
            ("GET", &[("sec-fetch-mode", "navigate")][..]),
            ("HEAD", &[("sec-fetch-mode", "navigate")]),
            ("GET", &[("accept", html)]),
        ] {
            let reply = bench.send(&request(method, "/api/saved_objects?x=1", headers)).await;
            assert_eq!((reply.status, reply.header("cache-control")), (302, "no-store"), "{method} {headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_logins_in_a_row_are_a_loop_and_end_on_a_page() {
    let bench = Bench::start().await;
    let browser = Browser::new(HOST, "ann");
    for _ in 0..3 {
        assert_eq!(browser.log_in(&bench.checker, "/app").await.reply.status, 303);
        // as where something between takes the cookie away
        browser.forget(SESSION);
    }
    let request = browser.own(WebRequest::navigation(HOST, "/app"));
    let (reply, reason) = bench.refused(&request).await;
    assert_eq!((reply.status, &*reason), (429, "login_loop"));
    page(&reply);
    let other = Browser::new(HOST, "ann");
    assert_eq!(other.log_in(&bench.checker, "/app").await.reply.status, 303, "another browser is not concerned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_clock_is_wrong_is_borne_with_as_far_as_its_tokens_can_be_checked() {
    let bench = Bench::start().await;
    for (number, (clock, lifetime, refused)) in [
        (50, 300, None),
        (-50, 300, None),
        // it issues tokens in the future
        (180, 300, Some("token_issued_in_future")),
        // slow by less than the life of its ID tokens, though by more than that of its logout tokens, and by more than both
        (-240, 300, None),
        (-240, 60, Some("token_expired")),
        (-3600, 300, Some("token_expired")),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("user-{number}");
        bench.provider.script(|script| (script.clock, script.lifetime) = (clock, lifetime));
        let browser = Browser::new(HOST, &user);
        let redirect = browser.navigate(&bench.checker, "/").await;
        let callback = browser.at_provider(&redirect).await;
        if let Some(reason) = refused {
            let refusal = bench.refusal(&returning(&browser, &callback)).await;
            assert_eq!(refusal, (401, reason.to_owned()), "{clock} s");
            continue;
        }
        let before = bench.provider.refreshes();
        assert_eq!(browser.back(&bench.checker, &callback).await.status, 303, "{clock} s");
        bench.is_in(&browser, &format!("{clock} s")).await;
        assert_eq!(bench.provider.refreshes(), before, "{clock} s: the tokens live as long as they say, from now on");
        // the logout token is by the same wrong clock
        let mut claims = bench.provider.logout_claims();
        claims["sub"] = format!("id-of-{user}").into();
        let token = bench.provider.sign_logout(&claims);
        let logout = WebRequest::new("POST", HOST, "/.elastauth/backchannel-logout");
        let reply = bench.send(&logout.form(&format!("logout_token={token}"))).await;
        if clock < -120 {
            assert_eq!(reply.status, 400, "{clock} s: the logout token has expired");
            continue;
        }
        assert_eq!(reply.status, 200, "{clock} s");
        bench.is_out(&browser, &format!("{clock} s")).await;
    }
}
