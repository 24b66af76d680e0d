//! Measures the memory of a user and of a token, and the largest memory of the process: `make memory`.

use std::path::Path;

use elastauth_support::check::{Answer, Checker, bearer};
use elastauth_support::elasticsearch::Faults;
use elastauth_support::issuer::now;
use elastauth_support::process::PATIENCE;
use elastauth_support::servers::{Redis, redis_cache, root};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message as _;
use tokio::task::JoinSet;

use crate::{Bench, megabytes};

const MANY: usize = 100_000;
const DAY: u64 = 86_400;
const AT_ONCE: usize = 64;
const ROOM: &str = "\n  near_max_entries: 200000\n  token_max_entries: 200000";

/// The bytes beyond the process with one user for each of [`MANY`] tokens; `user` names the user of each token.
async fn each(cache: &str, user: impl Fn(usize) -> String) -> usize {
    let bench = Bench::start(&format!("{cache}{ROOM}"), "  max_writes: 16\n").await;
    bench.known("first").await;
    let before = bench.resident();
    let checker = bench.checker().await;
    let token = |n| {
        let mut claims = bench.issuer.claims(&user(n), &["admins"], 0);
        (claims["jti"], claims["exp"]) = (n.into(), (now() + DAY).into());
        bench.issuer.sign(&claims)
    };
    let tokens: Vec<_> = (0..MANY).map(token).collect();
    // The first request creates the user; on a slow machine it may have to come back later. The second brings the record into the
    // process, and the third finds it there.
    for round in 0..3 {
        let mut open = JoinSet::new();
        for token in &tokens {
            if open.len() == AT_ONCE {
                open.join_next().await.unwrap().unwrap();
            }
            let (checker, token) = (checker.clone(), token.clone());
            open.spawn(async move {
                let answer = if round == 0 { checker.ask_patiently(&token).await } else { checker.ask(&token).await };
                assert!(answer.password().is_some(), "round {round}");
            });
        }
        open.join_all().await;
    }
    bench.resident().saturating_sub(before) / MANY
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: make memory"]
async fn memory_of_users_and_tokens() {
    let bench = Bench::start("  type: memory", "").await;
    let idle = bench.resident();
    println!("idle: {:.1} MB", megabytes(idle));
    assert!(idle <= 20 << 20, "more than the target");
    let (Some(one), Some(other)) = (Redis::start(&[]), Redis::start(&[])) else { return };
    let token = each(&redis_cache(&one.address), |_| "ann".to_owned()).await;
    let both = each(&redis_cache(&other.address), |n| format!("user-{n}")).await;
    let alone = each("  type: memory\n  memory_max_entries: 200000", |n| format!("user-{n}")).await;
    println!("each token: {token} bytes; each user: {} bytes", both.saturating_sub(token));
    println!("each record of cache.type memory: {} bytes", alone.saturating_sub(both));
}

/// The number of groups of a token in the worst case; only one of them is mapped.
const GROUPS: usize = 200;
/// The default of `grpc.max_in_flight`, and headers as large as Envoy accepts.
const WAITING: usize = 4096;
const HEADERS: usize = 56 * 1024;

/// The number of users: as many as the caches hold by default, unless `MEMORY_USERS` is smaller. Then it bounds the caches too,
/// and the measured figure is scaled up.
fn users() -> usize {
    let part = std::env::var_os("MEMORY_USERS").and_then(|part| part.into_string().ok());
    part.map_or(MANY, |part| part.parse().unwrap())
}

/// The `resources.limits.memory` of the shipped manifest, in bytes.
fn shipped_limit() -> usize {
    let manifest = std::fs::read_to_string(root().join(Path::new("envoy/kubernetes/elastauth.yaml"))).unwrap();
    let limit = manifest.split("limits: { memory: ").nth(1).unwrap();
    limit.split("Mi }").next().unwrap().parse::<usize>().unwrap() << 20
}

/// Fills every cache to its bound with tokens of many groups, and then sends as many requests with large headers as may wait.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: make memory"]
async fn memory_at_the_worst_is_within_the_shipped_limit() {
    let (users, groups) = (users(), (0..GROUPS).map(|n| format!("0f1e2d3c-group-of-the-directory-{n:04}")));
    let groups: Vec<String> = groups.chain(["admins".to_owned()]).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let Some(redis) = Redis::start(&[]) else { return };
    let cache = format!("{}\n  near_max_entries: {users}\n  token_max_entries: {users}", redis_cache(&redis.address));
    let slow = "  max_writes: 16\n  timeout: 120s\n  write_timeout: 120s\n";
    let bench = Bench::start_with(&cache, slow, "  deadline: 60s\n").await;
    bench.known("first").await;
    let (idle, issued) = (bench.resident(), now());
    let token = |user: &str, id: usize| {
        let mut claims = bench.issuer.claims(user, &groups, 0);
        (claims["jti"], claims["iat"], claims["exp"]) = (id.into(), issued.into(), (issued + DAY).into());
        bench.issuer.sign(&claims)
    };

    let checker = bench.checker().await;
    let mut open = JoinSet::new();
    let mut half = idle;
    // more than the bounds, so that they are reached
    for n in 0..users + users / 10 {
        if n == users / 2 {
            half = bench.resident();
        }
        if open.len() == AT_ONCE {
            open.join_next().await.unwrap().unwrap();
        }
        let (checker, token) = (checker.clone(), token(&format!("user-{n}"), n));
        // the first request creates the user, the second brings the record into the process
        open.spawn(async move {
            for _ in 0..2 {
                assert!(checker.ask_patiently(&token).await.password().is_some());
            }
        });
    }
    open.join_all().await;
    let full = bench.resident();
    // the first half also takes the memory of connections, so that only the second half is divided
    let each = full.saturating_sub(half) / (users - users / 2);
    let caches = full.saturating_sub(idle) + each * MANY.saturating_sub(users);

    bench.elasticsearch.fail(Faults { delay: PATIENCE * 10, ..Faults::default() });
    let mut waiting = JoinSet::new();
    for n in 0..WAITING {
        let checker = if n % 1024 == 0 { bench.checker().await } else { checker.clone() };
        waiting.spawn(wait(checker, beside_large_headers(&token("late", n))));
    }
    let unavailable = waiting.join_all().await.into_iter().filter(|answer| *answer == Answer::Denied(503)).count();
    assert_eq!(unavailable, WAITING, "each waited, or was refused at once because there is no room");
    let peak = bench.elastauth.process.memory().saturating_sub(full);

    let (whole, limit) = (idle + caches + peak, shipped_limit());
    println!(
        "at the worst: {:.0} MB idle, {:.0} MB for {MANY} users with a token of {GROUPS} groups each (measured with {users}), {:.0} MB at \
         the peak of {WAITING} waiting requests with {HEADERS} bytes of headers: {:.0} MB of the shipped {:.0}",
        megabytes(idle),
        megabytes(caches),
        megabytes(peak),
        megabytes(whole),
        megabytes(limit),
    );
    assert!(whole < limit);
}

async fn wait(checker: Checker, message: Vec<u8>) -> Answer {
    Answer::read(&checker.check(message).await.unwrap())
}

fn beside_large_headers(token: &str) -> Vec<u8> {
    let mut check = CheckRequest::decode(&*bearer(token)).unwrap();
    let http = check.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap();
    http.headers.insert("x-large".into(), "x".repeat(HEADERS - token.len()));
    check.encode_to_vec()
}
