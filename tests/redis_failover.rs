//! Redis fails over under load: by Sentinels, and in a cluster that lost a node.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::fixture::with_elasticsearch;
use elastauth_support::fleets::{Cluster, Elected};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::until;
use elastauth_support::servers::{Elastauth, Redis, config};
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
