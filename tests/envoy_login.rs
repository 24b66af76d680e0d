//! Envoy's own login for browsers, as `envoy/login.yaml` sets it up: a real browser logs in at a real provider.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use elastauth_support::browser::OidcClient;
use elastauth_support::certificates::Authority;
use elastauth_support::chromium::Chromium;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::envoy::{Envoy, exchange, with_certificate};
use elastauth_support::kibana::Kibana;
use elastauth_support::process::free_port;
use elastauth_support::providers::{BrowserClient, CLIENT_SECRET, OidcProvider};
use elastauth_support::servers::{Elastauth, config, root};
use serde_json::Value;

const HOST: &str = "kibana.example.org";

/// The file, with a browser before it and Kibana behind it.
struct Bench {
    /// As the browser writes it.
    origin: String,
    browser: Chromium,
    authority: Authority,
    elasticsearch: Elasticsearch,
    kibana: Kibana,
    _envoy: Envoy,
    _elastauth: Elastauth,
}

fn origin(port: u16) -> String {
    format!("https://{HOST}:{port}")
}

/// The client that the provider has to know for an Envoy at this port.
fn client(port: u16) -> BrowserClient {
    BrowserClient::of(&origin(port), "/oauth2/callback", "/")
}

/// What the page says about `oidc.strip_cookies`.
fn documented_cookies() -> String {
    let page = std::fs::read_to_string(root().join("docs/login.md")).unwrap();
    page.lines().find_map(|line| line.trim().strip_prefix("strip_cookies: ")).unwrap().to_owned()
}

impl Bench {
    async fn start(port: u16, provider: &OidcClient) -> Option<Self> {
        let browser = Chromium::start().await?;
        let elasticsearch = Elasticsearch::start().await;
        let kibana = Kibana::start(&elasticsearch.url, "/logout").await;
        let yaml = config(&provider.issuer, &elasticsearch.url, "  type: memory");
        let yaml = exchange(yaml, "  client_id:", &format!("  strip_cookies: {}\n  client_id:", documented_cookies()));
        let elastauth = Elastauth::start(elastauth!(), &yaml);
        let authority = Authority::new("ours");
        let pair = authority.sign(&[HOST]);
        let well_known = format!("{}/.well-known/openid-configuration", provider.issuer);
        let known: Value = elastauth_support::http().get(well_known).send().await.unwrap().json().await.unwrap();
        let endpoint = |name: &str| known[name].as_str().unwrap();
        let at = provider.issuer.split('/').nth(2).unwrap().rsplit_once(':').unwrap().1;
        let edit = |mut text: String| {
            for (from, to) in [
                ("kibana.example.org:10000", format!("{HOST}:{port}")),
                ("CHANGE-ME-at-the-provider", CLIENT_SECRET.to_owned()),
                ("CHANGE-ME-elastauth-generate-key", "fedcba9876543210".repeat(4)),
                ("https://auth.example.org/authorize", endpoint("authorization_endpoint").to_owned()),
                ("https://auth.example.org/token", endpoint("token_endpoint").to_owned()),
                ("https://auth.example.org/logout", endpoint("end_session_endpoint").to_owned()),
                ("address: auth.example.org, port_value: 443", format!("address: 127.0.0.1, port_value: {at}")),
            ] {
                text = exchange(text, from, &to);
            }
            with_certificate(text, &pair)
        };
        let envoy = Envoy::start_at(port, "login.yaml", &[&elastauth.grpc], &kibana.address, edit).await?;
        let origin = origin(port);
        Some(Self { origin, browser, authority, elasticsearch, kibana, _envoy: envoy, _elastauth: elastauth })
    }

    /// Opens a path in a browser that is not logged in, and logs in.
    async fn log_in(&self, path: &str, user: &str, password: &str) {
        self.browser.open(&format!("{}{path}", self.origin)).await;
        assert!(self.browser.url().await.starts_with("http://127.0.0.1:"), "the provider's page is shown");
        self.browser.log_in(user, password).await;
    }

    /// Asserts that this tab shows the page of this path to this person.
    async fn shows(&self, path: &str, user: &str) {
        self.browser.wait_for(&format!("You are {user}")).await;
        assert_eq!(self.browser.url().await, format!("{}{path}", self.origin));
        assert!(self.browser.text().await.contains(&format!("You opened {path}")));
    }

