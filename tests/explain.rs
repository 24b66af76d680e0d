//! `elastauth explain`: what a person learns about a token, and what nobody does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use elastauth_support::elasticsearch::{ADMIN, Elasticsearch};
use elastauth_support::issuer::Issuer;
use elastauth_support::servers::{config, headers_config};
use tempfile::TempDir;

const POLICY: &str = "policy:
  allow:
  - {name: admins, groups: [admins]}
  - {name: logs, groups: [developers], hosts: [es.example.org], paths: [/logs-*], methods: [GET]}
";

/// Exit code, and everything that was said.
async fn explain(yaml: &str, token: &str, flags: &[&str]) -> (i32, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.yml");
    fs::write(&file, yaml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_elastauth"));
    command.env_clear().arg("--config").arg(&file).arg("explain").args(flags);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let token = token.to_owned();
    let run = move || {
        let mut process = command.spawn().unwrap();
        // with --groups nobody reads it
        let _ = process.stdin.take().unwrap().write_all(token.as_bytes());
        process.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said)
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
    let parts = token.split('.').chain([token.as_str(), ADMIN.1, "0123456789abcdef0123456789abcdef"]);
    for secret in parts {
        assert!(!said.contains(secret), "{secret} is in\n{said}");
    }
    assert!(elasticsearch.history().is_empty(), "nothing is written");
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
