//! `elastauth explain` shows what becomes of a token and why, and changes nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::{CLIENT, Issuer};
use elastauth_support::process::{run_beside, said};
use elastauth_support::servers::{Elastauth, Redis, config, headers_config, redis_cache};
use serde_json::json;
use tempfile::TempDir;

const POLICY: &str = "policy:
  allow:
  - {name: admins, groups: [admins]}
  - {name: logs, groups: [developers], hosts: [es.example.org], paths: [/logs-*], methods: [GET]}
";

/// The exit code, and both outputs.
async fn explain(yaml: &str, token: &str, flags: &[&str]) -> (i32, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.yml");
    fs::write(&file, yaml).unwrap();
    let mut command = Command::new(elastauth!());
    command.env_clear().arg("--config").arg(&file).arg("explain").args(flags);
    let output = run_beside(command, token).await;
    (output.status.code().unwrap(), said(&output))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_followed_to_the_user_that_it_would_make_and_nothing_is_written_or_given_away() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory") + POLICY;
    let token = issuer.token("ann", &["ADMINS", "strangers"]);
    let (code, said) = explain(&yaml, &format!("Bearer {token}\n"), &[]).await;
    assert_eq!(code, 0, "{said}");
    for line in [
        &format!("issuer     {}\n", issuer.url),
        "passed     form, algorithm, key, signature, issuer, kind, audience, times, claims and username\n",
        "username   ann, of the claim preferred_username\n",
        "groups     ADMINS, strangers, of the claim groups\n",
        "mapping    ADMINS gives kibana_admin, monitoring_user\n",
        "mapping    strangers gives nothing: not in group_mappings\n",
        "policy     the rule admins lets GET / through\n",
        "allowed    the Elasticsearch user ann would have the roles kibana_admin,monitoring_user and belong to the subject",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert!(elasticsearch.history().is_empty(), "explain writes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_its_reason_and_what_was_passed_before_it() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory") + POLICY;
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = issuer.claims("ann", &["developers"], 0);
        claims[name] = value;
        issuer.sign(&claims)
    };
    let forged = issuer.forge(&issuer.claims("ann", &["admins"], 0));
    let logs: &[&str] = &["--host", "es.example.org", "--path", "/logs-1/_search"];
    for (token, flags, code, passed, reason) in [
        ("opaque".to_owned(), logs, 1, "", "refused    401 token_malformed"),
        (forged, logs, 1, "form, algorithm, key\n", "refused    401 token_signature"),
        (with("iss", "x".into()), logs, 1, "key, signature\n", "refused    401 token_issuer"),
        (with("aud", "x".into()), logs, 1, "issuer, kind\n", "refused    401 token_audience"),
        (with("exp", 1.into()), logs, 1, "kind, audience\n", "refused    401 token_expired"),
        (with("preferred_username", "a b".into()), logs, 1, "audience, times\n", "refused    403 username_refused"),
        (with("groups", "x".into()), logs, 1, "claims and username\n", "refused    403 roles_none"),
        (with("a", 1.into()), &["--path", "/other"], 1, "claims and username\n", "refused    403 policy_denied"),
        (with("a", 1.into()), &["--path", "/logs-1/../x"], 1, "claims and username\n", "refused    400 path_ambiguous"),
        (
            with("a", 1.into()),
            logs,
            0,
            "claims and username\n",
            "policy     the rule logs lets GET /logs-1/_search through",
        ),
        (String::new(), logs, 2, "", "no token on standard input"),
    ] {
        let (ended, said) = explain(&yaml, &token, flags).await;
        assert_eq!(ended, code, "{reason}:\n{said}");
        assert!(said.contains(reason) && said.contains(passed), "{reason} or {passed} is not in\n{said}");
        assert_eq!(said.contains("passed"), !passed.is_empty(), "{said}");
    }
}

