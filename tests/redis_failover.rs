//! Redis fails over under load: by Sentinels, in a cluster that lost a node, and behind a name that moves to another server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use elastauth::credentials::CacheKey;
use elastauth::identity::Username;
use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::fixture::with_elasticsearch;
use elastauth_support::fleets::{Cluster, Elected};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::{free_port, until};
use elastauth_support::proxy::Proxy;
use elastauth_support::servers::{Elastauth, REDIS_PASSWORD, Redis, config, redis_cache};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

/// The number of users that both replicas know before anything fails.
const KNOWN: usize = 12;

/// Two replicas that share a Redis of several servers.
struct Bench {
    issuer: Issuer,
    elasticsearch: Arc<Elasticsearch>,
    replicas: Vec<Elastauth>,
    checkers: Vec<Checker>,
}

/// Requests that go on until `end`.
struct Load {
    welcoming: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<usize>>,
}

impl Load {
    /// Sends requests of new users, too, from now on.
    fn welcome(&self) {
        self.welcoming.store(true, Ordering::Relaxed);
    }

    /// Ends the requests, and returns how many were answered.
    async fn end(self) -> usize {
        self.ends.store(true, Ordering::Relaxed);
        let mut answered = 0;
        for task in self.tasks {
            answered += task.await.unwrap();
        }
        answered
    }
}

impl Bench {
    async fn start(cache: &str) -> Self {
        let (issuer, elasticsearch) = (Issuer::start().await, Arc::new(Elasticsearch::start().await));
        let cache = format!("{cache}\n  redis_command_timeout: 1s");
        let yaml = config(&issuer.url, &elasticsearch.url, &cache);
        let yaml = with_elasticsearch(&yaml, "  settling: 50ms\n");
        let replicas: Vec<_> = (0..2).map(|_| Elastauth::start(elastauth!(), &yaml)).collect();
        let mut checkers = Vec::new();
        for replica in &replicas {
            replica.process.wait_for_line(0, &["Redis reports changes"]);
            checkers.push(Checker::connect(&replica.grpc).await);
        }
        Self { issuer, elasticsearch, replicas, checkers }
    }

    fn token(&self, user: &str) -> String {
        self.issuer.token(user, &["admins"])
    }

    /// Makes the known users: each is confirmed once, and in the near cache of both processes.
    async fn warm(&self) -> Vec<(String, Answer)> {
        let mut known = Vec::new();
        for n in 0..KNOWN {
            let user = format!("known{n}");
            let token = self.token(&user);
            let answer = self.checkers[0].ask(&token).await;
            assert!(answer.password().is_some(), "{answer:?}");
            until("the confirmation", || async {
                self.checkers[0].ask(&token).await;
                self.elasticsearch.logins(&user) > 0
            })
            .await;
            known.push((token, answer));
        }
        // Redis's report of this process's own writes may still be on its way
        let kept = AtomicUsize::new(0);
        until("hits in the near cache, three times in a row", || async {
            let marks = self.marks();
            for checker in &self.checkers {
                for (token, answer) in &known {
                    assert_eq!(checker.ask(token).await, *answer);
                }
            }
            let hit = |line: &String| line.contains("Cache hit") && line.contains("\"source\":\"Near\"");
            let logs = self.replicas.iter().zip(&marks).map(|(replica, from)| replica.process.lines().split_off(*from));
            let all = logs.map(|lines| lines.iter().filter(|line| hit(line)).count()).all(|hits| hits == KNOWN);
            if all { kept.fetch_add(1, Ordering::Relaxed) + 1 == 3 } else { kept.swap(0, Ordering::Relaxed) == 3 }
        })
        .await;
        known
    }

