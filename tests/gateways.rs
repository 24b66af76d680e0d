//! A gateway before Elasticsearch or the provider answers in its place: elastauth draws no conclusions from that. Tested with the
//! whole process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{ADMIN, Elasticsearch};
use elastauth_support::fixture::{serve, with_elasticsearch};
use elastauth_support::gateway::{Gateway, Own};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{run_beside, until};
use elastauth_support::servers::{Elastauth, config};
use elastauth_support::users::User;
use serde_json::{Value, json};

struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    gateway: Gateway,
}

impl Bench {
    async fn new() -> Self {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let gateway = Gateway::start(&elasticsearch.url).await;
        Self { issuer, elasticsearch, gateway }
    }

    fn config(&self, settings: &str) -> String {
        let yaml = config(&self.issuer.url, &self.gateway.url, "  type: memory");
        with_elasticsearch(&yaml, settings)
    }

    async fn serve(&self, settings: &str) -> (Elastauth, Checker) {
        serve(elastauth!(), &self.config(settings)).await
    }

    async fn users(&self, words: &[&str]) -> Output {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yml");
        std::fs::write(&file, self.config("")).unwrap();
        let mut command = Command::new(elastauth!());
        command.env_clear().arg("--config").arg(&file).arg("users").args(words);
        run_beside(command, "").await
    }
}

fn person() -> User {
    User {
        password: "of-a-person".into(),
        roles: vec!["superuser".into()],
        full_name: Value::Null,
        email: Value::Null,
        metadata: json!({ "team": "x" }).as_object().unwrap().clone(),
        enabled: true,
    }
}

