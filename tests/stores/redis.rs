//! The store in Redis against real servers: one server, Sentinels, a cluster, with TLS and with narrow ACLs.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use elastauth::credentials::{Keys as _, MAX_RECORD, Store as _, StoreError};
use elastauth::redis::{Account, Address, Mode, RedisStore, Settings, Tls};
use elastauth_support::certificates::{Authority, Pair};
use elastauth_support::fleets::{Cluster, Elected, MASTER, SENTINEL_PASSWORD};
use elastauth_support::process::{free_port, until};
use elastauth_support::resp::{greets_with, hello};
use elastauth_support::servers::{REDIS_PASSWORD, Redis};
use tempfile::TempDir;

use super::{LIFE, Replaced, key, of_many_that_put_at_once_one_wins, remove_compares, replace_compares, suite};

fn settings(address: &str) -> Settings {
    Settings {
        mode: Mode::Auto,
        nodes: vec![Address::parse(address).unwrap()],
        master: None,
        db: 0,
        account: account(None, REDIS_PASSWORD),
        sentinel: Account::default(),
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
    RedisStore::new(settings)
}

/// The ACL line of the Go service's documentation.
const ACL: [&str; 7] = ["--user", "elastauth", "on", ">pw", "~elastauth-*", "+@read", "+@write"];

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_a_password_keeps_the_rules_of_a_store() {
    let Some(redis) = Redis::start(&[]) else { return };
    suite(store(settings(&redis.address))).await;
    all_are_found(store(settings(&redis.address))).await;
}

/// Every record is listed, over several pages and on every node.
async fn all_are_found(store: RedisStore) {
    let mut expected = HashSet::new();
    for n in 0..60 {
        let key = key(&format!("listed{n}"));
        store.put_if_absent(&key, b"a", LIFE).await.unwrap();
        expected.insert(key);
    }
    let (mut found, mut cursor) = (HashSet::new(), None);
    loop {
        let (keys, next) = store.keys(cursor).await.unwrap();
        found.extend(keys);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(found.is_superset(&expected), "{found:?}");
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

/// By what `allkeys-lru` and `allkeys-lfu` go, which evict first what was not used for long, or not often.
#[tokio::test(flavor = "multi_thread")]
async fn a_touch_is_a_use_to_redis_and_the_documented_acl_permits_it() {
    let Some(redis) = Redis::start(&ACL) else { return };
    let store = store(Settings { account: account(Some("elastauth"), "pw"), ..settings(&redis.address) });
    let ann = key("ann");
    store.touch(&ann).await.unwrap();
    assert_eq!(store.get(&ann).await.unwrap(), None, "it makes no record");
    store.put_if_absent(&ann, b"a", LIFE).await.unwrap();
    let figure = |what: &str| -> u64 {
        redis.command(&["OBJECT", what, ann.as_str()]).trim_matches([':', '\r', '\n']).parse().unwrap()
    };
    let (again, life) = (
        "return redis.call('RESTORE', KEYS[1], ARGV[1], redis.call('DUMP', KEYS[1]), 'REPLACE', ARGV[2], ARGV[3])",
        "100000",
    );
    redis.command(&["EVAL", again, "1", ann.as_str(), life, "IDLETIME", "3600"]);
    assert!(figure("IDLETIME") >= 3600);
    store.touch(&ann).await.unwrap();
    assert!(figure("IDLETIME") < 3600);
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lfu", "lfu-log-factor", "0"]);
    redis.command(&["EVAL", again, "1", ann.as_str(), life, "FREQ", "10"]);
    store.touch(&ann).await.unwrap();
    assert!(figure("FREQ") > 10);
    let entry = store.get(&ann).await.unwrap().unwrap();
    assert!(entry.bytes == b"a" && entry.remaining <= LIFE);
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
    suite(store(Settings { nodes: vec![Address::Unix(path)], ..settings("nobody") })).await;
}

/// A Redis with TLS, and the files that its clients need.
struct Secure {
    _redis: Redis,
    address: String,
    authority: Authority,
    folder: TempDir,
}

impl Secure {
    /// `clients` is Redis's `tls-auth-clients`: whether clients need certificates.
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
async fn redis_with_tls_keeps_them_and_a_server_without_a_trusted_certificate_is_refused() {
    let Some(secure) = Secure::start("no") else { return };
    suite(store(secure.settings(&secure.authority, None))).await;
    let error = refusal(secure.settings(&Authority::new("other"), None)).await;
    assert!(error.contains("certificate"), "{error}");
    let by_name = Settings {
        nodes: vec![Address::parse(&secure.address.replace("127.0.0.1", "localhost")).unwrap()],
        ..secure.settings(&secure.authority, None)
    };
    let error = refusal(by_name).await;
    assert!(error.contains("certificate"), "it is for 127.0.0.1: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_mutual_tls_keeps_them_for_clients_with_a_certificate() {
    let Some(secure) = Secure::start("yes") else { return };
    let ours = secure.authority.sign(&["elastauth"]);
    suite(store(secure.settings(&secure.authority, Some(&ours)))).await;
    let theirs = Authority::new("other").sign(&["elastauth"]);
    refusal(secure.settings(&secure.authority, Some(&theirs))).await;
    refusal(secure.settings(&secure.authority, None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_redis_has_forgotten_are_sent_again() {
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
async fn a_master_that_became_a_replica_is_not_written_to_and_the_error_says_why() {
    let (Some(redis), Some(other)) = (Redis::start(&[]), Redis::start(&[])) else { return };
    let store = store(settings(&redis.address));
    store.put_if_absent(&key("ann"), b"a", LIFE).await.unwrap();
    let port = other.address.rsplit_once(':').unwrap().1;
    redis.command(&["REPLICAOF", "127.0.0.1", port]);
    let error = store.put_if_absent(&key("bob"), b"b", LIFE).await.unwrap_err().to_string();
    assert!(error.contains("it is a replica"), "{error}");
    let error = store.writable().await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("it is a replica")), "{error:?}");
    redis.command(&["REPLICAOF", "NO", "ONE"]);
    until("a probe", || async { store.reachable().await.is_ok() }).await;
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
async fn unused_connections_are_closed() {
    let Some(redis) = Redis::start(&[]) else { return };
    let store = Arc::new(store(Settings { idle_timeout: Duration::from_millis(100), ..settings(&redis.address) }));
    let watch = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.watch(Arc::default()).await }
    });
    of_many_that_put_at_once_one_wins(store).await;
    // the test's own connection, and the one that reports changes
    until("the end of idle connections", || async { redis.command(&["CLIENT", "LIST"]).matches(" fd=").count() == 2 })
        .await;
    watch.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_that_sentinels_name_keeps_them() {
    let Some(elected) = Elected::start(&[]).await else { return };
    // with the address of one Sentinel alone, and with everything configured
    let sentinel = Account { username: None, password: Some(SENTINEL_PASSWORD.to_owned().into()) };
    let found = Settings { sentinel, ..settings(&elected.sentinels[1].address) };
    suite(store(found.clone())).await;
    elected.servers[0].command(&["FLUSHALL"]);
    let dead = Address::parse("127.0.0.1:1").unwrap();
    let nodes = vec![dead, found.nodes[0].clone()];
    let configured = Settings { mode: Mode::Sentinel, master: Some(MASTER.into()), nodes, db: 3, ..found.clone() };
    suite(store(configured)).await;
    assert!(elected.servers[0].command(&["INFO", "keyspace"]).contains("db3:"));
    let error = refusal(Settings { master: Some("other".into()), ..found.clone() }).await;
    assert!(error.contains("cache.redis_master") && error.contains("other"), "{error}");
    let sentinel = account(None, REDIS_PASSWORD);
    let error = refusal(Settings { mode: Mode::Sentinel, sentinel, ..settings(&elected.servers[0].address) }).await;
    assert!(error.contains("it is no Sentinel"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_them_whatever_the_acl_says_about_its_map() {
    let Some(cluster) = Cluster::start(&ACL).await else { return };
    let address = &cluster.nodes[2].address;
    suite(store(settings(address))).await;
    all_are_found(store(settings(address))).await;
    let masters = || cluster.nodes[..3].iter().map(|node| node.command(&["DBSIZE"]));
    assert!(masters().all(|size| size != ":0\r\n"), "each has some");
    cluster.nodes[..3].iter().for_each(|node| drop(node.command(&["FLUSHALL"])));
    let narrow = Settings { account: account(Some("elastauth"), "pw"), ..settings(&cluster.nodes[4].address) };
    suite(store(narrow)).await;
    assert!(masters().all(|size| size != ":0\r\n"), "each has some");
    let error = refusal(Settings { db: 3, ..settings(address) }).await;
    assert!(error.contains("select 3 is refused"), "{error}");
    let two = vec![Address::parse(address).unwrap(), Address::parse(&cluster.nodes[0].address).unwrap()];
    assert!(store(Settings { mode: Mode::Cluster, nodes: two, ..settings("x") }).get(&key("put")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_on_its_way_from_one_node_to_another_is_read_and_written() {
    let Some(cluster) = Cluster::start(&[]).await else { return };
    let store = store(settings(&cluster.nodes[0].address));
    let there = key("ann");
    store.put_if_absent(&there, b"a", LIFE).await.unwrap();
    let from = cluster.owner(&cluster.nodes[0], there.as_str());
    let to = cluster.nodes[..3].iter().find(|node| node.address != from.address).unwrap();
    let id = |node: &Redis| node.command(&["CLUSTER", "MYID"]).lines().last().unwrap().to_owned();
    let slot = from.command(&["CLUSTER", "KEYSLOT", there.as_str()]);
    let slot = slot.trim_matches([':', '\r', '\n']);
    to.command(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &id(from)]);
    from.command(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &id(to)]);
    assert_eq!(store.get(&there).await.unwrap().unwrap().bytes, b"a", "still at the old node");
    let port = to.address.rsplit_once(':').unwrap().1;
    from.command(&["MIGRATE", "127.0.0.1", port, there.as_str(), "0", "5000", "AUTH", REDIS_PASSWORD]);
    let entry = store.get(&there).await.unwrap().unwrap();
    assert!(entry.bytes == b"a" && entry.remaining > LIFE / 2, "read from the new node");
    assert_eq!(store.replace(&there, b"a", b"b", LIFE).await.unwrap(), Replaced::Yes);
    for node in [to, from] {
        node.command(&["CLUSTER", "SETSLOT", slot, "NODE", &id(to)]);
    }
    assert_eq!(store.get(&there).await.unwrap().unwrap().bytes, b"b");
    assert!(store.remove(&there, b"b").await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_servers_that_do_not_belong_together_are_refused() {
    let (Some(one), Some(other)) = (Redis::start(&[]), Redis::start(&[])) else { return };
    let nodes = [&one, &other].map(|redis| Address::parse(&redis.address).unwrap()).to_vec();
    let error = refusal(Settings { nodes, ..settings("x") }).await;
    assert!(error.contains("cache.redis_nodes"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn start_up_fails_where_select_is_refused_and_only_there() {
    let Some(mut redis) = Redis::start(&ACL) else { return };
    let narrow = Settings { account: account(Some("elastauth"), "pw"), ..settings(&redis.address) };
    store(narrow.clone()).try_out().await.unwrap();
    let error = store(Settings { db: 1, ..narrow.clone() }).try_out().await.unwrap_err().to_string();
    assert!(
        error.contains("select 1 is refused") && error.contains("+select") && error.contains("cache.redis_db"),
        "{error}"
    );
    store(Settings { account: account(None, "wrong"), db: 1, ..narrow.clone() }).try_out().await.unwrap();
    redis.process.kill();
    store(Settings { db: 1, ..narrow }).try_out().await.unwrap();
}

/// Runs with all rights, and with those of the documented line, which permits no scripts.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_record_is_read_as_empty_bytes_and_exchanged_and_removed_as_such() {
    let Some(redis) = Redis::start(&ACL) else { return };
    let narrow = Settings { account: account(Some("elastauth"), "pw"), ..settings(&redis.address) };
    for store in [store(settings(&redis.address)), store(narrow)] {
        let (key, longest, just_too_long) = (key("ann"), (100 * 1024 * 1024).to_string(), MAX_RECORD.to_string());
        let name = key.as_str();
        for put in [
            &["HSET", name, "field", "value"][..],
            &["RPUSH", name, "value"],
            &["XADD", name, "*", "field", "value"],
            &["SETRANGE", name, &longest, "x"],
            &["SETRANGE", name, &just_too_long, "x"],
        ] {
            redis.command(put);
            assert_eq!(store.get(&key).await.unwrap().unwrap().bytes, b"", "{put:?}");
            assert_eq!(store.put_if_absent(&key, b"a", LIFE).await.unwrap().unwrap(), b"", "{put:?}");
            assert_eq!(store.replace(&key, b"a", b"b", LIFE).await.unwrap(), Replaced::Changed, "{put:?}");
            assert_eq!(store.replace(&key, b"", b"b", LIFE).await.unwrap(), Replaced::Yes, "{put:?}");
            let now = store.get(&key).await.unwrap().unwrap();
            assert!(now.bytes == b"b" && now.remaining > LIFE / 2, "{put:?}");
            assert_eq!(store.replace(&key, b"", b"c", LIFE).await.unwrap(), Replaced::Changed, "{put:?}");
            assert!(store.remove(&key, b"b").await.unwrap());
            redis.command(put);
            assert!(!store.remove(&key, b"b").await.unwrap(), "{put:?}");
            assert!(store.remove(&key, b"").await.unwrap(), "{put:?}");
            assert_eq!(store.get(&key).await.unwrap(), None, "{put:?}");
            assert_eq!(store.replace(&key, b"", b"b", LIFE).await.unwrap(), Replaced::Missing, "{put:?}");
        }
        let longest = vec![b'x'; MAX_RECORD];
        store.put_if_absent(&key, &longest, LIFE).await.unwrap();
        assert!(store.get(&key).await.unwrap().unwrap().bytes == longest, "a record may be so long");
        redis.command(&["FLUSHALL"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_for_a_server_that_is_too_old_is_another_one_than_for_one_that_is_down() {
    let unknown =
        "-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `redis-password`, \r\n";
    for (answer, says) in [
        (hello("6.2.14").as_str(), "says that it is 6.2.14"),
        (&hello("6.0.0"), "says that it is 6.0.0"),
        (unknown, "answered ERR unknown command to HELLO 3"),
        ("-ERR unknown command 'HELLO'\r\n", "answered ERR unknown command to HELLO 3"),
        ("-ERR unsupported command 'hello'\r\n", "answered ERR unknown command to HELLO 3"),
        ("-NOPROTO unsupported protocol version\r\n", "answered NOPROTO to HELLO 3"),
    ] {
        let error = refusal(settings(&greets_with(answer))).await;
        let expected = format!("Redis 7.0 or later is needed: the server {says}");
        assert!(error.ends_with(&expected), "{answer}: {error}");
    }
    for answer in [
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n",
        "-ERR max number of clients reached\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
    ] {
        let error = refusal(settings(&greets_with(answer))).await;
        assert!(!error.contains("or later is needed"), "{answer}: {error}");
    }
    for version in ["7.0.0", "8.4.1", "255.255.255", "unstable"] {
        let settings =
            Settings { command_timeout: Duration::from_millis(100), ..settings(&greets_with(&hello(version))) };
        let error = refusal(settings).await;
        assert!(error.contains("timed out"), "commands are sent to it: {error}");
    }
}

/// Checks that reads are answered and writes refused, and returns why.
async fn refuses_writes(store: &RedisStore) -> String {
    store.reachable().await.unwrap();
    assert_eq!(store.get(&key("known")).await.unwrap().unwrap().bytes, b"a");
    let new = store.put_if_absent(&key("new"), b"a", LIFE).await;
    let changed = store.replace(&key("known"), b"a", b"b", LIFE).await;
    let asked = store.writable().await;
    let [Err(StoreError::WriteRefused(why)), Err(StoreError::WriteRefused(_)), Err(StoreError::WriteRefused(_))] =
        [asked, new.map(|_| ()), changed.map(|_| ())]
    else {
        panic!("they are refused, and reads are not")
    };
    why
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_of_a_server_that_refuses_writes_says_why_and_writes_nothing() {
    let Some(redis) = Redis::start(&ACL) else { return };
    let narrow = Settings { account: account(Some("elastauth"), "pw"), ..settings(&redis.address) };
    for store in [store(settings(&redis.address)), store(narrow)] {
        redis.command(&["FLUSHALL"]);
        store.put_if_absent(&key("known"), b"a", LIFE).await.unwrap();
        for (setting, refusing, taking, code) in
            [("maxmemory", "1", "0", "OOM"), ("min-replicas-to-write", "1", "0", "NOREPLICAS")]
        {
            store.writable().await.unwrap();
            assert_eq!(redis.command(&["DBSIZE"]), ":1\r\n", "nothing was written");
            redis.command(&["CONFIG", "SET", setting, refusing]);
            assert!(refuses_writes(&store).await.contains(code));
            redis.command(&["CONFIG", "SET", setting, taking]);
        }
    }
    let reader = ["--user", "elastauth", "on", ">pw", "~elastauth-*", "+@read"];
    let Some(redis) = Redis::start(&reader) else { return };
    store(settings(&redis.address)).put_if_absent(&key("known"), b"a", LIFE).await.unwrap();
    let account = account(Some("elastauth"), "pw");
    assert!(refuses_writes(&store(Settings { account, ..settings(&redis.address) })).await.contains("NOPERM"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_server_that_could_not_save_to_its_disk_names_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let Some(redis) = Redis::start(&["--dir", folder.path().to_str().unwrap(), "--save", "3600 1"]) else { return };
    // a folder in the place of the dump
    std::fs::create_dir_all(folder.path().join("dump.rdb/in-the-way")).unwrap();
    let store = store(settings(&redis.address));
    store.put_if_absent(&key("known"), b"a", LIFE).await.unwrap();
    redis.command(&["BGSAVE"]);
    until("the failure of the dump", || async {
        redis.command(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err")
    })
    .await;
    assert!(refuses_writes(&store).await.contains("MISCONF"));
    redis.command(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    store.writable().await.unwrap();
}
