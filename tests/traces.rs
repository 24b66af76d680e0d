//! Traces of a running process, as a collector receives them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elastauth_support::certificates::Authority;
use elastauth_support::check::{Answer, Checker, bearer};
use elastauth_support::collector::{Collector, Span, SpanKind};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{ADMIN, Elasticsearch, Faults};
use elastauth_support::envoy::exchange;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{free_port, until};
use elastauth_support::servers::{Elastauth, Envoy, REDIS_PASSWORD, Redis, config, redis_cache, root};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{self, HttpRequest};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use prost::Message as _;
use tonic::Request;

const CHECK: &str = "envoy.service.auth.v3.Authorization/Check";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

struct World {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    elastauth: Elastauth,
    checker: Checker,
}

impl World {
    async fn start(cache: &str, more: &str) -> Self {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let yaml = config(&issuer.url, &elasticsearch.url, cache) + more;
        let elastauth = start(&yaml, &[]);
        let checker = Checker::connect(&elastauth.grpc).await;
        Self { issuer, elasticsearch, elastauth, checker }
    }

    /// Asks as an Envoy with a tracer does.
    async fn ask(&self, token: &str, traceparent: &str) -> Answer {
        let mut request = Request::new(bearer(token));
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
        Answer::read(&self.checker.call("/envoy.service.auth.v3.Authorization/Check", request).await.unwrap())
    }

    /// Sends SIGTERM and waits for the end, before which all spans are exported.
    fn end(&mut self) {
        self.elastauth.process.terminate();
        assert!(self.elastauth.process.wait().success());
    }
}

fn start(yaml: &str, env: &[(&str, &str)]) -> Elastauth {
    // the end need not wait until Envoy has moved on
    let yaml = format!("{yaml}drain: 0\n");
    Elastauth::start_under(elastauth!(), &yaml, env)
}

fn traced(collector: &Collector) -> String {
    format!("tracing:\n  endpoint: \"{}\"\n  headers: api-key=key-of-the-collector\n", collector.url)
}

fn of_caller(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

fn below<'a>(spans: &'a [Span], parent: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.parent == parent).collect()
}

fn names<'a>(spans: &[&'a Span]) -> Vec<&'a str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

