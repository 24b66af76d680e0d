//! While Elasticsearch does not take a change, each caller to which the former roles are not too much is served, and nothing is
//! lost: two replicas over one Redis, with the shipped time-outs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::fixture::serve;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::until;
use elastauth_support::proxy::{Mode, Proxy};
use elastauth_support::servers::{Elastauth, Redis, config, redis_cache};
use serde_json::json;

/// Above any wait that a caller of an unchanged user may have, and below every time-out towards Elasticsearch.
const AT_ONCE: Duration = Duration::from_millis(1500);

const ADMINS: [&str; 2] = ["kibana_admin", "monitoring_user"];
const BOTH: [&str; 4] = ["dev", "kibana_admin", "kibana_user", "monitoring_user"];

struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    to_elasticsearch: Proxy,
    redis: Redis,
    replicas: Vec<(Elastauth, Checker)>,
}

/// How Elasticsearch does not take changes.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// PUTs are answered with this status, as with a `cluster_block_exception`.
    Refuses(u16),
    /// Connections are refused, or accepted and never answered.
    Network(Mode),
    /// The administrator's account is answered with 401.
    Account,
}

const OUTAGES: [Outage; 5] = [
    Outage::Refuses(403),
    Outage::Refuses(429),
    Outage::Network(Mode::Refuse),
    Outage::Network(Mode::Stall),
    Outage::Account,
];

impl Bench {
    async fn start() -> Option<Self> {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let redis = Redis::start(&[])?;
        let to_elasticsearch = Proxy::start(elasticsearch.address()).await;
        let url = format!("http://{}", to_elasticsearch.address);
        let yaml = config(&issuer.url, &url, &redis_cache(&redis.address));
        let mut replicas = Vec::new();
        for _ in 0..2 {
            let replica = serve(elastauth!(), &yaml).await;
            replica.0.process.wait_for_line(0, &["Redis reports changes"]);
            replicas.push(replica);
        }
        Some(Self { issuer, elasticsearch, to_elasticsearch, redis, replicas })
    }

    fn set(&self, outage: Option<Outage>) {
        let put_status = if let Some(Outage::Refuses(status)) = outage { Some(status) } else { None };
        self.elasticsearch.fail(Faults { put_status, ..Faults::default() });
        self.to_elasticsearch.set(if let Some(Outage::Network(mode)) = outage { mode } else { Mode::Pass });
        let lost = matches!(outage, Some(Outage::Account));
        let password = if lost { "another" } else { elastauth_support::elasticsearch::ADMIN.1 };
        self.elasticsearch.administrator(|account| account.password = password.into());
    }

    /// A token that is so many seconds old.
    fn token(&self, user: &str, groups: &[&str], age: u64) -> String {
        self.issuer.sign(&self.issuer.claims(user, groups, age))
    }

    /// The answers of both replicas, each within the time.
    async fn ask_both(&self, token: &str, what: &str) -> Vec<Answer> {
        let mut answers = Vec::new();
        for (_, checker) in &self.replicas {
            let began = Instant::now();
            answers.push(checker.ask(token).await);
            assert!(began.elapsed() < AT_ONCE, "{what}: {:?}", began.elapsed());
        }
        answers
    }

    /// Waits until the user has these roles; meanwhile `token` is used as a person would.
    async fn until_written(&self, user: &str, roles: &[&str], token: &str) {
        until("the roles are written", || async {
            self.replicas[0].1.ask(token).await;
            self.elasticsearch.user(user).unwrap().roles == roles
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_groups_while_elasticsearch_takes_no_writes_locks_nobody_out() {
    let Some(bench) = Bench::start().await else { return };
    for (n, outage) in OUTAGES.into_iter().enumerate() {
        let (gains, loses) = (format!("gains-{n}"), format!("loses-{n}"));
        let old = [bench.token(&gains, &["admins"], 20), bench.token(&loses, &["admins", "developers"], 20)];
        let new = [bench.token(&gains, &["admins", "developers"], 0), bench.token(&loses, &["admins"], 0)];
        let mut served = Vec::new();
        for token in &old {
            served.push(bench.replicas[0].1.ask(token).await);
            assert!(served.last().unwrap().password().is_some());
        }
        bench.set(Some(outage));
        // the first request of each may wait for an answer of Elasticsearch
        assert_eq!(bench.replicas[0].1.ask(&new[0]).await, served[0], "{outage:?}: with the former roles");
        assert_eq!(bench.replicas[0].1.ask(&new[1]).await, Answer::Denied(503), "{outage:?}");
        for round in 0..20 {
            let what = format!("{outage:?}, round {round}");
            assert!(bench.ask_both(&new[0], &what).await.iter().all(|answer| *answer == served[0]), "{what}");
            assert!(bench.ask_both(&new[1], &what).await.iter().all(|answer| *answer == Answer::Denied(503)), "{what}");
            for (token, served) in old.iter().zip(&served) {
                assert!(bench.ask_both(token, &what).await.iter().all(|answer| answer == served), "{what}: older");
            }
        }
        bench.set(None);
        bench.until_written(&gains, &BOTH, &old[0]).await;
        bench.until_written(&loses, &ADMINS, &old[1]).await;
        until("who lost roles is served", || async { bench.replicas[1].1.ask(&new[1]).await == served[1] }).await;
        assert_eq!(bench.ask_both(&new[0], "afterwards").await, [served[0].clone(), served[0].clone()]);
        for user in [&gains, &loses] {
            let passwords =
                bench.elasticsearch.puts().iter().filter(|put| put.user == *user && put.password.is_some()).count();
            assert_eq!(passwords, 1, "{outage:?}: {user} kept the password");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_subject_that_asks_for_a_name_in_an_outage_does_not_keep_its_owner_out() {
    let Some(bench) = Bench::start().await else { return };
    let ann = bench.issuer.token("ann", &["admins"]);
    let served = bench.replicas[0].1.ask(&ann).await;
    assert!(served.password().is_some());
    let mut claims = bench.issuer.claims("ann", &["admins"], 0);
    claims["sub"] = json!("somebody-else");
    let others = bench.issuer.sign(&claims);
    for outage in [Mode::Refuse, Mode::Stall] {
        bench.redis.command(&["FLUSHALL"]);
        bench.set(Some(Outage::Network(outage)));
        assert_eq!(bench.replicas[0].1.ask(&others).await, Answer::Denied(503), "{outage:?}");
        bench.set(None);
        let began = Instant::now();
        until("the owner is served", || async { bench.replicas[1].1.ask(&ann).await.password().is_some() }).await;
        assert!(began.elapsed() < Duration::from_secs(3), "{outage:?}: {:?}", began.elapsed());
        assert_eq!(bench.replicas[0].1.ask(&others).await, Answer::Denied(403), "{outage:?}");
    }
}
