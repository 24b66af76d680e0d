//! `elastauth users` as a whole process with a real Redis: it takes over a deployment of the Go service, and changes users.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use elastauth::config::Cache;
use elastauth::credentials::seal::Seal;
use elastauth::credentials::{CacheKey, Invalidations};
use elastauth::identity::{AsOf, Identity, Owner, Username};
use elastauth::login::{NewSession, Renew, RenewError, Renewed, Sessions, sessions};
use elastauth::redis::RedisStore;
use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::faults::{Ending, Fate};
use elastauth_support::fixture::{serve, with_elasticsearch};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{Process, run_beside, until};
use elastauth_support::resp::{Reply, Resp};
use elastauth_support::servers::{Elastauth, REDIS_PASSWORD, Redis, config, redis_cache};
use elastauth_support::users::User;
use secrecy::SecretString;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    redis: Redis,
    folder: TempDir,
}

impl Bench {
    async fn new() -> Option<Self> {
        let redis = Redis::start(&[])?;
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        Some(Self { issuer, elasticsearch, redis, folder: tempfile::tempdir().unwrap() })
    }

    fn config(&self) -> String {
        self.config_with(Duration::from_millis(200))
    }

    /// With this for `elasticsearch.settling`.
    fn config_with(&self, settling: Duration) -> String {
        let yaml = config(&self.issuer.url, &self.elasticsearch.url, &redis_cache(&self.redis.address));
        with_elasticsearch(&yaml, &format!("  settling: {}ms\n", settling.as_millis()))
    }

    async fn start(&self) -> (Elastauth, Checker) {
        serve(elastauth!(), &self.config()).await
    }

    fn file(&self, config: &str) -> PathBuf {
        let file = self.folder.path().join("config.yml");
        fs::write(&file, config).unwrap();
        file
    }

    fn command(&self, config: &str, words: &[&str]) -> Command {
        let mut command = Command::new(elastauth!());
        command.env_clear().arg("--config").arg(self.file(config)).arg("users").args(words);
        command
    }

    /// Runs `elastauth users …`; answers whether it ended well, its result, and what it wrote to standard error.
    async fn users(&self, words: &[&str]) -> (bool, Value, String) {
        self.users_with(&self.config(), words).await
    }

    async fn users_with(&self, config: &str, words: &[&str]) -> (bool, Value, String) {
        let mut command = self.command(config, words);
        command.args(["--output", "json"]);
        let Output { status, stdout, stderr } = run_beside(command, "").await;
        let said = String::from_utf8(stderr).unwrap();
        (status.success(), serde_json::from_slice(&stdout).unwrap_or_default(), said)
    }

    fn seed(&self, name: &str, roles: &[&str], metadata: Value) {
        let Value::Object(metadata) = metadata else { panic!("an object") };
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let (full_name, email) = (Value::Null, json!(format!("{name}@example.com")));
        let user = User { password: "made-before".into(), roles, full_name, email, metadata, enabled: true };
        self.elasticsearch.seed(name, user);
    }

    fn stamp(&self, user: &str) -> Map<String, Value> {
        self.elasticsearch.user(user).unwrap().metadata["elastauth"].as_object().unwrap().clone()
    }

    fn cached(&self, user: &str) -> bool {
        let key = CacheKey::of(&Username::parse(user).unwrap());
        let mut redis = Resp::connect(&self.redis.address, REDIS_PASSWORD);
        redis.command(&[b"EXISTS", key.as_str().as_bytes()]) == Reply::Number(1)
    }

    fn change(&self, user: &str, how: impl FnOnce(&mut User)) {
        let mut changed = self.elasticsearch.user(user).unwrap();
        how(&mut changed);
        self.elasticsearch.seed(user, changed);
    }
}