/// Answers by which ingress controllers, gateways and object stores report that a path is unknown to them.
const NOT_FOUND: [Own; 7] = [
    (404, "text/plain", "default backend - 404"),
    (404, "text/html", "<html><head><title>404 Not Found</title></head></html>"),
    (404, "text/plain", ""),
    (404, "application/json", r#"{"message":"no Route matched with those values"}"#),
    (404, "application/json", r#"{"status":404,"error":"Not Found"}"#),
    (404, "application/xml", "<Error><Code>NoSuchKey</Code></Error>"),
    // JSON, but without the product header that Elasticsearch has sent before
    (404, "application/json", "{}"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_person_whose_look_a_proxy_answers_with_404_is_never_written() {
    let bench = Bench::new().await;
    let (elastauth, checker) = bench.serve("").await;
    assert!(checker.ask(&bench.issuer.token("known", &["admins"])).await.password().is_some());
    let puts = bench.elasticsearch.puts().len();
    for (number, own) in NOT_FOUND.into_iter().enumerate() {
        let name = format!("boss{number}");
        bench.elasticsearch.seed(&name, person());
        let path = format!("/_security/user/{name}");
        bench.gateway.answer(move |method, asked, _| (*method == "GET" && asked == path).then_some(own));
        let token = bench.issuer.token(&name, &["developers"]);
        assert_eq!(checker.ask(&token).await, Answer::Denied(503), "{own:?}");
        let user = bench.elasticsearch.user(&name).unwrap();
        assert_eq!((user.password, user.roles), (person().password, person().roles), "{own:?}");
        assert_eq!(user.metadata, person().metadata);
        bench.gateway.pass();
        until("the person's own answer", || async { checker.ask(&token).await == Answer::Denied(403) }).await;
    }
    assert_eq!(bench.elasticsearch.puts().len(), puts);
    elastauth.process.wait_for_line(0, &["between elastauth and Elasticsearch", "default backend - 404"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_a_proxy_answers_hands_nothing_out_and_refuses_nobody_for_good() {
    let bench = Bench::new().await;
    let (_elastauth, checker) = bench.serve("").await;
    let writes: [Own; 6] = [
        (200, "text/html", "<html><title>Sign in</title></html>"),
        (200, "application/json", ""),
        (200, "application/json", "{}"),
        (400, "text/html", "<html><title>400 Request Header Or Cookie Too Large</title></html>"),
        (400, "application/json", r#"{"message":"Bad Request"}"#),
        (403, "text/html", "<html><title>blocked</title></html>"),
    ];
    for (number, own) in writes.into_iter().enumerate() {
        let name = format!("user{number}");
        bench.gateway.answer(move |method, _, _| (*method == "PUT").then_some(own));
        let token = bench.issuer.token(&name, &["developers"]);
        assert_eq!(checker.ask(&token).await, Answer::Denied(503), "{own:?}");
        assert!(bench.gateway.answered() > 0 && bench.elasticsearch.user(&name).is_none());
        bench.gateway.pass();
        until("the user", || async { checker.ask(&token).await.password().is_some() }).await;
    }
}

/// A login fails, and a proxy answers the GET of the user: the user is neither missing nor another subject's.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_that_a_proxy_answers_writes_nothing() {
    for (own, login) in [
        ((404, "text/plain", "default backend - 404"), true),
        ((401, "text/html", "<html>sign in</html>"), true),
        ((200, "text/html", "<html>sign in</html>"), true),
        ((200, "application/json", r#"{"username":"a-proxys-own","roles":[],"metadata":{}}"#), true),
        ((404, "text/plain", "default backend - 404"), false),
    ] {
        let bench = Bench::new().await;
        let (_elastauth, checker) = bench.serve("  settling: 50ms\n").await;
        let token = bench.issuer.token("ann", &["admins"]);
        let made = checker.ask(&token).await;
        assert!(made.password().is_some());
        if !login {
            let mut changed = bench.elasticsearch.user("ann").unwrap();
            changed.password = "another".into();
            bench.elasticsearch.seed("ann", changed);
        }
        let administrators = {
            use base64::Engine as _;
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", ADMIN.0, ADMIN.1)))
        };
        bench.gateway.answer(move |method, path, authorization| {
            let about_ann = if login {
                path == "/_security/_authenticate" && authorization != administrators
            } else {
                path == "/_security/user/ann" && *method == "GET"
            };
            about_ann.then_some(own)
        });
        until("several confirmations", || async {
            assert_eq!(checker.ask(&token).await, made, "the record stays in use");
            bench.gateway.answered() > 4
        })
        .await;
        assert_eq!(bench.elasticsearch.puts().len(), 1, "{own:?}");
    }
}

/// A job that disables users who left the organisation must notice that it did nothing.
#[tokio::test(flavor = "multi_thread")]
async fn users_is_an_error_where_a_proxy_answers() {
    let bench = Bench::new().await;
    let (_elastauth, checker) = bench.serve("").await;
    assert!(checker.ask(&bench.issuer.token("ann", &["developers"])).await.password().is_some());
    for own in NOT_FOUND.into_iter().chain([(200, "text/html", "<html>sign in</html>")]) {
        bench.gateway.answer(move |_, path, _| (path == "/_security/user").then_some(own));
        for words in [&["list"][..], &["disable", "--match", "*", "--yes"]] {
            let output = bench.users(words).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains("in its place"), "{words:?} {own:?}: {said}");
        }
    }
    bench.gateway.answer(|method, path, _| {
        (*method == "PUT" && path.ends_with("/_disable")).then_some((200, "text/html", "<html>sign in</html>"))
    });
    let output = bench.users(&["disable", "ann", "--yes"]).await;
    assert!(!output.status.success(), "{output:?}");
    assert!(bench.elasticsearch.user("ann").unwrap().enabled);
    bench.gateway.pass();
    assert!(bench.users(&["list"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_compressed_on_the_way_is_read_all_the_same() {
    let elasticsearch = Elasticsearch::start().await;
    let before_it = Gateway::compressing(&elasticsearch.url).await;
    for validation in ["jwks", "userinfo", "introspection"] {
        let issuer = Issuer::start().await;
        let before_the_provider = Gateway::compressing(&issuer.url).await;
        let paths =
            ["jwks_uri: KEYS/keys", "userinfo_endpoint: KEYS/userinfo", "introspection_endpoint: KEYS/introspect"];
        let paths = paths.map(|path| format!("  {}\n", path.replace("KEYS", &before_the_provider.url))).concat();
        let (_, secret) = elastauth_support::issuer::CLIENT;
        let more = format!("{paths}  token_validation: {validation}\n  client_secret: {secret}\n  client_id:");
        let yaml = config(&issuer.url, &before_it.url, "  type: memory").replace("  client_id:", &more);
        let elastauth = Elastauth::start(elastauth!(), &yaml);
        let checker = Checker::connect(&elastauth.grpc).await;
        let user = format!("ann-{validation}");
        let token = issuer.token(&user, &["developers"]);
        issuer.grant(&token, issuer.claims(&user, &["developers"], 0));
        let answer = checker.ask(&token).await;
        let password = elasticsearch.user(&user).map(|user| user.password);
        assert_eq!(answer.password(), password.as_deref(), "{validation}: {answer:?}");
        assert!(password.is_some());
    }
}
