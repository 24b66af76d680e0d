//! `/metrics` of a running process; the dashboard and the alerts name only series that exist.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::servers::{Elastauth, config, root};

struct World {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    elastauth: Elastauth,
    checker: Checker,
}

impl World {
    async fn start(more: &str) -> Self {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory") + more;
        let elastauth = Elastauth::start(elastauth!(), &yaml);
        let checker = Checker::connect(&elastauth.grpc).await;
        Self { issuer, elasticsearch, elastauth, checker }
    }

    async fn get(&self) -> reqwest::Response {
        elastauth_support::http().get(format!("{}/metrics", self.elastauth.http)).send().await.unwrap()
    }

    async fn scrape(&self) -> Scrape {
        let answer = self.get().await;
        assert_eq!(answer.status().as_u16(), 200);
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        let page = answer.text().await.unwrap();
        assert!(page.ends_with("# EOF\n"), "{page}");
        Scrape(page)
    }
}

/// One answer of `/metrics`.
struct Scrape(String);

impl Scrape {
    /// The series with their values.
    fn samples(&self) -> impl Iterator<Item = (&str, f64)> {
        let lines = self.0.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.rsplit_once(' ').unwrap()).map(|(series, value)| (series, value.parse().unwrap()))
    }

    fn value(&self, series: &str) -> Option<f64> {
        self.samples().find(|(name, _)| *name == series).map(|(_, value)| value)
    }

    fn series(&self) -> BTreeSet<&str> {
        self.samples().map(|(series, _)| series).collect()
    }

    fn names(&self) -> BTreeSet<&str> {
        self.series().iter().map(|series| series.split('{').next().unwrap()).collect()
    }

    fn expect(&self, expected: &[(&str, f64)]) {
        for (series, value) in expected {
            let found = self.value(&format!("elastauth_{series}"));
            assert_eq!(found, Some(*value), "{series} in\n{}", self.0);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_miss_a_hit_and_refusals_count_once_each_and_where_they_belong() {
    let world = World::start("enable_metrics: true\n").await;
    world.scrape().await.expect(&[
        (r#"decisions_total{reason="allowed",status="200"}"#, 0.0),
        (r#"decisions_total{reason="token_signature",status="401"}"#, 0.0),
        (r#"decisions_total{reason="username_taken",status="403"}"#, 0.0),
        (r#"decisions_total{reason="cache_unavailable",status="503"}"#, 0.0),
        (r#"decision_duration_seconds_count{way="stale"}"#, 0.0),
        (r#"write_duration_seconds_count{outcome="unknown"}"#, 0.0),
    ]);
    let token = world.issuer.token("ann", &["admins"]);
    for _ in 0..3 {
        assert!(matches!(world.checker.ask(&token).await, Answer::Allowed { .. }));
    }
    let forged = world.issuer.forge(&world.issuer.claims("ann", &["admins"], 0));
    assert_eq!(world.checker.ask(&forged).await, Answer::Denied(401));
    assert_eq!(world.checker.ask(&world.issuer.token("bob", &["nobodies"])).await, Answer::Denied(403));
    assert!(world.checker.check(vec![0xff]).await.is_err());
    let scrape = world.scrape().await;
    scrape.expect(&[
        (r#"decisions_total{reason="allowed",status="200"}"#, 3.0),
        (r#"decisions_total{reason="token_signature",status="401"}"#, 1.0),
        (r#"decisions_total{reason="roles_none",status="403"}"#, 1.0),
        (r#"decisions_total{reason="message_undecodable",status="none"}"#, 1.0),
        (r#"decision_duration_seconds_count{way="provisioned"}"#, 1.0),
        // the first read from the store puts a record into the near cache
        (r#"decision_duration_seconds_count{way="store"}"#, 1.0),
        (r#"decision_duration_seconds_count{way="near"}"#, 1.0),
        (r#"decision_duration_seconds_bucket{le="+Inf",way="near"}"#, 1.0),
        (r#"decision_duration_seconds_count{way="denied"}"#, 2.0),
        (r#"write_duration_seconds_count{outcome="acknowledged"}"#, 1.0),
        ("in_flight", 0.0),
        ("cache_breaker_open", 0.0),
        (&format!(r#"build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION")), 1.0),
    ]);
    let age = scrape.value(&format!(r#"elastauth_keys_age_seconds{{issuer="{}"}}"#, world.issuer.url)).unwrap();
    assert!((0.0..60.0).contains(&age), "{age}");
    let took = scrape.value(r#"elastauth_decision_duration_seconds_sum{way="provisioned"}"#).unwrap();
    assert!(took > 0.0, "a write takes time");
    assert_eq!(world.elasticsearch.history().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_can_add_a_series() {
    let world = World::start("enable_metrics: true\n").await;
    // after the first request the series for the age of the key set exists
    world.checker.ask(&world.issuer.token("ann", &["admins"])).await;
    let before = world.scrape().await;
    for n in 0..40 {
        let group = if n % 2 == 0 { "developers" } else { "nobodies" };
        world.checker.ask(&world.issuer.token(&format!("user-{n}"), &[group])).await;
        world.checker.ask(&format!("no-token-{n}")).await;
        let mut strange = world.issuer.claims(&format!("user-{n}"), &["admins"], 0);
        strange["iss"] = format!("https://issuer-{n}.example.com").into();
        world.checker.ask(&world.issuer.sign(&strange)).await;
    }
    let after = world.scrape().await;
    assert_eq!(before.series(), after.series());
    assert_eq!(after.value(r#"elastauth_decisions_total{reason="token_issuer",status="401"}"#), Some(40.0));
    assert_eq!(after.value(r#"elastauth_decisions_total{reason="other",status="none"}"#), Some(0.0));
    assert!(!after.0.contains("user-"), "{}", after.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_enable_metrics_there_is_nothing() {
    let world = World::start("").await;
    assert_eq!(world.get().await.status().as_u16(), 404);
}

/// The names that follow a mark in a text, each up to a character that cannot be part of a name.
fn named<'a>(text: &'a str, mark: &str) -> BTreeSet<&'a str> {
    let part = |rest: &'a str| rest.split(|c: char| !(c.is_ascii_lowercase() || c == '_' || c == '|')).next().unwrap();
    text.match_indices(mark).map(|(at, mark)| part(&text[at + mark.len()..])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dashboard_and_alerts_name_only_series_that_exist() {
    let world = World::start("enable_metrics: true\n").await;
    world.checker.ask(&world.issuer.token("ann", &["admins"])).await;
    let scrape = world.scrape().await;
    let folder = root().join("envoy/observability");
    let dashboard = fs::read_to_string(folder.join("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut queries: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    assert!(queries.len() >= 8, "{queries:?}");
    queries.push(fs::read_to_string(folder.join("alerts.yaml")).unwrap());
    let mut used = BTreeSet::new();
    for query in &queries {
        let metrics = named(query, "elastauth_");
        assert!(!metrics.is_empty(), "{query}");
        for name in metrics {
            let name = format!("elastauth_{name}");
            assert!(scrape.names().contains(name.as_str()), "{name} of\n{query}\nis not in\n{}", scrape.0);
            used.insert(name);
        }
        for label in ["reason", "way", "outcome"] {
            for operator in ["=", "=~", "!=", "!~"] {
                for values in named(query, &format!("{label}{operator}\"")) {
                    for value in values.split('|') {
                        let pair = format!("{label}=\"{value}\"");
                        assert!(scrape.0.contains(&pair), "{pair} of\n{query}\nis not in a scrape");
                    }
                }
            }
        }
    }
    let unused: Vec<_> =
        scrape.names().into_iter().filter(|name| !name.ends_with("_sum") && !used.contains(*name)).collect();
    assert!(unused.is_empty(), "no dashboard and no alert uses {unused:?}");
}
