//! The lines of ACL in the README are enough for what they promise, on every shape of Redis.

use std::collections::BTreeSet;
use std::process::Command;

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::fleets::{Cluster, Elected};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{Process, until};
use elastauth_support::servers::{Elastauth, Redis, config};

const LINE: [&str; 7] = ["--user", "elastauth", "on", ">of-elastauth", "~elastauth-*", "+@read", "+@write"];

fn line(more: &[&'static str]) -> Vec<&'static str> {
    [&LINE[..], more].concat()
}

/// The configuration of the cache for this user, with the address of any server.
fn cache(host: &str) -> String {
    format!(
        "  type: redis\n  redis_host: \"{host}\"\n  redis_username: elastauth\n  redis_password: of-elastauth\n  redis_command_timeout: 2s"
    )
}

/// Checks that two replicas agree on users, and that a deletion is noticed.
async fn serves(cache: &str, delete: impl Fn(&str)) -> Vec<Elastauth> {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, cache);
    let replicas = vec![Elastauth::start(elastauth!(), &yaml), Elastauth::start(elastauth!(), &yaml)];
    let mut checkers = Vec::new();
    for replica in &replicas {
        checkers.push(Checker::connect(&replica.grpc).await);
    }
    for user in ["ann", "bob", "carol", "dora"] {
        let token = issuer.token(user, &["admins"]);
        let made = checkers[0].ask(&token).await;
        assert!(matches!(made, Answer::Allowed { .. }), "{made:?}");
        assert_eq!(checkers[1].ask(&token).await, made, "{user}");
    }
    let token = issuer.token("ann", &["admins"]);
    let before = checkers[0].ask(&token).await;
    elasticsearch.forget_copy("ann");
    delete("elastauth-YW5u");
    until("what was deleted is made anew", || async { checkers[0].ask(&token).await != before }).await;
    let now = checkers[0].ask(&token).await;
    until("and is the same everywhere", || async { checkers[1].ask(&token).await == now }).await;
    replicas
}

/// With all that the README grants, nothing is missing.
fn complete(replicas: &[Elastauth]) {
    for replica in replicas {
        replica.process.wait_for_line(0, &["Redis reports changes"]);
        assert!(!replica.process.lines().iter().any(|line| line.contains("\"warn\"")), "nothing to grant");
    }
}

/// Checks that the log says once what to grant.
fn logged_once(replicas: &[Elastauth], grant: &str) {
    for replica in replicas {
        replica.process.wait_for_line(0, &["warn", &format!("\"grant\":\"{grant}\"")]);
        let lines = replica.process.lines();
        assert_eq!(lines.iter().filter(|line| line.contains("\"grant\"")).count(), 1, "once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_needs_the_documented_line_and_the_log_names_the_optional_rights() {
    let Some(redis) = Redis::start(&LINE) else { return };
    let replicas = serves(&cache(&redis.address), |key| drop(redis.command(&["DEL", key]))).await;
    logged_once(&replicas, "+eval +evalsha +client|tracking");
    let Some(redis) = Redis::start(&line(&["+eval", "+evalsha", "+client|tracking"])) else { return };
    complete(&serves(&cache(&redis.address), |key| drop(redis.command(&["DEL", key]))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_needs_select_or_elastauth_does_not_start() {
    let Some(redis) = Redis::start(&line(&["+eval", "+evalsha", "+client|tracking", "+select"])) else { return };
    let with_db = |address: &str| format!("{}\n  redis_db: 2", cache(address));
    complete(
        &serves(&with_db(&redis.address), |key| {
            redis.command(&["EVAL", "redis.call('SELECT', 2) return redis.call('DEL', KEYS[1])", "1", key]);
        })
        .await,
    );

    let Some(redis) = Redis::start(&LINE) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    let yaml = config("http://127.0.0.1:1", "http://127.0.0.1:1", &with_db(&redis.address));
    std::fs::write(&file, format!("{yaml}\nlisten: \"127.0.0.1:0\"\ngrpc: {{listen: \"127.0.0.1:0\"}}\n")).unwrap();
    let mut elastauth = Process::start("elastauth", Command::new(elastauth!()).env_clear().arg("--config").arg(&file));
    let error = elastauth.wait_for_line(0, &["error", "select"]);
    assert!(
        error.contains("+select") && error.contains("cache.redis_db") && !error.contains("of-elastauth"),
        "{error}"
    );
    assert!(!elastauth.wait().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_need_three_rights_and_the_servers_no_more_than_one_does() {
    let Some(elected) = Elected::start(&line(&["+eval", "+evalsha", "+client|tracking"])).await else { return };
    for sentinel in &elected.sentinels {
        let rights = ["+sentinel|get-master-addr-by-name", "+sentinel|sentinels", "+sentinel|masters"];
        sentinel.says(&[&["ACL", "SETUSER", "elastauth", "on", ">of-elastauth-there"], &rights[..]].concat());
    }
    let sentinel = "redis_sentinel_username: elastauth\n  redis_sentinel_password: of-elastauth-there";
    let cache = format!("{}\n  {sentinel}", cache(&elected.sentinels[0].address));
    complete(&serves(&cache, |key| drop(elected.servers[0].command(&["DEL", key]))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_serves_with_the_documented_line_and_reports_changes_with_the_right_to_its_map() {
    let Some(cluster) = Cluster::start(&LINE).await else { return };
    let node = &cluster.nodes[1];
    let delete = |key: &str| drop(cluster.owner(node, key).command(&["DEL", key]));
    let replicas = serves(&cache(&node.address), delete).await;
    logged_once(&replicas, "+cluster|slots +asking +eval +evalsha +client|tracking");
    drop(replicas);
    for node in &cluster.nodes {
        let more = ["+cluster|slots", "+asking", "+eval", "+evalsha", "+client|tracking"];
        node.command(&[&["ACL", "SETUSER", "elastauth"], &more[..]].concat());
    }
    for master in &cluster.nodes[..3] {
        master.command(&["FLUSHALL"]);
    }
    complete(&serves(&cache(&node.address), delete).await);
}

#[test]
fn the_page_about_redis_grants_what_is_tested_here() {
    let page = include_str!("../docs/redis.md");
    let line = page.lines().find(|line| line.starts_with("user elastauth on "));
    assert_eq!(line, Some(format!("user elastauth on >… {}", LINE[4..].join(" ")).as_str()));
    for grant in ["+eval", "+evalsha", "+client|tracking", "+cluster|slots", "+asking", "+select"] {
        let escaped = grant.replace('|', "\\|");
        assert!(
            page.lines().any(|line| line.starts_with("| `+") && line.contains(&escaped)),
            "docs/redis.md grants no {grant}"
        );
    }
    // a pipe within a table is escaped
    let page = page.replace(r"\|", "|");
    let rights: BTreeSet<_> = page
        .split(|c: char| c.is_whitespace() || "`,".contains(c))
        .filter(|word| word.starts_with(['+', '~']) && word.len() > 3)
        .collect();
    assert!(rights.len() > 8, "the rights were found: {rights:?}");
    let missing: Vec<_> = rights.into_iter().filter(|right| !include_str!("redis_acl.rs").contains(right)).collect();
    assert!(missing.is_empty(), "no test here tries {missing:?}");
}
