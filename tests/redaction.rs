//! Nothing that elastauth says, at its most talkative, holds a secret: not where all goes well, and not where nothing does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elastauth_support::check::{Answer, Checker};
use elastauth_support::elasticsearch::{ADMIN, Elasticsearch, Faults};
use elastauth_support::issuer::Issuer;
use elastauth_support::servers::{Elastauth, REDIS_PASSWORD, Redis, config, redis_cache};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{self, HttpRequest};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use prost::Message as _;

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OLD_KEY: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
/// The one that the stand-in for a provider knows.
const CLIENT_SECRET: &str = "hush";
const QUERY: &str = "secret-in-the-query";

/// Everything that must not be said.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn add(&mut self, what: &'static str, secret: &str) {
        self.0.push((what, secret.to_owned()));
        self.0.push((what, STANDARD.encode(secret).trim_end_matches('=').to_owned()));
    }

    /// The signature alone would be enough for whoever knows the rest.
    fn token(&mut self, token: &str) {
        self.add("a token", token);
        for part in token.split('.').skip(1) {
            self.add("a part of a token", part);
        }
    }

    fn basic(&mut self, user: &str, password: &str) {
        self.add("a password", password);
        self.add("Basic credentials", &format!("{user}:{password}"));
    }

    fn are_not_in(&self, text: &str) {
        for (what, secret) in &self.0 {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "{what}, {secret}, is said in {line:?}");
        }
    }
}

/// A request for a page, with these headers.
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

/// Runs through hits, misses, refusals and outages, and answers what was used and what was said.
async fn everything(validation: &str, format: &str) -> Option<(Secrets, String)> {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let mut redis = Redis::start(&[])?;
    let oidc = format!(
        "  client_id: elastauth\n  client_secret: {CLIENT_SECRET}\n  token_validation: {validation}\n  token_cookie: session\n  \
         token_header: x-token\n"
    );
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address))
        .replace("  client_id: elastauth\n", &oidc)
        .replace("log_level: debug", "log_level: trace");
    let yaml = format!("{yaml}log_format: {format}\nenable_metrics: true\nprevious_secret_keys: [\"{OLD_KEY}\"]\n");
    let mut elastauth = Elastauth::start(Path::new(env!("CARGO_BIN_EXE_elastauth")), &yaml);
    let checker = Checker::connect(&elastauth.grpc).await;
    let mut secrets = Secrets::default();
    for (what, secret) in [("secret_key", KEY), ("an old key", OLD_KEY), ("client_secret", CLIENT_SECRET)] {
        secrets.add(what, secret);
    }
    secrets.add("the password of Redis", REDIS_PASSWORD);
    secrets.add("the query", QUERY);
    secrets.basic(ADMIN.0, ADMIN.1);

    let opaque = "opaque-token-of-ann";
    issuer.grant(opaque, issuer.claims("ann", &["admins"], 0));
    let signed = issuer.token("ann", &["admins"]);
    issuer.grant(&signed, issuer.claims("ann", &["admins"], 0));
    let mut credential = None;
    for token in [opaque, &signed, &signed, &issuer.forge(&issuer.claims("ann", &[], 0)), "no.such.token-anywhere"] {
        secrets.token(token);
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
                secrets.basic(&user, &password);
                credential = Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
            }
        }
    }
    // our own comes back; and somebody else's
    let credential = credential.unwrap();
    assert_eq!(ask(&checker, &[("authorization", &credential)]).await, Answer::Denied(403));
    secrets.basic("guest", "password-of-a-guest");
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
        secrets.token(&token);
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
    Some((secrets, said))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_holds_a_secret_whatever_happens() {
    for (validation, format) in [("both", "json"), ("introspection", "text")] {
        let Some((secrets, said)) = everything(validation, format).await else { return };
        for spoken in
            ["User provisioned", "Cache hit", "credentials_ours", "cache_unavailable", "elasticsearch_unavailable"]
        {
            assert!(said.contains(spoken), "it was not talkative enough: no {spoken} in\n{said}");
        }
        secrets.are_not_in(&said);
    }
}

#[test]
#[should_panic(expected = "a part of a token")]
fn a_secret_would_be_found() {
    let mut secrets = Secrets::default();
    secrets.token("aaaa.bbbb.cccc");
    secrets.are_not_in("all is well\nsigned cccc\n");
}
