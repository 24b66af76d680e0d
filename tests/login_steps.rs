//! The steps of a login that succeed: what clients are told, where browsers go, and how each step is counted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::fixture::serve;
use elastauth_support::proxy::Mode;
use elastauth_support::scripted_provider::ScriptedProvider;
use elastauth_support::servers::Elastauth;
use elastauth_support::web::{Browser, SESSION, WebReply, WebRequest, parameter};
use serde_json::Value;

const HOST: &str = "kibana.example.org";

struct Bench {
    provider: ScriptedProvider,
    elastauth: Elastauth,
    checker: Checker,
    _elasticsearch: Elasticsearch,
}

impl Bench {
    /// `more`: indented lines of the section `login`.
    async fn start(more: &str) -> Self {
        let (provider, elasticsearch) = (ScriptedProvider::start().await, Elasticsearch::start().await);
        let yaml = provider.config(&elasticsearch.url, "  type: memory", &format!("[{HOST}]"), more);
        let (elastauth, checker) = serve(elastauth!(), &format!("{yaml}enable_metrics: true\n")).await;
        Self { provider, elastauth, checker, _elasticsearch: elasticsearch }
    }

    async fn logged_in(&self) -> Browser {
        let browser = Browser::new(HOST, "ann");
        assert_eq!(browser.log_in(&self.checker, "/").await.reply.status, 303);
        browser
    }

    async fn send(&self, request: &WebRequest) -> WebReply {
        WebReply::read(&self.checker.check(request.encode()).await.unwrap())
    }

    /// How often this was counted among the decisions.
    async fn counted(&self, reason: &str, status: u16) -> u64 {
        let page = elastauth_support::http().get(format!("{}/metrics", self.elastauth.http)).send().await.unwrap();
        let series = format!("elastauth_decisions_total{{reason=\"{reason}\",status=\"{status}\"}} ");
        let page = page.text().await.unwrap();
        page.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_told_whose_session_it_has_and_with_which_roles() {
    let bench = Bench::start("").await;
    let ann = bench.logged_in().await;
    let reply = ann.ask(&bench.checker, "GET", "/.elastauth/session").await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"), "{reply:?}");
    let told: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!((&told["user"], &told["email"]), (&"ann".into(), &"ann@example.com".into()), "{told}");
    assert_eq!(told["issuer"], *bench.provider.url, "{told}");
    let roles: Vec<_> = told["roles"].as_array().unwrap().iter().map(|role| role.as_str().unwrap()).collect();
    assert_eq!(roles, ["kibana_admin", "monitoring_user"], "{told}");
    assert!(told["ends"].as_str().unwrap().ends_with('Z'), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_leads_to_the_provider_and_only_a_browser_gets_the_hint_for_it() {
    let after = "https://www.example.org/bye";
    for (more, expected) in [
        ("", format!("https://{HOST}/.elastauth/logged-out")),
        (&*format!("  after_logout: {after}\n"), after.to_owned()),
    ] {
        let bench = Bench::start(more).await;
        let click = |browser: &Browser| {
            let request = WebRequest::navigation(HOST, "/.elastauth/logout").but("sec-fetch-site", "same-origin");
            browser.own(request)
        };
        let ann = bench.logged_in().await;
        let reply = bench.send(&click(&ann)).await;
        assert_eq!(reply.status, 303, "{reply:?}");
        let to = reply.location();
        assert!(to.starts_with(&format!("{}/end?", bench.provider.url)), "{to}");
        assert_eq!(parameter(to, "post_logout_redirect_uri").as_deref(), Some(&*expected));
        assert_eq!(parameter(to, "client_id").as_deref(), Some("elastauth"));
        assert_eq!(parameter(to, "id_token_hint").unwrap().split('.').count(), 3, "the ID token");
        let ended =
            |reply: &WebReply| reply.all("set-cookie").iter().any(|set| set.starts_with(&format!("{SESSION}=;")));
        assert!(ended(&reply), "{reply:?}");

        let bob = bench.logged_in().await;
        let script = bob.own(WebRequest::script("POST", HOST, "/.elastauth/logout"));
        let reply = bench.send(&script).await;
        assert!(reply.status == 200 && ended(&reply), "{reply:?}");
        assert!(
            !reply.body.contains("id_token_hint") && !reply.body.contains("eyJ"),
            "a script gets no token: {reply:?}"
        );
        assert_eq!((bench.counted("logged_out", 303).await, bench.counted("logged_in", 303).await), (1, 2));
        assert_eq!(bench.counted("login_started", 302).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_does_not_answer_is_a_page_with_503_and_costs_no_attempt() {
    let bench = Bench::start("").await;
    let ann = Browser::new(HOST, "ann");
    let redirect = ann.navigate(&bench.checker, "/app/discover").await;
    let callback = ann.at_provider(&redirect).await;
    bench.provider.network(Mode::Refuse);
    let reply = bench.send(&ann.own(Browser::returning(HOST, &callback))).await;
    assert_eq!((reply.status, reply.header("retry-after").is_empty()), (503, false), "{reply:?}");
    assert!(reply.header("content-type").starts_with("text/html") && reply.body.contains("provider_unavailable"));
    assert_eq!(bench.counted("provider_unavailable", 503).await, 1);
    bench.provider.network(Mode::Pass);
    assert_eq!(ann.back(&bench.checker, &callback).await.status, 303, "the code was not spent");
}
