//! What not to do with Envoy, done: what `docs/deployment.md` says of it is what happens.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::time::Duration;

use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::envoy::{Envoy, exchange};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{run, said};
use elastauth_support::servers::{Elastauth, config, tool};
use elastauth_support::upstream::Upstream;

/// Credentials that an operator put into a route.
const OF_THE_ROUTE: &str = "Basic b2YtdGhlLXJvdXRl";

struct Bench {
    issuer: Issuer,
    upstream: Upstream,
    elastauth: Elastauth,
    envoy: Envoy,
    elasticsearch: Elasticsearch,
}

impl Bench {
    /// Starts Envoy with the shipped file, in which one text is replaced.
    async fn start(from: &str, to: &str) -> Option<Self> {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let upstream = Upstream::start().await;
        let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory");
        let elastauth = Elastauth::start(elastauth!(), &yaml);
        let edit = |text| exchange(text, from, to);
        let envoy = Envoy::start_edited(&[&elastauth.grpc], &upstream.address, edit).await?;
        Some(Self { issuer, upstream, elastauth, envoy, elasticsearch })
    }

    /// The status that a client receives, with or without a token.
    async fn ask(&self, path: &str, known: bool) -> u16 {
        let mut request = elastauth_support::http().get(format!("{}{path}", self.envoy.url));
        if known {
            request = request.bearer_auth(self.issuer.token("ann", &["admins"]));
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// The values of `Authorization` in each request that came through.
    fn authorizations(&self) -> Vec<String> {
        self.upstream.seen().iter().map(|seen| seen.header("authorization").join(",")).collect()
    }
}

async fn route_adds(action: &str) -> Option<Vec<String>> {
    let route = "- match: { prefix: / }\n";
    let header = format!("{{ header: {{ key: authorization, value: \"{OF_THE_ROUTE}\" }}, append_action: {action} }}");
    let added = format!("{route}                request_headers_to_add: [ {header} ]\n");
    let bench = Bench::start(route, &added).await?;
    assert_eq!(bench.ask("/_search", true).await, 200, "Envoy does not mind");
    Some(bench.authorizations())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_of_the_route_stands_beside_ours_or_in_its_place() {
    let Some(both) = route_adds("APPEND_IF_EXISTS_OR_ADD").await else { return };
    let [both] = both.as_slice() else { panic!("one request: {both:?}") };
    let (ours, theirs) = both.rsplit_once(',').unwrap();
    assert!(ours.starts_with("Basic ") && theirs == OF_THE_ROUTE, "{both}");
    let Some(other) = route_adds("OVERWRITE_IF_EXISTS_OR_ADD").await else { return };
    assert_eq!(other, [OF_THE_ROUTE], "every client is the route's user");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_redirect_ends_in_a_denial_because_our_own_credential_comes_back() {
    let policy = "route: { cluster: elasticsearch, internal_redirect_policy: { max_internal_redirects: 1 }, ";
    let Some(bench) = Bench::start("route: { cluster: elasticsearch, ", policy).await else { return };
    // the first request creates the user: this process does not keep a credential before its first use
    assert_eq!(bench.ask("/moved", true).await, 401);
    bench.elastauth.process.wait_for_line(0, &["credentials_not_bearer", "/landed"]);
    assert_eq!(bench.ask("/_search", true).await, 200);
    assert_eq!(bench.ask("/moved", true).await, 403);
    bench.elastauth.process.wait_for_line(0, &["credentials_ours", "/landed"]);
    let reached: Vec<_> = bench.upstream.seen().iter().map(|seen| seen.head.contains("/landed")).collect();
    assert_eq!(reached, [false; 3], "the redirected request does not reach the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_mode_lets_everybody_through_and_still_injects() {
    let Some(envoy) = tool("envoy") else { return };
    let version = said(&run(Command::new(envoy).arg("--version"), "").unwrap());
    if version.contains("/1.36.") || version.contains("/1.37.") {
        println!("skipped: Envoy had no shadow_mode before 1.38");
        return;
    }
    let shadow = "encode_raw_headers: true\n              shadow_mode: true";
    let Some(bench) = Bench::start("encode_raw_headers: true", shadow).await else { return };
    assert_eq!((bench.ask("/_search", false).await, bench.ask("/_search", true).await), (200, 200));
    let [anonymous, ann] = &bench.authorizations()[..] else { panic!("two requests") };
    assert!(anonymous.is_empty() && ann.starts_with("Basic "), "{anonymous} {ann}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_max_interval_gives_each_try_up_and_counts_against_the_replica() {
    let Some(bench) = Bench::start("max_interval: 10s", "max_interval: 0.1s").await else { return };
    bench.elasticsearch.fail(Faults { delay: Duration::from_secs(1), ..Faults::default() });
    assert_eq!(bench.ask("/_search", true).await, 503);
    let stat = async |name: &str| bench.envoy.stat(&format!("cluster.elastauth.{name}")).await;
    assert_eq!(stat("upstream_rq_per_try_timeout").await, Some(3), "the first try and two more");
    let broken = stat("outlier_detection.ejections_detected_consecutive_local_origin_failure").await;
    assert!(broken >= Some(1), "the only replica counts as failing although it is healthy: {broken:?}");
}

#[test]
fn each_mistake_is_written_down_and_has_its_test() {
    let page = include_str!("../docs/deployment.md");
    for (mistake, test) in [
        ("request_headers_to_add", "an_authorization_of_the_route_stands_beside_ours_or_in_its_place"),
        ("internal_redirect_policy", "an_internal_redirect_ends_in_a_denial_because_our_own_credential_comes_back"),
        ("shadow_mode", "shadow_mode_lets_everybody_through_and_still_injects"),
        ("kept replies", "tests/deployments.rs"),
        ("retry_back_off.max_interval", "a_short_max_interval_gives_each_try_up_and_counts_against_the_replica"),
        ("domains: [\"*\"]", "tests/shipped.rs"),
        ("failure_mode_allow: true", "tests/deployments.rs"),
    ] {
        let row = page.lines().find(|line| line.starts_with('|') && line.contains(mistake));
        assert!(row.is_some(), "docs/deployment.md does not name {mistake}");
        let exists = match test.strip_prefix("tests/") {
            Some(file) => std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file).exists(),
            None => include_str!("mistakes.rs").contains(&format!("async fn {test}(")),
        };
        assert!(exists, "{mistake}: {test}");
    }
}
