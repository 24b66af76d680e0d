//! How much memory a user and a token take: `make memory`.

use elastauth_support::check::{Answer, bearer};
use elastauth_support::issuer::now;
use elastauth_support::servers::{Redis, redis_cache};
use tokio::task::JoinSet;

use crate::{Bench, megabytes};

const MANY: usize = 100_000;
const DAY: u64 = 86_400;
const AT_ONCE: usize = 64;
const ROOM: &str = "\n  near_max_entries: 200000\n  token_max_entries: 200000";

/// Bytes beyond the process with one user, for each of so many tokens of one user, or of a user each.
async fn each(cache: &str, user: impl Fn(usize) -> String) -> usize {
    let bench = Bench::start(&format!("{cache}{ROOM}"), "  max_writes: 16\n").await;
    bench.known("first").await;
    let before = bench.resident();
    let checker = bench.checker().await;
    let message = |n| {
        let mut claims = bench.issuer.claims(&user(n), &["admins"], 0);
        (claims["jti"], claims["exp"]) = (n.into(), (now() + DAY).into());
        bearer(&bench.issuer.sign(&claims))
    };
    let messages: Vec<_> = (0..MANY).map(message).collect();
    // the first question makes the user, the second brings the record into the process, the third finds it there
    for _ in 0..3 {
        let mut open = JoinSet::new();
        for message in &messages {
            if open.len() == AT_ONCE {
                open.join_next().await.unwrap().unwrap();
            }
            let call = checker.check(message.clone());
            open.spawn(async move { assert!(Answer::read(&call.await.unwrap()).password().is_some()) });
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