fn outcomes(lines: &Value) -> Vec<(&str, &str)> {
    lines.as_array().unwrap().iter().map(|l| (l["user"].as_str().unwrap(), l["outcome"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_deployment_is_handed_over_without_one_refused_request() {
    let Some(bench) = Bench::new().await else { return };
    let people: Vec<String> = (0..30).map(|n| format!("u{n:02}")).collect();
    let mut redis = Resp::connect(&bench.redis.address, REDIS_PASSWORD);
    for name in people.iter().map(String::as_str).chain(["boss"]) {
        let roles: &[&str] = if name == "boss" { &["superuser"] } else { &["kibana_user"] };
        bench.seed(name, roles, json!({ "groups": ["developers"] }));
        // hex of AES-GCM in base64, under the key that is ours too
        let key = CacheKey::of(&Username::parse(name).unwrap());
        redis.command(&[b"SET", key.as_str().as_bytes(), b"OTQzYzQ1ZTJhYjAxZGQ=", b"PX", b"3600000"]);
    }
    bench.seed("svc-report", &["viewer"], json!({ "team": "x" }));
    let before = bench.elasticsearch.user("u07").unwrap();

    let (ended_well, lines, said) = bench.users(&["adopt", "--made-by-go"]).await;
    assert!(!ended_well && said.contains("dry run"), "boss is worth an exit code: {said}");
    assert_eq!(outcomes(&lines).iter().filter(|(_, outcome)| *outcome == "planned").count(), 30);
    assert!(!bench.elasticsearch.user("u07").unwrap().metadata.contains_key("managed_by"));

    let (_, lines, _) = bench.users(&["adopt", "--made-by-go", "--yes"]).await;
    assert_eq!(outcomes(&lines)[0], ("boss", "refused"));
    assert_eq!(outcomes(&lines).iter().filter(|(_, outcome)| *outcome == "done").count(), 30);
    let after = bench.elasticsearch.user("u07").unwrap();
    assert_eq!((after.password, after.roles, after.email), (before.password, before.roles, before.email));
    assert_eq!(after.metadata["groups"], json!(["developers"]), "the Go service may go on until it is stopped");

    let (_elastauth, checker) = bench.start().await;
    let mut flying = tokio::task::JoinSet::new();
    for name in people.clone() {
        let (checker, token) = (checker.clone(), bench.issuer.token(&name, &["developers"]));
        flying.spawn(async move { (name, [checker.ask(&token).await, checker.ask(&token).await]) });
    }
    for (name, answers) in flying.join_all().await {
        let password = bench.elasticsearch.user(&name).unwrap().password;
        for answer in answers {
            assert_eq!(answer.password(), Some(password.as_str()), "{name}");
        }
        assert_eq!(bench.stamp(&name)["subject"], format!("id-of-{name}"), "bound to the first subject that came");
        let mut stranger = bench.issuer.claims(&name, &["developers"], 0);
        stranger["sub"] = "another person".into();
        assert_eq!(checker.ask(&bench.issuer.sign(&stranger)).await, Answer::Denied(403));
    }
    for name in ["boss", "svc-report"] {
        assert_eq!(checker.ask(&bench.issuer.token(name, &["developers"])).await, Answer::Denied(403), "{name}");
        assert_eq!(bench.elasticsearch.user(name).unwrap().password, "made-before");
    }
    let (_, listed, _) = bench.users(&["list"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 30);
    assert_eq!(listed[0]["user"], "u00");
    assert_eq!(listed[0]["subject"], "id-of-u00");
    let cache = listed[0]["cache"].as_str().unwrap();
    assert!(cache.len() == 16 && !cache.contains("127.0.0.1"), "a digest of the name: {cache}");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_disabled_deleted_released_and_rebound_and_their_records_go() {
    let Some(bench) = Bench::new().await else { return };
    let (_elastauth, checker) = bench.start().await;
    let token = |user: &str| bench.issuer.token(user, &["developers"]);
    for user in ["idle", "gone", "free", "moved", "stays"] {
        assert!(checker.ask(&token(user)).await.password().is_some());
        assert!(bench.cached(user));
        bench.change(user, |user| user.metadata["elastauth"]["secret"] = "c2VhbGVk".into());
    }
    bench.change("idle", |user| user.metadata["elastauth"]["last_seen"] = "2020-02-20".into());
    bench.seed("person", &["viewer"], json!({}));
    let (_, listed, _) = bench.users(&["list", "--inactive-for", "30d"]).await;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["user"]), (1, &json!("idle")));

    let (ended_well, lines, _) = bench.users(&["disable", "--inactive-for", "30d"]).await;
    assert!(ended_well && outcomes(&lines) == [("idle", "planned")], "{lines}");
    assert!(bench.elasticsearch.user("idle").unwrap().enabled && bench.cached("idle"));
    let (ended_well, lines, _) = bench.users(&["disable", "--inactive-for", "30d", "--yes"]).await;
    assert!(ended_well && outcomes(&lines) == [("idle", "done")], "{lines}");
    assert!(!bench.elasticsearch.user("idle").unwrap().enabled && !bench.cached("idle"));
    assert_eq!(bench.stamp("idle")["secret"], "c2VhbGVk", "an enabled one has its password again");
    until("the refusal", || async { checker.ask(&token("idle")).await == Answer::Denied(403) }).await;
    assert!(!bench.elasticsearch.user("idle").unwrap().enabled, "a user that an administrator disabled stays disabled");

    let (ended_well, lines, _) = bench.users(&["delete", "gone", "person", "nobody", "--yes"]).await;
    assert!(!ended_well, "{lines}");
    assert_eq!(outcomes(&lines), [("gone", "done"), ("nobody", "refused"), ("person", "refused")]);
    assert!(bench.elasticsearch.user("gone").is_none() && !bench.cached("gone"));
    assert!(bench.elasticsearch.user("person").is_some());

    let before = bench.elasticsearch.user("free").unwrap();
    assert!(bench.users(&["release", "free", "--yes"]).await.0);
    let after = bench.elasticsearch.user("free").unwrap();
    assert_eq!((after.password, after.roles, after.enabled), (before.password, before.roles, true));
    assert_eq!(bench.stamp("free")["secret"], "", "and elastauth knows the password no more");
    until("the refusal", || async { checker.ask(&token("free")).await == Answer::Denied(403) }).await;

    let mut moved = bench.issuer.claims("moved", &["developers"], 0);
    moved["sub"] = "id-at-the-new-provider".into();
    let moved = bench.issuer.sign(&moved);
    assert_eq!(checker.ask(&moved).await, Answer::Denied(403));
    let before = bench.elasticsearch.user("moved").unwrap();
    assert!(bench.users(&["rebind", "moved", "--subject", "id-at-the-new-provider", "--yes"]).await.0);
    assert_eq!(bench.stamp("moved")["secret"], "", "the former owner may know the password");
    assert_eq!(
        bench.elasticsearch.user("moved").unwrap().password,
        before.password,
        "which is right until the next request"
    );
    until("the new owner", || async { checker.ask(&moved).await.password().is_some() }).await;
    assert_ne!(bench.elasticsearch.user("moved").unwrap().password, before.password);
    assert_eq!(bench.stamp("moved")["subject"], "id-at-the-new-provider");
    assert_eq!(checker.ask(&token("moved")).await, Answer::Denied(403), "the old one is out");
    assert!(checker.ask(&token("stays")).await.password().is_some() && bench.cached("stays"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_gives_each_user_a_new_password_and_the_former_one_is_refused_at_once() {
    let Some(bench) = Bench::new().await else { return };
    let (_elastauth, checker) = bench.start().await;
    let token = |user: &str| bench.issuer.token(user, &["developers"]);
    let known = |user: &str| bench.elasticsearch.user(user).unwrap();
    for user in ["ann", "bob", "locked"] {
        assert!(checker.ask(&token(user)).await.password().is_some());
    }
    bench.seed("person", &["viewer"], json!({}));
    bench.change("bob", |user| user.metadata.extend([("team".to_owned(), "x".into())]));
    bench.change("locked", |user| user.enabled = false);
    let users = ["ann", "bob", "locked"];
    let before = users.map(known);

    let (ended_well, lines, _) = bench.users(&["rotate", "--all"]).await;
    assert!(ended_well && outcomes(&lines) == users.map(|user| (user, "planned")), "{lines}");
    assert!(users.iter().zip(&before).all(|(user, before)| known(user).password == before.password));

    let (ended_well, lines, said) = bench.users(&["rotate", "--all", "--yes"]).await;
    assert!(ended_well && outcomes(&lines) == users.map(|user| (user, "done")), "{lines}");
    for (user, mut before) in users.into_iter().zip(before) {
        let after = known(user);
        assert_ne!(after.password, before.password, "{user}");
        assert_ne!(after.metadata["elastauth"]["secret"], "", "{user}");
        before.metadata["elastauth"]["secret"] = after.metadata["elastauth"]["secret"].clone();
        let all = |user: User| (user.roles, user.full_name, user.email, user.metadata, user.enabled);
        assert_eq!(all(after), all(before), "{user}: everything else is as it was");
    }
    let writes = bench.elasticsearch.history().len();
    for user in ["ann", "bob"] {
        let password = known(user).password;
        until("the new password", || async { checker.ask(&token(user)).await.password() == Some(password.as_str()) })
            .await;
    }
    assert_eq!(bench.elasticsearch.history().len(), writes, "the next request takes the password from the copy");

    let time = said.split("--generated-before ").nth(1).unwrap().lines().next().unwrap();
    let (ended_well, lines, _) = bench.users(&["rotate", "--all", "--generated-before", time, "--yes"]).await;
    assert!(ended_well && outcomes(&lines) == users.map(|user| (user, "unchanged")), "{lines}");
    let (ended_well, lines, _) = bench.users(&["rotate", "ann", "person", "--yes"]).await;
    assert!(!ended_well && outcomes(&lines) == [("ann", "done"), ("person", "refused")], "{lines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_users_or_without_elasticsearch_says_so() {
    let Some(bench) = Bench::new().await else { return };
    for (words, why) in [
        (&["disable", "--yes"][..], "no users are selected"),
        (&["adopt", "--match", "*", "--subject", "s"], "one named user"),
        (&["rebind", "ann"], "nothing to change is given"),
        (&["adopt", "ann", "--subjects", "/nowhere/subjects.csv"], "/nowhere/subjects.csv"),
    ] {
        let (ended_well, lines, said) = bench.users(words).await;
        assert!(!ended_well && lines.is_null() && said.contains(why), "{words:?}: {said}");
    }
    bench.elasticsearch.fail(Faults { get_status: Some(503), ..Default::default() });
    let (ended_well, _, said) = bench.users(&["list"]).await;
    assert!(!ended_well && said.contains("503"), "{said}");
}

/// A replica reads that the user is enabled and sends its write, which is applied after the user was disabled.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_on_its_way_does_not_bring_a_disabled_user_back() {
    let Some(bench) = Bench::new().await else { return };
    let (_elastauth, checker) = bench.start().await;
    let token = |groups: &[&str], age| bench.issuer.sign(&bench.issuer.claims("ann", groups, age));
    assert!(checker.ask(&token(&["developers"], 10)).await.password().is_some());
    let fate = Fate { delay: Duration::from_secs(4), ending: Ending::Late };
    bench.elasticsearch.fail(Faults { fates: Some(Arc::new(move || fate)), ..Faults::default() });
    let asking = tokio::spawn({
        let (checker, newer) = (checker.clone(), token(&["admins"], 1));
        async move { checker.ask(&newer).await }
    });
    until("the write that is on its way", || async { bench.elasticsearch.open_puts() == 1 }).await;
    bench.elasticsearch.fail(Faults::default());
    let config = bench.config_with(Duration::from_secs(5));
    let (ended_well, lines, said) = bench.users_with(&config, &["disable", "ann", "--yes"]).await;
    let puts = bench.elasticsearch.puts();
    let late = puts.iter().find(|put| put.ending == Ending::Late).unwrap();
    assert!(late.applied.is_some(), "the write has landed");
    assert!(said.contains("waiting 5s for writes that may still arrive"), "{said}");
    assert!(!bench.elasticsearch.user("ann").unwrap().enabled, "{said}");
    assert!(said.contains("the change had been undone by a late write for 1 user"), "{said}");
    assert!(ended_well && outcomes(&lines) == [("ann", "done")], "{lines}");
    asking.await.unwrap();
    until("the refusal", || async { checker.ask(&token(&["admins"], 0)).await == Answer::Denied(403) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_wait_for_late_writes_is_reported_as_unfinished() {
    let Some(bench) = Bench::new().await else { return };
    let (_elastauth, checker) = bench.start().await;
    assert!(checker.ask(&bench.issuer.token("ann", &["developers"])).await.password().is_some());
    let config = bench.config_with(Duration::from_secs(90));
    let mut command = bench.command(&config, &["disable", "ann", "--yes"]);
    let mut command = tokio::task::spawn_blocking(move || {
        let command = Process::start("elastauth users", &mut command);
        command.wait_for_line(0, &["waiting 1m 30s for writes that may still arrive"]);
        command
    })
    .await
    .unwrap();
    assert!(!bench.elasticsearch.user("ann").unwrap().enabled);
    command.interrupt();
    assert_eq!(command.wait().code(), Some(1));
    command.wait_for_line(0, &["no user was checked again"]);
    command.wait_for_line(0, &["ann", "failed", "done, but not looked at again"]);
}

/// The subject of a token comes from the provider, and its name from a person that registered there.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_users_moves_no_cursor() {
    let Some(bench) = Bench::new().await else { return };
    let (_elastauth, checker) = bench.start().await;
    let mut claims = bench.issuer.claims("ann", &["developers"], 0);
    claims["sub"] = "\u{1b}[2J\u{9b}1A\nroot     enabled".into();
    assert!(checker.ask(&bench.issuer.sign(&claims)).await.password().is_some());
    for (format, words) in [("text", &["list"][..]), ("json", &["list", "--output", "json"])] {
        let Output { status, stdout, .. } = run_beside(bench.command(&bench.config(), words), "").await;
        let said = String::from_utf8(stdout).unwrap();
        assert!(status.success() && said.contains("\\u001b[2J\\u009b1A\\nroot"), "{format}: {said}");
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{format}: {said:?}");
        assert_eq!(said.lines().count(), if format == "json" { 1 } else { 2 }, "{said}");
    }
}

struct NoProvider;

impl Renew for NoProvider {
    async fn renew(&self, _: &SecretString, _: &Owner) -> Result<Renewed, RenewError> {
        Err(RenewError::NotSent("there is none".into()))
    }
}

impl Bench {
    /// Begins a session of this person, as a replica with the same configuration does.
    async fn log_in(&self, name: &str) {
        let file = self.file(&self.config());
        let settings = elastauth::config::load(Some(&file), &BTreeMap::new()).unwrap().settings;
        let Cache::Redis(redis) = &settings.cache else { panic!("the cache is Redis") };
        let (store, seal) = (RedisStore::new((**redis).clone()), Seal::new(&settings.seal).unwrap());
        let hour = Duration::from_secs(3600);
        let times = sessions::Settings {
            lifetime: 12 * hour,
            idle_timeout: hour,
            max_stale: hour,
            renewal_timeout: hour,
            store_timeout: Duration::from_secs(5),
            near_max_entries: 10,
            store_max_stale: hour,
        };
        let all = Sessions::new(store, seal, Arc::new(Invalidations::default()), NoProvider, times, |_: &Identity| ());
        let identity = Identity {
            username: Username::parse(name).unwrap(),
            owner: Owner { issuer: "https://issuer".into(), subject: format!("id-of-{name}").into() },
            email: None,
            full_name: None,
            groups: Vec::new(),
            claims: Vec::new(),
            as_of: AsOf::Now,
            expires: UNIX_EPOCH,
        };
        let new = NewSession {
            host: "kibana.example.org".into(),
            identity,
            sid: None,
            signed_in: 0,
            id_token: "token".to_owned().into(),
            refresh_token: None,
            lifetime: hour,
        };
        all.begin(new).await.unwrap();
    }

    /// Runs `elastauth sessions …`; answers its exit code, the users in its result, and what it wrote to standard error.
    async fn sessions(&self, words: &[&str]) -> (Option<i32>, Vec<String>, String) {
        let mut command = Command::new(elastauth!());
        command.env_clear().arg("--config").arg(self.file(&self.config())).arg("sessions").args(words);
        command.args(["--output", "json"]);
        let Output { status, stdout, stderr } = run_beside(command, "").await;
        let listed: Value = serde_json::from_slice(&stdout).unwrap_or_default();
        let users = listed.as_array().into_iter().flatten().map(|session| session["user"].as_str().unwrap().to_owned());
        (status.code(), users.collect(), String::from_utf8(stderr).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_and_ended_and_a_disabled_user_has_none() {
    let Some(bench) = Bench::new().await else { return };
    let (_elastauth, checker) = bench.start().await;
    assert!(checker.ask(&bench.issuer.token("ann", &["developers"])).await.password().is_some());
    for name in ["cid", "ann", "bob", "ann"] {
        bench.log_in(name).await;
    }
    assert_eq!(bench.sessions(&["list"]).await.1, ["ann", "ann", "bob", "cid"]);
    assert_eq!(bench.sessions(&["list", "--user", "bob"]).await.1, ["bob"]);
    assert_eq!(bench.sessions(&["list", "--issuer", "https://other"]).await.1, [""; 0]);

    let (code, planned, said) = bench.sessions(&["end", "--user", "bob"]).await;
    assert!(code == Some(0) && planned == ["bob"] && said.contains("dry run"), "{said}");
    assert_eq!(bench.sessions(&["list"]).await.1.len(), 4);
    for words in [&["end", "--yes"][..], &["end", "--all", "--user", "bob"], &["end", "--user", "bob", "--issuer", "x"]]
    {
        assert_eq!(bench.sessions(words).await.0, Some(2), "{words:?}");
    }
    let (code, ended, said) = bench.sessions(&["end", "--user", "bob", "--yes"]).await;
    assert!(code == Some(0) && ended == ["bob"] && said.contains("1 of 1"), "{said}");

    assert_eq!(outcomes(&bench.users(&["disable", "ann", "--yes"]).await.1), [("ann", "done")]);
    assert_eq!(bench.sessions(&["list"]).await.1, ["cid"]);
    assert_eq!(bench.sessions(&["end", "--all", "--yes"]).await.1, ["cid"]);
    assert_eq!(bench.sessions(&["list"]).await.1, [""; 0]);
}
