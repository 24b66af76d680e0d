//! A replica that stood still, as in a machine that was suspended or a container that was paused: what it knew meanwhile may have
//! changed, and the reports of that are still unread when it wakes.

use std::time::{Duration, Instant};

use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::until;
use elastauth_support::servers::{Elastauth, Redis, config, redis_cache};

const USERS: usize = 15;
/// Longer than the near cache is trusted after the last heartbeat, at the shipped time-outs.
const FROZEN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stood_still_hands_out_nothing_that_changed_meanwhile() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    let (frozen, other) = (Elastauth::start(elastauth!(), &yaml), Elastauth::start(elastauth!(), &yaml));
    for replica in [&frozen, &other] {
        replica.process.wait_for_line(0, &["Redis reports changes"]);
    }
    let (at_frozen, at_other) = (Checker::connect(&frozen.grpc).await, Checker::connect(&other.grpc).await);
    let users: Vec<_> = (0..USERS).map(|n| format!("u{n}")).collect();
    let tokens: Vec<_> = users.iter().map(|user| issuer.token(user, &["admins"])).collect();
    for token in &tokens {
        at_other.ask(token).await;
    }
    until("all users in the near cache", async || {
        let from = frozen.process.lines().len();
        for token in &tokens {
            at_frozen.ask(token).await;
        }
        let hit = |line: &&String| line.contains("Cache hit") && line.contains("\"source\":\"Near\"");
        frozen.process.lines().iter().skip(from).filter(hit).count() == USERS
    })
    .await;

    frozen.process.stall();
    let since = Instant::now();
    // their reports come before those of the users: as in a crowd, reading them takes longer than a hit
    redis.command(&["EVAL", "for n = 1, ARGV[1] do redis.call('SET', 'elastauth-other' .. n, '') end", "0", "50000"]);
    for user in &users {
        elasticsearch.forget_copy(user);
    }
    redis.command(&["FLUSHALL"]);
    for token in &tokens {
        at_other.ask(token).await;
    }
    until("the time to wake", async || since.elapsed() > FROZEN).await;
    // these are in the sockets when it wakes, just as the reports of the changes
    let asked: Vec<_> = tokens
        .iter()
        .map(|token| {
            let (checker, token) = (at_frozen.clone(), token.clone());
            tokio::spawn(async move { checker.ask(&token).await })
        })
        .collect();
    tokio::task::yield_now().await;
    frozen.process.resume();
    let mut stale = Vec::new();
    for (user, answer) in users.iter().zip(asked) {
        let (answer, now) = (answer.await.unwrap(), elasticsearch.user(user).unwrap().password);
        assert!(answer.password().is_some(), "{user}: {answer:?}");
        if answer.password() != Some(now.as_str()) {
            stale.push(user);
        }
    }
    assert!(stale.is_empty(), "passwords of before for {stale:?}");
}
