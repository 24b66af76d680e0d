//! elastauth as a process, from a token to a login at OpenSearch.

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::ADMIN;
use elastauth_support::fixture::with_elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::until;
use elastauth_support::servers::{Elastauth, config};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::server::{self, Node};

struct Bench {
    issuer: Issuer,
    elastauth: Elastauth,
    checker: Checker,
}

impl Bench {
    /// `flavor` is `auto`: it has to find out that this is OpenSearch, with an account that may not see the root.
    async fn start(node: &Node, settling: &str, password: &str) -> Self {
        let issuer = Issuer::start().await;
        let yaml = config(&issuer.url, &node.url, "  type: memory");
        let yaml = with_elasticsearch(&yaml, &format!("{}  settling: {settling}\n", node.yaml()));
        let yaml = yaml.replace(ADMIN.1, password);
        let elastauth = Elastauth::start(elastauth!(), &yaml);
        let checker = Checker::connect(&elastauth.grpc).await;
        Self { issuer, elastauth, checker }
    }
}

/// A token becomes a user that OpenSearch lets in; newer groups become its roles, and it keeps its password.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_let_in_and_a_change_of_groups_changes_the_roles_alone() {
    let Some(node) = server::node().await else { return };
    let bench = Bench::start(&node, "90s", ADMIN.1).await;
    let older = bench.issuer.sign(&bench.issuer.claims("whole-ann", &["developers"], 60));
    let made = bench.checker.ask_patiently(&older).await;
    let password = made.password().unwrap();
    assert!(node.accepts("whole-ann", password).await);
    assert_eq!(node.user("whole-ann").await["backend_roles"], json!(["dev", "kibana_user"]));
    let newer = bench.issuer.token("whole-ann", &["admins"]);
    assert_eq!(bench.checker.ask_patiently(&newer).await, made, "the same password");
    assert_eq!(node.user("whole-ann").await["backend_roles"], json!(["kibana_admin", "monitoring_user"]));
    assert!(node.accepts("whole-ann", password).await);
    bench.elastauth.process.wait_for_line(0, &["Found out what the back end is", "OpenSearch"]);
    assert_eq!(bench.checker.ask(&bench.issuer.token("person", &["admins"])).await, Answer::Denied(403));
    assert_eq!(node.user("person").await["backend_roles"], json!(["by-hand"]));
    let log = bench.elastauth.process.lines().join("\n");
    assert!(!log.contains(password) && !log.contains("$2y$"), "requirement 13");
}

/// Requirement 41: writes that wait are put together.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_callers_at_once_are_all_let_in_with_few_writes() {
    let Some(node) = server::node().await else { return };
    let bench = Bench::start(&node, "90s", ADMIN.1).await;
    let callers = (0..50).map(|i| {
        let (checker, token) = (bench.checker.clone(), bench.issuer.token(&format!("whole-{i}"), &["developers"]));
        tokio::spawn(async move { checker.ask_patiently(&token).await })
    });
    for answer in join_all(callers).await {
        let Answer::Allowed { user, password } = answer.unwrap() else { panic!("all callers are let in") };
        assert!(node.accepts(&user, &password).await, "{user}");
    }
    let lines = bench.elastauth.process.lines();
    let writes = lines.iter().filter(|line| line.contains("Users written in one request")).count();
    assert!((1..=10).contains(&writes), "{writes} writes");
}

/// An administrator changes the password; the confirmation finds that, and the agreed password is written again.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_changed_by_hand_is_healed_with_the_one_that_is_cached() {
    let Some(node) = server::node().await else { return };
    let bench = Bench::start(&node, "50ms", ADMIN.1).await;
    let token = bench.issuer.token("whole-healed", &["developers"]);
    let made = bench.checker.ask_patiently(&token).await;
    let password = made.password().unwrap();
    let mut changed = node.user("whole-healed").await;
    let body = json!({ "password": "changed-by-Hand-1234567", "backend_roles": changed["backend_roles"].take(),
                       "attributes": changed["attributes"].take() });
    assert_eq!(node.by_hand(Method::PUT, "whole-healed", Some(body)).await.0, 200);
    assert!(!node.accepts("whole-healed", password).await);
    until("the repair", || async {
        assert_eq!(bench.checker.ask(&token).await, made, "what was agreed stays");
        node.accepts("whole-healed", password).await
    })
    .await;
    bench.elastauth.process.wait_for_line(0, &["written again", "whole-healed"]);
}

/// Requirement 28: trouble with the administrator's account is an outage.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_administrator_is_an_outage_for_new_callers_only() {
    let Some(node) = server::node().await else { return };
    let bench = Bench::start(&node, "90s", "not-the-password").await;
    assert_eq!(bench.checker.ask(&bench.issuer.token("whole-wrong", &["developers"])).await, Answer::Denied(503));
    assert!(node.user("whole-wrong").await.is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_stopped_is_an_outage_for_new_callers_and_heals_when_it_is_back() {
    let Some(mut node) = server::alone().await else { return };
    let bench = Bench::start(&node, "90s", ADMIN.1).await;
    let (known, new) = (bench.issuer.token("whole-known", &["admins"]), bench.issuer.token("whole-new", &["admins"]));
    let made = bench.checker.ask_patiently(&known).await;
    node.stop();
    assert_eq!(bench.checker.ask(&known).await, made, "served from the cache");
    assert_eq!(bench.checker.ask(&new).await, Answer::Denied(503));
    node.start_again().await;
    let answer = bench.checker.ask_patiently(&new).await;
    for (user, password) in [("whole-known", made.password().unwrap()), ("whole-new", answer.password().unwrap())] {
        assert!(node.accepts(user, password).await, "{user}");
    }
}
