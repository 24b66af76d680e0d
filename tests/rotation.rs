//! `secret_key` is exchanged while replicas serve, and records that no key can open are purged.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

use elastauth::credentials::CacheKey;
use elastauth::identity::Username;
use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::fixture::serve;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{self, until};
use elastauth_support::resp::{Reply, Resp};
use elastauth_support::servers::{Elastauth, REDIS_PASSWORD, Redis, config, redis_cache};

const OLD: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
// base64 of 32 bytes
const NEW: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

fn key(user: &str) -> CacheKey {
    CacheKey::of(&Username::parse(user).unwrap())
}

struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    redis: Redis,
}

impl Bench {
    async fn new() -> Option<Self> {
        let redis = Redis::start(&[])?;
        Some(Self { issuer: Issuer::start().await, elasticsearch: Elasticsearch::start().await, redis })
    }

    fn config(&self, current: &str, previous: &[&str]) -> String {
        let yaml = config(&self.issuer.url, &self.elasticsearch.url, &redis_cache(&self.redis.address));
        let yaml = yaml.replace(&format!("secret_key: \"{OLD}\""), &format!("secret_key: \"{current}\""));
        format!("{yaml}previous_secret_keys: {previous:?}\n")
    }

    async fn start(&self, current: &str, previous: &[&str]) -> (Elastauth, Checker) {
        let yaml = self.config(current, previous);
        serve(elastauth!(), &yaml).await
    }

    /// The version and the key id of a record, which identify the key that sealed it.
    fn sealed_by(&self, user: &str) -> Vec<u8> {
        let mut redis = Resp::connect(&self.redis.address, REDIS_PASSWORD);
        redis.command(&[b"GET", key(user).as_str().as_bytes()]).bytes().unwrap()[..5].to_vec()
    }

    /// How often Redis received the command that compares a record and sets it.
    fn rewrites(&self) -> usize {
        let mut redis = Resp::connect(&self.redis.address, REDIS_PASSWORD);
        let statistics = redis.command(&[b"INFO", b"commandstats"]).bytes().unwrap();
        let statistics = String::from_utf8(statistics).unwrap();
        let calls = statistics.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")?.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    async fn ask_all(&self, checker: &Checker, made: &[(String, Answer)]) {
        for (user, answer) in made {
            assert_eq!(checker.ask(&self.issuer.token(user, &["admins"])).await, *answer, "{user}");
        }
    }

    /// Runs `elastauth cache purge` with these arguments.
    fn purge(&self, current: &str, flags: &[&str]) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yml");
        fs::write(&file, self.config(current, &[])).unwrap();
        run(&file, &[&["cache", "purge"], flags].concat())
    }
}

