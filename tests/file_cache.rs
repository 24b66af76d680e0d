//! `cache.type: file` in the whole process: it survives a kill, a full disk and a second process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

use elastauth::credentials::{CacheKey, Store as _};
use elastauth::file::{FileStore, Settings};
use elastauth::identity::Username;
use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{Process, free_port};
use elastauth_support::random::Random;
use elastauth_support::servers::{Elastauth, config};
use tempfile::TempDir;

struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    folder: TempDir,
}

impl Bench {
    async fn new() -> Self {
        Self {
            issuer: Issuer::start().await,
            elasticsearch: Elasticsearch::start().await,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn cache(&self) -> Settings {
        Settings { path: self.folder.path().join("cache") }
    }

    fn config(&self) -> String {
        let cache = format!("  type: file\n  path: {}", self.cache().path.display());
        config(&self.issuer.url, &self.elasticsearch.url, &cache)
    }

    fn start(&self) -> Elastauth {
        Elastauth::start(elastauth!(), &self.config())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_passwords_and_a_second_process_is_refused() {
    let bench = Bench::new().await;
    let token = bench.issuer.token("ann", &["admins"]);
    let mut elastauth = bench.start();
    let made = Checker::connect(&elastauth.grpc).await.ask(&token).await;
    assert!(made.password().is_some());
    let file = bench.folder.path().join("second.yml");
    let ports = format!("listen: \"127.0.0.1:{}\"\ngrpc: {{listen: \"127.0.0.1:{}\"}}\n", free_port(), free_port());
    fs::write(&file, ports + &bench.config()).unwrap();
    let mut command = Command::new(elastauth!());
    let mut second = Process::start("second", command.env_clear().arg("--config").arg(&file));
    assert!(!second.wait().success());
    second.wait_for_line(0, &["is in use by another process", "cache.type: redis"]);
    elastauth.process.kill();
    let elastauth = bench.start();
    assert_eq!(Checker::connect(&elastauth.grpc).await.ask(&token).await, made);
    assert_eq!(bench.elasticsearch.history().len(), 1, "nothing was written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_in_the_middle_of_writes_leaves_a_store_that_is_whole() {
    let bench = Bench::new().await;
    let mut random = Random::new(7);
    for round in 0..4 {
        let mut elastauth = bench.start();
        let checker = Checker::connect(&elastauth.grpc).await;
        let mut flying = tokio::task::JoinSet::new();
        for n in 0..40 {
            let (checker, token) = (checker.clone(), bench.issuer.token(&format!("r{round}u{n}"), &["admins"]));
            flying.spawn(async move { checker.try_ask(&token).await });
        }
        // a moment at which some of the writes are under way
        tokio::time::sleep(random.millis(20, 300)).await;
        elastauth.process.kill();
        flying.join_all().await;
        let store = FileStore::open(&bench.cache()).unwrap();
        store.reachable().await.unwrap();
        for n in 0..40 {
            let user = Username::parse(&format!("r{round}u{n}")).unwrap();
            store.get(&CacheKey::of(&user)).await.unwrap();
        }
    }
    // every user ends in a working credential, and it is the one that Elasticsearch has
    let elastauth = bench.start();
    let checker = Checker::connect(&elastauth.grpc).await;
    for round in 0..4 {
        for n in 0..40 {
            let user = format!("r{round}u{n}");
            let answer = checker.ask_patiently(&bench.issuer.token(&user, &["admins"])).await;
            assert_eq!(
                answer.password(),
                bench.elasticsearch.user(&user).map(|user| user.password).as_deref(),
                "{user}"
            );
        }
    }
}

/// A limit on the size of files stands for a full disk: a write that would exceed it fails.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_new_users_for_a_while_and_loses_nobody() {
    let bench = Bench::new().await;
    let file = bench.folder.path().join("config.yml");
    let (grpc, http) = (free_port(), free_port());
    let listen = format!("listen: \"127.0.0.1:{http}\"\ngrpc:\n  listen: \"127.0.0.1:{grpc}\"\n");
    // the process itself keeps a few only, so that others are read from the file
    let config = bench.config().replace("cache:\n", "cache:\n  near_max_entries: 20\n");
    fs::write(&file, listen + &config).unwrap();
    let start = |limit: &str| {
        let mut command = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" --config \"$1\"");
        command.env_clear().args(["-c", &script, env!("CARGO_BIN_EXE_elastauth")]).arg(&file);
        let process = Process::start("elastauth", &mut command);
        process.wait_for_line(0, &["elastauth serves"]);
        process
    };
    let mut process = start("1000");
    let checker = Checker::connect(&format!("127.0.0.1:{grpc}")).await;
    let mut made = Vec::new();
    for n in 0..2_000 {
        let token = bench.issuer.token(&format!("u{n}"), &["admins"]);
        match checker.ask(&token).await {
            answer @ Answer::Allowed { .. } => {
                // after the first answer the process itself has the credential
                assert_eq!(checker.ask(&token).await, answer);
                made.push((token, answer));
            }
            Answer::Denied(status) => {
                assert_eq!(status, 503);
                break;
            }
        }
        assert!(n < 1_999, "the disk never filled up");
    }
    println!("made {}", made.len());
    assert!(!made.is_empty(), "at least one user fits");
    process.wait_for_line(0, &["cache_unavailable"]);
    let writes = bench.elasticsearch.history().len();
    assert_eq!(writes, made.len(), "nothing is written to Elasticsearch that the store does not hold");
    for (n, (token, answer)) in made.iter().enumerate() {
        let new = bench.issuer.token(&format!("new{n}"), &["admins"]);
        let (known, new) = tokio::join!(checker.ask(token), checker.ask(&new));
        assert_eq!(known, *answer, "a user that is in the file is served");
        assert_eq!(new, Answer::Denied(503));
    }
    let answer = elastauth_support::http().get(format!("http://127.0.0.1:{http}/ready")).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
    process.kill();
    process.wait();
    // the disk has room again
    let _process = start("unlimited");
    let checker = Checker::connect(&format!("127.0.0.1:{grpc}")).await;
    for (token, answer) in &made {
        assert_eq!(checker.ask_patiently(token).await, *answer, "no record was lost");
    }
    assert_eq!(bench.elasticsearch.history().len(), writes);
}
