//! Many calls at once, calls that take too long, connections that grow old, and watchers of the health service.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use elastauth_support::check::{Answer, Checker, bearer};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::fixture::{Fixture, with_elasticsearch};
use elastauth_support::issuer::Issuer;
use elastauth_support::load::Load;
use elastauth_support::process::{PATIENCE, until};
use elastauth_support::servers::{Elastauth, Envoy, config};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message as _;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::Request;

/// Starts elastauth with further lines of the section `grpc`, and at the top level.
async fn start(grpc: &str, top: &str) -> Fixture {
    start_with(grpc, top, "").await
}

/// The same, with further lines of the section `elasticsearch`.
async fn start_with(grpc: &str, top: &str, elasticsearch: &str) -> Fixture {
    Fixture::start_with(elastauth!(), grpc, |yaml| with_elasticsearch(&yaml, elasticsearch) + top).await
}

fn delay(bench: &Fixture, delay: Duration) {
    bench.elasticsearch.fail(Faults { delay, ..Faults::default() });
}

/// Sends this many calls at once on one connection; returns how many were let through, and how many were answered 503.
async fn at_once(bench: &Fixture, calls: usize) -> (usize, usize) {
    let request = bearer(&bench.issuer.token("ann", &["admins"]));
    let calls: Vec<_> = (0..calls).map(|_| tokio::spawn(bench.checker.check(request.clone()))).collect();
    let (mut through, mut unavailable) = (0, 0);
    for call in calls {
        match Answer::read(&call.await.unwrap().unwrap()) {
            Answer::Allowed { .. } => through += 1,
            Answer::Denied(503) => unavailable += 1,
            Answer::Denied(other) => panic!("{other}"),
        }
    }
    (through, unavailable)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_calls_wait_together_on_one_connection() {
    let bench = start("  deadline: 20s\n", "").await;
    delay(&bench, Duration::from_secs(1));
    assert_eq!(at_once(&bench, 2000).await, (2000, 0));
    assert_eq!(bench.elasticsearch.history().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_the_limit_are_denied_with_503_before_memory_grows() {
    let bench = start("  deadline: 20s\n  max_in_flight: 200\n", "").await;
    delay(&bench, Duration::from_secs(3));
    let before = bench.elastauth.process.memory();
    assert_eq!(
        at_once(&bench, 2000).await,
        (200, 1800),
        "a denial, and not a gRPC error, on which Envoy would decide by itself"
    );
    bench.elastauth.process.wait_for_line(0, &["overloaded", "Request denied"]);
    let grown = bench.elastauth.process.memory().saturating_sub(before);
    println!("2000 calls at once, 200 of them taken on: {} KiB more at the peak", grown / 1024);
    assert!(grown < 64 << 20, "{grown}");
    assert_eq!(at_once(&bench, 100).await, (100, 0), "the service goes on");
}

/// The streams of one connection send their messages side by side, so that all of them grow at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn messages_over_the_limit_are_thrown_away_as_they_come() {
    const SIZE: usize = 256 * 1024;
    let bench = start("  deadline: 20s\n  max_in_flight: 20\n", "").await;
    let token = bench.issuer.token("ann", &["admins"]);
    assert!(bench.checker.ask(&token).await.password().is_some());
    // field 1000, which no program knows, of this length (tag and length are varints)
    let mut request = bearer(&token);
    request.extend([0xc2, 0x3e, 0x80, 0x80, 0x10]);
    request.resize(request.len() + SIZE, 0);
    let before = bench.elastauth.process.memory();
    let calls: Vec<_> = (0..1000).map(|_| tokio::spawn(bench.checker.check(request.clone()))).collect();
    let mut denied = 0;
    for call in calls {
        match Answer::read(&call.await.unwrap().unwrap()) {
            Answer::Allowed { .. } => {}
            Answer::Denied(status) => {
                assert_eq!(status, 503);
                denied += 1;
            }
        }
    }
    let grown = bench.elastauth.process.memory().saturating_sub(before);
    println!("1000 messages of {SIZE} bytes at once, {denied} denied: {} KiB more at the peak", grown / 1024);
    assert!(denied > 500 && grown < 64 << 20, "{denied} denied, {grown} bytes more");
    assert!(bench.checker.ask(&token).await.password().is_some(), "the service goes on");
}

/// Many headers that are not needed, as browsers with large cookies send them.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_hold_nothing_of_their_messages_but_what_is_needed() {
    const WAITING: usize = 500;
    const AT_ONCE: usize = 20;
    const SIZE: usize = 56 * 1024;
    let bench =
        start_with("  deadline: 60s\n", "enable_metrics: true\n", "  timeout: 60s\n  write_timeout: 60s\n").await;
    let request = beside_a_large_header(&bench.issuer.token("ann", &["admins"]), SIZE);
    let in_flight = async || {
        let page = elastauth_support::http().get(format!("{}/metrics", bench.elastauth.http)).send().await.unwrap();
        let page = page.text().await.unwrap();
        let line = page.lines().find_map(|line| line.strip_prefix("elastauth_in_flight ")).unwrap();
        line.parse::<usize>().unwrap()
    };
    delay(&bench, PATIENCE);
    let mut waiting = Vec::new();
    let mut before = 0;
    while waiting.len() < WAITING {
        // only few at once, because messages take memory while they arrive, which is not measured here
        waiting.extend((0..AT_ONCE).map(|_| tokio::spawn(bench.checker.check(request.clone()))));
        until("those calls to wait", async || in_flight().await == waiting.len()).await;
        if waiting.len() == AT_ONCE {
            before = bench.elastauth.process.resident();
        }
    }
    let grown = bench.elastauth.process.resident().saturating_sub(before);
    println!("{WAITING} requests wait, each with {SIZE} bytes of headers: {} KiB more", grown / 1024);
    // a waiting request takes some 20 kB in a debug build, whatever the size of its message
    assert!(grown < WAITING * SIZE / 2, "{grown}");
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

/// A message with this bearer token and a large header that elastauth does not read.
fn beside_a_large_header(token: &str, size: usize) -> Vec<u8> {
    let mut check = CheckRequest::decode(&*bearer(token)).unwrap();
    let http = check.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap();
    http.headers.insert("x-large".into(), "x".repeat(size));
    check.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_never_ends_keeps_no_place() {
    let bench = start("  deadline: 2s\n  max_in_flight: 1\n", "").await;
    let token = bench.issuer.token("ann", &["admins"]);
    let (begun, has_begun) = oneshot::channel();
    let stuck = tokio::spawn(bench.checker.clone().never_ending(begun));
    has_begun.await.unwrap();
    assert_eq!(bench.checker.ask(&token).await, Answer::Denied(503), "the only permit is taken");
    until("the end of the call that holds the only place", || async {
        bench.checker.ask(&token).await.password().is_some()
    })
    .await;
    let end = tokio::time::timeout(PATIENCE, stuck).await;
    assert!(end.expect("it ends").unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_known_is_let_through_while_nobody_else_is_taken_on() {
    let bench = start("  deadline: 20s\n  max_in_flight: 5\n", "").await;
    let ann = bench.issuer.token("ann", &["admins"]);
    for _ in 0..3 {
        assert!(bench.checker.ask(&ann).await.password().is_some());
    }
    delay(&bench, Duration::from_secs(2));
    let new = |n: usize| {
        let (checker, token) = (bench.checker.clone(), bench.issuer.token(&format!("user{n}"), &["admins"]));
        tokio::spawn(async move { checker.ask(&token).await })
    };
    let waiting: Vec<_> = (0..10).map(new).collect();
    bench.elastauth.process.wait_for_line(0, &["overloaded", "Request denied"]);
    assert!(bench.checker.ask(&ann).await.password().is_some(), "a credential in the near cache needs no permit");
    let mut through = 0;
    for one in waiting {
        through += usize::from(one.await.unwrap().password().is_some());
    }
    assert!((1..=5).contains(&through), "{through}");
}

/// The provider answers slowly about each of thousands of forged tokens, while the answer about the known caller expires again
/// and again.
#[tokio::test(flavor = "multi_thread")]
async fn made_up_tokens_keep_neither_a_known_caller_nor_a_new_person_waiting_for_the_provider() {
    const MADE_UP: usize = 12_000;
    const AT_ONCE: usize = 1_500;
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let asked = format!(
        "oidc:\n  token_validation: introspection\n  client_secret: {}\n  introspection_ttl: 500ms\n",
        elastauth_support::issuer::CLIENT.1
    );
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory").replacen("oidc:\n", &asked, 1);
    let elastauth = Elastauth::start(elastauth!(), &yaml);
    let checker = Checker::connect(&elastauth.grpc).await;
    for person in ["known", "new"] {
        let claims = json!({"sub": person, "aud": "elastauth", "preferred_username": person, "groups": ["admins"]});
        issuer.grant(&format!("{person}-opaque"), claims);
    }
    assert!(checker.ask("known-opaque").await.password().is_some());
    issuer.set_delay(Duration::from_millis(250));

    let sent = Arc::new(AtomicUsize::new(0));
    let (mut flood, mut connection) = (JoinSet::new(), checker.clone());
    for n in 0..AT_ONCE {
        if n % 100 == 0 {
            connection = Checker::connect(&elastauth.grpc).await;
        }
        let (checker, sent) = (connection.clone(), Arc::clone(&sent));
        flood.spawn(async move {
            loop {
                let token = sent.fetch_add(1, Ordering::SeqCst);
                if token >= MADE_UP {
                    return;
                }
                checker.check(bearer(&format!("made-up-{token}"))).await.unwrap();
            }
        });
    }
    let (mut asks, mut longest) = (0, Duration::ZERO);
    while sent.load(Ordering::SeqCst) < MADE_UP {
        let begun = Instant::now();
        let answer = checker.ask("known-opaque").await;
        // the client does not wait longer than grpc.deadline
        assert!(answer.password().is_some(), "{answer:?} after {asks} asks, {:?}", begun.elapsed());
        (asks, longest) = (asks + 1, longest.max(begun.elapsed()));
    }
    while let Some(ended) = flood.join_next().await {
        ended.unwrap();
    }
    let begun = Instant::now();
    assert!(checker.ask_patiently("new-opaque").await.password().is_some());
    let new = begun.elapsed();
    println!("{asks} asks of the known caller, the longest {longest:?}; the new person waited {new:?}");
    assert!(new < Duration::from_secs(4), "{new:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_in_a_hurry_is_answered_before_his_time_is_up_and_what_he_began_goes_on() {
    let bench = start("", "").await;
    delay(&bench, Duration::from_secs(1));
    let mut ours = 0;
    for user in ["u1", "u2", "u3", "u4", "u5"] {
        let mut request = Request::new(bearer(&bench.issuer.token(user, &["admins"])));
        request.set_timeout(Duration::from_millis(150));
        // on a busy machine the client's own time-out may come first
        if let Ok(reply) = bench.checker.call("/envoy.service.auth.v3.Authorization/Check", request).await {
            assert_eq!(Answer::read(&reply), Answer::Denied(503));
            ours += 1;
        }
    }
    assert!(ours > 0, "at least one caller is answered in time");
    bench.elastauth.process.wait_for_line(0, &["deadline_exceeded"]);
    let done = || async { bench.elasticsearch.history().len() == 5 };
    until("the users that the callers did not wait for", done).await;
    assert!(bench.checker.ask(&bench.issuer.token("u1", &["admins"])).await.password().is_some());
    assert_eq!(bench.elasticsearch.history().len(), 5, "the user was created already");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_cap_counts_when_the_caller_has_all_the_time() {
    let bench = start("  deadline: 200ms\n", "").await;
    delay(&bench, Duration::from_secs(5));
    let (began, mut request) = (Instant::now(), Request::new(bearer(&bench.issuer.token("ann", &["admins"]))));
    request.set_timeout(Duration::from_secs(600));
    let reply = bench.checker.call("/envoy.service.auth.v3.Authorization/Check", request).await.unwrap();
    assert_eq!(Answer::read(&reply), Answer::Denied(503));
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_at_their_age_and_no_request_notices() {
    let bench = start("  max_connection_age: 300ms\n", "").await;
    let (grpc, behind) = (bench.elastauth.grpc.as_str(), bench.elasticsearch.address());
    let Some(envoy) = Envoy::start(grpc, behind, true).await else { return };
    let tokens: Vec<_> = (0..8).map(|_| bench.issuer.token("ann", &["admins"])).collect();
    let load = Load::start(&format!("{}/_search", envoy.url), &tokens);
    let connections = || envoy.stat("cluster.elastauth.upstream_cx_total");
    until("new connections", || async { connections().await.is_some_and(|count| count >= 6) }).await;
    load.more(100).await;
    let tally = load.finish().await;
    assert_eq!(tally.failures(), 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_health_sees_the_end_coming_and_does_not_hold_it_up() {
    // a connection that is held up is closed after this deadline and a second only
    let mut bench = start("  deadline: 2m\n", "drain: 200ms\n").await;
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        assert!(bench.checker.serving(service).await.unwrap());
    }
    let mut watched = bench.checker.watch("envoy.service.auth.v3.Authorization").await;
    let (serving, not_serving) = (&b"\x08\x01"[..], &b"\x08\x02"[..]);
    assert_eq!(watched.message().await.unwrap().unwrap(), serving);
    let began = Instant::now();
    bench.elastauth.process.terminate();
    assert_eq!(watched.message().await.unwrap().unwrap(), not_serving);
    assert!(!matches!(watched.message().await, Ok(Some(_))), "the end");
    let status = bench.elastauth.process.wait();
    assert!(status.success(), "{status}");
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_process_at_once() {
    let mut bench = start("", "drain: 10m\n").await;
    bench.elastauth.process.terminate();
    bench.elastauth.process.wait_for_line(0, &["Draining"]);
    bench.elastauth.process.terminate();
    assert_eq!(bench.elastauth.process.wait().code(), Some(130));
}
