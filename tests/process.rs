//! The whole process against real Envoy and real Redis: the main job, two replicas, and what goes wrong.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::issuer::Issuer;
use elastauth_support::servers::{Elastauth, Envoy, Redis, config, redis_cache};

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_elastauth"))
}

async fn status(url: &str, token: Option<&str>) -> (u16, serde_json::Value) {
    let mut request = elastauth_support::http().get(format!("{url}/_search?q=secret"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

async fn main_job(raw_headers: bool) {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let elastauth = Elastauth::start(binary(), &config(&issuer.url, &elasticsearch.url, "  type: memory"));
    let Some(envoy) = Envoy::start(&elastauth.grpc, elasticsearch.address(), raw_headers).await else { return };
    assert_eq!(status(&envoy.url, None).await.0, 401);
    let forged = issuer.forge(&issuer.claims("ann", &["admins"], 0));
    assert_eq!(status(&envoy.url, Some(&forged)).await.0, 401);
    let token = issuer.token("ann", &["admins"]);
    for _ in 0..3 {
        let (code, body) = status(&envoy.url, Some(&token)).await;
        assert_eq!((code, body["username"].as_str()), (200, Some("ann")));
        assert_eq!(body["authorizations"], 1);
    }
    assert_eq!(elasticsearch.history().len(), 1, "one write, then hits");
    let password = elasticsearch.user("ann").unwrap().password;
    let lines = elastauth.process.lines().join("\n");
    for secret in [token.as_str(), &password, "provisioner-password", "q=secret"] {
        assert!(!lines.contains(secret), "a secret is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_through_envoy_reaches_elasticsearch_with_its_own_credential_raw_headers_on() {
    main_job(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_through_envoy_reaches_elasticsearch_with_its_own_credential_raw_headers_off() {
    main_job(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_miss_at_once_end_in_one_password() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let Some(redis) = Redis::start(&[]) else { return };
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    let (one, two) = (Elastauth::start(binary(), &yaml), Elastauth::start(binary(), &yaml));
    let Some(first) = Envoy::start(&one.grpc, elasticsearch.address(), true).await else { return };
    let Some(second) = Envoy::start(&two.grpc, elasticsearch.address(), true).await else { return };
    elasticsearch.fail(Faults { delay: Duration::from_millis(60), ..Faults::default() });
    for user in ["u1", "u2", "u3", "u4", "u5"] {
        let token = issuer.token(user, &["developers"]);
        let ask = |url: &str| {
            let (url, token) = (url.to_owned(), token.clone());
            tokio::spawn(async move { status(&url, Some(&token)).await.0 })
        };
        let all: Vec<_> = (0..10).flat_map(|_| [ask(&first.url), ask(&second.url)]).collect();
        for one in all {
            assert_eq!(one.await.unwrap(), 200);
        }
        let writes = elasticsearch.history().iter().filter(|write| write.user == user).count();
        assert_eq!(writes, 1, "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_nothing_is_written_and_the_client_is_told_to_come_back() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let Some(mut redis) = Redis::start(&[]) else { return };
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    let elastauth = Elastauth::start(binary(), &yaml);
    let Some(envoy) = Envoy::start(&elastauth.grpc, elasticsearch.address(), true).await else { return };
    redis.process.kill();
    assert_eq!(status(&envoy.url, Some(&issuer.token("ann", &["admins"]))).await.0, 503);
    assert!(elasticsearch.history().is_empty());
    elastauth.process.wait_for_line(0, &["cache_unavailable"]);
}

#[tokio::test]
async fn a_broken_configuration_is_a_readable_list_and_exit_code_78() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    std::fs::write(&file, "oidc:\n  isuer: x\n  client_id: a\nlog_level: loud\nsecret_key: my-secret-value\n").unwrap();
    let run =
        std::process::Command::new(binary()).arg("--config").arg(&file).arg("check").env_clear().output().unwrap();
    assert_eq!(run.status.code(), Some(78));
    let text = String::from_utf8(run.stderr).unwrap();
    for expected in [
        "oidc.isuer (line 2): unknown key; did you mean oidc.issuer?",
        "log_level (line 4)",
        "secret_key",
        "elasticsearch.hosts: is required",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    assert!(!text.contains("my-secret-value"));
}
