//! The operator's rules, CORS preflight requests, and credentials that elastauth itself issued: the whole process over gRPC.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use elastauth_support::elastauth;
use elastauth_support::fixture::Fixture;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse, OkHttpResponse};
use prost::Message as _;

async fn start(policy: &str) -> Fixture {
    Fixture::start(elastauth!(), |yaml| format!("{yaml}policy:\n{policy}")).await
}

/// The changes of the headers when the request is let through, or the status and the reason of the refusal.
async fn ask(
    bench: &Fixture,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<OkHttpResponse, (i32, String)> {
    let (host, path) = target.split_at(target.find('/').unwrap_or(target.len()));
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let (method, host, path) = (method.to_owned(), host.to_owned(), path.to_owned());
    let http = HttpRequest { method, host, path, headers, ..HttpRequest::default() };
    let request = Some(Request { time: None, http: Some(http) });
    let check = CheckRequest { attributes: Some(AttributeContext { request, ..AttributeContext::default() }) };
    let from = bench.elastauth.process.lines().len();
    let reply = CheckResponse::decode(bench.checker.check(check.encode_to_vec()).await.unwrap()).unwrap();
    match reply.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => Ok(ok),
        HttpResponse::DeniedResponse(denied) => {
            let line = bench.elastauth.process.wait_for_line(from, &["Request denied"]);
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            Err((denied.status.unwrap().code, line["reason"].as_str().unwrap().to_owned()))
        }
        HttpResponse::ErrorResponse(_) => panic!("an error would let failure_mode_allow decide"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_judged_before_anybody_gets_a_credential() {
    let bench = start(
        "  allow:
  - {name: admins, groups: [admins]}
  - {name: logs, groups: [developers], hosts: [es.example.org], paths: [/logs-*], methods: [GET]}
  - {name: one department, claims: {department: [it]}, paths: [/wiki]}
",
    )
    .await;
    let mut claims = bench.issuer.claims("cid", &["developers"], 0);
    claims["department"] = serde_json::json!(["it", "hr"]);
    let bearer = |token: String| format!("Bearer {token}");
    let ann = bearer(bench.issuer.token("ann", &["Admins"]));
    let (bob, cid) = (bearer(bench.issuer.token("bob", &["developers"])), bearer(bench.issuer.sign(&claims)));
    for (credential, method, target, expected) in [
        (&bob, "POST", "es.example.org/logs-1/_doc", Err((403, "policy_denied"))),
        (&bob, "GET", "kibana.example.org/logs-1", Err((403, "policy_denied"))),
        (&bob, "GET", "es.example.org/wiki", Err((403, "policy_denied"))),
        (&bob, "GET", "es.example.org/secret?x=/logs-1", Err((403, "policy_denied"))),
        (&bob, "GET", "es.example.org/logs-1/../secret", Err((400, "path_ambiguous"))),
        (&bob, "GET", "es.example.org/logs-1/%2e%2e/secret", Err((400, "path_ambiguous"))),
        (&bob, "GET", "es.example.org/logs-1%2f..%2fsecret", Err((400, "path_ambiguous"))),
        (&ann, "GET", "es.example.org//secret", Err((400, "path_ambiguous"))),
        (&ann, "CONNECT", "es.example.org", Err((400, "path_ambiguous"))),
        (&ann, "DELETE", "es.example.org/anything", Ok("admins")),
        (&bob, "GET", "ES.example.org:9200/logs-1/_search?q=/../secret", Ok("logs")),
        (&cid, "POST", "x/wiki/page", Ok("one department")),
    ] {
        let from = bench.elastauth.process.lines().len();
        let answer = ask(&bench, method, target, &[("authorization", credential)]).await.map(|_| ());
        let expected = expected.map(|rule| {
            let line = bench.elastauth.process.wait_for_line(from, &["Policy allows"]);
            assert!(line.contains(&format!("\"rule\":\"{rule}\"")), "{line}");
        });
        assert_eq!(answer, expected.map_err(|(status, reason)| (status, reason.to_owned())), "{method} {target}");
    }
    let made: Vec<String> = bench.elasticsearch.history().into_iter().map(|write| write.user).collect();
    assert_eq!(made, ["ann", "bob", "cid"], "a refused request creates no user");
}

#[tokio::test(flavor = "multi_thread")]
async fn preflight_requests_pass_only_when_allowed_and_never_with_a_credential() {
    let preflight =
        [("origin", "https://app"), ("access-control-request-method", "GET"), ("authorization", "Basic eA==")];
    for (setting, passes) in [("deny", false), ("allow", true)] {
        let bench = start(&format!("  preflight: {setting}\n")).await;
        match ask(&bench, "OPTIONS", "es/x", &preflight).await {
            Ok(ok) => {
                assert!(passes && ok.headers.is_empty());
                assert!(ok.headers_to_remove.iter().any(|name| name == "authorization"));
            }
            Err(refused) => assert!(!passes, "{refused:?}"),
        }
        for (method, headers) in [
            ("OPTIONS", &preflight[..1]),
            ("OPTIONS", &preflight[1..]),
            ("GET", &preflight[..]),
            ("options", &preflight[..]),
        ] {
            assert_eq!(ask(&bench, method, "es/x", headers).await.unwrap_err().0, 401, "{method} {headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_comes_back_is_told_from_a_password_guess() {
    let bench = start("  preflight: deny\n").await;
    let bearer = format!("Bearer {}", bench.issuer.token("ann", &["admins"]));
    let mut injected = String::new();
    for _ in 0..2 {
        let ok = ask(&bench, "GET", "es/x", &[("authorization", &bearer)]).await.unwrap();
        injected = ok.headers[0].header.clone().unwrap().value;
    }
    let back = ask(&bench, "GET", "es/x", &[("authorization", &injected)]).await;
    assert_eq!(back.unwrap_err(), (403, "credentials_ours".into()));
    for guess in ["Basic YW5uOmd1ZXNz", "Basic YW5u", "Basic !", "Basic Ym9iOmd1ZXNz"] {
        let answer = ask(&bench, "GET", "es/x", &[("authorization", guess)]).await;
        assert_eq!(answer.unwrap_err(), (401, "credentials_not_bearer".into()), "{guess}");
    }
    assert!(!bench.elastauth.process.lines().join("\n").contains(injected.strip_prefix("Basic ").unwrap()));
}