/// The spans of a miss, and of a hit after it.
#[tokio::test(flavor = "multi_thread")]
async fn spans_hang_under_the_callers_and_say_what_was_done() {
    let (Some(redis), collector) = (Redis::start(&[]), Collector::start().await) else { return };
    let mut world = World::start(&redis_cache(&redis.address), &traced(&collector)).await;
    world.elasticsearch.record();
    // otherwise the first miss would ask for the cluster's id
    world.elastauth.process.wait_for_line(0, &["The cluster is known by its id"]);
    let token = world.issuer.token("ann", &["admins"]);
    // Redis reports the write a moment later, after which a record that was read before is read once more
    until("a hit", || async {
        assert!(matches!(world.ask(&token, &of_caller("01")).await, Answer::Allowed { .. }));
        world.elastauth.process.lines().iter().any(|line| line.contains("Cache hit") && line.contains("Near"))
    })
    .await;
    world.end();
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE && span.events == 0), "{spans:#?}");
    let checks = below(&spans, CALLER);
    assert_eq!(names(&checks), vec![CHECK; checks.len()]);
    for check in &checks {
        assert_eq!(check.kind, SpanKind::Server);
        for (name, value) in [
            ("elastauth.reason", "allowed"),
            ("elastauth.status", "200"),
            ("user.name", "ann"),
            ("rpc.system.name", "grpc"),
            ("rpc.response.status_code", "OK"),
        ] {
            assert_eq!(check.attribute(name), value, "{name}");
        }
        assert_eq!(check.resource["service.name"], "elastauth");
        assert_eq!(check.resource["service.version"], env!("CARGO_PKG_VERSION"));
    }
    let of = |way: &str| *checks.iter().find(|check| check.attribute("elastauth.way") == way).unwrap();
    let (miss, warm, hit) = (of("provisioned"), of("store"), of("near"));
    assert_eq!(names(&below(&spans, &miss.id)), ["verify token", "cache get", "provision"]);
    assert_eq!(names(&below(&spans, &warm.id)), ["cache get"]);
    assert_eq!(names(&below(&spans, &hit.id)), [""; 0]);
    let flight = spans.iter().find(|span| span.name == "provision").unwrap();
    let steps = below(&spans, &flight.id);
    assert_eq!(names(&steps), ["cache create", "inspect user", "write user", "cache replace"]);
    assert_eq!(steps[2].attribute("elastauth.outcome"), "acknowledged");
    for (step, method, status) in [(steps[1], "GET", "404"), (steps[2], "PUT", "200")] {
        let [call] = below(&spans, &step.id)[..] else { panic!("one call of Elasticsearch for {}", step.name) };
        assert_eq!((call.name.as_str(), call.kind), (method, SpanKind::Client));
        assert_eq!(call.attribute("http.response.status_code"), status);
        assert_eq!(call.attribute("server.address"), "127.0.0.1");
        assert!(!call.failed, "{call:?}");
        // Elasticsearch's own spans belong below the span of the call
        let exchanges = world.elasticsearch.exchanges();
        let mut of_user = exchanges.iter().filter(|exchange| exchange.uri.path() == "/_security/user/ann");
        let exchange = of_user.find(|exchange| exchange.method.as_str() == method).unwrap();
        assert_eq!(exchange.headers["traceparent"].to_str().unwrap(), format!("00-{TRACE}-{}-01", call.id));
    }
    let cache = steps[0];
    assert_eq!((cache.kind, cache.attribute("db.system.name")), (SpanKind::Client, "redis"));
    for span in &spans {
        let parent = spans.iter().find(|other| other.id == span.parent);
        let inside = parent.is_none_or(|parent| parent.began <= span.began && span.ended <= parent.ended);
        assert!(inside, "{span:?} is outside of {parent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_outages_say_their_reason_and_only_outages_are_errors() {
    let collector = Collector::start().await;
    let mut world = World::start("  type: memory", &traced(&collector)).await;
    // otherwise the first miss would ask for the cluster's id
    world.elastauth.process.wait_for_line(0, &["The cluster is known by its id"]);
    let forged = world.issuer.forge(&world.issuer.claims("ann", &["admins"], 0));
    assert_eq!(world.ask(&forged, &of_caller("01")).await, Answer::Denied(401));
    assert!(world.checker.check(vec![0xff]).await.is_err());
    world.elasticsearch.fail(Faults { get_status: Some(500), ..Faults::default() });
    let token = world.issuer.token("bob", &["admins"]);
    assert_eq!(world.ask(&token, &of_caller("01")).await, Answer::Denied(503));
    world.end();
    let spans = collector.spans();
    let checks = spans.iter().filter(|span| span.name == CHECK);
    let said: Vec<_> = checks
        .map(|check| (check.attribute("elastauth.reason"), check.attribute("elastauth.status"), check.failed))
        .collect();
    assert_eq!(
        said,
        [
            ("token_signature", "401", false),
            ("message_undecodable", "", false),
            ("elasticsearch_unavailable", "503", true)
        ]
    );
    let verified = spans.iter().find(|span| span.name == "verify token").unwrap();
    assert_eq!((verified.attribute("elastauth.reason"), verified.failed), ("token_signature", false));
    let call = spans.iter().find(|span| span.name == "GET").unwrap();
    assert_eq!((call.attribute("error.type"), call.failed), ("500", true));
    assert!(spans.iter().all(|span| span.attribute("user.name").is_empty()), "no request was let through");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_caller_does_not_trace_is_not_traced() {
    let (collector, issuer, elasticsearch) =
        (Collector::start().await, Issuer::start().await, Elasticsearch::start().await);
    // passwords are tried in the background, outside of any request
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory") + &traced(&collector);
    let elastauth = start(&exchange(yaml, "elasticsearch:\n", "elasticsearch:\n  settling: 10ms\n"), &[]);
    let checker = Checker::connect(&elastauth.grpc).await;
    let mut world = World { issuer, elasticsearch, elastauth, checker };
    let token = world.issuer.token("ann", &["admins"]);
    until("a password that is tried", || async {
        assert!(matches!(world.ask(&token, &of_caller("00")).await, Answer::Allowed { .. }));
        world.elasticsearch.logins("ann") > 0
    })
    .await;
    world.end();
    assert!(collector.spans().is_empty(), "{:#?}", collector.spans());
}

/// A request with the client's `traceparent` among its headers; Envoy itself does not trace it.
fn client_traced(token: &str) -> Vec<u8> {
    let headers = [("authorization", format!("Bearer {token}")), ("traceparent", of_caller("01"))];
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
    let request =
        attribute_context::Request { time: None, http: Some(HttpRequest { headers, ..HttpRequest::default() }) };
    let attributes = Some(AttributeContext { request: Some(request), ..AttributeContext::default() });
    CheckRequest { attributes }.encode_to_vec()
}

/// Without a parent the sampler decides; the client's own `traceparent`, among the checked headers, is not a parent.
#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_chose_the_sampler_does() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    for (sampler, expected) in [("parentbased_always_on", 1), ("parentbased_always_off", 0), ("always_off", 0)] {
        let collector = Collector::start().await;
        let env = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_TRACES_SAMPLER", sampler)];
        let more = [
            ("OTEL_SERVICE_NAME", "gatekeeper"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-team=search"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ];
        let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory");
        let mut elastauth = start(&yaml, &[&env[..], &more].concat());
        let checker = Checker::connect(&elastauth.grpc).await;
        let token = issuer.token("ann", &["admins"]);
        let reply = checker.check(client_traced(&token)).await.unwrap();
        assert!(matches!(Answer::read(&reply), Answer::Allowed { .. }));
        elastauth.process.terminate();
        assert!(elastauth.process.wait().success());
        let spans = collector.spans();
        let roots = below(&spans, "");
        assert_eq!(names(&roots), vec![CHECK; expected], "{sampler}: {spans:#?}");
        assert!(roots.iter().all(|root| root.resource["service.name"] == "gatekeeper"));
        assert!(collector.metadata("x-team").iter().all(|team| team == "search"));
        assert_eq!(collector.metadata("x-team").is_empty(), expected == 0);
        assert!(collector.metadata("grpc-encoding").iter().all(|encoding| encoding == "gzip"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_asked_for_its_certificate_where_the_address_says_so() {
    let (trusted, stranger) = (Authority::new("trusted"), Authority::new("stranger"));
    let collector = Collector::start_tls(&trusted.server()).await;
    let folder = tempfile::tempdir().unwrap();
    for (authority, collected) in [(&trusted, true), (&stranger, false)] {
        let file = folder.path().join("ca.pem");
        fs::write(&file, &authority.pem).unwrap();
        let more = traced(&collector) + &format!("  ca_file: \"{}\"\n", file.display());
        let before = collector.spans().len();
        let mut world = World::start("  type: memory", &more).await;
        let token = world.issuer.token("ann", &["admins"]);
        assert!(matches!(world.ask(&token, &of_caller("01")).await, Answer::Allowed { .. }));
        world.end();
        assert_eq!(collector.spans().len() > before, collected);
        let complaint = |line: &String| line.contains("does not take traces") && line.contains("certificate");
        assert_eq!(world.elastauth.process.lines().iter().any(complaint), !collected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_nothing_is_traced_and_nobody_is_called() {
    let collector = Collector::start().await;
    for env in [&[][..], &[("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str()), ("OTEL_TRACES_EXPORTER", "none")]] {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let mut elastauth = start(&config(&issuer.url, &elasticsearch.url, "  type: memory"), env);
        let checker = Checker::connect(&elastauth.grpc).await;
        assert!(matches!(checker.ask(&issuer.token("ann", &["admins"])).await, Answer::Allowed { .. }));
        elastauth.process.terminate();
        assert!(elastauth.process.wait().success());
        assert_eq!(collector.connections(), 0);
    }
}

/// The collector is down, silent, or another program: requests are answered as ever, the log reports it once, and the end is not
/// delayed.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_collect_delays_and_fails_nothing() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = Elasticsearch::start().await;
    for (what, address) in [
        ("down", format!("127.0.0.1:{}", free_port())),
        ("silent", silent.local_addr().unwrap().to_string()),
        ("no collector", other.address().to_owned()),
    ] {
        let more = format!("tracing: {{endpoint: \"http://{address}\"}}\n");
        let mut world = World::start("  type: memory", &more).await;
        let (token, traceparent) = (world.issuer.token("ann", &["admins"]), of_caller("01"));
        assert!(matches!(world.ask(&token, &traceparent).await, Answer::Allowed { .. }), "{what}");
        let before = world.elastauth.process.memory();
        let began = std::time::Instant::now();
        // several times as many spans as the queue holds
        for _ in 0..50 {
            let calls = (0..200).map(|_| world.ask(&token, &traceparent));
            let answers = futures_util::future::join_all(calls).await;
            assert!(answers.iter().all(|answer| matches!(answer, Answer::Allowed { .. })), "{what}");
        }
        let (took, grown) = (began.elapsed(), world.elastauth.process.memory() - before);
        assert!(took < Duration::from_secs(30), "{what}: {took:?}");
        assert!(grown < 64 * 1024 * 1024, "{what}: {grown} bytes");
        if what != "silent" {
            world.elastauth.process.wait_for_line(0, &["The collector does not take traces"]);
        }
        let began = std::time::Instant::now();
        world.end();
        assert!(began.elapsed() < Duration::from_secs(10), "{what}: {:?}", began.elapsed());
        let lines = world.elastauth.process.lines();
        let complaints = lines.iter().filter(|line| line.contains("collector")).count();
        assert!(complaints <= 1, "{what}: {lines:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_span_holds_a_secret() {
    let (Some(redis), collector) = (Redis::start(&[]), Collector::start().await) else { return };
    let mut world = World::start(&redis_cache(&redis.address), &traced(&collector)).await;
    let mut secrets = vec![
        ADMIN.1.to_owned(),
        STANDARD.encode(format!("{}:{}", ADMIN.0, ADMIN.1)),
        REDIS_PASSWORD.to_owned(),
        "0123456789abcdef".repeat(4),
        "key-of-the-collector".to_owned(),
    ];
    for faults in [Faults::default(), Faults { put_status: Some(500), get_status: Some(500), ..Faults::default() }] {
        world.elasticsearch.fail(faults);
        for user in ["ann", "bob"] {
            let tokens = [
                world.issuer.token(user, &["admins"]),
                world.issuer.token(user, &["developers"]),
                world.issuer.forge(&world.issuer.claims(user, &["admins"], 0)),
                format!("opaque-token-of-{user}"),
            ];
            for token in tokens {
                for _ in 0..2 {
                    if let Answer::Allowed { user, password } = world.ask(&token, &of_caller("01")).await {
                        secrets.push(STANDARD.encode(format!("{user}:{password}")));
                        secrets.push(password);
                    }
                }
                secrets.extend(token.split('.').skip(1).map(str::to_owned));
                secrets.push(token);
            }
        }
    }
    world.end();
    assert!(collector.spans().len() > 30);
    assert!(secrets.len() > 20);
    assert!(collector.metadata("api-key").iter().all(|key| key == "key-of-the-collector"));
    let sent = collector.bytes();
    for secret in secrets {
        let found = sent.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} was exported");
    }
}

/// `envoy/envoy.yaml` with the additions of `envoy/observability/tracing.yaml`.
fn with_tracing(text: String, collector: &str) -> String {
    let added = fs::read_to_string(root().join("envoy/observability/tracing.yaml")).unwrap();
    let added = exchange(added, "4317 }", &format!("{} }}", collector.rsplit_once(':').unwrap().1));
    let (manager, clusters) = added.split_once("clusters:\n").unwrap();
    let indented = |text: &str, by: usize| {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(|line| " ".repeat(by) + line + "\n").collect::<String>()
    };
    let text = exchange(
        text,
        "          stat_prefix: main\n",
        &format!("          stat_prefix: main\n{}", indented(manager, 10)),
    );
    exchange(text, "  clusters:\n", &format!("  clusters:\n{}", indented(clusters, 2)))
}

/// The client's own `traceparent`, if it sends one, is the parent of Envoy's span.
#[tokio::test(flavor = "multi_thread")]
async fn through_envoy_our_spans_hang_under_its_own() {
    let collector = Collector::start().await;
    let world = World::start("  type: memory", &traced(&collector)).await;
    let address = collector.address().to_owned();
    let replicas = [world.elastauth.grpc.as_str()];
    let edit = move |text| with_tracing(text, &address);
    let Some(envoy) = Envoy::start_edited(&replicas, world.elasticsearch.address(), edit).await else { return };
    for (user, flags) in [("ann", Some("01")), ("bob", Some("00")), ("carol", None)] {
        let token = world.issuer.token(user, &["admins"]);
        let mut request = elastauth_support::http().get(format!("{}/_search", envoy.url)).bearer_auth(&token);
        if let Some(flags) = flags {
            request = request.header("traceparent", of_caller(flags));
        }
        assert_eq!(request.send().await.unwrap().status().as_u16(), 200, "{user}");
    }
    collector.wait_for(CHECK, 2).await;
    let by_envoy = |span: &Span| span.resource["service.name"] == "envoy";
    until("Envoy's spans", || async { collector.spans().iter().filter(|span| by_envoy(span)).count() >= 4 }).await;
    let spans = collector.spans();
    let checks: Vec<_> = spans.iter().filter(|span| span.name == CHECK).collect();
    let users: Vec<_> = checks.iter().map(|check| check.attribute("user.name")).collect();
    assert_eq!(users, ["ann", "carol"], "bob's client chose not to be traced");
    for (check, client) in checks.iter().zip([CALLER, ""]) {
        let above = |id: &str| spans.iter().find(|span| span.id == id).unwrap_or_else(|| panic!("{id}: {spans:#?}"));
        let call = above(&check.parent);
        assert!(by_envoy(call) && call.name.contains("Check"), "{call:?}");
        let request = above(&call.parent);
        assert!(by_envoy(request) && request.parent == client, "{request:?}");
        assert_eq!((&check.trace, &request.trace), (&call.trace, &call.trace));
        assert_eq!(check.trace == TRACE, client == CALLER);
    }
}
