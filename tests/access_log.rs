//! Envoy's access log: a 401 behind Envoy lets the user's password be tried at the next request, and nothing else.
//!
//! `confirm_interval` has its shipped default of 15 minutes: without the access log nothing here would be noticed in time. Only the
//! settling time is short, since a record that was just written is not confirmed yet.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::{Duration, Instant};

use elastauth_support::certificates::{Authority, Pair, client};
use elastauth_support::check::{Answer, Checker, bearer};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::envoy::exchange;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{free_port, until};
use elastauth_support::reports::{Entry, Reporter};
use elastauth_support::servers::{Elastauth, Envoy, Redis, config, redis_cache, root};
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use prost::Message as _;

const SETTLING: &str = "elasticsearch:\n  settling: 100ms\n";
/// So many 401s of one caller.
const FLOOD: u64 = 200;
const ACCESS_LOG: &str = "  access_log: true\n";
/// A series of `/metrics`.
const REPORTED: &str = "elastauth_rejected_credentials_total";

/// `envoy/envoy.yaml` with the addition of `envoy/access-log.yaml`.
fn with_access_log(text: String) -> String {
    let added = fs::read_to_string(root().join("envoy/access-log.yaml")).unwrap();
    let lines = added.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let added = lines.map(|line| " ".repeat(10) + line + "\n").collect::<String>();
    let beside = "          stat_prefix: main\n";
    exchange(text, beside, &format!("{beside}{added}"))
}

struct World {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    replicas: Vec<Elastauth>,
}

impl World {
    /// Starts so many replicas with this cache.
    async fn start(replicas: usize, cache: &str) -> Self {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let yaml = config(&issuer.url, &elasticsearch.url, cache).replace("elasticsearch:\n", SETTLING);
        let yaml = yaml + "enable_metrics: true\n";
        let start = |_| {
            let listen = format!("127.0.0.1:{}", free_port());
            Elastauth::start_at(elastauth!(), &yaml, &listen, ACCESS_LOG)
        };
        let replicas = (0..replicas).map(start).collect();
        Self { issuer, elasticsearch, replicas }
    }

    async fn envoy(&self) -> Option<Envoy> {
        let replicas: Vec<&str> = self.replicas.iter().map(|replica| replica.grpc.as_str()).collect();
        Envoy::start_edited(&replicas, self.elasticsearch.address(), with_access_log).await
    }

    /// Asks until the user's password has been tried, so that the next regular confirmation is 15 minutes away.
    async fn confirmed(&self, replica: &Elastauth, token: &str, user: &str) -> Answer {
        let checker = Checker::connect(&replica.grpc).await;
        until("the confirmation", || async {
            checker.ask(token).await;
            self.elasticsearch.logins(user) > 0
        })
        .await;
        // what the confirmation wrote is reported to the replicas, and read again
        let from = replica.process.lines().len();
        until("a hit after it", || async {
            checker.ask(token).await;
            let lines = replica.process.lines();
            lines.iter().skip(from).filter(|line| line.contains("\"source\":\"Near\"")).count() > 2
        })
        .await;
        checker.ask(token).await
    }

    fn change_password(&self, user: &str) {
        let mut changed = self.elasticsearch.user(user).unwrap();
        changed.password = "changed-by-hand".into();
        self.elasticsearch.seed(user, changed);
    }

    fn writes(&self) -> usize {
        self.elasticsearch.history().len()
    }

    /// The sum of a counter over all replicas.
    async fn count(&self, series: &str) -> u64 {
        let mut sum = 0;
        for replica in &self.replicas {
            let page = elastauth_support::http().get(format!("{}/metrics", replica.http)).send().await.unwrap();
            let page = page.text().await.unwrap();
            let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
            sum += value.unwrap_or_else(|| panic!("{series} is not in\n{page}")).parse::<u64>().unwrap();
        }
        sum
    }
}

async fn get(envoy: &Envoy, token: &str) -> u16 {
    let request = elastauth_support::http().get(format!("{}/_search", envoy.url)).bearer_auth(token);
    request.send().await.unwrap().status().as_u16()
}

