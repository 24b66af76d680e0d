//! What writes cost, for the figures in `docs/elasticsearch.md`; run on a quiet machine:
//! `cargo test --release --test opensearch -- --ignored --exact costs::of_fifty_users --nocapture`

use std::time::Duration;

use elastauth::cluster_client::account::Scheme;
use elastauth::credentials::{Password, Provisioner as _};
use elastauth::opensearch::{Hashing, OpenSearch, Settings};
use elastauth_support::elasticsearch::ADMIN;
use futures_util::future::join_all;
use tokio::time::Instant;

use crate::server::{self, Node};
use crate::{name, spec};

const USERS: usize = 50;

/// One line of the table: settings, and whether the users are written at once.
struct Way {
    what: &'static str,
    settings: Settings,
    at_once: bool,
}

fn ways(node: &Node) -> Vec<Way> {
    let mut account = node.settings();
    account.write_timeout = Duration::from_secs(300);
    account.timeout = Duration::from_secs(60);
    account.connection.account.as_mut().unwrap().scheme = Scheme::Basic { username: "slow-provisioner".into() };
    let mut certified = Settings { connection: node.certified().connection, ..account.clone() };
    certified.hashing = Hashing::Here { cost: 4, cores: 2 };
    let hashing = |hashing| Settings { hashing, ..account.clone() };
    let (slow, quick) = (Hashing::Here { cost: 12, cores: 2 }, Hashing::Here { cost: 4, cores: 2 });
    vec![
        Way { what: "one by one, OpenSearch hashes", settings: hashing(Hashing::There), at_once: false },
        Way { what: "one by one, hashed here, cost 12", settings: hashing(slow), at_once: false },
        Way { what: "one by one, hashed here, cost 4", settings: hashing(quick), at_once: false },
        Way { what: "one by one, cost 4, certificate", settings: certified.clone(), at_once: false },
        Way { what: "at once, OpenSearch hashes", settings: hashing(Hashing::There), at_once: true },
        Way { what: "at once, hashed here, cost 12", settings: hashing(slow), at_once: true },
        Way { what: "at once, hashed here, cost 4", settings: hashing(quick), at_once: true },
        Way { what: "at once, cost 4, certificate", settings: certified, at_once: true },
    ]
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures: run it alone on a quiet machine"]
async fn of_fifty_users() {
    let Some(node) = server::alone().await else { return };
    println!("| {USERS} users | time | a login after a write |\n|---|---|---|");
    for (way, Way { what, settings, at_once }) in ways(&node).into_iter().enumerate() {
        let (opensearch, password) = (OpenSearch::new(settings).unwrap(), Password::generate().unwrap());
        let users: Vec<_> = (0..USERS).map(|i| spec(&format!("cost-{way}-{i}"), &["dev"])).collect();
        let began = Instant::now();
        if at_once {
            let written = join_all(users.iter().map(|user| opensearch.write(user, Some(&password)))).await;
            assert!(written.iter().all(Result::is_ok), "{written:?}");
        } else {
            for user in &users {
                opensearch.inspect(&user.username, &user.owner, &user.context).await.unwrap();
                opensearch.write(user, Some(&password)).await.unwrap();
            }
        }
        let took = began.elapsed();
        // until the caches are emptied, which a write does not wait for
        assert!(node.accepts("bystander", ADMIN.1).await);
        let began = Instant::now();
        for user in users.iter().take(10) {
            opensearch.log_in(&user.username, &password).await.unwrap();
        }
        println!("| {what} | {:.1} s | {} ms |", took.as_secs_f64(), began.elapsed().as_millis() / 10);
        let last = name(&format!("cost-{way}-{}", USERS - 1));
        assert!(node.accepts(last.as_str(), password.expose()).await);
    }
}
