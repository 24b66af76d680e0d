//! Keeps the stand-in for Elasticsearch like the real one: it and elastauth are held against the
//! official specification, driven by the official client, and compared with the validation classes of the real server.
//!
//! `make tools` gets all three; a test that lacks one is skipped and says so.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elastauth::identity::Username;
use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{ADMIN, Elasticsearch, Exchange, Faults};
use elastauth_support::fixture::with_elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{run, run_beside, until};
use elastauth_support::random::Random;
use elastauth_support::servers::{Elastauth, config, root};
use elastauth_support::specification::Specification;
use elastauth_support::users::{User, Users, is_valid_name};
use serde_json::{Value, json};

/// The versions that validate names here, and the longest name that each accepts.
const VERSIONS: [(&str, usize); 2] = [("7.17.28", 1024), ("8.17.0", 507)];

fn tool(name: &str) -> Option<PathBuf> {
    let path = root().join(".tools/elasticsearch").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no {}; `make tools` gets it where npm, Python, Java and Maven are", path.display());
    None
}

fn specification() -> Option<Specification> {
    tool("schema.json").map(|path| Specification::read(&path))
}

/// All that elastauth sends to Elasticsearch and gets from it: a user is made, changed, tried and refused, and the account is
/// checked. Answers the password of `ann`, too.
async fn everything(settings: &str) -> (Vec<Exchange>, String) {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    elasticsearch.record();
    let person = json!({ "password": "of-a-person", "roles": ["viewer"] });
    let url = format!("{}/_security/user/person", elasticsearch.url);
    elastauth_support::http().put(url).basic_auth(ADMIN.0, Some(ADMIN.1)).json(&person).send().await.unwrap();
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory");
    let yaml = with_elasticsearch(&yaml, &format!("  settling: 50ms\n{settings}"));
    let elastauth = Elastauth::start(elastauth!(), &yaml);
    let checker = Checker::connect(&elastauth.grpc).await;
    let made = checker.ask(&issuer.sign(&issuer.claims("ann", &["developers"], 9))).await;
    let token = issuer.token("ann", &["admins"]);
    checker.ask(&token).await;
    checker.ask(&issuer.token("person", &["admins"])).await;
    until("a confirmation", || async {
        checker.ask(&token).await;
        elasticsearch.logins("ann") > 0
    })
    .await;
    (elasticsearch.exchanges(), made.password().unwrap().to_owned())
}

