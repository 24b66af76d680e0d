//! elastauth's own login, as people see it: a real browser before a real Envoy with TLS, and real providers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use elastauth_support::certificates::Authority;
use elastauth_support::chromium::Chromium;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::envoy::{Envoy, exchange, with_tls};
use elastauth_support::issuer::Issuer;
use elastauth_support::kibana::Kibana;
use elastauth_support::process::{free_port, until};
use elastauth_support::providers::{BrowserClient, CLIENT_SECRET, Keycloak, OidcProvider, PASSWORD};
use elastauth_support::secrets;
use elastauth_support::servers::{Elastauth, Redis, config, redis_cache, root};
use serde_json::{Value, json};

const HOST: &str = "kibana.example.org";
const SESSION: &str = "__Host-elastauth";

/// Two replicas that share a Redis, with a browser before them and Kibana behind them.
struct Bench {
    /// As the browser writes it.
    origin: String,
    browser: Chromium,
    kibana: Kibana,
    redis: Redis,
    replicas: [Elastauth; 2],
    authority: Authority,
    _elasticsearch: Elasticsearch,
    _envoy: Envoy,
}

fn origin(port: u16) -> String {
    format!("https://{HOST}:{port}")
}

/// The client that the provider has to know for an Envoy at this port.
fn client(port: u16) -> BrowserClient {
    BrowserClient::of(&origin(port), "/.elastauth/callback", "/.elastauth/logged-out")
}

impl Bench {
    async fn start(port: u16, issuer: &str) -> Option<Self> {
        let (browser, redis) = (Chromium::start().await?, Redis::start(&[])?);
        let elasticsearch = Elasticsearch::start().await;
        let kibana = Kibana::start(&elasticsearch.url, "/.elastauth/logout").await;
        let yaml = config(issuer, &elasticsearch.url, &redis_cache(&redis.address));
        let yaml = exchange(yaml, "  client_id:", &format!("  client_secret: {CLIENT_SECRET}\n  client_id:"));
        let yaml = format!("{yaml}login:\n  enabled: true\n  hosts: [\"{HOST}:{port}\"]\n");
        let replicas = [(); 2].map(|()| Elastauth::start(elastauth!(), &yaml));
        let authority = Authority::new("ours");
        let pair = authority.sign(&[HOST]);
        let edit = |text| with_tls(exchange(text, "kibana.example.org:10000", &format!("{HOST}:{port}")), &pair);
        let addresses = [replicas[0].grpc.as_str(), replicas[1].grpc.as_str()];
        let envoy = Envoy::start_at(port, "envoy.yaml", &addresses, &kibana.address, edit).await?;
        let origin = origin(port);
        Some(Self { origin, browser, kibana, redis, replicas, authority, _elasticsearch: elasticsearch, _envoy: envoy })
    }

