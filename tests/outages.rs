//! When something is down: each cell of the table in `docs/operations.md`, with the fault between the processes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use elastauth::credentials::CacheKey;
use elastauth::identity::Username;
use elastauth_support::certificates::Authority;
use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::fixture::with_elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{free_port, until};
use elastauth_support::proxy::{Mode, Proxy};
use elastauth_support::resp::{greets_with, hello};
use elastauth_support::servers::{Elastauth, REDIS_PASSWORD, Redis, config, redis_cache};

/// Two replicas; the first one's connections to Redis go through a proxy.
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
/// Nothing but what is shipped.
const SHIPPED: &str = "cache:\n";

impl Bench {
    async fn start(cache: &str) -> Option<Self> {
        Self::start_with(cache, &[]).await
    }

    /// With further options of redis-server.
    async fn start_with(cache: &str, redis: &[&str]) -> Option<Self> {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let redis = Redis::start(redis)?;
        let to_redis = Proxy::start(&redis.address).await;
        let start = |address: &str| {
            let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(address));
            let yaml = with_elasticsearch(&yaml.replace("cache:\n", cache), "  write_timeout: 500ms\n");
            Elastauth::start(elastauth!(), &yaml)
        };
        let (near, far) = (start(&to_redis.address), start(&redis.address));
        for replica in [&near, &far] {
            replica.process.wait_for_line(0, &["Redis reports changes"]);
        }
        let (first, second) = (Checker::connect(&near.grpc).await, Checker::connect(&far.grpc).await);
        Some(Self { issuer, elasticsearch, redis, to_redis, near, first, second, _far: far })
    }

    fn token(&self, user: &str) -> String {
        self.issuer.token(user, &["admins"])
    }

    /// The answer of `/ready` of the first replica.
    async fn ready(&self) -> (u16, serde_json::Value) {
        ready(&self.near).await
    }

    /// The number of lines in the first replica's log that contain this text.
    fn told(&self, text: &str) -> usize {
        self.near.process.lines().iter().filter(|line| line.contains(text)).count()
    }

    /// Makes a user that is in the first replica's near cache, and so in Redis.
    async fn in_near(&self, user: &str) -> (String, Answer) {
        let token = self.token(user);
        let from = self.near.process.lines().len();
        let made = self.first.ask(&token).await;
        // the invalidation caused by the replica's own write may still arrive; afterwards every hit is from the near cache
        until("a near hit", || async {
            self.first.ask(&token).await;
            self.near.process.lines().iter().skip(from).any(|line| line.contains("\"source\":\"Near\""))
        })
        .await;
        (token, made)
    }

    /// Makes a user that is in Redis, but not in the first replica's near cache.
    async fn in_redis(&self, user: &str) -> (String, Answer) {
        let token = self.token(user);
        let made = self.second.ask(&token).await;
        (token, made)
    }
}

async fn ready(elastauth: &Elastauth) -> (u16, serde_json::Value) {
    let answer = elastauth_support::http().get(format!("{}/ready", elastauth.http)).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
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
        // with a time-out for each request it would take 25 s
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{fault:?}: a breaker answers at once: {:?}",
            began.elapsed()
        );
        bench.near.process.wait_for_line(from, &["cache_unavailable"]);
        assert_eq!(bench.elasticsearch.history().len(), writes, "an outage causes no writes");
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
    let Some(bench) = Bench::start(SHIPPED).await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    let (bob, bobs) = bench.in_redis("bob").await;
    let from = bench.near.process.lines().len();
    // there and back: most of the time of one command
    bench.to_redis.set(Mode::Slow(Duration::from_millis(75)));
    assert_eq!(bench.first.ask(&ann).await, anns, "known to the process");
    assert_eq!(bench.first.ask(&bob).await, bobs, "in Redis only");
    assert!(bench.first.ask(&bench.token("carol")).await.password().is_some(), "new");
    assert!(!bench.near.process.lines().iter().skip(from).any(|line| line.contains("The cache does not answer")));
}

