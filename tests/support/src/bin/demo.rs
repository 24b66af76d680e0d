//! `make demo`: the main job, end to end. A real Envoy with `envoy/envoy.yaml` asks elastauth; a small issuer and a
//! stand-in for Elasticsearch, which enforces Basic authentication, play the other parts.

#![expect(clippy::unwrap_used, reason = "a demonstration fails by panicking")]

use std::path::PathBuf;
use std::process::ExitCode;

use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::servers::{Elastauth, Envoy, config};
use serde_json::Value;

struct Row {
    sent: &'static str,
    token: Option<String>,
    header: Option<(&'static str, &'static str)>,
    /// A part of the log line in which elastauth reports its decision.
    decided: &'static str,
    status: u16,
    /// The user and the roles that reach Elasticsearch.
    reached: Option<(&'static str, &'static str)>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(binary) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: demo ELASTAUTH");
        return ExitCode::from(2);
    };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: \"\"");
    let elastauth = Elastauth::start(&binary, &yaml);
    let Some(envoy) = Envoy::start(&elastauth.grpc, elasticsearch.address(), true).await else {
        return ExitCode::FAILURE;
    };
    println!("client ─▶ Envoy {} ─▶ Elasticsearch {}", envoy.url, elasticsearch.url);
    println!("               └─ asks ─▶ elastauth {}\n", elastauth.grpc);
    println!("{:<44} {:<38} {:<30}", "sent", "decided", "reached Elasticsearch");

    let mut wrong = 0;
    for row in rows(&issuer) {
        wrong += usize::from(!show(&row, &envoy, &elastauth).await);
    }
    let ann = elasticsearch.history().into_iter().filter(|write| write.user == "ann").collect::<Vec<_>>();
    let once = ann.len() == 2 && ann[0].password.is_some() && ann[1].password.is_none();
    println!("\nann was written twice, the second time without a new password: {}", mark(once));
    if wrong == 0 && once {
        println!("All as it should be.");
        return ExitCode::SUCCESS;
    }
    println!("{wrong} line(s) are not as they should be.");
    ExitCode::FAILURE
}

fn rows(issuer: &Issuer) -> Vec<Row> {
    let row = |sent, token, decided, status, reached| Row { sent, token, header: None, decided, status, reached };
    let ann = issuer.sign(&issuer.claims("ann", &["admins"], 5));
    let later = issuer.sign(&issuer.claims("ann", &["developers"], 1));
    let forged = issuer.forge(&issuer.claims("ann", &["admins"], 0));
    let admin = Some(("ann", "kibana_admin,monitoring_user"));
    let developer = Some(("ann", "dev,kibana_user"));
    let bob = issuer.token("bob", &["developers"]);
    vec![
        row("no token", None, "credentials_missing", 401, None),
        row("a forged token", Some(forged), "token_signature", 401, None),
        row("ann, an admin, for the first time", Some(ann.clone()), "Cache miss", 200, admin),
        row("ann again", Some(ann.clone()), "Cache hit", 200, admin),
        row("bob, a developer", Some(bob.clone()), "Cache miss", 200, Some(("bob", "dev,kibana_user"))),
        row("ann with a newer token: now a developer", Some(later), "Cache miss", 200, developer),
        row("ann with the older token", Some(ann), "Cache hit", 200, developer),
        row("carol, in no mapped group", Some(issuer.token("carol", &["guests"])), "roles_none", 403, None),
        Row {
            header: Some(("es-security-runas-user", "elastic")),
            ..row("bob, posing as elastic (run-as)", Some(bob), "Cache hit", 200, Some(("bob", "dev,kibana_user")))
        },
        Row {
            header: Some(("authorization", "Basic ZWxhc3RpYzpndWVzcw==")),
            ..row("a password guess of the client's own", None, "credentials_not_bearer", 401, None)
        },
    ]
}

async fn show(row: &Row, envoy: &Envoy, elastauth: &Elastauth) -> bool {
    let from = elastauth.process.lines().len();
    let mut request = elastauth_support::http().get(format!("{}/_search", envoy.url));
    if let Some(token) = &row.token {
        request = request.bearer_auth(token);
    }
    if let Some((name, value)) = row.header {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let challenged = answer.headers().contains_key("www-authenticate");
    let body: Value = answer.json().await.unwrap_or_default();
    elastauth.process.wait_for_line(from, &[row.decided]);

    let reached = body["username"].as_str().map(|user| {
        let roles = body["roles"].as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>();
        (user.to_owned(), roles.join(","))
    });
    let expected = row.reached.map(|(user, roles)| (user.to_owned(), roles.to_owned()));
    let clean = body["headers"]["es-security-runas-user"].is_null();
    let single = body["authorizations"].as_u64().is_none_or(|count| count == 1);
    let good = status == row.status && reached == expected && clean && single && challenged == (status == 401);
    let reached = reached.map_or_else(|| "nothing".into(), |(user, roles)| format!("{user} [{roles}]"));
    let decided = format!("{status} {}", row.decided);
    println!("{:<44} {decided:<38} {reached:<44} {}", row.sent, mark(good));
    good
}

fn mark(good: bool) -> &'static str {
    if good { "ok" } else { "MISMATCH" }
}
