//! No output of elastauth contains a secret, whether everything works or nothing does.
//!
//! The output of every process that a test starts is searched for the secrets of all tests of its binary
//! (`tests/support/src/secrets.rs`). Here everything is run at once, with the most detailed log, and a leak is proven to be
//! found.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::issuer::{CLIENT, Issuer};
use elastauth_support::process::{Process, run};
use elastauth_support::secrets;
use elastauth_support::servers::{Elastauth, Redis, config, redis_cache};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{self, HttpRequest};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use prost::Message as _;

const OLD_KEY: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const QUERY: &str = "secret-in-the-query";

/// A message for a page, with these headers.
fn request(headers: &[(&str, &str)]) -> Vec<u8> {
    let headers: HashMap<_, _> = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let http =
        HttpRequest { headers, method: "GET".into(), path: format!("/_search?q={QUERY}"), ..HttpRequest::default() };
    let request = Some(attribute_context::Request { time: None, http: Some(http) });
    CheckRequest { attributes: Some(AttributeContext { request, ..AttributeContext::default() }) }.encode_to_vec()
}

async fn ask(checker: &Checker, headers: &[(&str, &str)]) -> Answer {
    Answer::read(&checker.check(request(headers)).await.unwrap())
}

/// Runs through hits, misses, refusals and outages, and returns everything that was printed.
async fn everything(validation: &str, format: &str) -> Option<String> {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let mut redis = Redis::start(&[])?;
    let oidc = format!(
        "  client_id: {}\n  client_secret: {}\n  token_validation: {validation}\n  token_cookie: session\n  \
         token_header: x-token\n",
        CLIENT.0, CLIENT.1
    );
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address))
        .replace("  client_id: elastauth\n", &oidc)
        .replace("log_level: debug", "log_level: trace");
    let yaml = format!("{yaml}log_format: {format}\nenable_metrics: true\nprevious_secret_keys: [\"{OLD_KEY}\"]\n");
    let mut elastauth = Elastauth::start(elastauth!(), &yaml);
    let checker = Checker::connect(&elastauth.grpc).await;
    secrets::keep("the query", QUERY);

    let opaque = "opaque-token-of-ann";
    issuer.grant(opaque, issuer.claims("ann", &["admins"], 0));
    let signed = issuer.token("ann", &["admins"]);
    issuer.grant(&signed, issuer.claims("ann", &["admins"], 0));
    let mut credential = None;
    for token in [opaque, &signed, &signed, &issuer.forge(&issuer.claims("ann", &[], 0)), "no.such.token-anywhere"] {
        secrets::keep_token(token);
        let bearer = format!("Bearer {token}");
        for headers in [
            [("authorization", bearer.as_str())].as_slice(),
            &[("cookie", &format!("a=b; session={token}"))],
            &[("x-token", token)],
            &[("authorization", &format!("Bearer {token},Bearer {token}"))],
            &[("authorization", &format!("Basic {token}"))],
            &[("authorization", token)],
        ] {
            if let Answer::Allowed { user, password } = ask(&checker, headers).await {
                credential = Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
            }
        }
    }
    // a credential that elastauth issued, and one of another origin
    let credential = credential.unwrap();
    assert_eq!(ask(&checker, &[("authorization", &credential)]).await, Answer::Denied(403));
    secrets::keep("a guest's password", "password-of-a-guest");
    let guest = format!("Basic {}", STANDARD.encode("guest:password-of-a-guest"));
    assert_eq!(ask(&checker, &[("authorization", &guest)]).await, Answer::Denied(401));

    elasticsearch.fail(Faults { put_status: Some(500), get_status: Some(500), ..Faults::default() });
    for (user, outage) in [("bob", "elasticsearch"), ("carol", "redis"), ("dave", "provider")] {
        match outage {
            "redis" => redis.process.kill(),
            "provider" => issuer.set_down(true),
            _ => {}
        }
        let token = issuer.token(user, &["admins"]);
        issuer.grant(&token, issuer.claims(user, &["admins"], 0));
        assert_eq!(checker.ask(&token).await, Answer::Denied(503), "{outage}");
    }
    let mut said = String::new();
    for path in ["metrics", "ready", "health"] {
        let answer = elastauth_support::http().get(format!("{}/{path}", elastauth.http)).send().await.unwrap();
        said.push_str(&answer.text().await.unwrap());
    }
    elastauth.process.terminate();
    assert!(elastauth.process.wait().success());
    said.push_str(&elastauth.process.lines().join("\n"));
    secrets::are_not_in("elastauth", &said);
    Some(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_holds_a_secret_whatever_happens() {
    for (validation, format) in [("both", "json"), ("introspection", "text")] {
        let Some(said) = everything(validation, format).await else { return };
        for spoken in
            ["User provisioned", "Cache hit", "credentials_ours", "cache_unavailable", "elasticsearch_unavailable"]
        {
            assert!(said.contains(spoken), "the run is not complete: no {spoken} in\n{said}");
        }
    }
}

#[test]
#[should_panic(expected = "leaky gives away a secret")]
fn a_process_that_says_a_secret_fails_the_test_that_started_it() {
    secrets::keep("a key", "the-key-of-leaky");
    let mut process = Process::start("leaky", Command::new("echo").arg("with the-key-of-leaky"));
    process.wait();
}

#[test]
#[should_panic(expected = "gives away a secret")]
fn a_command_that_says_a_secret_fails_the_test_that_ran_it() {
    let mut command = Command::new("sh");
    let _ = run(command.args(["-c", "echo $SOME_SECRET >&2"]).env("SOME_SECRET", "the-key-of-a-command"), "");
}
