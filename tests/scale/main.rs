//! Many requests at once, with forged tokens or by new users; and how much memory a user and a token take.
//!
//! The tests of `make test` assert what holds on any machine. The large runs of `make soak` and `make memory` print figures too;
//! `SCALE_BINARY` is the elastauth that they run, instead of the one that was built with the test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crowd;
mod flood;
mod hits;
mod loss;
mod memory;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{free_port, run};
use elastauth_support::puts;
use elastauth_support::servers::{Elastauth, config};

use crowd::crowd;
use flood::Flood;
use hits::Hits;

/// The delay of a PUT of a user, in which Elasticsearch hashes the password.
const PUT: Duration = Duration::from_millis(60);

fn binary() -> PathBuf {
    std::env::var_os("SCALE_BINARY").map_or_else(|| elastauth!().into(), PathBuf::from)
}

/// Sets the scheduling policy and priority of this thread by `chrt`. Real clients are on other machines; here they share the
/// processors with the server.
fn scheduled(policy: &str, priority: &str) {
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    // without the permission the figures are worse, but the assertions hold
    let _ = run(Command::new("chrt").args([policy, "--pid", priority]).arg(thread.file_name().unwrap()), "");
}

/// An elastauth and the services that it uses.
struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    elastauth: Elastauth,
}

impl Bench {
    /// Starts elastauth with this `cache` section and further lines of the section `elasticsearch`.
    async fn start(cache: &str, elasticsearch: &str) -> Self {
        Self::start_with(cache, elasticsearch, "").await
    }

    /// The same, with further lines of the section `grpc`.
    async fn start_with(cache: &str, elasticsearch: &str, grpc: &str) -> Self {
        let (issuer, stand_in) = (Issuer::start().await, Elasticsearch::start().await);
        let yaml = config(&issuer.url, &stand_in.url, cache).replace("log_level: debug", "log_level: info");
        let yaml = yaml.replace("secret_key:", &format!("{elasticsearch}secret_key:"));
        let listen = format!("127.0.0.1:{}", free_port());
        let elastauth = Elastauth::start_at(&binary(), &yaml, &listen, grpc);
        Self { issuer, elasticsearch: stand_in, elastauth }
    }

    async fn checker(&self) -> Checker {
        Checker::connect(&self.elastauth.grpc).await
    }

    /// Makes a user that the process knows, and returns its token.
    async fn known(&self, user: &str) -> String {
        let token = self.issuer.token(user, &["admins"]);
        let checker = self.checker().await;
        for _ in 0..3 {
            assert!(checker.ask_patiently(&token).await.password().is_some());
        }
        token
    }

    fn resident(&self) -> usize {
        self.elastauth.process.resident()
    }
}

fn megabytes(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap()) / 1024.0
}

/// Sends this many forged tokens, each different, while a known user sends requests. Returns how many times as long the user's
/// requests take during the flood, at 99 %.
async fn a_flood(tokens: usize, quiet: Duration) -> f64 {
    let bench = Bench::start("  type: memory\n  token_max_entries: 2000", "").await;
    let ann = bench.known("ann").await;
    let (asked, idle) = (bench.issuer.requests(), bench.resident());
    let hits = Hits::start(&bench.elastauth.grpc, &ann);
    tokio::time::sleep(quiet).await;
    let before = hits.finish().await;

    // fills the cache of refused tokens, so that its memory is not counted below
    let flood = Flood::of(&bench.elastauth.grpc, &ann);
    let (flood, first) = flood.send(5_000).await;
    let filled = bench.elastauth.process.memory();
    let hits = Hits::start(&bench.elastauth.grpc, &ann);
    let (_, told) = flood.send(tokens).await;
    let during = hits.finish().await;

    assert_eq!((first.unauthorized, told.unauthorized), (5_000, tokens), "each forged token is refused with 401");
    assert_eq!((before.refused, during.refused), (0, 0), "the user is let through all the time");
    assert!(
        bench.issuer.requests() <= asked + 2 + usize::try_from(told.took.as_secs() / 5).unwrap(),
        "keys are not fetched for each token"
    );
    assert_eq!(bench.elasticsearch.puts().len(), 1, "no user was created");
    let peak = bench.elastauth.process.memory();
    let slower = during.slower_than(&before);
    println!(
        "{tokens} bad tokens in {:.1?}: {:.1} MB when idle, {:.1} MB at the peak of the first 5000, {:.1} MB at that of all, {:.1} MB \
         afterwards; hits beside it: {during}, without: {before}, 99 % {slower:.2} times",
        told.took,
        megabytes(idle),
        megabytes(filled),
        megabytes(peak),
        megabytes(bench.resident()),
    );
    assert!(peak - filled < 4 << 20, "{:.1} MB more", megabytes(peak - filled));
    slower
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_bad_tokens_takes_no_memory_and_locks_nobody_out() {
    a_flood(20_000, Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs for long: make soak"]
async fn soak_a_million_bad_tokens() {
    let slower = a_flood(1_000_000, Duration::from_secs(20)).await;
    // 1.8 to 2.1 where the clients have the same two processors; 13 where checks do not yield
    assert!(slower <= 3.0, "{slower:.2}");
}

/// Lets this many new users ask at the same moment; their clients come back after `Retry-After`. Returns the time as a ratio to
/// that of the writes alone, and how many times as long a known user's hits take meanwhile, at 99 %.
async fn new_users(users: u32, max_writes: u32, quiet: Duration) -> [f64; 2] {
    let bench = Bench::start("  type: memory", &format!("  max_writes: {max_writes}\n")).await;
    let ann = bench.known("ann").await;
    bench.elasticsearch.fail(Faults { delay: PUT, ..Faults::default() });
    let hits = Hits::start(&bench.elastauth.grpc, &ann);
    tokio::time::sleep(quiet).await;
    let before = hits.finish().await;

    let tokens = (0..users).map(|n| bench.issuer.token(&format!("user-{n}"), &["admins"])).collect();
    let hits = Hits::start(&bench.elastauth.grpc, &ann);
    let served = crowd(&bench.elastauth.grpc, tokens).await;
    let during = hits.finish().await;

    let all = bench.elasticsearch.puts();
    assert_eq!(all.len(), usize::try_from(users).unwrap() + 1, "one PUT for each");
    assert!(puts::peak(&all) <= usize::try_from(max_writes).unwrap());
    assert_eq!((before.refused, during.refused), (0, 0), "the known user is let through all the time");
    let bound = PUT * users / max_writes;
    let ratio = served.took.as_secs_f64() / bound.as_secs_f64();
    let slower = during.slower_than(&before);
    println!(
        "{users} new users, {max_writes} PUTs of {PUT:?} at once: served within {:.1?}, {ratio:.2} times {bound:?}; asked {:.2} times \
         each, {} times at most; hits beside it: {during}, without: {before}, 99 % {slower:.2} times",
        served.took,
        f64::from(served.asked) / f64::from(users),
        served.most,
    );
    assert!(served.asked < 6 * users, "asked {} times: `Retry-After` is too short", served.asked);
    [ratio, slower]
}

#[tokio::test(flavor = "multi_thread")]
async fn new_users_at_once_are_served_in_turn_when_they_come_back_as_told() {
    new_users(500, 8, Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs for long: make soak"]
async fn soak_ten_thousand_new_users() {
    let [ratio, slower] = new_users(10_000, 4, Duration::from_secs(20)).await;
    assert!(ratio <= 1.2 && slower <= 2.0, "{ratio:.2}, {slower:.2}");
}
