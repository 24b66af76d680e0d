//! The store is lost, or exchanged for another, while users are served: Elasticsearch keeps their passwords, so that nothing is
//! written and no user is refused. Shipped settings; the users' clients go on asking all the time.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use elastauth_support::check::{Answer, Checker};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::fixture::serve;
use elastauth_support::issuer::Issuer;
use elastauth_support::process::until;
use elastauth_support::puts;
use elastauth_support::servers::{Elastauth, Redis, config, redis_cache};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

const USERS: usize = 200;
/// The time from one request of a user to the next.
const EVERY: Duration = Duration::from_secs(2);
/// How many users are made at once: no more than are admitted to be written.
const MADE_AT_ONCE: usize = 16;
/// The default of `elasticsearch.max_writes`.
const MAX_WRITES: usize = 4;
/// The delay of a PUT of a user, in which Elasticsearch hashes the password.
const PUT: Duration = Duration::from_millis(60);

/// A user whose clients have been served.
#[derive(Clone)]
struct Member {
    name: String,
    token: String,
    roles: Vec<&'static str>,
    served: Answer,
}

struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
}

type Replica = (Elastauth, Checker);

impl Bench {
    async fn start() -> Self {
        Self { issuer: Issuer::start().await, elasticsearch: Elasticsearch::start().await }
    }

    async fn serve(&self, cache: &str) -> Replica {
        serve(elastauth!(), &config(&self.issuer.url, &self.elasticsearch.url, cache)).await
    }

    async fn two_over(&self, redis: &Redis) -> [Replica; 2] {
        let cache = redis_cache(&redis.address);
        let replicas = [self.serve(&cache).await, self.serve(&cache).await];
        for (elastauth, _) in &replicas {
            elastauth.process.wait_for_line(0, &["Redis reports changes"]);
        }
        replicas
    }

    /// Starts replicas over a store that knows no user, and lets all users' clients ask them.
    async fn exchange(&self, (when, cache, replicas): Step<'_>, members: &[Member]) {
        let (mut all, puts) = (Vec::new(), self.elasticsearch.puts().len());
        for _ in 0..replicas {
            all.push(self.serve(cache).await);
        }
        let clients = Clients::start(members, &all);
        clients.more(replicas).await;
        clients.finish_unchanged(when, &all).await;
        self.all_is_as_before(when, members, puts);
    }

    /// Makes the users, every other one with other roles.
    async fn members(&self, checker: &Checker) -> Vec<Member> {
        let mut members = Vec::new();
        for first in (0..USERS).step_by(MADE_AT_ONCE) {
            let made = (first..USERS.min(first + MADE_AT_ONCE)).map(|n| {
                let (group, roles) = match n % 2 {
                    0 => ("admins", vec!["kibana_admin", "monitoring_user"]),
                    _ => ("developers", vec!["dev", "kibana_user"]),
                };
                let (name, checker) = (format!("user-{n}"), checker.clone());
                let token = self.issuer.token(&name, &[group]);
                tokio::spawn(async move {
                    let served = checker.ask_patiently(&token).await;
                    Member { name, token, roles, served }
                })
            });
            for member in made.collect::<Vec<_>>() {
                members.push(member.await.unwrap());
            }
        }
        members
    }

    /// The users have the roles and the password with which they were served, and so many PUTs were sent.
    fn all_is_as_before(&self, when: &str, members: &[Member], puts: usize) {
        assert_eq!(self.elasticsearch.puts().len(), puts, "{when}: PUTs");
        for member in members {
            let user = self.elasticsearch.user(&member.name).unwrap();
            assert_eq!(user.roles, member.roles, "{when}: {}", member.name);
            assert!(member.served.password() == Some(&user.password), "{when}: another password of {}", member.name);
        }
    }

    /// Changes these users in Elasticsearch, as an administrator would.
    fn edit(&self, members: &[Member], edit: impl Fn(&mut elastauth_support::users::User)) {
        for member in members {
            let mut user = self.elasticsearch.user(&member.name).unwrap();
            edit(&mut user);
            self.elasticsearch.seed(&member.name, user);
        }
    }
}

/// Clients of the users, which go on asking; each user's ask all replicas in turn.
struct Clients {
    stop: Arc<AtomicBool>,
    asked: Arc<Vec<AtomicUsize>>,
    tasks: Vec<JoinHandle<Vec<Answer>>>,
    members: Vec<Member>,
}

