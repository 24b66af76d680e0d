//! The whole process: the administrator's account, the load that elastauth puts on Elasticsearch, and what it leaves alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{ADMIN, Elasticsearch, Faults};
use elastauth_support::faults::{Ending, Fate};
use elastauth_support::fixture::{serve, with_elasticsearch};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{run_beside, until};
use elastauth_support::puts;
use elastauth_support::servers::{Elastauth, config};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use futures_util::future::join_all;
use prost::Message as _;
use serde_json::Value;

struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    yaml: String,
}

impl Bench {
    async fn new(settings: &str) -> Self {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory");
        let yaml = with_elasticsearch(&yaml, settings);
        Self { issuer, elasticsearch, yaml }
    }

    async fn serve(&self) -> (Elastauth, Checker) {
        serve(elastauth!(), &self.yaml).await
    }

    async fn check_online(&self) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yml");
        std::fs::write(&file, &self.yaml).unwrap();
        let mut command = Command::new(elastauth!());
        command.env_clear().arg("--config").arg(&file).args(["check", "--online"]);
        run_beside(command, "").await
    }
}

async fn ready(elastauth: &Elastauth) -> (u16, Value) {
    let answer = elastauth_support::http().get(format!("{}/ready", elastauth.http)).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Requirement 38: the account is checked at start, and readiness shows the result.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_write_users_is_told_of_at_start_and_degrades_readiness() {
    let put = "cluster:admin/xpack/security/user/put";
    let bench = Bench::new("").await;
    let (well, _) = bench.serve().await;
    until("a check of the account", || async { ready(&well).await.1["elasticsearch"] == "ok" }).await;
    assert_eq!(ready(&well).await.0, 200);
    let asked = bench.elasticsearch.requests();
    for _ in 0..20 {
        ready(&well).await;
    }
    assert_eq!(bench.elasticsearch.requests(), asked, "probes cost Elasticsearch nothing");
    bench.elasticsearch.administrator(|account| account.lacks.push(put.into()));
    let (elastauth, checker) = bench.serve().await;
    until("a check of the account", || async {
        ready(&elastauth).await.1["elasticsearch"].as_str().is_some_and(|why| why.contains(put))
    })
    .await;
    let (status, body) = ready(&elastauth).await;
    assert_eq!((status, body["status"].as_str()), (200, Some("degraded")), "cached users are served");
    elastauth.process.wait_for_line(0, &["warn", put]);
    // requirement 28: an outage with an alert, never a refusal of the user
    assert_eq!(checker.ask(&bench.issuer.token("ann", &["admins"])).await, Answer::Denied(503));
    elastauth.process.wait_for_line(0, &["error", "administrator's account does not work"]);
}

/// Requirements 38 and 10: the command `check --online` checks the account and the mapped roles.
#[tokio::test(flavor = "multi_thread")]
async fn check_online_examines_the_account_and_names_roles_that_do_not_exist() {
    let bench = Bench::new("").await;
    let output = bench.check_online().await;
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("Mapped roles"));
    bench.elasticsearch.forget_role("dev");
    let output = bench.check_online().await;
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && warnings.contains("Mapped roles") && warnings.contains(": dev"), "{warnings}");
    let (elastauth, _) = bench.serve().await;
    elastauth.process.wait_for_line(0, &["warn", "Mapped roles", "\"dev\""]);
    bench.elasticsearch.administrator(|account| account.password = "another".into());
    let output = bench.check_online().await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("401"), "{error}");
    assert!(!error.contains(ADMIN.1), "secrets are never shown");
}

/// How many may write or wait for it with `max_writes: 2`, before a write was measured.
const QUEUE: usize = 25;

/// Requirement 29: writes at the same time are limited.
#[tokio::test(flavor = "multi_thread")]
async fn under_load_few_write_at_once_and_those_beyond_the_queue_are_told_to_come_back() {
    let bench = Bench::new("  max_writes: 2\n").await;
    let (elastauth, checker) = bench.serve().await;
    // no write ends as long as the requests wait, so that the size of the queue does not depend on how fast this machine is
    let lost = || Fate { delay: Duration::ZERO, ending: Ending::Lost };
    bench.elasticsearch.fail(Faults { fates: Some(Arc::new(lost)), ..Faults::default() });
    let all: Vec<_> = (0..80)
        .map(|i| {
            let (checker, token) = (checker.clone(), bench.issuer.token(&format!("user{i}"), &["admins"]));
            tokio::spawn(async move { checker.ask(&token).await })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), Answer::Denied(503));
    }
    assert_eq!(bench.elasticsearch.puts().len(), 2, "writes at once");
    let busy = |line: &String| line.contains("provisioning_busy") && line.contains("the turn comes in");
    let told = elastauth.process.lines().iter().filter(|line| busy(line)).count();
    // two at a time, 100 ms each, within half of the 2.5 s that a write may wait for its turn
    assert!((80 - QUEUE - 5..=80 - QUEUE).contains(&told), "{told} of 80 were told to come back");

    bench.elasticsearch.fail(Faults { delay: Duration::from_millis(100), ..Faults::default() });
    let all = (0..20).map(|i| {
        let token = bench.issuer.token(&format!("user{i}"), &["admins"]);
        async { matches!(checker.ask_patiently(&{ token }).await, Answer::Allowed { .. }) }
    });
    assert!(join_all(all).await.into_iter().all(|allowed| allowed), "those that come back are served");
    let peak = puts::peak(&bench.elasticsearch.puts());
    assert!(peak <= 2, "{peak} writes at once");
}