    /// Sends requests of the known users to both replicas again and again: each must always be answered the same. New users
    /// come after `welcome` (a write makes a process read other users' records anew). Their requests may be denied with 503, but
    /// an allowed one has the password that Elasticsearch has.
    fn load(&self, known: &[(String, Answer)]) -> Load {
        let (ends, welcoming) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let mut tasks = Vec::new();
        for (number, checker) in self.checkers.iter().enumerate() {
            let (checker, ends, known) = (checker.clone(), Arc::clone(&ends), known.to_vec());
            let (welcoming, elasticsearch) = (Arc::clone(&welcoming), Arc::clone(&self.elasticsearch));
            let tokens: Vec<_> =
                (0..2000).map(|n| format!("new{number}-{n}")).map(|user| (self.token(&user), user)).collect();
            tasks.push(tokio::spawn(async move {
                let mut answered = 0;
                let mut tokens = tokens.iter();
                while !ends.load(Ordering::Relaxed) {
                    for (token, answer) in &known {
                        assert_eq!(checker.ask(token).await, *answer, "{answered} requests were well");
                        answered += 1;
                    }
                    let new = if welcoming.load(Ordering::Relaxed) { tokens.next() } else { None };
                    if let Some((token, user)) = new {
                        match checker.ask(token).await {
                            Answer::Allowed { password, .. } => {
                                assert_eq!(elasticsearch.user(user).unwrap().password, password);
                            }
                            Answer::Denied(status) => assert_eq!(status, 503),
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                answered
            }));
        }
        Load { welcoming, ends, tasks }
    }

    /// The present length of each log.
    fn marks(&self) -> Vec<usize> {
        self.replicas.iter().map(|replica| replica.process.lines().len()).collect()
    }

    /// Checks that everything works again without an operator: changes are reported, new users are made, records are confirmed.
    async fn recovered(&self, since: &[usize], known: &[(String, Answer)]) {
        for (replica, from) in self.replicas.iter().zip(since) {
            replica.process.wait_for_line(*from, &["Redis does not report changes at present"]);
            replica.process.wait_for_line(*from, &["Redis reports changes"]);
        }
        let logins: Vec<_> = (0..KNOWN).map(|n| self.elasticsearch.logins(&format!("known{n}"))).collect();
        for (checker, user) in self.checkers.iter().zip(["after0", "after1"]) {
            let token = self.token(user);
            until("new users", || async { checker.ask(&token).await.password().is_some() }).await;
        }
        for (n, (token, _)) in known.iter().enumerate() {
            let user = format!("known{n}");
            until("a confirmation of what may have been rolled back", || async {
                for checker in &self.checkers {
                    checker.ask(token).await;
                }
                // the load may have come first
                self.elasticsearch.logins(&user) > logins[n].min(1)
            })
            .await;
        }
    }

    /// Checks that a record which an operator deletes at the present master is made anew at the next request.
    async fn deletion_is_noticed(&self, master: &Redis, key: &str, (token, answer): &(String, Answer)) {
        for checker in &self.checkers {
            assert_eq!(checker.ask(token).await, *answer);
        }
        let Answer::Allowed { user, .. } = answer else { panic!("{answer:?}") };
        self.elasticsearch.forget_copy(user);
        master.command(&["DEL", key]);
        until("another password", || async {
            let now = self.checkers[1].ask(token).await;
            now.password().is_some() && now != *answer
        })
        .await;
        let now = self.checkers[1].ask(token).await;
        until("the same at the other replica", || async { self.checkers[0].ask(token).await == now }).await;
    }
}

async fn replicated(master: &Redis, replica: &Redis) {
    until("a replica that has it all", || async { replica.command(&["DBSIZE"]) == master.command(&["DBSIZE"]) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_dies_under_load_is_followed_to_the_one_that_sentinels_elect() {
    let Some(mut elected) = Elected::start(&[]).await else { return };
    let bench = Bench::start(&elected.cache()).await;
    let known = bench.warm().await;
    let key = "elastauth-a25vd24w";
    for replica in &elected.servers[1..] {
        replicated(&elected.servers[0], replica).await;
    }
    let (marks, load) = (bench.marks(), bench.load(&known));
    elected.servers[0].process.kill();
    load.welcome();
    until("another master", || async { elected.master().address != elected.servers[0].address }).await;
    bench.recovered(&marks, &known).await;
    assert!(load.end().await > 100, "it was a load");
    bench.deletion_is_noticed(elected.master(), key, &known[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_stalls_is_left_when_sentinels_elect_another() {
    let Some(elected) = Elected::start(&[]).await else { return };
    let bench = Bench::start(&elected.cache()).await;
    let known = bench.warm().await;
    for replica in &elected.servers[1..] {
        replicated(&elected.servers[0], replica).await;
    }
    let (marks, load) = (bench.marks(), bench.load(&known));
    elected.servers[0].process.stall();
    load.welcome();
    until("another master", || async { elected.master().address != elected.servers[0].address }).await;
    bench.recovered(&marks, &known).await;
    assert!(load.end().await > 100, "it was a load");
    // it goes on and still takes itself for the master, but no replica uses it
    elected.servers[0].process.resume();
    bench.deletion_is_noticed(elected.master(), "elastauth-a25vd24x", &known[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_a_node_under_load_serves_on_with_its_replica() {
    let Some(mut cluster) = Cluster::start(&[]).await else { return };
    let bench = Bench::start(&cluster.cache()).await;
    let known = bench.warm().await;
    let key = "elastauth-a25vd24w";
    let lost = cluster.nodes.iter().position(|node| node.address == cluster.owner(node, key).address).unwrap();
    replicated(&cluster.nodes[lost], &cluster.nodes[lost + 3]).await;
    let (marks, load) = (bench.marks(), bench.load(&known));
    cluster.nodes[lost].process.kill();
    let living = &cluster.nodes[(lost + 1) % 3];
    until("another owner", || async { cluster.owner(living, key).address == cluster.nodes[lost + 3].address }).await;
    // not before: until the cluster notices, the other nodes take writes
    load.welcome();
    bench.recovered(&marks, &known).await;
    assert!(load.end().await > 100, "it was a load");
    bench.deletion_is_noticed(&cluster.nodes[lost + 3], key, &known[0]).await;
}

/// The name of the record of this user.
fn key(user: &str) -> String {
    CacheKey::of(&Username::parse(user).unwrap()).as_str().to_owned()
}

/// One master stalls or dies, no replica takes its place, and the cluster serves the other slots.
#[tokio::test(flavor = "multi_thread")]
async fn a_master_of_three_that_is_silent_or_gone_refuses_no_user_of_the_others() {
    let options = ["--cluster-replica-no-failover", "yes", "--cluster-require-full-coverage", "no"];
    let Some(mut cluster) = Cluster::start(&options).await else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    // otherwise those whom the process knows would be served without Redis
    let cache = format!("{}\n  max_stale: 1ms", cluster.cache());
    let elastauth = Elastauth::start(elastauth!(), &config(&issuer.url, &elasticsearch.url, &cache));
    elastauth.process.wait_for_line(0, &["Redis reports changes"]);
    let checker = Checker::connect(&elastauth.grpc).await;
    let ready = || async {
        let answer = elastauth_support::http().get(format!("{}/ready", elastauth.http)).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
    };
    until("Elasticsearch is seen to be well", || async { ready().await.1["status"] == "ok" }).await;
    let lost = cluster.nodes[0].address.clone();
    let (mut theirs, mut others, mut newcomers) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..60 {
        for (user, new) in [(format!("known{n}"), false), (format!("new{n}"), true)] {
            let token = issuer.token(&user, &["admins"]);
            match (cluster.owner(&cluster.nodes[2], &key(&user)).address == lost, new) {
                (true, true) => {}
                (true, false) => theirs.push(token),
                (false, true) => newcomers.push(token),
                (false, false) => {
                    let made = checker.ask(&token).await;
                    assert!(made.password().is_some(), "{made:?}");
                    others.push((token, made));
                }
            }
        }
    }
    assert!(theirs.len() > 5 && others.len() > 20);
    let mut newcomers = newcomers.iter();
    for dies in [false, true] {
        if dies {
            cluster.nodes[0].process.kill();
        } else {
            cluster.nodes[0].process.stall();
        }
        let (ends, mut asked, mut refused) = (Instant::now() + Duration::from_secs(5), 0, 0);
        while Instant::now() < ends {
            let known = others.iter().map(|(token, made)| {
                let checker = &checker;
                async move { checker.ask(token).await != *made }
            });
            let (known, new, _) = tokio::join!(
                join_all(known),
                join_all(newcomers.by_ref().take(2).map(|token| checker.ask(token))),
                join_all(theirs.iter().map(|token| checker.ask(token))),
            );
            asked += known.len() + new.len();
            refused += known.into_iter().filter(|differs| *differs).count();
            refused += new.into_iter().filter(|answer| answer.password().is_none()).count();
        }
        assert_eq!(refused, 0, "of {asked}; the master dies: {dies}");
        let (status, body) = ready().await;
        assert_eq!((status, body["status"].as_str()), (200, Some("degraded")), "{body}");
        assert!(body["cache"].as_str().unwrap().contains(&lost), "{body}");
        if !dies {
            cluster.nodes[0].process.resume();
            until("all masters again", || async { ready().await.1["status"] == "ok" }).await;
        }
    }
    let lines = elastauth.process.lines();
    let told = lines.iter().filter(|line| line.contains("The cache does not answer")).count();
    assert!((1..=3).contains(&told), "{told} lines");
}

/// A master at a name, and a server that the name moves to.
struct Named {
    old: Redis,
    new: Redis,
    name: Proxy,
}

impl Named {
    async fn start(extra: &[&str]) -> Option<Self> {
        let common = [&["--masterauth", REDIS_PASSWORD, "--repl-diskless-sync-delay", "0"][..], extra].concat();
        let old = Redis::start(&common)?;
        let port = old.address.rsplit_once(':').unwrap().1.to_owned();
        let new = Redis::start(&[&common[..], &["--replicaof", "127.0.0.1", &port]].concat())?;
        until("a replica", || async { new.command(&["INFO", "replication"]).contains("master_link_status:up") }).await;
        let name = Proxy::start(&old.address).await;
        Some(Self { old, new, name })
    }

    /// The old master becomes a replica that is cut off from the new one. Connections to it stay open.
    async fn fail_over(&self) {
        replicated(&self.old, &self.new).await;
        self.new.command(&["REPLICAOF", "NO", "ONE"]);
        self.name.lead_to(&self.new.address);
        self.old.command(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    }
}

/// Makes users of whom the process knows half, over several connections.
async fn members(issuer: &Issuer, checker: &Checker) -> Vec<(String, String, Answer)> {
    let made = (0..30).map(|n| async move {
        let user = format!("member{n}");
        let token = issuer.token(&user, &["admins"]);
        let made = checker.ask_patiently(&token).await;
        assert!(made.password().is_some(), "{made:?}");
        (user, token, made)
    });
    join_all(made).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_moves_to_another_master_is_followed_by_every_connection() {
    let Some(named) = Named::start(&[]).await else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = |address: &str| config(&issuer.url, &elasticsearch.url, &redis_cache(address));
    let elastauth = Elastauth::start(elastauth!(), &yaml(&named.name.address));
    elastauth.process.wait_for_line(0, &["Redis reports changes"]);
    let checker = Checker::connect(&elastauth.grpc).await;
    let members = members(&issuer, &checker).await;
    let from = elastauth.process.lines().len();
    named.fail_over().await;
    elastauth.process.wait_for_line(from, &["Redis does not report changes at present"]);
    let from = elastauth.process.lines().len();
    elastauth.process.wait_for_line(from, &["Redis reports changes"]);
    // another replica changes users at the new master, and this one was not told of it by the old
    let other = Elastauth::start(elastauth!(), &yaml(&named.new.address));
    let others = Checker::connect(&other.grpc).await;
    for (user, token, made) in &members[..10] {
        elasticsearch.forget_copy(user);
        named.new.command(&["DEL", &key(user)]);
        let changed = others.ask_patiently(token).await;
        assert!(changed.password().is_some() && changed != *made);
        let began = Instant::now();
        until("the report", || async { checker.ask(token).await == changed }).await;
        assert!(began.elapsed() < Duration::from_secs(1), "{user}: {:?}", began.elapsed());
    }
    for (user, token, made) in &members[10..] {
        elasticsearch.forget_copy(user);
        named.new.command(&["DEL", &key(user)]);
        until("a new password", || async {
            let now = checker.ask(token).await;
            now.password().is_some() && now != *made
        })
        .await;
    }
}

/// Without the right to be told of changes an entry counts for two seconds, and then the server is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_moves_is_followed_without_reports_of_changes_too() {
    let acl = ["--user", "elastauth", "on", ">a-narrow-account", "~elastauth-*", "+@read", "+@write"];
    let Some(named) = Named::start(&acl).await else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let cache = |address: &str| {
        format!(
            "  type: redis\n  redis_host: \"{address}\"\n  redis_username: elastauth\n  redis_password: a-narrow-account"
        )
    };
    let yaml = |address: &str| config(&issuer.url, &elasticsearch.url, &cache(address));
    let elastauth = Elastauth::start(elastauth!(), &yaml(&named.name.address));
    elastauth.process.wait_for_line(0, &["lacks optional rights"]);
    let checker = Checker::connect(&elastauth.grpc).await;
    let members = members(&issuer, &checker).await;
    named.fail_over().await;
    let other = Elastauth::start(elastauth!(), &yaml(&named.new.address));
    let others = Checker::connect(&other.grpc).await;
    let mut changed = Vec::new();
    for (user, token, made) in &members {
        elasticsearch.forget_copy(user);
        named.new.command(&["DEL", &key(user)]);
        let now = others.ask_patiently(token).await;
        assert!(now.password().is_some() && now != *made);
        changed.push((token, now));
    }
    let began = Instant::now();
    for (token, now) in &changed {
        until("what the new master has", || async { checker.ask(token).await == *now }).await;
    }
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