/// Requirement 8, and 30: besides the check of the account there is one GET and one PUT for a new user.
#[tokio::test(flavor = "multi_thread")]
async fn what_elastauth_says_and_the_stand_in_answers_keeps_to_the_specification() {
    let Some(specification) = specification() else { return };
    for settings in ["", "  password_hash: bcrypt\n  refresh: wait_for\n  compatible_with: 9\n"] {
        let (exchanges, _) = everything(settings).await;
        let names: BTreeSet<String> = exchanges.iter().map(|exchange| specification.check(exchange).unwrap()).collect();
        for expected in ["authenticate", "has_privileges", "get_role", "get_user", "put_user"] {
            assert!(names.contains(&format!("security.{expected}")), "{expected} is not in {names:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_stand_in_keep_to_the_specification() {
    let Some(specification) = specification() else { return };
    let server = Elasticsearch::start().await;
    server.record();
    let ask = async |method: &str, path: &str, user: &str, body: Value| {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = elastauth_support::http().request(method, format!("{}{path}", server.url));
        let request = request.basic_auth(user, Some(ADMIN.1));
        let request = if body.is_null() { request } else { request.json(&body) };
        request.send().await.unwrap().status().as_u16()
    };
    let user = json!({ "roles": ["dev"], "password": ADMIN.1 });
    assert_eq!(ask("PUT", "/_security/user/ann", ADMIN.0, user.clone()).await, 200);
    for (status, method, path, account, body) in [
        (401, "GET", "/_security/_authenticate", "nobody", Value::Null),
        (403, "GET", "/_security/user/ann", "ann", Value::Null),
        (400, "PUT", "/_security/user/bob", ADMIN.0, json!({ "roles": [] })),
        (400, "PUT", "/_security/user/elastic", ADMIN.0, user.clone()),
        (404, "GET", "/_security/user/nobody", ADMIN.0, Value::Null),
        (404, "DELETE", "/_security/user/nobody", ADMIN.0, Value::Null),
        (400, "PUT", "/_security/user/nobody/_disable", ADMIN.0, Value::Null),
    ] {
        assert_eq!(ask(method, path, account, body).await, status, "{method} {path}");
    }
    server.fail(Faults { security_index_down: true, ..Faults::default() });
    assert_eq!(ask("GET", "/_security/user/ann", ADMIN.0, Value::Null).await, 503);
    assert_eq!(ask("GET", "/_security/_authenticate", "ann", Value::Null).await, 401, "not a wrong password");
    for exchange in server.exchanges() {
        specification.check(&exchange).unwrap();
    }
}

/// Without this the two tests above would prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn departures_from_the_specification_are_found() {
    let Some(specification) = specification() else { return };
    let (exchanges, _) = everything("").await;
    let of = |path: &str, method: &str| {
        exchanges.iter().find(|e| e.uri.path() == path && e.method == method).unwrap().clone()
    };
    let put = || of("/_security/user/ann", "PUT");
    let sent = |change: fn(&mut Value)| {
        let mut body: Value = serde_json::from_slice(&put().sent).unwrap();
        change(&mut body);
        Exchange { sent: body.to_string().into(), ..put() }
    };
    let answered = |path: &str, text: &str| Exchange { answered: text.to_owned().into(), ..of(path, "GET") };
    for (broken, part) in [
        (sent(|body| body["ennabled"] = true.into()), "unknown ennabled"),
        (sent(|body| body["enabled"] = "yes".into()), "enabled is no boolean"),
        (sent(|body| body["roles"] = json!([1])), "roles is no string"),
        (sent(|body| body["metadata"] = json!([])), "metadata is no object"),
        (Exchange { uri: "/_security/user/ann?refresh=soon".parse().unwrap(), ..put() }, "refresh"),
        (Exchange { uri: "/_security/user/ann?force=true".parse().unwrap(), ..put() }, "no parameter force"),
        (Exchange { uri: "/_security/user/ann/x".parse().unwrap(), ..put() }, "no endpoint"),
        (Exchange { answered: "{}".into(), ..put() }, "no created"),
        (Exchange { answered: r#"{"created":1}"#.into(), ..put() }, "created is no boolean"),
        (Exchange { sent: "{}".into(), ..of("/_security/user/person", "GET") }, "a body"),
        (answered("/_security/user/person", r#"{"person":{"username":"person"}}"#), "has no"),
        (answered("/_security/_authenticate", "[]"), "no object"),
        (
            Exchange { status: reqwest::StatusCode::BAD_REQUEST, answered: r#"{"error":"bare"}"#.into(), ..put() },
            "error",
        ),
    ] {
        let why = specification.check(&broken).unwrap_err();
        assert!(why.contains(part), "{part} is not in {why}");
    }
}

fn python(arguments: &[&str]) -> Option<Command> {
    let library = root().join(".tools/elasticsearch/lib");
    let own = root().join(".tools/elasticsearch/venv/bin/python");
    let mut command = Command::new(if own.exists() { own } else { "python3".into() });
    command.env("PYTHONPATH", library).args(arguments);
    let mut probe = Command::new(command.get_program());
    let probe = probe.env("PYTHONPATH", root().join(".tools/elasticsearch/lib"));
    let there = run(probe.args(["-c", "import elasticsearch, bcrypt"]), "");
    if there.is_ok_and(|there| there.status.success()) {
        return Some(command);
    }
    println!("skipped: no Python with the packages elasticsearch and bcrypt; `make tools` gets them");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_is_content_with_the_stand_in() {
    let server = Elasticsearch::start().await;
    server.record();
    let script = root().join("tests/elasticsearch/client.py");
    let Some(command) = python(&[script.to_str().unwrap(), &server.url]) else { return };
    let output = run_beside(command, "").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let exchanges = server.exchanges();
    assert!(exchanges.len() > 60, "{}", exchanges.len());
    let Some(specification) = specification() else { return };
    for exchange in &exchanges {
        specification.check(exchange).unwrap();
    }
}

/// Has the classes of a real version validate these lines.
fn validate(version: &str, lines: &[[String; 3]]) -> Option<Vec<String>> {
    let jars = tool(&format!("x-pack-{version}"))?;
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).arg(root().join("tests/elasticsearch/Validate.java"));
    let line = |[kind, one, other]: &[String; 3]| format!("{kind} {} {}", STANDARD.encode(one), STANDARD.encode(other));
    let text = lines.iter().map(line).collect::<Vec<_>>().join("\n") + "\n";
    let Ok(output) = run(&mut command, &text) else {
        println!("skipped: no java");
        return None;
    };
    let answers: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), lines.len(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(answers)
}

fn user(name: &str, body: &Value) -> [String; 3] {
    ["user".into(), name.into(), body.to_string()]
}

/// What the stand-in answers to the body where a user of that name exists already.
fn stand_in(name: &str, body: &Value) -> Result<(), String> {
    let mut users = Users::default();
    let there = User {
        password: "secret-0".into(),
        roles: Vec::new(),
        full_name: Value::Null,
        email: Value::Null,
        metadata: serde_json::Map::new(),
        enabled: true,
    };
    users.all.insert(name.to_owned(), there);
    users.put(name, body).map(|_| ()).map_err(|refused| refused.reason)
}

/// Random bodies of users, valid and invalid.
fn bodies() -> Vec<Value> {
    let hash = "$2a$10$nRfu6aRfyz6JaSgq8OfVGOuQrvZBwJ72wvhYXtVa.6TlN6jvGGMgC";
    let base = json!({ "password": "secret-1", "roles": ["a"] });
    let with = |key: &str, value: Value| {
        let mut body = base.clone();
        body[key] = value;
        body
    };
    let mut bodies =
        vec![base.clone(), json!({}), json!([]), json!({ "roles": ["a"] }), json!({ "password": "secret-1" })];
    for roles in [json!([]), json!("a,b"), json!([1]), json!(null), json!({}), json!(["a", null])] {
        bodies.push(with("roles", roles));
    }
    for password in [json!("short"), json!("123456"), json!(null), json!(1), json!("x".repeat(72))] {
        bodies.push(with("password", password));
    }
    for hash in [hash, "garbage", ""] {
        bodies.push(json!({ "roles": ["a"], "password_hash": hash }));
        bodies.push(with("password_hash", hash.into()));
    }
    for metadata in [json!({}), json!({ "k": { "l": [1] } }), json!({ "_k": 1 }), json!([]), json!("x")] {
        bodies.push(with("metadata", metadata));
    }
    for (key, values) in [
        ("full_name", [json!("Ann"), json!(null), json!(7)]),
        ("email", [json!("a@b"), json!(null), json!([])]),
        ("enabled", [json!(true), json!(false), json!("yes")]),
        ("username", [json!("ann"), json!("bob"), json!("ann ")]),
        ("x", [json!(1), json!(null), json!({})]),
    ] {
        bodies.extend(values.map(|value| with(key, value)));
    }
    bodies
}

#[test]
fn the_stand_in_refuses_exactly_the_bodies_that_the_real_server_refuses() {
    let bodies = bodies();
    let lines: Vec<_> = bodies.iter().map(|body| user("ann", body)).collect();
    for (version, _) in VERSIONS {
        let Some(answers) = validate(version, &lines) else { return };
        for (body, answer) in bodies.iter().zip(&answers) {
            let ours = stand_in("ann", body);
            assert_eq!(ours.is_ok(), answer == "accepted", "{version}: {body}: {answer}; the stand-in: {ours:?}");
        }
        assert!(answers.iter().filter(|answer| *answer == "accepted").count() > 10);
    }
}

/// Requirements 1 and 2: every version accepts the names that elastauth accepts, and the stand-in accepts the same as they do.
#[test]
fn names_are_valid_where_the_real_server_says_so() {
    let mut random = Random::new(7);
    let alphabet: Vec<char> = (0..=0x7f_u8).map(char::from).chain("üß€\u{a0}".chars()).collect();
    let mut names: Vec<String> =
        alphabet.iter().flat_map(|c| [c.to_string(), format!("a{c}b"), format!("{c}b"), format!("a{c}")]).collect();
    for _ in 0..300 {
        let length = 1 + random.below(12);
        names.push((0..length).map(|_| *random.pick(&alphabet)).collect());
    }
    for length in [254, 255, 256, 507, 508, 1024, 1025] {
        names.push("n".repeat(length));
    }
    names.extend(["elastic", "Elastic", "kibana_system", "_password", ".."].map(str::to_owned));
    // without a password, which the real classes would hash
    let body = json!({ "roles": ["a"] });
    let lines: Vec<_> = names.iter().map(|name| user(name, &body)).collect();
    for (version, limit) in VERSIONS {
        let Some(answers) = validate(version, &lines) else { return };
        for (name, answer) in names.iter().zip(&answers) {
            let real = answer == "accepted";
            let reserved = elastauth_support::users::RESERVED.contains(&name.as_str());
            assert_eq!(is_valid_name(name, limit) && !reserved, real, "{version}: {name:?}: {answer}");
            assert!(Username::parse(name).is_err() || real || reserved, "{version}: {name:?}: {answer}");
        }
    }
}

/// Requirement 37: Elasticsearch's own classes and Python's bcrypt accept the hash, and it fits the password.
#[tokio::test(flavor = "multi_thread")]
async fn what_elastauth_sends_is_accepted_by_the_real_classes_and_its_hash_fits() {
    for settings in ["", "  password_hash: bcrypt\n"] {
        let (exchanges, password) = everything(settings).await;
        let puts: Vec<_> =
            exchanges.iter().filter(|e| e.method == "PUT" && e.uri.path() == "/_security/user/ann").collect();
        assert_eq!(puts.len(), 2, "made once, changed once");
        let bodies: Vec<Value> = puts.iter().map(|put| serde_json::from_slice(&put.sent).unwrap()).collect();
        let mut lines: Vec<_> = bodies.iter().map(|body| user("ann", body)).collect();
        let hash = bodies[0]["password_hash"].as_str();
        assert_eq!(hash.is_some(), !settings.is_empty());
        lines.extend(hash.map(|hash| ["hash".to_owned(), password.clone(), hash.to_owned()]));
        let expected = vec!["accepted".to_owned(); lines.len()];
        for (version, _) in VERSIONS {
            let lines = lines.clone();
            let answers = tokio::task::spawn_blocking(move || validate(version, &lines)).await.unwrap();
            assert!(answers.is_none_or(|answers| answers == expected), "{version}");
        }
        let Some(hash) = hash else { continue };
        let check = "import bcrypt, sys; sys.exit(not bcrypt.checkpw(sys.argv[1].encode(), sys.argv[2].encode()))";
        let Some(mut fits) = python(&["-c", check, &password, hash]) else { continue };
        assert!(run(&mut fits, "").unwrap().status.success());
        let mut other = python(&["-c", check, "another", hash]).unwrap();
        assert!(!run(&mut other, "").unwrap().status.success());
    }
}