impl Clients {
    fn start(members: &[Member], replicas: &[Replica]) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let asked: Arc<Vec<_>> = Arc::new(members.iter().map(|_| AtomicUsize::default()).collect());
        let checkers: Vec<_> = replicas.iter().map(|(_, checker)| checker.clone()).collect();
        let first = Instant::now();
        let each = EVERY / u32::try_from(members.len()).unwrap();
        let client = |(n, member): (usize, &Member)| {
            let (stop, asked, token, checkers) =
                (Arc::clone(&stop), Arc::clone(&asked), member.token.clone(), checkers.clone());
            let mut ticks = interval_at(first + each * u32::try_from(n).unwrap(), EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    ticks.tick().await;
                    answers.push(checkers[(n + answers.len()) % checkers.len()].ask(&token).await);
                    asked[n].fetch_add(1, Ordering::SeqCst);
                }
                answers
            })
        };
        let tasks = members.iter().enumerate().map(client).collect();
        Self { stop, asked, tasks, members: members.to_vec() }
    }

    /// Waits until each user has so many more answers.
    async fn more(&self, answers: usize) {
        let now = || self.asked.iter().map(|asked| asked.load(Ordering::SeqCst));
        let before: Vec<_> = now().collect();
        until("answers", || async { now().zip(&before).all(|(now, before)| now >= before + answers) }).await;
    }

    /// Ends the clients, and returns each user's answers.
    async fn finish(self) -> Vec<(Member, Vec<Answer>)> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for (member, task) in self.members.into_iter().zip(self.tasks) {
            all.push((member, task.await.unwrap()));
        }
        all
    }

    /// The same, where each answer must be the one before.
    async fn finish_unchanged(self, when: &str, replicas: &[Replica]) {
        let all = self.finish().await;
        let answers = || all.iter().flat_map(|(member, answers)| answers.iter().map(move |answer| (member, answer)));
        let refused = answers().filter(|(_, answer)| answer.password().is_none()).count();
        let lines = replicas.iter().flat_map(|(elastauth, _)| elastauth.process.lines());
        let why: Vec<_> = lines.filter(|line| line.contains("Request denied")).take(3).collect();
        assert_eq!(refused, 0, "{when}: refusals of {}: {why:#?}", answers().count());
        assert!(answers().all(|(member, answer)| *answer == member.served), "{when}: another password");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_redis_loses_everything_nothing_is_written_and_no_user_in_use_is_refused() {
    let Some(redis) = Redis::start(&[]) else { return };
    let bench = Bench::start().await;
    let replicas = bench.two_over(&redis).await;
    let members = bench.members(&replicas[0].1).await;
    let (clients, puts) = (Clients::start(&members, &replicas), bench.elasticsearch.puts().len());
    clients.more(2).await;
    redis.command(&["FLUSHALL"]);
    // one more than there are replicas, for requests that were answered before
    clients.more(3).await;
    bench.all_is_as_before("FLUSHALL", &members, puts);
    clients.finish_unchanged("FLUSHALL", &replicas).await;
}

/// A step to another store: what it is, the `cache` section, and how many replicas use it.
type Step<'a> = (&'a str, &'a str, usize);

#[tokio::test(flavor = "multi_thread")]
async fn when_the_store_is_exchanged_for_another_nothing_is_written_and_no_user_is_refused() {
    let (Some(one), Some(other)) = (Redis::start(&[]), Redis::start(&[])) else { return };
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::start().await;
    let [one, other] = [&one, &other].map(|redis| redis_cache(&redis.address));
    let (memory, file) = ("  type: memory", format!("  type: file\n  path: {}", folder.path().join("cache").display()));
    let members = bench.members(&bench.serve(memory).await.1).await;
    let steps: [Step<'_>; 4] = [
        ("a restart with memory", memory, 1),
        ("from memory to Redis", &one, 2),
        ("to another Redis", &other, 2),
        ("from Redis to memory", memory, 1),
    ];
    for step in steps {
        bench.exchange(step, &members).await;
    }
    // the speed of a file is that of its disk, so that users come there one after the other
    let (in_file, checker) = bench.serve(&file).await;
    for member in &members {
        assert_eq!(checker.ask(&member.token).await, member.served);
    }
    drop(in_file);
    let third = Redis::start(&[]).unwrap();
    bench.exchange(("from a file to Redis", &redis_cache(&third.address), 2), &members).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_kept_password_is_gone_or_wrong_gets_another_with_one_write() {
    let Some(redis) = Redis::start(&[]) else { return };
    let bench = Bench::start().await;
    let replicas = bench.two_over(&redis).await;
    let members = bench.members(&replicas[0].1).await;
    let (stripped, rest) = members.split_at(USERS / 2);
    let (changed, intact) = rest.split_at(USERS / 4);
    let puts = bench.elasticsearch.puts().len();
    bench.elasticsearch.fail(Faults { delay: PUT, ..Faults::default() });
    bench.edit(stripped, |user| user.metadata["elastauth"]["secret"] = Value::Null);
    bench.edit(changed, |user| user.password = "chosen-by-a-person".into());
    redis.command(&["FLUSHALL"]);
    let clients = Clients::start(&members, &replicas);
    until("a working password of each user", || async {
        let user = |member: &Member| bench.elasticsearch.user(&member.name).unwrap();
        stripped.iter().all(|member| member.served.password() != Some(&user(member).password))
            && changed.iter().all(|member| user(member).password != "chosen-by-a-person")
    })
    .await;
    clients.more(2).await;
    let answers = clients.finish().await;

    let all = bench.elasticsearch.puts().split_off(puts);
    assert!(puts::peak(&all) <= replicas.len() * MAX_WRITES, "{} PUTs at once", puts::peak(&all));
    for (n, (member, answers)) in answers.iter().enumerate() {
        let (name, user) = (&member.name, bench.elasticsearch.user(&member.name).unwrap());
        let writes = all.iter().filter(|put| put.user == *name).count();
        assert_eq!(writes, usize::from(n < USERS * 3 / 4), "PUTs of {name}");
        assert_eq!(user.roles, member.roles, "{name}");
        assert!(answers.last().unwrap().password() == Some(&user.password), "the password of {name} works");
        // a bound on writes may refuse a user for whom one is needed, and nobody is given what does not work
        let others = answers.iter().filter(|answer| answer.password().is_some_and(|it| it != user.password)).count();
        assert_eq!(others, 0, "{name}");
    }
    let refused = answers[USERS * 3 / 4..].iter().flat_map(|(_, answers)| answers);
    assert_eq!(refused.filter(|answer| answer.password().is_none()).count(), 0, "{} intact ones", intact.len());
}