    /// A request of a program with this token, or without any; returns the status and the challenge.
    async fn ask(&self, token: Option<&str>) -> (u16, Option<String>) {
        let http = elastauth_support::https(&self.authority, HOST);
        let mut request = http.get(format!("{}/api/who", self.origin));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), challenge)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_logs_in_by_envoys_filter_at_the_certified_provider() {
    let port = free_port();
    let Some(provider) = OidcProvider::for_browsers(&client(port)) else { return };
    let Some(bench) = Bench::start(port, &provider.client).await else { return };
    let browser = &bench.browser;
    let deep = "/app/discover?columns=name,mail&filter=a%2Fb";
    bench.log_in(deep, "ann", "any").await;
    bench.shows(deep, "ann").await;
    assert!(browser.text().await.contains("kibana_admin"), "the groups of the token count");
    browser.screenshot("envoy-login").await;

    // scripts of the page are answered, a POST too
    for request in ["'/api/who'", "'/api/who', { method: 'POST', body: '{}', headers: { 'kbn-xsrf': '1' } }"] {
        let answer = browser.fetch(request).await;
        assert!(answer.status == 200 && answer.body.contains("\"ann\""), "{request}: {answer:?}");
    }
    // no script sees a token, and other sites cannot use the cookies
    let cookies = browser.cookies().await;
    assert!(cookies.iter().any(|cookie| cookie["name"] == "BearerToken"), "{cookies:?}");
    for cookie in &cookies {
        assert_eq!([&cookie["httpOnly"], &cookie["secure"]], [true, true], "{cookie}");
        assert_eq!(cookie["sameSite"], "Lax", "{cookie}");
    }
    // no token goes on to Kibana, and its own cookies do
    browser.run("document.cookie = 'of-kibana=1; path=/'").await;
    browser.fetch("'/api/with-a-cookie'").await;
    assert_eq!(bench.kibana.arrived().last().unwrap().headers["cookie"], "of-kibana=1");
    for arrived in bench.kibana.arrived() {
        let cookies = arrived.headers.get("cookie").map_or("", |value| value.to_str().unwrap());
        assert!(["", "of-kibana=1"].contains(&cookies), "{arrived:?}");
        let credentials: Vec<_> = arrived.headers.get_all("authorization").iter().collect();
        assert!(credentials.len() == 1 && credentials[0].to_str().unwrap().starts_with("Basic "), "{arrived:?}");
    }

    // a program is served by its token, and only by that
    let token = provider.client.log_in("bob", "any").await.access;
    assert_eq!(bench.ask(Some(&token)).await, (200, None));
    let (status, challenge) = bench.ask(Some("not-a-token")).await;
    assert!(status == 401 && challenge.unwrap().starts_with("Bearer "));
    assert_eq!(bench.ask(None).await.0, 401, "and without one it is not sent to a page");

    // a challenge of Elasticsearch's reaches programs; a browser would ask for a name and a password
    for user in ["ann", "bob"] {
        bench.elasticsearch.delete(user);
    }
    let challenged =
        "const answer = await fetch('/api/who'); return [answer.status, answer.headers.get('www-authenticate')];";
    assert_eq!(browser.run(challenged).await, serde_json::json!([401, null]));
    assert!(bench.ask(Some(&token)).await.1.unwrap().starts_with("Basic "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_by_envoys_filter_ends_the_session_in_every_tab_and_at_the_provider() {
    let port = free_port();
    let Some(provider) = OidcProvider::for_browsers(&client(port)) else { return };
    let Some(bench) = Bench::start(port, &provider.client).await else { return };
    let browser = &bench.browser;
    bench.log_in("/one", "ann", "any").await;
    bench.shows("/one", "ann").await;
    let one = browser.tab().await;
    let two = browser.new_tab().await;
    browser.open(&format!("{}/two", bench.origin)).await;
    bench.shows("/two", "ann").await;

    browser.click("#logout").await;
    browser.wait_for("sign-out").await;
    browser.click("[name=logout][value=yes]").await;
    // the site's first page leads to a login
    browser.wait_at(&format!("{}/interaction/", provider.client.issuer)).await;
    browser.wait_for("Sign-in").await;

    // the other tab: scripts get 401 and no redirect, and a POST is not lost in one
    browser.switch(&one).await;
    for request in
        ["'/api/who'", "'/api/who', { method: 'POST', body: '{}' }", "'/api/who', { headers: { accept: 'text/html' } }"]
    {
        let answer = browser.fetch(request).await;
        assert_eq!((answer.status, answer.url), (401, format!("{}/api/who", bench.origin)), "{request}");
    }
    // reloaded, it leads to the login, and back to where it was
    browser.reload().await;
    browser.log_in("bob", "any").await;
    bench.shows("/one", "bob").await;
    browser.switch(&two).await;
    browser.open(&format!("{}/two", bench.origin)).await;
    bench.shows("/two", "bob").await;
}