/// `explain --online` reads what a running elastauth wrote, and says at each stage what a request would do.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_cached_and_what_would_be_written_is_told_and_nothing_is_changed() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let Some(redis) = Redis::start(&[]) else { return };
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    let signed = |groups: &[&str], age: u64| issuer.sign(&issuer.claims("ann", groups, age));
    let (first, raised) = (signed(&["admins"], 20), signed(&["developers"], 10));
    let other = |token: &str| {
        let mut claims = issuer.claims("ann", &["admins"], 0);
        claims["sub"] = token.into();
        issuer.sign(&claims)
    };
    let script = "return redis.sha1hex(redis.call('GET', KEYS[1]) or '')";
    let stored = || redis.command(&["EVAL", script, "1", "elastauth-YW5u"]);
    let online = async |yaml: &str, token: &str| {
        let before = (stored(), elasticsearch.history().len());
        let (code, said) = explain(yaml, token, &["--online"]).await;
        assert_eq!(before, (stored(), elasticsearch.history().len()), "{said}");
        (code, said)
    };
    let told = |(code, said): (i32, String), expected: i32, parts: &[&str]| {
        assert_eq!(code, expected, "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
    };
    let body = "PUT /_security/user/ann {\"email\":\"ann@example.com\",\"enabled\":true,\"full_name\":\"ann\",";
    told(
        online(&yaml, &first).await,
        0,
        &["cached     nothing under elastauth-YW5u\n", "user       does not exist\n", body, "} with a password\n"],
    );

    let elastauth = Elastauth::start(env!("CARGO_BIN_EXE_elastauth").as_ref(), &yaml);
    assert!(Checker::connect(&elastauth.grpc).await.ask(&first).await.password().is_some());
    let record = ["cached     elastauth-YW5u: ready for ", "sealed with secret_key (key id "];
    let served = "next       the request gets the cached credential, and nothing is written\n";
    told(
        online(&yaml, &first).await,
        0,
        &[&record[..], &["for the same subject\n", "the same roles", served]].concat(),
    );
    told(
        online(&yaml, &raised).await,
        0,
        &["with other roles, kibana_admin,monitoring_user, as of ", body, "with no password: the user keeps"],
    );
    told(
        online(&yaml, &other("eve")).await,
        1,
        &["for another subject, id-of-ann of ", "refused    403 username_taken"],
    );
    let foreign = yaml.replace("secret_key: \"0123", "secret_key: \"3210");
    told(online(&foreign, &first).await, 1, &["none of the keys that are configured here", "503 cache_key_unknown"]);
    let dry = yaml.replace("elasticsearch:\n", "elasticsearch:\n  dry_run: true\n");
    told(online(&dry, &raised).await, 1, &[body, "refused    403 dry_run"]);
    let alone = yaml.replace(&redis_cache(&redis.address), "  type: memory");
    told(online(&alone, &first).await, 0, &["not read: the running elastauth has the cache to itself"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_provider_is_asked_about_has_its_list_of_checks_too() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = |way: &str| {
        let more = format!("  client_id: {}\n  client_secret: {}\n  token_validation: {way}\n", CLIENT.0, CLIENT.1);
        config(&issuer.url, &elasticsearch.url, "  type: memory").replace("  client_id: elastauth\n", &more)
    };
    let claims = |name: &str, value: serde_json::Value| {
        let mut claims = issuer.claims("ann", &["admins"], 0);
        claims[name] = value;
        claims
    };
    issuer.grant("opaque-of-ann", claims("x", json!(1)));
    issuer.grant("opaque-for-others", claims("aud", json!("others")));
    let answer = "passed     the provider's answer";
    for (way, token, code, passed) in [
        ("introspection", "opaque-of-ann", 0, "issuer, kind, audience, times, claims and username\n"),
        ("introspection", "opaque-for-others", 1, "issuer, kind\n"),
        ("userinfo", "opaque-of-ann", 0, "claims and username\n"),
    ] {
        let (ended, said) = explain(&yaml(way), token, &[]).await;
        assert_eq!(ended, code, "{said}");
        assert!(said.contains(&format!("{answer}, {passed}")), "{way}: {passed} is not in\n{said}");
    }
    let (code, said) = explain(&yaml("introspection"), "opaque-of-nobody", &[]).await;
    assert!(code == 1 && !said.contains("passed") && said.contains("401 token_refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_alone_are_explained_for_every_provider() {
    let elasticsearch = Elasticsearch::start().await;
    let tokens = config("https://login.example.com", &elasticsearch.url, "  type: memory");
    let headers = headers_config(&elasticsearch.url, "  shared_secret: \"0123456789abcdef0123456789abcdef\"");
    for yaml in [&tokens, &headers] {
        let (code, said) = explain(yaml, "", &["--groups", "developers,others"]).await;
        assert_eq!(code, 0, "{said}");
        assert!(said.contains("mapping    developers gives kibana_user, dev\n"), "{said}");
        assert!(said.contains("policy     no rules"), "{said}");
        assert!(said.contains("allowed    with the roles dev,kibana_user\n"), "{said}");
        let (code, said) = explain(yaml, "", &["--groups", "others"]).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("default_roles, none\n") && said.contains("roles_none"), "{said}");
    }
    let (code, said) = explain(&headers, "token", &[]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("use --groups"), "{said}");
}