fn run(config: &Path, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(elastauth!());
    let output = process::run(command.env_clear().arg("--config").arg(config).args(words), "").unwrap();
    (output.status.success(), process::said(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_exchanged_in_three_steps_and_no_request_is_refused() {
    let Some(bench) = Bench::new().await else { return };
    let mut made: Vec<(String, Answer)> = Vec::new();
    let mut one = bench.start(OLD, &[]).await;
    let mut two = bench.start(OLD, &[]).await;
    for user in ["first", "second"] {
        made.push((user.to_owned(), one.1.ask(&bench.issuer.token(user, &["admins"])).await));
    }
    bench.ask_all(&two.1, &made).await;
    let steps: [(&str, &[&str]); 3] = [(OLD, &[NEW]), (NEW, &[OLD]), (NEW, &[])];
    for (step, (current, previous)) in steps.into_iter().enumerate() {
        // the replicas change one after the other, so that they have different keys for a while
        one = bench.start(current, previous).await;
        for (replica, other) in [(&one.1, &two.1), (&two.1, &one.1)] {
            let user = format!("u{}", made.len());
            let answer = replica.ask(&bench.issuer.token(&user, &["admins"])).await;
            assert!(answer.password().is_some(), "{user} in step {step}: {answer:?}");
            made.push((user, answer));
            bench.ask_all(replica, &made).await;
            bench.ask_all(other, &made).await;
        }
        two = bench.start(current, previous).await;
        bench.ask_all(&two.1, &made).await;
        bench.ask_all(&one.1, &made).await;
        if current == NEW && !previous.is_empty() {
            // records in use are sealed anew, after which the old key may be removed
            let newest = bench.sealed_by(&made.last().unwrap().0);
            until("every record to be sealed with the new key", || async {
                bench.ask_all(&one.1, &made).await;
                made.iter().all(|(user, _)| bench.sealed_by(user) == newest)
            })
            .await;
        }
    }
    assert_eq!(bench.elasticsearch.history().len(), made.len(), "no user got a second password");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_different_keys_do_not_seal_a_record_back_and_forth() {
    let Some(bench) = Bench::new().await else { return };
    let (_one, first) = bench.start(NEW, &[OLD]).await;
    let (_two, second) = bench.start(OLD, &[NEW]).await;
    let token = bench.issuer.token("ann", &["admins"]);
    let made = first.ask(&token).await;
    // a count of commands, because two changes between two reads of the record would be missed
    let before = bench.rewrites();
    for _ in 0..200 {
        assert_eq!(first.ask(&token).await, made);
        assert_eq!(second.ask(&token).await, made);
    }
    let rewrites = bench.rewrites() - before;
    assert!((1..=2).contains(&rewrites), "once by each at most: {rewrites}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_removes_what_no_key_opens_and_only_when_told_to() {
    let Some(bench) = Bench::new().await else { return };
    let (_old, before) = bench.start(OLD, &[]).await;
    for user in ["old1", "old2"] {
        before.ask(&bench.issuer.token(user, &["admins"])).await;
    }
    let (_new, after) = bench.start(NEW, &[]).await;
    let token = bench.issuer.token("new1", &["admins"]);
    let made = after.ask(&token).await;
    let mut redis = Resp::connect(&bench.redis.address, REDIS_PASSWORD);
    let go = key("go1");
    redis.command(&[b"SET", go.as_str().as_bytes(), b"OTQzYzQ1ZTI=", b"PX", b"100000"]);
    redis.command(&[b"SET", b"session-1", b"of somebody else"]);
    let locked_out = after.ask(&bench.issuer.token("old1", &["admins"])).await;
    assert_eq!(locked_out, Answer::Denied(503), "the key of the record was removed too early");
    let keys = |redis: &mut Resp| redis.command(&[b"DBSIZE"]);

    let (ended_well, said) = bench.purge(NEW, &[]);
    assert!(ended_well && said.contains("dry run"), "{said}");
    assert!(said.contains(go.as_str()) && said.contains(key("old1").as_str()), "{said}");
    assert_eq!(keys(&mut redis), Reply::Number(5));

    let stranger = "ab".repeat(32);
    let (ended_well, said) = bench.purge(&stranger, &["--yes"]);
    assert!(!ended_well && said.contains("--even-all"), "{said}");
    assert_eq!(keys(&mut redis), Reply::Number(5), "a wrong key removes nothing");

    let (ended_well, said) = bench.purge(NEW, &["--yes"]);
    assert!(ended_well && said.contains("3 removed"), "{said}");
    assert_eq!(keys(&mut redis), Reply::Number(2));
    assert_eq!(after.ask(&token).await, made);
    let again = after.ask_patiently(&bench.issuer.token("old1", &["admins"])).await;
    assert!(again.password().is_some(), "and the next request makes a new password");
}

/// Two releases run beside each other during an upgrade: the older one must not give the newer one's users other passwords.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_in_the_format_of_a_later_release_is_refused_and_stays_until_it_is_purged() {
    let Some(bench) = Bench::new().await else { return };
    let token = bench.issuer.token("ann", &["admins"]);
    let (_one, first) = bench.start(OLD, &[]).await;
    let made = first.ask(&token).await;
    assert!(made.password().is_some(), "{made:?}");
    let mut redis = Resp::connect(&bench.redis.address, REDIS_PASSWORD);
    let name = key("ann");
    let record = redis.command(&[b"GET", name.as_str().as_bytes()]).bytes().unwrap();
    let mut set = |bytes: &[u8]| redis.command(&[b"SET", name.as_str().as_bytes(), bytes, b"KEEPTTL"]);
    let later = [&[record[0] + 1], &record[1..]].concat();
    set(&later);

    let (two, second) = bench.start(OLD, &[]).await;
    assert_eq!(second.ask(&token).await, Answer::Denied(503));
    let refusal = two.process.lines().into_iter().find(|line| line.contains("Request denied")).unwrap();
    assert!(refusal.contains("cache_format_newer") && refusal.contains("later release"), "{refusal}");
    assert_eq!(bench.elasticsearch.history().len(), 1, "nothing was written");

    set(&record);
    assert_eq!(second.ask_patiently(&token).await, made, "the record is as it was");
    set(&later);
    let (ended_well, said) = bench.purge(OLD, &["--yes", "--even-all"]);
    assert!(ended_well && said.contains("format of a later release") && said.contains("1 removed"), "{said}");
    assert!(second.ask_patiently(&token).await.password().is_some(), "a way back to this release has a way out");
}

/// More records than one step of `SCAN` returns, and no scripts.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_acl_line_is_enough_for_a_purge() {
    let acl = ["--user", "elastauth", "on", ">of-elastauth", "~elastauth-*", "+@read", "+@write"];
    let Some(redis) = Redis::start(&acl) else { return };
    let mut operator = Resp::connect(&redis.address, REDIS_PASSWORD);
    for n in 0..2500 {
        operator.command(&[b"SET", format!("elastauth-{n}").as_bytes(), b"OTQzYzQ1ZTI=", b"PX", b"100000"]);
    }
    operator.command(&[b"SET", b"session-1", b"of somebody else"]);
    let cache = redis_cache(&redis.address);
    let cache = cache
        .replace(REDIS_PASSWORD, "of-elastauth")
        .replace("  type: redis", "  type: redis\n  redis_username: elastauth");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    fs::write(&file, config("http://127.0.0.1:1", "http://127.0.0.1:1", &cache)).unwrap();
    let (ended_well, said) = run(&file, &["cache", "purge", "--yes", "--even-all"]);
    assert!(ended_well && said.contains("2500 removed"), "{}", said.lines().last().unwrap());
    assert_eq!(operator.command(&[b"DBSIZE"]), Reply::Number(1));
}

#[test]
fn a_purge_of_a_cache_in_memory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    fs::write(&file, config("http://127.0.0.1:1", "http://127.0.0.1:1", "  type: memory")).unwrap();
    let (ended_well, said) = run(&file, &["cache", "purge"]);
    assert!(!ended_well && said.contains("memory"), "{said}");
}
