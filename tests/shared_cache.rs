//! Several elastauths use one Redis: how they affect, and do not affect, one another's users.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{run_beside, said, until};
use elastauth_support::servers::{Elastauth, Redis, config, redis_cache};
use serde_json::Value;

const ELASTAUTH: &str = env!("CARGO_BIN_EXE_elastauth");

async fn serve(yaml: &str) -> (Elastauth, Checker) {
    let elastauth = Elastauth::start(Path::new(ELASTAUTH), yaml);
    let checker = Checker::connect(&elastauth.grpc).await;
    (elastauth, checker)
}

async fn run(yaml: &str, arguments: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    std::fs::write(&file, yaml).unwrap();
    let mut command = Command::new(ELASTAUTH);
    command.env_clear().arg("--config").arg(&file).args(arguments);
    let output = run_beside(command, "").await;
    (output.status.success(), said(&output))
}

fn as_of(elasticsearch: &Elasticsearch) -> Value {
    elasticsearch.user("ann").unwrap().metadata["elastauth"]["as_of"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_on_one_redis_never_hand_out_each_others_passwords_nor_roles() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (issuer, a, b) = (Issuer::start().await, Elasticsearch::start().await, Elasticsearch::start().await);
    let yaml = |cluster: &Elasticsearch| config(&issuer.url, &cluster.url, &redis_cache(&redis.address));
    let (_at_a, at_a) = serve(&yaml(&a)).await;
    let (second, at_b) = serve(&yaml(&b)).await;
    let made = at_a.ask(&issuer.token("ann", &["admins"])).await;
    // the same person has other roles at B
    let token = issuer.token("ann", &["developers"]);
    assert_eq!(at_b.ask(&token).await, Answer::Denied(503));
    second.process.wait_for_line(0, &["cache_of_another_cluster", "redis_db"]);
    assert!(b.puts().is_empty(), "no user is written at B");
    assert_eq!(at_a.ask(&issuer.token("ann", &["admins"])).await, made, "and A's record is left alone");
    // the remedy is a database of its own
    let own = yaml(&b).replace("  redis_password", "  redis_db: 1\n  redis_password");
    let (_at_b, at_b) = serve(&own).await;
    let other = at_b.ask(&token).await;
    assert!(other.password().is_some() && other.password() != made.password());
    assert_eq!(b.user("ann").unwrap().roles, ["dev", "kibana_user"]);
    assert_eq!(a.user("ann").unwrap().roles, ["kibana_admin", "monitoring_user"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_another_cluster_are_purged_after_a_migration() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (issuer, a, b) = (Issuer::start().await, Elasticsearch::start().await, Elasticsearch::start().await);
    let yaml = |cluster: &Elasticsearch| config(&issuer.url, &cluster.url, &redis_cache(&redis.address));
    let (_at_a, at_a) = serve(&yaml(&a)).await;
    let token = issuer.token("ann", &["admins"]);
    at_a.ask(&token).await;
    let (well, text) = run(&yaml(&a), &["cache", "purge", "--yes"]).await;
    assert!(well && text.contains("1 open, 0 do not, 0 removed"), "{text}");
    let (well, text) = run(&yaml(&b), &["cache", "purge", "--yes"]).await;
    assert!(
        well && text.contains("0 removed"),
        "another deployment's records are not removed without its flag: {text}"
    );
    let (well, text) = run(&yaml(&b), &["cache", "purge", "--yes", "--other-clusters"]).await;
    assert!(!well && text.contains("another cluster") && text.contains("--even-all"), "{text}");
    let (well, text) = run(&yaml(&b), &["cache", "purge", "--yes", "--other-clusters", "--even-all"]).await;
    assert!(well && text.contains("1 removed"), "{text}");
    let (_at_b, at_b) = serve(&yaml(&b)).await;
    assert!(at_b.ask(&token).await.password().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_was_rebuilt_at_its_address_gets_its_users_anew() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    let token = issuer.token("ann", &["admins"]);
    let made = serve(&yaml).await.1.ask(&token).await;
    elasticsearch.rebuild();
    let again = serve(&yaml).await.1.ask(&token).await;
    assert_ne!(made.password(), again.password());
    assert_eq!(again.password(), Some(elasticsearch.user("ann").unwrap().password.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_ask_which_cluster_it_is_is_warned_about_and_serves() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    elasticsearch.administrator(|account| account.lacks.push("cluster:monitor/main".into()));
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    let (first, checker) = serve(&yaml).await;
    let token = issuer.token("ann", &["admins"]);
    let made = checker.ask(&token).await;
    first.process.wait_for_line(0, &["warn", "cluster:monitor/main"]);
    assert_eq!(serve(&yaml).await.1.ask(&token).await, made, "the address shows that the record is its own");
    let (well, text) = run(&yaml, &["check", "--online"]).await;
    assert!(well && text.contains("cluster:monitor/main"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_token_brings_no_roles_back_when_redis_has_lost_everything() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    let (_elastauth, checker) = serve(&yaml).await;
    let older = issuer.sign(&issuer.claims("ann", &["admins"], 60));
    let newer = issuer.sign(&issuer.claims("ann", &["developers"], 10));
    for token in [&older, &newer, &older] {
        checker.ask(token).await;
    }
    let before = as_of(&elasticsearch);
    elasticsearch.forget_copy("ann");
    redis.command(&["FLUSHALL"]);
    until("a new record", || async {
        checker.ask(&older).await;
        elasticsearch.history().len() > 2
    })
    .await;
    let answer = checker.ask(&older).await;
    let user = elasticsearch.user("ann").unwrap();
    assert_eq!((user.roles, as_of(&elasticsearch)), (vec!["dev".to_owned(), "kibana_user".to_owned()], before));
    assert_eq!(answer.password(), Some(user.password.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_left_the_mapping_leaves_with_tokens_in_hand_and_an_old_replica_does_not_give_it_back() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let old = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    let new = old.replace("[kibana_admin, monitoring_user]", "[monitoring_user]");
    assert_ne!(old, new);
    let token = issuer.token("ann", &["admins"]);
    let (_old, at_old) = serve(&old).await;
    let made = at_old.ask(&token).await;
    let (_new, at_new) = serve(&new).await;
    for checker in [&at_new, &at_old, &at_new, &at_old] {
        assert_eq!(checker.ask(&token).await, made);
        assert_eq!(elasticsearch.user("ann").unwrap().roles, ["monitoring_user"]);
    }
    assert_eq!(elasticsearch.history().len(), 2);
    // a roll-back is a change of the configuration, too
    let (_rolled_back, checker) = serve(&old).await;
    assert_eq!(checker.ask(&token).await, made);
    assert_eq!(elasticsearch.user("ann").unwrap().roles, ["kibana_admin", "monitoring_user"]);
    let stamp = elasticsearch.user("ann").unwrap().metadata["elastauth"].to_string();
    assert!(!stamp.contains(&redis.address), "the stamp does not contain the address of Redis: {stamp}");
}

/// How often Redis was asked for a record.
fn reads(redis: &Redis) -> usize {
    let statistics = redis.command(&["INFO", "commandstats"]);
    let calls = statistics.lines().find_map(|line| line.strip_prefix("cmdstat_getrange:calls="));
    calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
}

/// Redis reports no changes to this account, so that who waits asks again every 25 ms.
#[tokio::test(flavor = "multi_thread")]
async fn requests_with_many_tokens_of_one_user_wait_as_one_for_another_replica() {
    const TOKENS: usize = 20;
    let acl = ["--user", "elastauth", "on", ">of-elastauth", "~elastauth-*", "+@read", "+@write"];
    let Some(redis) = Redis::start(&acl) else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let cache = redis_cache(&redis.address).replace("redis-password", "of-elastauth\n  redis_username: elastauth");
    let yaml = config(&issuer.url, &elasticsearch.url, &cache);
    let ((_writing, at_writing), (_waiting, at_waiting)) = (serve(&yaml).await, serve(&yaml).await);
    elasticsearch.fail(Faults { delay: std::time::Duration::from_millis(1500), ..Faults::default() });
    let newest = issuer.token("ann", &["admins"]);
    let first = tokio::spawn(async move { at_writing.ask(&newest).await });
    until("the write", async || elasticsearch.puts().len() == 1).await;
    let before = reads(&redis);
    let waiting: Vec<_> = (20..)
        .take(TOKENS)
        .map(|age| {
            let (checker, token) = (at_waiting.clone(), issuer.sign(&issuer.claims("ann", &["admins"], age)));
            tokio::spawn(async move { checker.ask(&token).await })
        })
        .collect();
    let made = first.await.unwrap();
    for one in waiting {
        assert_eq!(one.await.unwrap(), made);
    }
    let reads = reads(&redis) - before;
    // each reads it when it comes and when it is its turn; between the two, one of them asks 60 times
    assert!(reads <= 2 * TOKENS + 80, "{reads} reads");
    assert_eq!(elasticsearch.puts().len(), 1);
}