/// Makes users that are in Redis.
async fn crowd(bench: &Bench, number: usize) -> Vec<(String, Answer)> {
    let mut made = Vec::new();
    for n in 0..number {
        made.push(bench.in_redis(&format!("crowd{n}")).await);
    }
    assert!(made.iter().all(|(_, answer)| answer.password().is_some()));
    made
}

/// Asks for all of them at once, and returns the number of those that were not answered as before.
async fn not_served(checker: &Checker, crowd: &[(String, Answer)]) -> usize {
    let asked = crowd.iter().map(|(token, made)| async move { (checker.ask(token).await, made) });
    let answers = futures_util::future::join_all(asked).await;
    let differ: Vec<_> = answers.into_iter().filter(|(answer, made)| answer != *made).collect();
    println!("not served: {differ:?}");
    differ.len()
}

/// A replica that has just started is asked for many at once, while each connection takes longer than a command may.
#[tokio::test(flavor = "multi_thread")]
async fn a_cold_crowd_waits_for_connections_that_take_long_and_nobody_is_refused() {
    let Some(bench) = Bench::start(SHIPPED).await else { return };
    let crowd = crowd(&bench, 200).await;
    let slow = Proxy::start(&bench.redis.address).await;
    slow.set(Mode::SlowConnect(Duration::from_millis(350)));
    let yaml = config(&bench.issuer.url, &bench.elasticsearch.url, &redis_cache(&slow.address));
    let connections = || bench.redis.command(&["CLIENT", "LIST"]).matches("laddr=").count();
    let before = connections();
    let cold = Elastauth::start(elastauth!(), &yaml);
    let warm = connections().saturating_sub(before);
    let checker = Checker::connect(&cold.grpc).await;
    assert_eq!(not_served(&checker, &crowd).await, 0, "of {}", crowd.len());
    assert!(warm >= 4, "connections are made before the port is bound: {warm}");
    assert!(!cold.process.lines().iter().any(|line| line.contains("The cache does not answer")));
}

/// The same over TLS with the authorities of the system, of which there are many.
#[tokio::test(flavor = "multi_thread")]
async fn a_cold_crowd_over_tls_with_the_authorities_of_the_system_is_served() {
    let (authority, folder) = (Authority::new("redis"), tempfile::tempdir().unwrap());
    let server = authority.server();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let system = std::fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    let (ca, cert, key) = (
        file("system.pem", &format!("{system}\n{}", authority.pem)),
        file("cert.pem", &server.cert),
        file("key.pem", &server.key),
    );
    let port = free_port().to_string();
    let options = ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let Some(bench) = Bench::start_with(SHIPPED, &[&options[..], &["--tls-ca-cert-file", &ca]].concat()).await else {
        return;
    };
    let crowd = crowd(&bench, 200).await;
    let slow = Proxy::start(&format!("127.0.0.1:{port}")).await;
    slow.set(Mode::SlowConnect(Duration::from_millis(350)));
    let cache = redis_cache(&format!("rediss://{}", slow.address));
    let yaml = config(&bench.issuer.url, &bench.elasticsearch.url, &cache);
    let cold = Elastauth::start_under(elastauth!(), &yaml, &[("SSL_CERT_FILE", &ca)]);
    let checker = Checker::connect(&cold.grpc).await;
    assert_eq!(not_served(&checker, &crowd).await, 0, "of {}", crowd.len());
}

/// The network forgets connections, as a firewall does with idle ones: nothing says so, and new ones work.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_dead_without_a_sign_of_it_refuse_nobody() {
    let Some(bench) = Bench::start("cache:\n  max_stale: 1ms\n").await else { return };
    let crowd = crowd(&bench, 60).await;
    for (round, part) in crowd.chunks(20).enumerate() {
        assert_eq!(not_served(&bench.first, &part[..10]).await, 0);
        bench.to_redis.set(Mode::StallOpen);
        assert_eq!(not_served(&bench.first, &part[10..]).await, 0, "of 10 in Redis");
        assert!(bench.first.ask(&bench.token(&format!("new-{round}"))).await.password().is_some());
        bench.to_redis.set(Mode::Pass);
    }
    assert_eq!(bench.told("The cache does not answer"), 0);
}