async fn a_password_changed_by_hand_is_noticed(replicas: usize, cache: &str) {
    let world = World::start(replicas, cache).await;
    let Some(envoy) = world.envoy().await else { return };
    let token = world.issuer.token("ann", &["admins"]);
    let made = world.confirmed(&world.replicas[0], &token, "ann").await;
    assert_eq!(get(&envoy, &token).await, 200);
    let logins = world.elasticsearch.logins("ann");
    world.change_password("ann");
    assert_eq!(get(&envoy, &token).await, 401);
    until("the repair", || async { get(&envoy, &token).await == 200 }).await;
    assert_eq!(world.elasticsearch.user("ann").map(|user| user.password).as_deref(), made.password());
    assert_eq!(world.writes(), 2, "one repair");
    let logins = world.elasticsearch.logins("ann") - logins;
    assert!((1..=replicas + 1).contains(&logins), "{logins}");
    assert!(world.count(REPORTED).await >= 1);
    assert_eq!(world.count("elastauth_decisions_total{reason=\"overloaded\",status=\"503\"}").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_changed_by_hand_is_right_again_a_moment_after_the_401() {
    a_password_changed_by_hand_is_noticed(1, "  type: memory").await;
}

/// The stream of the access log goes to one replica, and the next request to any.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_changed_by_hand_is_noticed_by_whichever_replica_is_asked_next() {
    let Some(redis) = Redis::start(&[]) else { return };
    a_password_changed_by_hand_is_noticed(2, &redis_cache(&redis.address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_401s_with_the_right_password_is_one_login_and_no_write() {
    let world = World::start(1, "  type: memory").await;
    let Some(envoy) = world.envoy().await else { return };
    let token = world.issuer.token("ann", &["admins"]);
    let made = world.confirmed(&world.replicas[0], &token, "ann").await;
    // as to a grant with a wrong password, which any caller can send
    world.elasticsearch.fail(Faults { other_status: Some(401), ..Faults::default() });
    let logins = world.elasticsearch.logins("ann");
    for _ in 0..FLOOD {
        assert_eq!(get(&envoy, &token).await, 401);
    }
    until("all reports", || async { world.count(REPORTED).await == FLOOD }).await;
    assert_eq!(get(&envoy, &token).await, 401);
    until("the confirmation", || async { world.elasticsearch.logins("ann") > logins }).await;
    world.elasticsearch.fail(Faults::default());
    assert_eq!(get(&envoy, &token).await, 200);
    assert_eq!((world.elasticsearch.logins("ann") - logins, world.writes()), (1, 1));
    let replica = &world.replicas[0];
    assert_eq!(Checker::connect(&replica.grpc).await.ask(&token).await, made, "nothing was rotated");
}

/// Its own 401s are not worth a report, and a header cannot name a user.
#[tokio::test(flavor = "multi_thread")]
async fn envoy_reports_only_what_elastauth_let_through() {
    let world = World::start(1, "  type: memory").await;
    let Some(envoy) = world.envoy().await else { return };
    let token = world.issuer.token("ann", &["admins"]);
    for _ in 0..20 {
        let request = elastauth_support::http().get(format!("{}/_search", envoy.url)).header("user", "ann");
        assert_eq!(request.bearer_auth("no-token").send().await.unwrap().status().as_u16(), 401);
    }
    assert_eq!(get(&envoy, &token).await, 200);
    world.elasticsearch.fail(Faults { other_status: Some(401), ..Faults::default() });
    assert_eq!(get(&envoy, &token).await, 401);
    until("the report", || async { world.count(REPORTED).await == 1 }).await;
    let logged = envoy.stat("access_logs.grpc_access_log.logs_written").await;
    assert_eq!(logged, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_a_stream_is_refused_and_replies_name_no_user() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let elastauth = Elastauth::start(elastauth!(), &config(&issuer.url, &elasticsearch.url, "  type: memory"));
    let (_reporter, ended) = Reporter::open(&elastauth.grpc).await;
    assert_eq!(ended.wait().await.unwrap_err().code(), tonic::Code::Unimplemented);
    let reply = Checker::connect(&elastauth.grpc).await;
    let reply = reply.check(bearer(&issuer.token("ann", &["admins"]))).await.unwrap();
    assert_eq!(CheckResponse::decode(reply).unwrap().dynamic_metadata, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_of_every_form_are_taken_and_one_that_is_too_large_ends_its_stream_only() {
    let world = World::start(1, "  type: memory").await;
    let replica = &world.replicas[0];
    let (mut reporter, ended) = Reporter::open(&replica.grpc).await;
    reporter
        .send(&[Entry::tcp(), Entry::http(200, "ann"), Entry::unreadable(), Entry::http(401, "no such user")])
        .await;
    reporter.send(&[Entry::http(401, "ann"), Entry::http(401, "bob").padded(100 * 1024)]).await;
    until("both users", || async { world.count(REPORTED).await == 2 }).await;
    reporter.send(&[Entry::http(401, "ann").padded(200 * 1024)]).await;
    assert_eq!(ended.wait().await.unwrap_err().code(), tonic::Code::OutOfRange);
    let (mut reporter, _) = Reporter::open(&replica.grpc).await;
    reporter.send(&[Entry::http(401, "ann")]).await;
    until("the next stream", || async { world.count(REPORTED).await == 3 }).await;
    assert_eq!(world.elasticsearch.requests(), 0, "users without a record cost nothing");
}

/// A stream of the access log never ends by itself. Neither the end of the process nor the age of a connection waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_connection_and_the_process_does_not_wait_for_it() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory") + "drain: 0s\n";
    let listen = format!("127.0.0.1:{}", free_port());
    let mut aged =
        Elastauth::start_at(elastauth!(), &yaml, &listen, &format!("{ACCESS_LOG}  max_connection_age: 1s\n"));
    let (mut reporter, ended) = Reporter::open(&aged.grpc).await;
    reporter.send(&[Entry::http(401, "ann")]).await;
    let began = Instant::now();
    ended.wait().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}: `finish` is 4 s", began.elapsed());

    let (_reporter, ended) = Reporter::open(&aged.grpc).await;
    let began = Instant::now();
    aged.process.terminate();
    ended.wait().await.unwrap();
    assert!(aged.process.wait().success());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}: `finish` is 4 s", began.elapsed());
}

/// The list of clients that may ask counts for this service too.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_may_not_ask_may_not_report() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let authority = Authority::new("clients");
    let folder = tempfile::tempdir().unwrap();
    let server = authority.server();
    let [envoy, other] = ["spiffe://test/envoy", "spiffe://test/other"].map(|name| authority.sign(&[name]));
    let shows = |pair: &Pair| client(&[&authority], Some(pair));
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let tls = format!(
        "{ACCESS_LOG}  tls_cert_file: {}\n  tls_key_file: {}\n  tls_client_ca_file: {}\n  \
         tls_allowed_sans: [\"spiffe://test/envoy\"]\n",
        write("cert.pem", &server.cert),
        write("key.pem", &server.key),
        write("ca.pem", &authority.pem),
    );
    let listen = format!("127.0.0.1:{}", free_port());
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory") + "enable_metrics: true\n";
    let elastauth = Elastauth::start_at(elastauth!(), &yaml, &listen, &tls);
    let world = World { issuer, elasticsearch, replicas: vec![elastauth] };
    let (_reporter, ended) = Reporter::open_tls(&listen, &shows(&other)).await;
    assert_eq!(ended.wait().await.unwrap_err().code(), tonic::Code::PermissionDenied);
    assert_eq!(world.count(REPORTED).await, 0);
    let (mut reporter, _) = Reporter::open_tls(&listen, &shows(&envoy)).await;
    reporter.send(&[Entry::http(401, "ann")]).await;
    until("the report", || async { world.count(REPORTED).await == 1 }).await;
}
