//! When something is down: each cell of the README's table, with the fault between the processes.

use std::path::Path;
use std::time::{Duration, Instant};

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::until;
use elastauth_support::proxy::{Mode, Proxy};
use elastauth_support::servers::{Elastauth, Redis, config, redis_cache};

/// Two replicas; the first one's way to Redis goes through a proxy.
struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    redis: Redis,
    to_redis: Proxy,
    near: Elastauth,
    first: Checker,
    second: Checker,
    _far: Elastauth,
}

const MAX_STALE: &str = "cache:\n  max_stale: 1h\n";

impl Bench {
    async fn start(cache: &str) -> Option<Self> {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let redis = Redis::start(&[])?;
        let to_redis = Proxy::start(&redis.address).await;
        let start = |address: &str| {
            let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(address));
            let yaml =
                yaml.replace("cache:\n", cache).replace("  username: prov", "  write_timeout: 500ms\n  username: prov");
            Elastauth::start(Path::new(env!("CARGO_BIN_EXE_elastauth")), &yaml)
        };
        let (near, far) = (start(&to_redis.address), start(&redis.address));
        for replica in [&near, &far] {
            replica.process.wait_for_line(0, &["Redis tells of changes"]);
        }
        let (first, second) = (Checker::connect(&near.grpc).await, Checker::connect(&far.grpc).await);
        Some(Self { issuer, elasticsearch, redis, to_redis, near, first, second, _far: far })
    }

    fn token(&self, user: &str) -> String {
        self.issuer.token(user, &["admins"])
    }

    /// Known to the first replica itself, and so to Redis.
    async fn in_near(&self, user: &str) -> (String, Answer) {
        let token = self.token(user);
        let from = self.near.process.lines().len();
        let made = self.first.ask(&token).await;
        // the push of our own write may still be on its way: afterwards a hit stays near
        until("a near hit", || async {
            self.first.ask(&token).await;
            self.near.process.lines().iter().skip(from).any(|line| line.contains("\"source\":\"Near\""))
        })
        .await;
        (token, made)
    }

    /// Known to Redis, and not to the first replica.
    async fn in_redis(&self, user: &str) -> (String, Answer) {
        let token = self.token(user);
        let made = self.second.ask(&token).await;
        (token, made)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_down_or_silent_serves_whom_the_process_knows_and_writes_nothing() {
    let Some(bench) = Bench::start(MAX_STALE).await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    let carol = bench.token("carol");
    for (fault, bob) in [(Mode::Refuse, "bob"), (Mode::Stall, "bert")] {
        let (bob, bobs) = bench.in_redis(bob).await;
        assert!(anns.password().is_some() && bobs.password().is_some());
        let writes = bench.elasticsearch.history().len();
        let from = bench.near.process.lines().len();
        bench.to_redis.set(fault);
        assert_eq!(bench.first.ask(&ann).await, anns, "{fault:?}");
        assert_eq!(bench.first.ask(&bob).await, Answer::Denied(503), "{fault:?}");
        let began = Instant::now();
        for _ in 0..50 {
            assert_eq!(bench.first.ask(&carol).await, Answer::Denied(503), "{fault:?}");
            assert_eq!(bench.first.ask(&ann).await, anns, "{fault:?}");
        }
        // one time-out each would be 25 s
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{fault:?}: a breaker answers at once: {:?}",
            began.elapsed()
        );
        bench.near.process.wait_for_line(from, &["cache_unavailable"]);
        assert_eq!(bench.elasticsearch.history().len(), writes, "an outage is no write storm");
        bench.to_redis.set(Mode::Pass);
        until("Redis again", || async { bench.first.ask(&bob).await == bobs }).await;
    }
    assert!(bench.first.ask(&carol).await.password().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_down_serves_whom_the_process_knows_only_up_to_max_stale() {
    let Some(bench) = Bench::start("cache:\n  max_stale: 300ms\n").await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    bench.to_redis.set(Mode::Refuse);
    assert_eq!(bench.first.ask(&ann).await, anns);
    until("the end of max_stale", || async { bench.first.ask(&ann).await == Answer::Denied(503) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_redis_serves_all_the_same() {
    let Some(bench) = Bench::start(MAX_STALE).await else { return };
    bench.to_redis.set(Mode::Slow(Duration::from_millis(20)));
    assert!(bench.first.ask(&bench.token("ann")).await.password().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_down_serves_the_cached_and_keeps_the_agreed_password_for_the_next_attempt() {
    let Some(bench) = Bench::start(MAX_STALE).await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    let (bob, bobs) = bench.in_redis("bob").await;
    // applied, but the answer never comes: whether it was is unknown
    bench.elasticsearch.fail(Faults {
        delay: Duration::from_secs(2),
        apply_after_client_gave_up: true,
        ..Faults::default()
    });
    assert_eq!(bench.first.ask(&ann).await, anns);
    assert_eq!(bench.first.ask(&bob).await, bobs);
    let carol = bench.token("carol");
    assert_eq!(bench.first.ask(&carol).await, Answer::Denied(503));
    bench.elasticsearch.fail(Faults { get_status: Some(503), ..Faults::default() });
    assert_eq!(bench.first.ask(&carol).await, Answer::Denied(503));
    assert_eq!(bench.first.ask(&ann).await, anns);
    bench.elasticsearch.fail(Faults::default());
    until("Elasticsearch again", || async { bench.first.ask(&carol).await.password().is_some() }).await;
    let writes = bench.elasticsearch.history();
    let carols: Vec<_> = writes.iter().filter(|write| write.user == "carol").map(|write| &write.password).collect();
    assert!(carols.iter().all(|password| *password == carols[0]), "every attempt sends the agreed password");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_identity_provider_the_keys_in_hand_verify() {
    let Some(bench) = Bench::start(MAX_STALE).await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    bench.issuer.set_down(true);
    assert_eq!(bench.first.ask(&ann).await, anns);
    assert!(bench.first.ask(&bench.token("bob")).await.password().is_some(), "a new token");
    // keys are fetched at start, so only a replica that starts now has none
    let yaml = config(&bench.issuer.url, &bench.elasticsearch.url, &redis_cache(&bench.redis.address));
    let late = Elastauth::start(Path::new(env!("CARGO_BIN_EXE_elastauth")), &yaml);
    let asked = Checker::connect(&late.grpc).await.ask(&bench.token("carol")).await;
    assert_eq!(asked, Answer::Denied(503), "no keys yet");
    bench.issuer.set_down(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_lost_its_data_provisions_anew() {
    let Some(bench) = Bench::start(MAX_STALE).await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    bench.redis.command(&["FLUSHALL"]);
    until("the flush", || async {
        let now = bench.first.ask(&ann).await;
        now.password().is_some() && now != anns
    })
    .await;
    let now = bench.first.ask(&ann).await;
    assert_eq!(bench.second.ask(&ann).await, now, "both agree");
    assert_eq!(bench.elasticsearch.user("ann").unwrap().password, now.password().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_replica_or_an_operator_changes_holds_at_the_next_request() {
    let Some(bench) = Bench::start(MAX_STALE).await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    let from = bench.near.process.lines().len();
    bench.redis.command(&["DEL", "elastauth-YW5u"]);
    let anew = bench.second.ask(&ann).await;
    assert!(anew.password().is_some() && anew != anns, "the other replica made a new password");
    // the push needs no longer than the answer that just came
    until("the push", || async { bench.first.ask(&ann).await == anew }).await;
    assert_eq!(bench.elasticsearch.history().iter().filter(|write| write.user == "ann").count(), 2);
    let lines = bench.near.process.lines();
    let misses = lines.iter().skip(from).filter(|line| line.contains("Cache miss")).count();
    assert_eq!(misses, 0, "it took what Redis has");
}
