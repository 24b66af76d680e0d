//! Redis in all its shapes, against real servers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use elastauth::credentials::Store as _;
use elastauth::redis::{Account, Address, RedisStore, Settings, Tls};
use elastauth_support::certificates::{Authority, Pair};
use elastauth_support::process::{free_port, until};
use elastauth_support::servers::{REDIS_PASSWORD, Redis};
use tempfile::TempDir;

use super::{LIFE, Replaced, key, of_many_that_put_at_once_one_wins, remove_compares, replace_compares, suite};

fn settings(address: &str) -> Settings {
    Settings {
        address: Address::parse(address).unwrap(),
        db: 0,
        account: account(None, REDIS_PASSWORD),
        tls: None,
        connect_timeout: Duration::from_secs(5),
        // tests run beside compilers
        command_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(300),
        pool_size: 10,
    }
}

fn account(username: Option<&str>, password: &str) -> Account {
    Account { username: username.map(str::to_owned), password: Some(password.to_owned().into()) }
}

fn store(settings: Settings) -> RedisStore {
    RedisStore::new(settings).unwrap()
}

/// The line of the Go service's documentation.
const ACL: [&str; 7] = ["--user", "elastauth", "on", ">pw", "~elastauth-*", "+@read", "+@write"];

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_a_password_keeps_the_rules_of_a_store() {
    let Some(redis) = Redis::start(&[]) else { return };
    suite(store(settings(&redis.address))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_a_database_keeps_them_and_keeps_to_it() {
    let Some(redis) = Redis::start(&[]) else { return };
    suite(store(Settings { db: 3, ..settings(&redis.address) })).await;
    let keyspace = redis.command(&["INFO", "keyspace"]);
    assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"), "{keyspace}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_without_scripting_keeps_them_too() {
    let Some(redis) = Redis::start(&ACL) else { return };
    let account = account(Some("elastauth"), "pw");
    suite(store(Settings { account, ..settings(&redis.address) })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_the_rights_that_the_log_asks_for_keeps_them_in_one_step() {
    let line = [&ACL[..], &["+eval", "+evalsha", "+client|tracking"]].concat();
    let Some(redis) = Redis::start(&line) else { return };
    let account = account(Some("elastauth"), "pw");
    suite(store(Settings { account, ..settings(&redis.address) })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_whose_other_commands_are_renamed_away_keeps_them() {
    let gone = ["INFO", "CONFIG", "PING", "ROLE", "FLUSHALL", "FLUSHDB", "KEYS", "DEBUG", "CLIENT", "ACL", "CLUSTER"];
    let options: Vec<_> = gone.iter().flat_map(|name| ["--rename-command", name, ""]).collect();
    let Some(redis) = Redis::start(&options) else { return };
    suite(store(settings(&redis.address))).await;
    let options = [&options[..], &["--rename-command", "EVAL", "", "--rename-command", "EVALSHA", ""]].concat();
    let Some(redis) = Redis::start(&options) else { return };
    suite(store(settings(&redis.address))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_on_a_unix_socket_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.sock");
    let Some(_redis) = Redis::start(&["--unixsocket", path.to_str().unwrap()]) else { return };
    suite(store(Settings { address: Address::Unix(path), ..settings("nobody") })).await;
}

/// A Redis with TLS, and what its clients need.
struct Secure {
    _redis: Redis,
    address: String,
    authority: Authority,
    folder: TempDir,
}

impl Secure {
    /// `clients` says whether they need certificates.
    fn start(clients: &str) -> Option<Self> {
        let (authority, folder) = (Authority::new("redis"), tempfile::tempdir().unwrap());
        let server = authority.server();
        let file = |name: &str, text: &str| write(folder.path(), name, text).display().to_string();
        let (ca, cert, key) =
            (file("ca.pem", &authority.pem), file("cert.pem", &server.cert), file("key.pem", &server.key));
        let port = free_port().to_string();
        let redis = Redis::start(&[
            "--tls-port",
            &port,
            "--tls-ca-cert-file",
            &ca,
            "--tls-cert-file",
            &cert,
            "--tls-key-file",
            &key,
            "--tls-auth-clients",
            clients,
        ])?;
        Some(Self { _redis: redis, address: format!("127.0.0.1:{port}"), authority, folder })
    }

    fn settings(&self, trusted: &Authority, shown: Option<&Pair>) -> Settings {
        let write = |name: &str, text: &str| write(self.folder.path(), name, text);
        let ca = write("trusted.pem", &trusted.pem);
        let client = shown.map(|pair| (write("client.pem", &pair.cert), write("client-key.pem", &pair.key)));
        let client = client.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
        Settings { tls: Some(Tls::read(Some(&ca), client).unwrap()), ..settings(&self.address) }
    }
}

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

async fn refusal(settings: Settings) -> String {
    let error = store(settings).get(&key("ann")).await.unwrap_err().to_string();
    assert!(!error.contains(REDIS_PASSWORD), "{error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_tls_keeps_them_and_only_a_server_with_a_trusted_certificate_is_talked_to() {
    let Some(secure) = Secure::start("no") else { return };
    suite(store(secure.settings(&secure.authority, None))).await;
    let error = refusal(secure.settings(&Authority::new("other"), None)).await;
    assert!(error.contains("certificate"), "{error}");
    let by_name = Settings {
        address: Address::parse(&secure.address.replace("127.0.0.1", "localhost")).unwrap(),
        ..secure.settings(&secure.authority, None)
    };
    let error = refusal(by_name).await;
    assert!(error.contains("certificate"), "it is for 127.0.0.1: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_mutual_tls_keeps_them_for_those_with_a_certificate() {
    let Some(secure) = Secure::start("yes") else { return };
    let ours = secure.authority.sign(&["elastauth"]);
    suite(store(secure.settings(&secure.authority, Some(&ours)))).await;
    let theirs = Authority::new("other").sign(&["elastauth"]);
    refusal(secure.settings(&secure.authority, Some(&theirs))).await;
    refusal(secure.settings(&secure.authority, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_forgets_no_script_for_good() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = store(settings(&redis.address));
    replace_compares(&store).await;
    redis.command(&["SCRIPT", "FLUSH"]);
    remove_compares(&store).await;
    store.put_if_absent(&key("again"), b"a", LIFE).await.unwrap();
    assert_eq!(store.replace(&key("again"), b"a", b"b", LIFE).await.unwrap(), Replaced::Yes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_redis_closed_costs_no_answer() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = store(settings(&redis.address));
    store.put_if_absent(&key("ann"), b"a", LIFE).await.unwrap();
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    assert_eq!(store.get(&key("ann")).await.unwrap().unwrap().bytes, b"a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_became_a_replica_is_written_to_no_more_and_says_so() {
    let (Some(redis), Some(other)) = (Redis::start(&[]), Redis::start(&[])) else { return };
    let store = store(settings(&redis.address));
    store.put_if_absent(&key("ann"), b"a", LIFE).await.unwrap();
    let port = other.address.rsplit_once(':').unwrap().1;
    redis.command(&["REPLICAOF", "127.0.0.1", port]);
    let error = store.put_if_absent(&key("bob"), b"b", LIFE).await.unwrap_err().to_string();
    assert!(error.contains("it is a replica"), "{error}");
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(store.put_if_absent(&key("bob"), b"b", LIFE).await.unwrap(), None, "the former attempt did nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_an_error_without_the_password() {
    let Some(redis) = Redis::start(&[]) else { return };
    let wrong = Settings { account: account(None, "wrong-password"), ..settings(&redis.address) };
    let error = store(wrong).get(&key("ann")).await.unwrap_err().to_string();
    assert!(error.contains(&redis.address) && !error.contains("wrong-password"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_nobody_uses_are_closed() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = Arc::new(store(Settings { idle_timeout: Duration::from_millis(100), ..settings(&redis.address) }));
    let watch = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.watch(Arc::default()).await }
    });
    of_many_that_put_at_once_one_wins(store).await;
    // the operator's own, and the one that tells of changes
    until("the end of idle connections", || async { redis.command(&["CLIENT", "LIST"]).matches(" fd=").count() == 2 })
        .await;
    watch.abort();
}