/// With `elasticsearch.dry_run` requests are decided on and logged, but no user is written and new users are denied.
#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_writes_nothing_and_denies_with_its_reason() {
    let bench = Bench::new("  dry_run: true\n").await;
    let (elastauth, checker) = bench.serve().await;
    assert_eq!(checker.ask(&bench.issuer.token("ann", &["admins"])).await, Answer::Denied(403));
    elastauth.process.wait_for_line(0, &["Dry run", "ann", "kibana_admin"]);
    elastauth.process.wait_for_line(0, &["Request denied", "\"reason\":\"dry_run\""]);
    assert!(bench.elasticsearch.user("ann").is_none() && bench.elasticsearch.puts().is_empty());
}

/// Requirement 28: users' logins fail with 401 while the index that holds them cannot be read.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_security_index_is_unavailable_rotates_nothing() {
    let bench = Bench::new("  settling: 50ms\n").await;
    let (_elastauth, checker) = bench.serve().await;
    let token = bench.issuer.token("ann", &["admins"]);
    let made = checker.ask(&token).await;
    let asked = bench.elasticsearch.requests();
    bench.elasticsearch.fail(Faults { security_index_down: true, ..Faults::default() });
    until("a confirmation that meets a 401", || async {
        assert_eq!(checker.ask(&token).await, made, "the record stays in use");
        bench.elasticsearch.logins("ann") > 0
    })
    .await;
    until("the administrator's look, which fails too", || async { bench.elasticsearch.requests() >= asked + 2 }).await;
    for _ in 0..20 {
        assert_eq!(checker.ask(&token).await, made);
    }
    assert_eq!(bench.elasticsearch.puts().len(), 1);
    bench.elasticsearch.fail(Faults::default());
    assert_eq!(checker.ask(&token).await, made);
    assert_eq!(bench.elasticsearch.user("ann").unwrap().password, made.password().unwrap());
}

/// Requirement 42: calls carry the id and the trace of the request that caused them.
#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_learns_on_whose_behalf_it_is_asked() {
    let bench = Bench::new("").await;
    let (_elastauth, checker) = bench.serve().await;
    bench.elasticsearch.record();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let bearer = format!("Bearer {}", bench.issuer.token("ann", &["admins"]));
    let headers = [("authorization", bearer.as_str()), ("x-request-id", "request-7"), ("traceparent", trace)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let request = Some(Request { time: None, http: Some(HttpRequest { headers, ..HttpRequest::default() }) });
    let attributes = Some(AttributeContext { request, ..AttributeContext::default() });
    checker.check(CheckRequest { attributes }.encode_to_vec()).await.unwrap();
    let exchanges = bench.elasticsearch.exchanges();
    let users: Vec<_> = exchanges.iter().filter(|exchange| exchange.uri.path() == "/_security/user/ann").collect();
    let methods: Vec<_> = users.iter().map(|exchange| exchange.method.as_str()).collect();
    assert_eq!(methods, ["GET", "PUT"], "requirement 30: nothing else is asked for a new user");
    for exchange in users {
        let header = |name: &str| exchange.headers[name].to_str().unwrap().to_owned();
        assert_eq!((header("x-opaque-id"), header("traceparent")), ("request-7".into(), trace.into()));
    }
}

/// Requirements 33 and 16: an API key, and media types that a strict server insists on.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_and_vendored_media_types_work_where_a_server_wants_them() {
    for (settings, works) in
        [("  compatible_with: 9\n", true), ("  compatible_with: 8\n", true), ("  compatible_with: 7\n", false)]
    {
        let mut bench = Bench::new(settings).await;
        let basic = format!("  username: {}\n  password: {}\n", ADMIN.0, ADMIN.1);
        assert!(bench.yaml.contains(&basic));
        bench.yaml = bench.yaml.replace(&basic, "  api_key: \"provisioner-id:provisioner-key\"\n");
        let (_elastauth, checker) = bench.serve().await;
        let answer = checker.ask(&bench.issuer.token("ann", &["admins"])).await;
        assert_eq!(matches!(answer, Answer::Allowed { .. }), works, "{settings}: {answer:?}");
    }
}
