//! The whole process with real Envoy and real Redis: the main job, two replicas, and outages.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use elastauth_support::certificates::Authority;
use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::fixture::with_elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{free_port, run, run_unread, said, until};
use elastauth_support::servers::{Elastauth, Envoy, Redis, config, redis_cache};
use elastauth_support::users::User;

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
    let elastauth = Elastauth::start(elastauth!(), &config(&issuer.url, &elasticsearch.url, "  type: memory"));
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
    let (one, two) = (Elastauth::start(elastauth!(), &yaml), Elastauth::start(elastauth!(), &yaml));
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
    let elastauth = Elastauth::start(elastauth!(), &yaml);
    let Some(envoy) = Envoy::start(&elastauth.grpc, elasticsearch.address(), true).await else { return };
    redis.process.kill();
    assert_eq!(status(&envoy.url, Some(&issuer.token("ann", &["admins"]))).await.0, 503);
    assert!(elasticsearch.history().is_empty());
    elastauth.process.wait_for_line(0, &["cache_unavailable"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_acl_line_is_enough_and_the_log_says_what_to_grant() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let acl = ["--user", "elastauth", "on", ">of-elastauth", "~elastauth-*", "+@read", "+@write"];
    let Some(redis) = Redis::start(&acl) else { return };
    let cache = format!(
        "  type: redis\n  redis_host: {}\n  redis_username: elastauth\n  redis_password: of-elastauth",
        redis.address
    );
    let yaml = config(&issuer.url, &elasticsearch.url, &cache);
    let (one, two) = (Elastauth::start(elastauth!(), &yaml), Elastauth::start(elastauth!(), &yaml));
    let Some(first) = Envoy::start(&one.grpc, elasticsearch.address(), true).await else { return };
    let Some(second) = Envoy::start(&two.grpc, elasticsearch.address(), true).await else { return };
    for (envoy, groups, age) in [(&first, "developers", 9), (&second, "developers", 8), (&second, "admins", 1)] {
        let token = issuer.sign(&issuer.claims("ann", &[groups], age));
        assert_eq!(status(&envoy.url, Some(&token)).await.0, 200);
    }
    let writes = elasticsearch.history();
    assert_eq!(writes.len(), 2, "made once, changed once");
    assert!(writes[1].password.is_none(), "a change of roles alone keeps the password");
    two.process.wait_for_line(0, &["warn", "+eval", "+evalsha"]);
    let key = redis.command(&["KEYS", "*"]);
    assert!(key.contains("elastauth-YW5u"), "{key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_that_are_not_ours_or_disabled_are_left_exactly_as_they_are() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let person = User {
        password: "of-a-person".into(),
        roles: vec!["superuser".into()],
        full_name: "P".into(),
        email: serde_json::Value::Null,
        metadata: serde_json::Map::new(),
        enabled: true,
    };
    elasticsearch.seed("person", person.clone());
    let elastauth = Elastauth::start(elastauth!(), &config(&issuer.url, &elasticsearch.url, "  type: memory"));
    let Some(envoy) = Envoy::start(&elastauth.grpc, elasticsearch.address(), true).await else { return };
    assert_eq!(status(&envoy.url, Some(&issuer.token("person", &["admins"]))).await.0, 403);
    elastauth.process.wait_for_line(0, &["user_not_managed"]);
    assert_eq!(elasticsearch.user("person").unwrap().password, "of-a-person");
    assert_eq!(elasticsearch.user("person").unwrap().roles, ["superuser"]);

    assert_eq!(status(&envoy.url, Some(&issuer.sign(&issuer.claims("ann", &["admins"], 5)))).await.0, 200);
    let made = elasticsearch.user("ann").unwrap();
    elasticsearch.seed("ann", User { enabled: false, ..made });
    let newer = issuer.sign(&issuer.claims("ann", &["developers"], 1));
    assert_eq!(status(&envoy.url, Some(&newer)).await.0, 403);
    elastauth.process.wait_for_line(0, &["user_disabled"]);
    assert!(!elasticsearch.user("ann").unwrap().enabled, "no process enabled the user again");

    let mut stranger = issuer.claims("bob", &["admins"], 0);
    assert_eq!(status(&envoy.url, Some(&issuer.sign(&stranger))).await.0, 200);
    stranger["sub"] = "somebody-else".into();
    assert_eq!(status(&envoy.url, Some(&issuer.sign(&stranger))).await.0, 403);
    elastauth.process.wait_for_line(0, &["username_taken"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_that_the_process_lives_and_readiness_that_it_can_serve() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let Some(mut redis) = Redis::start(&[]) else { return };
    issuer.set_down(true);
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    // with a shorter pause between two attempts the test finds the provider again sooner
    let yaml = yaml.replace("  client_id:", "  keys_cooldown: 10ms\n  client_id:");
    let elastauth = Elastauth::start(elastauth!(), &yaml);
    let get = async |path: &str| {
        let answer = elastauth_support::http().get(format!("{}{path}", elastauth.http)).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    for path in ["/health", "/live"] {
        assert_eq!(get(path).await, (200, serde_json::json!({ "status": "ok" })));
    }
    let (code, body) = get("/ready").await;
    assert_eq!((code, body["cache"].as_str()), (503, Some("ok")));
    assert!(body["keys"].as_str().unwrap().contains("503"), "{body}");
    issuer.set_down(false);
    until("the keys", || async { get("/ready").await.0 == 200 }).await;
    redis.process.kill();
    let (code, body) = get("/ready").await;
    assert_eq!((code, body["keys"].as_str()), (503, Some("ok")));
    assert!(body["cache"].as_str().unwrap().contains(&redis.address), "{body}");
    assert_eq!(get("/live").await.0, 200, "an outage of another service is no reason for a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_told_to_end_says_so_serves_on_and_ends() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, "  type: memory");
    let yaml = with_elasticsearch(&yaml, "  timeout: 20s\n  write_timeout: 20s\n");
    let listen = format!("127.0.0.1:{}", free_port());
    let mut elastauth = Elastauth::start_at(elastauth!(), &yaml, &listen, "  deadline: 20s\n");
    let Some(envoy) = Envoy::start(&elastauth.grpc, elasticsearch.address(), true).await else { return };
    // this one's write takes longer than the drain of three seconds
    elasticsearch.fail(Faults { delay: Duration::from_secs(6), ..Faults::default() });
    let (checker, token) = (Checker::connect(&elastauth.grpc).await, issuer.token("bob", &["admins"]));
    let in_flight = tokio::spawn(async move { checker.ask(&token).await });
    until("the write", async || elasticsearch.puts().len() == 1).await;
    elasticsearch.fail(Faults::default());

    elastauth.process.terminate();
    elastauth.process.wait_for_line(0, &["Draining"]);
    assert_eq!(status(&envoy.url, Some(&issuer.token("ann", &["admins"]))).await.0, 200, "still served");
    let ready = elastauth_support::http().get(format!("{}/ready", elastauth.http)).send().await.unwrap();
    assert_eq!(ready.status().as_u16(), 503);
    let told_to_go = || envoy.stat("cluster.elastauth.upstream_cx_close_notify");
    assert_eq!(told_to_go().await, Some(0));
    elastauth.process.wait_for_line(0, &["Stopping"]);
    until("the GOAWAY", async || told_to_go().await.is_some_and(|connections| connections > 0)).await;
    assert!(!in_flight.is_finished(), "it comes before the answer");
    let answer = in_flight.await.unwrap();
    assert_eq!(answer.password(), Some(elasticsearch.user("bob").unwrap().password.as_str()), "{answer:?}");
    let status = elastauth.process.wait();
    assert!(status.success(), "{status}");
    assert!(!elastauth.process.lines().iter().any(|line| line.contains("Ending with")));
}

#[tokio::test]
async fn a_broken_configuration_is_a_readable_list_and_exit_code_78() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    std::fs::write(&file, "oidc:\n  isuer: x\n  client_id: a\nlog_level: loud\nsecret_key: my-secret-value\n").unwrap();
    let mut command = std::process::Command::new(elastauth!());
    let run = run(command.arg("--config").arg(&file).arg("check").env_clear(), "").unwrap();
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

/// Runs one of the two commands with this configuration; returns the exit code and both outputs. `serve` is killed after 30 s.
fn judged(command: &str, file: &Path, env: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut process = std::process::Command::new("timeout");
    process.env_clear().envs(env.iter().copied()).args(["--signal=KILL", "30"]).arg(elastauth!());
    let output = run(process.args([command, "--config"]).arg(file), "").unwrap();
    (output.status.code(), said(&output))
}

/// Every configuration error that ends the start is also reported by `check`, with the same code and the same text.
#[test]
fn check_and_serve_judge_a_wrong_configuration_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    let (pair, stranger) = (authority.server(), other.server());
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, key, other_key) =
        (file("tls.crt", &pair.cert), file("tls.key", &pair.key), file("other.key", &stranger.key));
    let (garbage, empty) = (file("garbage.pem", "nothing"), file("empty", "\n"));
    let base = config("https://auth.example.com", "https://es.example.com:9200", "  type: memory");
    let base = format!("{base}listen: \"127.0.0.1:{}\"\ngrpc:\n  listen: \"127.0.0.1:{}\"\n", free_port(), free_port());
    let oidc = |more: &str| base.replace("  client_id:", &format!("  {more}\n  client_id:"));
    let elasticsearch =
        |more: &str| base.replace("  username: provisioner", &format!("  {more}\n  username: provisioner"));
    let redis = |more: &str| base.replace("  type: memory", &format!("  type: redis\n  redis_tls: true\n  {more}"));
    let grpc = |more: &str| format!("{base}  {more}\n");
    let headers = |more: &str| format!("{base}auth_provider: authelia\nauthelia:\n  {more}\n");
    let tracing = |more: &str| format!("{base}tracing:\n  endpoint: \"https://127.0.0.1:4317\"\n  {more}\n");
    for (yaml, env, expected) in [
        (base.replace("example.com\"", "example.com?realm=x\""), &[][..], "oidc.issuer"),
        (base.replace("example.com\"", "example.com#x\""), &[], "oidc.issuer"),
        (oidc("jwks_uri: \"http://keys.example.com\""), &[], "oidc.jwks_uri"),
        (oidc("userinfo_endpoint: \"http://info.example.com\""), &[], "oidc.userinfo_endpoint"),
        (oidc("ca_file: /nowhere/ca.pem"), &[], "oidc.ca_file"),
        (oidc(&format!("ca_file: {garbage}")), &[], "oidc.ca_file"),
        (elasticsearch("ca_file: /nowhere/ca.pem"), &[], "elasticsearch.ca_file"),
        (elasticsearch(&format!("ca_file: {garbage}")), &[], "elasticsearch.ca_file"),
        (
            elasticsearch(&format!("client_certificate_file: {cert}\n  client_key_file: {other_key}")),
            &[],
            "elasticsearch.client_key_file",
        ),
        (
            elasticsearch(&format!("client_certificate_file: {garbage}\n  client_key_file: {key}")),
            &[],
            "elasticsearch.client_certificate_file",
        ),
        (redis("redis_tls_ca_file: /nowhere/ca.pem"), &[], "cache.redis_tls_ca_file"),
        (
            redis(&format!("redis_tls_cert_file: {cert}\n  redis_tls_key_file: {other_key}")),
            &[],
            "cache.redis_tls_key_file",
        ),
        (grpc(&format!("tls_cert_file: /nowhere/tls.crt\n  tls_key_file: {key}")), &[], "grpc.tls_cert_file"),
        (grpc(&format!("tls_cert_file: {cert}\n  tls_key_file: {other_key}")), &[], "grpc.tls_key_file"),
        (
            grpc(&format!("tls_cert_file: {cert}\n  tls_key_file: {key}\n  tls_client_ca_file: {garbage}")),
            &[],
            "grpc.tls_client_ca_file",
        ),
        (headers("header_username: \"a b\""), &[], "authelia.header_username"),
        (headers("shared_secret: rather-short-secret"), &[], "authelia.shared_secret"),
        (tracing("ca_file: /nowhere/ca.pem"), &[], "tracing.ca_file"),
        (tracing("headers: nonsense"), &[], "tracing.headers"),
        (oidc("groups_prefix: \"${TENANT}\""), &[], "oidc.groups_prefix (line 3): ${TENANT}"),
        (base.clone(), &[("ELASTAUTH_POLICY_ALLOW", "admins")], "policy.allow"),
        (base.replace("  password: ", "  xpassword: "), &[("ELASTICSEARCH_PASSWORD_FILE", empty.as_str())], "is empty"),
    ] {
        let file = folder.path().join("config.yml");
        std::fs::write(&file, &yaml).unwrap();
        let [check, serve] = ["check", "serve"].map(|command| judged(command, &file, env));
        assert_eq!(check.0, Some(78), "{expected}: {}", check.1);
        assert!(check.1.contains("the configuration has") && check.1.contains(expected), "{expected}: {}", check.1);
        assert_eq!(serve, check, "{expected}");
    }
}

#[test]
fn a_port_in_use_is_no_fault_of_the_configuration() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = config("https://auth.example.com", "https://es.example.com:9200", "  type: memory");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    let listen =
        format!("listen: \"{}\"\ngrpc: {{listen: \"127.0.0.1:{}\"}}\n", taken.local_addr().unwrap(), free_port());
    std::fs::write(&file, format!("{base}{listen}")).unwrap();
    assert_eq!(judged("check", &file, &[]).0, Some(0));
    let (code, said) = judged("serve", &file, &[]);
    assert!(code == Some(1) && said.contains("cannot listen on"), "{code:?} {said}");
}

#[test]
fn a_variable_that_is_not_utf_8_is_an_error_and_not_unset() {
    use std::os::unix::ffi::OsStrExt as _;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    let base = config("https://auth.example.com", "https://es.example.com:9200", "  type: memory");
    let latin = std::ffi::OsStr::from_bytes(b"Gesch\xe4ft-");
    for (yaml, name) in [
        (base.clone(), "OIDC_GROUPS_PREFIX"),
        (base.replace("  client_id:", "  groups_prefix: \"${DEPT}\"\n  client_id:"), "DEPT"),
    ] {
        std::fs::write(&file, yaml).unwrap();
        let mut command = std::process::Command::new(elastauth!());
        let run = run(command.env_clear().env(name, latin).args(["check", "--config"]).arg(&file), "").unwrap();
        let text = said(&run);
        assert!(
            run.status.code() == Some(78) && text.contains(name) && text.contains("is not UTF-8"),
            "{name}: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_told_to_hang_up_serves_on_and_says_what_it_reads_again() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let mut elastauth = Elastauth::start(elastauth!(), &config(&issuer.url, &elasticsearch.url, "  type: memory"));
    let checker = Checker::connect(&elastauth.grpc).await;
    for user in ["ann", "bob"] {
        let from = elastauth.process.lines().len();
        elastauth.process.hang_up();
        elastauth.process.wait_for_line(from, &["SIGHUP", "continues to serve", "restart"]);
        // on a busy machine a new user may take longer than `grpc.deadline`
        assert!(checker.ask_patiently(&issuer.token(user, &["admins"])).await.password().is_some());
    }
    elastauth.process.terminate();
    let status = elastauth.process.wait();
    assert!(status.success(), "SIGTERM ends it as before: {status}");
}

/// The reader of the pipe has ended, as in `elastauth … | head -1`.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_seen_enough_ends_a_command_quietly() {
    let elasticsearch = Elasticsearch::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    std::fs::write(&file, config("https://login.example.com", &elasticsearch.url, "  type: memory")).unwrap();
    for words in [
        &["keys"][..],
        &["generate-key"],
        &["check"],
        &["explain", "--groups", "developers"],
        &["explain", "--groups", "nobody"],
        &["users", "list"],
        &["users", "list", "--output", "json"],
        &["users", "disable", "ann"],
        &["--help"],
    ] {
        let mut command = Command::new(elastauth!());
        command.env_clear().arg("--config").arg(&file).args(words);
        let run = tokio::task::spawn_blocking(move || run_unread(&mut command).unwrap()).await.unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        // 141 is a shell's code for SIGPIPE; clap prints the help and ignores the closed pipe
        let code = if words == ["--help"] { 0 } else { 141 };
        assert_eq!(run.status.code(), Some(code), "{words:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("Broken pipe"), "{words:?}: {said}");
    }
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let mut shell = Command::new("sh");
    let run = run(shell.env_clear().args(["-c", "exec \"$0\" keys > /dev/full"]).arg(elastauth!()), "").unwrap();
    assert_eq!(run.status.code(), Some(1));
    assert!(String::from_utf8(run.stderr).unwrap().starts_with("elastauth: the result cannot be written: No space"));
}