/// Redis holds writes back during `FAILOVER`, as it does here, and answers reads.
#[tokio::test(flavor = "multi_thread")]
async fn redis_that_does_not_answer_writes_serves_whom_it_knows_at_once() {
    let Some(bench) = Bench::start(SHIPPED).await else { return };
    until("Elasticsearch is seen to be well", || async { bench.ready().await.1["status"] == "ok" }).await;
    let crowd = crowd(&bench, 50).await;
    let newcomers: Vec<_> = (0..100).map(|n| bench.token(&format!("new{n}"))).collect();
    bench.redis.command(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let (served, denied) = tokio::join!(not_served(&bench.first, &crowd), async {
        let asked = newcomers.iter().map(|token| bench.first.ask(token));
        futures_util::future::join_all(asked).await
    });
    assert_eq!(served, 0, "of {} in Redis", crowd.len());
    assert!(denied.iter().all(|answer| *answer == Answer::Denied(503)), "{denied:?}");
    let (status, body) = bench.ready().await;
    assert_eq!((status, body["status"].as_str()), (200, Some("degraded")), "{body}");
    bench.near.process.wait_for_line(0, &["The cache does not answer writes"]);
    assert_eq!(bench.told("\"The cache does not answer\""), 0, "it answers reads");
    let began = Instant::now();
    for token in &newcomers {
        assert_eq!(bench.first.ask(token).await, Answer::Denied(503));
    }
    // with a time-out for each it would take 25 s
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    bench.redis.command(&["CLIENT", "UNPAUSE"]);
    until("a new user", || async { bench.first.ask(&newcomers[0]).await.password().is_some() }).await;
    bench.near.process.wait_for_line(0, &["The cache answers writes again"]);
}

/// A program writes values of another type under some keys all the time. Without scripts, a write may meet one.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_redis_answers_again_and_again_stops_nobody_else() {
    let user = format!("elastauth on >{REDIS_PASSWORD} ~elastauth-* +@read +@write +client|tracking");
    let options: Vec<_> = ["--user"].into_iter().chain(user.split(' ')).collect();
    let Some(bench) = Bench::start_with("cache:\n  redis_username: elastauth\n", &options).await else { return };
    let crowd = crowd(&bench, 200).await;
    let spoiled: Vec<_> = (0..10).map(|n| format!("spoiled{n}")).collect();
    let tokens: Vec<_> = spoiled.iter().map(|user| bench.token(user)).collect();
    let keys: Vec<_> = spoiled.iter().map(|user| CacheKey::of(&Username::parse(user).unwrap())).collect();
    let spoil = "for _, key in ipairs(KEYS) do redis.call('DEL', key) redis.call('HSET', key, 'f', 'v') end return 1";
    let number = keys.len().to_string();
    let command: Vec<_> = ["EVAL", spoil, &number].into_iter().chain(keys.iter().map(CacheKey::as_str)).collect();
    let ends = AtomicBool::new(false);
    let (differ, spoilt) = std::thread::scope(|scope| {
        let spoils = scope.spawn(|| {
            let commands = std::iter::repeat_with(|| bench.redis.command(&command));
            commands.take_while(|_| !ends.load(Ordering::Relaxed)).count()
        });
        let asked = async {
            let known = async {
                let mut differ = 0;
                for part in crowd.chunks(2) {
                    differ += not_served(&bench.first, part).await;
                }
                ends.store(true, Ordering::Relaxed);
                differ
            };
            let spoilt = async {
                while !ends.load(Ordering::Relaxed) {
                    futures_util::future::join_all(tokens.iter().map(|token| bench.first.ask(token))).await;
                }
            };
            tokio::join!(known, spoilt).0
        };
        let differ = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(asked));
        (differ, spoils.join().unwrap())
    });
    assert!(spoilt > 50, "{spoilt}");
    assert_eq!(differ, 0, "of {}", crowd.len());
    assert_eq!(bench.told("The cache does not answer"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_down_serves_the_cached_and_keeps_the_agreed_password_for_the_next_attempt() {
    let Some(bench) = Bench::start(MAX_STALE).await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    let (bob, bobs) = bench.in_redis("bob").await;
    // the writes are applied but never answered, so that their results are unknown
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
    let served = bench.first.ask(&carol).await;
    // also those that were given up, and are applied later or never
    let puts = bench.elasticsearch.puts();
    let sent: Vec<_> = puts.iter().filter(|put| put.user == "carol").map(|put| put.password.as_deref()).collect();
    assert!(sent.len() >= 2, "the first attempt was given up, and another one succeeded: {}", sent.len());
    assert!(sent.iter().all(|password| *password == served.password()), "every attempt sends the agreed password");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_identity_provider_the_keys_in_hand_verify() {
    let Some(bench) = Bench::start(MAX_STALE).await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    bench.issuer.set_down(true);
    assert_eq!(bench.first.ask(&ann).await, anns);
    assert!(bench.first.ask(&bench.token("bob")).await.password().is_some(), "a new token");
    // keys are fetched at the start, so that only a replica which starts now has none
    let yaml = config(&bench.issuer.url, &bench.elasticsearch.url, &redis_cache(&bench.redis.address));
    let late = Elastauth::start(elastauth!(), &yaml);
    let asked = Checker::connect(&late.grpc).await.ask(&bench.token("carol")).await;
    assert_eq!(asked, Answer::Denied(503), "no keys yet");
    bench.issuer.set_down(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_lost_its_data_costs_no_write_where_elasticsearch_keeps_the_password() {
    let Some(bench) = Bench::start(MAX_STALE).await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    let flush = || async {
        bench.redis.command(&["FLUSHALL"]);
        until("a record again", || async {
            bench.first.ask(&ann).await;
            bench.redis.command(&["EXISTS", "elastauth-YW5u"]).starts_with(":1")
        })
        .await;
        let now = bench.first.ask(&ann).await;
        assert_eq!(bench.second.ask(&ann).await, now, "both agree");
        assert_eq!(bench.elasticsearch.user("ann").unwrap().password, now.password().unwrap());
        now
    };
    assert_eq!(flush().await, anns);
    assert_eq!(bench.elasticsearch.puts().len(), 1);
    bench.elasticsearch.forget_copy("ann");
    assert_ne!(flush().await, anns);
    assert_eq!(bench.elasticsearch.puts().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_replica_or_an_operator_changes_holds_at_the_next_request() {
    let Some(bench) = Bench::start(MAX_STALE).await else { return };
    let (ann, anns) = bench.in_near("ann").await;
    let from = bench.near.process.lines().len();
    bench.elasticsearch.forget_copy("ann");
    bench.redis.command(&["DEL", "elastauth-YW5u"]);
    let anew = bench.second.ask(&ann).await;
    assert!(anew.password().is_some() && anew != anns, "the other replica made a new password");
    // the invalidation arrives about as soon as the answer above
    until("the push", || async { bench.first.ask(&ann).await == anew }).await;
    assert_eq!(bench.elasticsearch.history().iter().filter(|write| write.user == "ann").count(), 2);
    let lines = bench.near.process.lines();
    let misses = lines.iter().skip(from).filter(|line| line.contains("Cache miss")).count();
    assert_eq!(misses, 0, "it took the record from Redis");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_refuses_writes_serves_whom_it_knows_and_ready_says_why() {
    let Some(bench) = Bench::start(SHIPPED).await else { return };
    until("Elasticsearch is seen to be well", || async { bench.ready().await.1["status"] == "ok" }).await;
    for (round, (setting, code)) in [("maxmemory", "OOM"), ("min-replicas-to-write", "NOREPLICAS")].iter().enumerate() {
        let mut known = Vec::new();
        for n in 0..10 {
            known.push(bench.in_redis(&format!("known-{round}-{n}")).await);
        }
        let writes = bench.elasticsearch.history().len();
        bench.redis.command(&["CONFIG", "SET", setting, "1"]);
        for (n, (token, made)) in known.iter().enumerate() {
            let new = bench.token(&format!("new-{round}-{n}"));
            assert_eq!(bench.first.ask(&new).await, Answer::Denied(503), "{code}: a new user");
            assert_eq!(bench.first.ask(token).await, *made, "{code}: a user that is in Redis");
        }
        let (status, body) = bench.ready().await;
        assert_eq!((status, body["status"].as_str()), (200, Some("degraded")), "{body}");
        assert!(body["cache"].as_str().unwrap().contains(code), "{body}");
        bench.near.process.wait_for_line(0, &["cache_unavailable", code]);
        assert_eq!(bench.elasticsearch.history().len(), writes, "only agreed credentials are written");
        bench.redis.command(&["CONFIG", "SET", setting, "0"]);
        assert_eq!(bench.ready().await.1["status"], "ok");
        assert!(bench.first.ask(&bench.token(&format!("new-{round}-0"))).await.password().is_some());
    }
    assert_eq!(bench.told("The cache does not answer"), 0, "Redis did answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_can_be_no_record_is_replaced_for_its_user_and_nobody_else_notices() {
    let Some(bench) = Bench::start(SHIPPED).await else { return };
    let long = (100 * 1024 * 1024).to_string();
    for (round, value) in [&["HSET", "f", "v"][..], &["RPUSH", "v"], &["SETRANGE", &long, "x"]].into_iter().enumerate()
    {
        let (ann, bob) = (format!("ann{round}"), format!("bob{round}"));
        let key = CacheKey::of(&Username::parse(&ann).unwrap());
        let (token, _) = bench.in_redis(&ann).await;
        let (bobs_token, bobs) = bench.in_redis(&bob).await;
        let memory = bench.near.process.memory();
        bench.redis.command(&["DEL", key.as_str()]);
        let [command, rest @ ..] = value else { panic!("a command") };
        bench.redis.command(&[&[*command, key.as_str()], rest].concat());
        let writes = bench.elasticsearch.history().len();
        let made = bench.first.ask(&token).await;
        assert!(made.password().is_some(), "{value:?}: {made:?}");
        assert_eq!(bench.first.ask(&bobs_token).await, bobs);
        assert_eq!(bench.second.ask(&token).await, made, "the replicas agree again");
        assert_eq!(bench.elasticsearch.history().len(), writes + 1, "{value:?}");
        let grown = bench.near.process.memory() - memory;
        assert!(grown < 30 * 1024 * 1024, "{value:?}: {grown} bytes");
    }
    assert_eq!(bench.told("The cache does not answer"), 0);
}

/// When the value cannot be replaced either, every request finds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_can_be_no_record_and_cannot_be_replaced_does_not_fill_the_log() {
    let Some(bench) = Bench::start(SHIPPED).await else { return };
    bench.redis.command(&["HSET", "elastauth-YW5u", "f", "v"]);
    bench.redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let ann = bench.token("ann");
    for _ in 0..50 {
        assert_eq!(bench.first.ask(&ann).await, Answer::Denied(503));
    }
    assert_eq!(bench.told("the cached record is broken"), 1);
    assert_eq!(bench.told("The cache does not answer"), 0);
    bench.redis.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    assert!(bench.first.ask(&ann).await.password().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_is_too_old_is_said_at_start_and_by_ready_with_the_version_that_is_needed() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let redis = greets_with(&hello("6.2.14"));
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis));
    let elastauth = Elastauth::start(elastauth!(), &yaml);
    let needed = "Redis 7.0 or later is needed: the server says that it is 6.2.14";
    elastauth.process.wait_for_line(0, &["\"level\":\"error\"", &redis, needed]);
    let (status, body) = ready(&elastauth).await;
    assert!(status == 503 && body["cache"].as_str().unwrap().contains(needed), "{body}");
    let asked = Checker::connect(&elastauth.grpc).await.ask(&issuer.token("ann", &["admins"])).await;
    assert_eq!(asked, Answer::Denied(503));
    elastauth.process.wait_for_line(0, &["cache_unavailable", needed]);
}
