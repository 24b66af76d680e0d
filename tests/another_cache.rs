//! What a cache loses costs no writes: each user's password is kept, sealed, with the user in Elasticsearch.

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{ADMIN, Elasticsearch};
use elastauth_support::fixture::serve;
use elastauth_support::issuer::Issuer;
use elastauth_support::servers::{Redis, config, redis_cache};

const USERS: [&str; 4] = ["ann", "bob", "eve", "joe"];
const MEMORY: &str = "  type: memory";

struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
}

impl Bench {
    async fn start() -> Self {
        Self { issuer: Issuer::start().await, elasticsearch: Elasticsearch::start().await }
    }

    fn config(&self, cache: &str) -> String {
        config(&self.issuer.url, &self.elasticsearch.url, cache)
    }

    /// Serves each user once by a process of its own, which then ends.
    async fn serve_all(&self, yaml: &str) -> Vec<Answer> {
        let (_elastauth, checker) = serve(elastauth!(), yaml).await;
        self.ask_all(&checker).await
    }

    async fn ask_all(&self, checker: &Checker) -> Vec<Answer> {
        let mut answers = Vec::new();
        for user in USERS {
            let answer = checker.ask(&self.issuer.token(user, &["developers"])).await;
            assert!(answer.password().is_some(), "{user}: {answer:?}");
            answers.push(answer);
        }
        answers
    }

    fn writes(&self) -> usize {
        self.elasticsearch.history().len()
    }

    fn has_secret(&self, user: &str) -> bool {
        let user = self.elasticsearch.user(user).unwrap_or_else(|| panic!("no {user}"));
        user.metadata["elastauth"]["secret"].as_str().is_some_and(|secret| !secret.is_empty())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cache_and_a_restart_with_one_in_memory_keep_all_passwords_and_write_nothing() {
    let (Some(one), Some(other)) = (Redis::start(&[]), Redis::start(&[])) else { return };
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let file = format!("  type: file\n  path: {}", folder.path().display());
    let (one, other) = (redis_cache(&one.address), redis_cache(&other.address));
    let bench = Bench::start().await;
    let made = bench.serve_all(&bench.config(MEMORY)).await;
    assert_eq!(bench.writes(), USERS.len());
    for (at, cache) in [MEMORY, &file, MEMORY, &one, &other].into_iter().enumerate() {
        assert_eq!(bench.serve_all(&bench.config(cache)).await, made, "{at}");
        assert_eq!(bench.writes(), USERS.len(), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_sealed_password_each_user_gets_one_new_password() {
    let bench = Bench::start().await;
    let made = bench.serve_all(&bench.config(MEMORY)).await;
    for user in ["ann", "bob"] {
        let mut stripped = bench.elasticsearch.user(user).unwrap_or_else(|| panic!("no {user}"));
        stripped.metadata["elastauth"]["secret"] = "".into();
        bench.elasticsearch.seed(user, stripped);
    }
    let again = bench.serve_all(&bench.config(MEMORY)).await;
    assert_eq!(bench.writes(), USERS.len() + 2);
    assert!(again[..2].iter().zip(&made).all(|(again, made)| again != made) && again[2..] == made[2..]);
    assert!(USERS.into_iter().all(|user| bench.has_secret(user)));
}

/// A key that follows from an API key is as good as a `secret_key`. From a password, which users could guess, follows none.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_key_an_api_key_keeps_the_passwords_and_a_password_keeps_none() {
    let bench = Bench::start().await;
    let given = bench.config(MEMORY);
    let without_key: String = given
        .lines()
        .filter(|line| !line.starts_with("secret_key:"))
        .fold(String::new(), |text, line| text + line + "\n");
    assert_ne!(without_key, given);
    let (user, password) = ADMIN;
    let basic = format!("  username: {user}\n  password: {password}\n");
    let with_api_key = without_key.replace(&basic, "  api_key: \"provisioner-id:provisioner-key\"\n");
    assert_ne!(with_api_key, without_key);

    let made = bench.serve_all(&with_api_key).await;
    assert!(USERS.into_iter().all(|user| bench.has_secret(user)));
    assert_eq!(bench.serve_all(&with_api_key).await, made);
    assert_eq!(bench.writes(), USERS.len());

    let other = bench.serve_all(&without_key).await;
    assert!(other.iter().zip(&made).all(|(other, made)| other != made), "the key is another");
    assert!(!USERS.into_iter().any(|user| bench.has_secret(user)), "and the former copies are gone");
    bench.serve_all(&without_key).await;
    assert_eq!(bench.writes(), 3 * USERS.len());
}