    async fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.origin)).await;
    }

    /// Opens a path in a browser that is not logged in, and logs in.
    async fn log_in(&self, path: &str, user: &str, password: &str) {
        self.open(path).await;
        assert!(self.browser.url().await.starts_with("http://127.0.0.1:"), "the provider's page is shown");
        self.browser.log_in(user, password).await;
    }

    /// Waits until this tab shows the page of this path to this person.
    async fn shows(&self, path: &str, user: &str) {
        self.browser.wait_for(&format!("You are {user}")).await;
        assert_eq!(self.browser.url().await, format!("{}{path}", self.origin));
        assert!(self.browser.text().await.contains(&format!("You opened {path}")));
    }

    /// The session's cookie.
    async fn session(&self) -> Option<Value> {
        let cookies = self.browser.cookies().await;
        let session = cookies.into_iter().find(|cookie| cookie["name"] == SESSION);
        session.inspect(|cookie| secrets::keep("a session", cookie["value"].as_str().unwrap()))
    }

    /// The status of a request of a script in this tab.
    async fn status(&self, request: &str) -> u16 {
        self.browser.fetch(request).await.status
    }

    /// The status of a request with this session's cookie, as one who stole it would send it.
    async fn with_cookie(&self, session: &Value) -> u16 {
        let cookie = format!("{SESSION}={}", session["value"].as_str().unwrap());
        let request = elastauth_support::https(&self.authority, HOST).get(format!("{}/api/who", self.origin));
        request.header("cookie", cookie).send().await.unwrap().status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_tabs_that_open_at_once_each_come_to_their_own_address() {
    let port = free_port();
    let Some(provider) = OidcProvider::for_browsers(&client(port)) else { return };
    let Some(bench) = Bench::start(port, &provider.client.issuer).await else { return };
    let browser = &bench.browser;
    // the provider knows nobody yet: each tab shows its login
    browser.open("about:blank").await;
    let address = |tab: usize| format!("{}/app/discover?tab={tab}&filter=a%2Fb", bench.origin);
    let addresses: Vec<_> = (0..5).map(address).collect();
    let tabs = browser.open_at_once(&addresses).await;
    assert_eq!(tabs.len(), 5);
    for tab in &tabs {
        browser.switch(tab).await;
        browser.wait_for("Sign-in").await;
    }
    let mut reached = Vec::new();
    for tab in &tabs {
        browser.switch(tab).await;
        browser.log_in("ann", "any").await;
        browser.wait_for("You are ann").await;
        reached.push(browser.url().await);
    }
    let last = reached[4].strip_prefix(&bench.origin).unwrap().to_owned();
    // tabs have no order
    reached.sort();
    assert_eq!(reached, addresses);
    browser.screenshot("login-kibana").await;
    assert!(browser.text().await.contains("kibana_admin"), "the groups of the ID token count");

    let session = bench.session().await.unwrap();
    assert!(SESSION.len() + session["value"].as_str().unwrap().len() <= 80, "{session}");
    for attribute in ["httpOnly", "secure"] {
        assert_eq!(session[attribute], true, "{session}");
    }
    assert_eq!((&session["sameSite"], &session["path"]), (&json!("Lax"), &json!("/")), "{session}");
    assert_eq!(browser.run("return document.cookie").await, "");
    // scripts are answered, a POST too, and no cookie of the login goes on
    for request in ["'/api/who'", "'/api/who', { method: 'POST', body: '{}', headers: { 'kbn-xsrf': '1' } }"] {
        assert_eq!(bench.status(request).await, 200, "{request}");
    }
    for arrived in bench.kibana.arrived() {
        assert!(!arrived.headers.contains_key("cookie"), "{arrived:?}");
    }
    // the way back, and a reload
    bench.open("/app/home").await;
    bench.shows("/app/home", "ann").await;
    browser.back().await;
    bench.shows(&last, "ann").await;
    browser.reload().await;
    bench.shows(&last, "ann").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_without_its_session_is_told_so_and_comes_back_without_typing() {
    let port = free_port();
    let Some(provider) = OidcProvider::for_browsers(&client(port)) else { return };
    let Some(bench) = Bench::start(port, &provider.client.issuer).await else { return };
    let browser = &bench.browser;
    bench.log_in("/app/one?x=1", "bob", "any").await;
    bench.shows("/app/one?x=1", "bob").await;
    let former = bench.session().await.unwrap();

    bench.redis.command(&["FLUSHALL"]);
    let asks = async || browser.fetch("'/api/who', { headers: { accept: 'text/html' } }").await;
    until("the lost session to be refused", async || asks().await.status == 401).await;
    let refused = asks().await;
    assert_eq!(
        (&*refused.url, &*refused.kind),
        (&*format!("{}/api/who", bench.origin), "application/json"),
        "{refused:?}"
    );
    assert_eq!(bench.status("'/api/who', { method: 'POST', body: '{}' }").await, 401, "no POST is lost in a redirect");
    browser.reload().await;
    bench.shows("/app/one?x=1", "bob").await;
    let session = bench.session().await.unwrap();
    assert_ne!(session["value"], former["value"], "each login makes a new session");
    assert_eq!((bench.with_cookie(&session).await, bench.with_cookie(&former).await), (200, 401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_groups_counts_after_the_next_refresh() {
    let port = free_port();
    let short = BrowserClient { life: Duration::from_secs(8), rotates: true, ..client(port) };
    let Some(provider) = OidcProvider::for_browsers(&short) else { return };
    let Some(bench) = Bench::start(port, &provider.client.issuer).await else { return };
    bench.log_in("/app/home", "bob", "any").await;
    bench.shows("/app/home", "bob").await;
    let session = bench.session().await.unwrap();
    let roles = async || {
        let answer = bench.browser.fetch("'/api/who'").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str::<Value>(&answer.body).unwrap()["roles"].clone()
    };
    assert_eq!(roles().await, json!(["dev", "kibana_user"]));
    provider.set_groups("bob", &["admins"]).await;
    until("the new group", async || roles().await == json!(["kibana_admin", "monitoring_user"])).await;
    // and once more, at the provider's next refresh token
    provider.set_groups("bob", &["developers"]).await;
    until("the former group", async || roles().await == json!(["dev", "kibana_user"])).await;
    assert_eq!(bench.session().await.unwrap()["value"], session["value"], "it is the same session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_in_one_tab_ends_the_others_and_no_other_site_can_cause_it() {
    let port = free_port();
    let Some(provider) = OidcProvider::for_browsers(&client(port)) else { return };
    let Some(bench) = Bench::start(port, &provider.client.issuer).await else { return };
    let browser = &bench.browser;
    bench.log_in("/one", "ann", "any").await;
    bench.shows("/one", "ann").await;
    let session = bench.session().await.unwrap();
    let one = browser.tab().await;

    // a page of another site
    let two = browser.new_tab().await;
    browser.open(&format!("http://{}/", bench.kibana.address)).await;
    let logout = format!("{}/.elastauth/logout", bench.origin);
    for request in ["", "method: 'POST', ", "method: 'POST', body: new URLSearchParams('a=b'), "] {
        bench.browser.fetch(&format!("'{logout}', {{ {request}mode: 'no-cors', credentials: 'include' }}")).await;
    }
    browser
        .run(&format!(
            "const image = new Image(); image.src = '{logout}'; await new Promise((done) => image.onload = image.onerror = done);"
        ))
        .await;
    // a form, and a link that a person follows: elastauth asks first
    for way in ["form.method = 'POST';", ""] {
        browser.open(&format!("http://{}/", bench.kibana.address)).await;
        let send = "document.body.append(form); form.submit();";
        browser
            .run(&format!("const form = document.createElement('form'); form.action = '{logout}'; {way} {send}"))
            .await;
        browser.wait_at(&logout).await;
    }
    browser.wait_for("Log out?").await;
    browser.screenshot("login-logout-question").await;
    browser.switch(&one).await;
    assert_eq!(bench.status("'/api/who'").await, 200, "the session goes on");

    // the person itself
    browser.switch(&two).await;
    browser.open(&logout).await;
    browser.wait_for("Log out?").await;
    browser.click("form button").await;
    browser.wait_for("sign-out").await;
    browser.click("[name=logout][value=yes]").await;
    browser.wait_at(&format!("{}/.elastauth/logged-out", bench.origin)).await;
    browser.wait_for("You are logged out").await;
    browser.screenshot("login-logged-out").await;
    assert!(bench.session().await.is_none(), "the cookie has ended");
    browser.switch(&one).await;
    assert_eq!(bench.status("'/api/who'").await, 401);
    assert_eq!(bench.with_cookie(&session).await, 401, "what a thief kept has ended too");
    browser.reload().await;
    browser.wait_for("Sign-in").await;
    browser.log_in("bob", "any").await;
    bench.shows("/one", "bob").await;
    // by the link of a page of the site itself
    browser.click("#logout").await;
    browser.wait_for("sign-out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_a_role_is_told_so_and_can_use_another_account() {
    let port = free_port();
    let Some(provider) = OidcProvider::for_browsers(&client(port)) else { return };
    let Some(bench) = Bench::start(port, &provider.client.issuer).await else { return };
    let browser = &bench.browser;
    provider.set_groups("carol", &[]).await;
    bench.log_in("/app/home", "carol", "any").await;
    browser.wait_for("You have no access").await;
    let text = browser.text().await;
    assert!(text.contains("carol") && text.contains("roles_none"), "{text}");
    browser.screenshot("login-no-role").await;
    let session = bench.session().await.unwrap();
    assert_eq!(bench.with_cookie(&session).await, 403);
    browser.click("form button").await;
    browser.wait_for("sign-out").await;
    browser.click("[name=logout][value=yes]").await;
    browser.wait_for("You are logged out").await;
    browser.click("a").await;
    browser.wait_for("Sign-in").await;
    browser.log_in("bob", "any").await;
    bench.shows("/", "bob").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_at_keycloak_ends_the_session_at_both_replicas_within_a_second() {
    let port = free_port();
    let Some(keycloak) = Keycloak::for_browsers(&client(port)).await else { return };
    let Some(bench) = Bench::start(port, &keycloak.client.issuer).await else { return };
    keycloak.report_logouts_to(&format!("{}/.elastauth/backchannel-logout", bench.replicas[0].http)).await;
    bench.log_in("/app/home", "ann", PASSWORD).await;
    bench.shows("/app/home", "ann").await;
    // both replicas know the session, since Envoy asks them in turn
    let ask = "const all = await Promise.all(Array.from({ length: 20 }, () => fetch('/api/who')));
               return all.map((answer) => answer.status);";
    assert_eq!(bench.browser.run(ask).await, Value::from(vec![200; 20]));

    let session = bench.session().await.unwrap();
    keycloak.log_out("ann").await;
    let told = Instant::now();
    until("the end everywhere", async || {
        // Envoy chooses between the two
        for _ in 0..8 {
            if bench.with_cookie(&session).await != 401 {
                return false;
            }
        }
        true
    })
    .await;
    let took = told.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(bench.browser.run(ask).await, Value::from(vec![401; 20]));
    bench.browser.reload().await;
    bench.browser.wait_for("Sign in to your account").await;
    bench.browser.log_in("bob", PASSWORD).await;
    bench.shows("/app/home", "bob").await;

    // out again by the person itself, at Keycloak too
    bench.browser.click("#logout").await;
    bench.browser.wait_for("You are logged out").await;
    bench.open("/app/home").await;
    bench.browser.wait_for("Sign in to your account").await;
}

/// A block of the page about logins, each line after so many spaces.
fn of_the_page(first_line: &str, spaces: usize) -> String {
    let page = std::fs::read_to_string(root().join("docs/login.md")).unwrap();
    let (_, block) = page.split_once(&format!("```yaml,of=Envoy\n{first_line}\n")).unwrap();
    let lines = block.lines().take_while(|line| *line != "```");
    lines.map(|line| format!("{}{line}\n", " ".repeat(spaces))).collect::<Vec<_>>().concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_provider_reaches_the_back_channel_through_envoy_as_the_page_says() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory");
    let yaml = format!("{yaml}login:\n  enabled: true\n  hosts: [\"{HOST}\"]\n");
    let elastauth = Elastauth::start(elastauth!(), &yaml);
    let http = elastauth.http.rsplit_once(':').unwrap().1;
    let edit = |text: String| {
        let (route, cluster) = (of_the_page("# before the other route", 14), of_the_page("# among the clusters", 2));
        let cluster = exchange(cluster, "port_value: 5000", &format!("port_value: {http}"));
        let text = exchange(
            text,
            "              - match: { prefix: / }\n",
            &format!("{route}              - match: {{ prefix: / }}\n"),
        );
        exchange(text, "  clusters:\n", &format!("  clusters:\n{cluster}"))
    };
    let Some(envoy) = Envoy::start_edited(&[&elastauth.grpc], elasticsearch.address(), edit).await else { return };
    let post = async |path: &str| {
        let request = elastauth_support::http().post(format!("{}{path}", envoy.url));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body("logout_token=a.b.c");
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, body) = post("/.elastauth/backchannel-logout").await;
    assert!(status == 400 && body.contains("logout_token_invalid"), "{status} {body}");
    assert_eq!(post("/_search").await.0, 401, "every other path is checked");
}
