//! Measures what a loss of Redis costs its users: `make loss`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use elastauth_support::check::{Answer, Checker, bearer};
use elastauth_support::elasticsearch::{ADMIN, Elasticsearch};
use elastauth_support::fixture::with_elasticsearch;
use elastauth_support::issuer::{Issuer, now};
use elastauth_support::servers::{Elastauth, Redis, config, redis_cache};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::binary;
use crate::crowd::crowd;

/// How much longer the first request after the loss may take than a GET of the user and a login, at 99 %.
const TARGET: f64 = 3.0;
/// How long requests are sent before Redis loses everything.
const BEFORE: Duration = Duration::from_secs(2);
/// So many users ask in the same moment.
const BURSTS: [usize; 4] = [50, 200, 1000, 4000];
const DAY: u64 = 86_400;

fn number(variable: &str, default: usize) -> usize {
    let value = std::env::var_os(variable).and_then(|value| value.into_string().ok());
    value.map_or(default, |value| value.parse().unwrap())
}

/// Latencies, sorted.
struct Sorted(Vec<Duration>);

impl Sorted {
    fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    fn told(&self) -> String {
        format!("median {:.1?}, 99 % {:.1?}, max {:.1?}", self.at(50), self.at(99), self.at(100))
    }
}

/// Asks for one user after the other at this rate, whether or not earlier requests are answered. The latencies are counted from
/// the moment at which a request was due.
async fn at_rate<F>(rate: usize, users: std::ops::Range<usize>, ask: impl Fn(usize) -> F) -> Sorted
where
    F: Future<Output = ()> + Send + 'static,
{
    let (began, each) = (Instant::now(), Duration::from_secs(1) / u32::try_from(rate).unwrap());
    let mut open = JoinSet::new();
    for (due, n) in users.enumerate() {
        let due = began + each * u32::try_from(due).unwrap();
        tokio::time::sleep_until(due).await;
        let asked = ask(n);
        open.spawn(async move {
            asked.await;
            due.elapsed()
        });
    }
    let mut all = open.join_all().await;
    all.sort();
    Sorted(all)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: make loss"]
async fn loss_of_redis_costs_no_writes_and_little_time() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (users, rate) = (number("LOSS_USERS", 10_000), number("LOSS_RATE", 300));
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    let yaml = yaml.replace("log_level: debug", "log_level: info");
    let name = |n: usize| format!("user-{n}");
    let token = |n| {
        let mut claims = issuer.claims(&name(n), &["admins"], 0);
        claims["exp"] = (now() + DAY).into();
        issuer.sign(&claims)
    };
    let tokens: Vec<String> = (0..users).map(token).collect();
    // more writes than the default, so that making the users does not take long
    let quick = Elastauth::start(&binary(), &with_elasticsearch(&yaml, "  max_writes: 16\n"));
    for some in tokens.chunks(100) {
        crowd(&quick.grpc, some.to_vec()).await;
    }
    drop(quick);
    let password = |n: usize| elasticsearch.user(&name(n)).unwrap().password;
    let members: Vec<(String, String, Vec<u8>)> =
        tokens.iter().enumerate().map(|(n, token)| (name(n), password(n), bearer(token))).collect();
    let members: Arc<[_]> = members.into();
    let writes = elasticsearch.puts().len();

    let http = elastauth_support::http();
    let by_hand = at_rate(rate, 0..users, |n| {
        let (http, url, members) = (http.clone(), elasticsearch.url.clone(), Arc::clone(&members));
        async move {
            let (name, password, _) = &members[n];
            let look = http.get(format!("{url}/_security/user/{name}")).basic_auth(ADMIN.0, Some(ADMIN.1));
            let login = http.get(format!("{url}/_security/_authenticate")).basic_auth(name, Some(password));
            for request in [look, login] {
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), 200);
                answer.bytes().await.unwrap();
            }
        }
    });
    let by_hand = by_hand.await;

    let elastauth = Elastauth::start(&binary(), &yaml);
    for some in tokens.chunks(100) {
        crowd(&elastauth.grpc, some.to_vec()).await;
    }
    let checker = Checker::connect(&elastauth.grpc).await;
    let refused = Arc::<AtomicUsize>::default();
    let ask = |n: usize| {
        let (checker, members, refused) = (checker.clone(), Arc::clone(&members), Arc::clone(&refused));
        async move {
            let (name, password, message) = &members[n % members.len()];
            match Answer::read(&checker.check(message.clone()).await.unwrap()).password() {
                Some(given) => assert!(given == password, "another password of {name}"),
                None => drop(refused.fetch_add(1, Ordering::SeqCst)),
            }
        }
    };
    let first = users.min(rate * usize::try_from(BEFORE.as_secs()).unwrap());
    let hits = at_rate(rate, 0..first, ask).await;
    redis.command(&["FLUSHALL"]);
    let after = at_rate(rate, first..first + users, ask).await;
    let ratio = after.at(99).as_secs_f64() / by_hand.at(99).as_secs_f64();
    let (puts, refused) = (elasticsearch.puts().len() - writes, refused.load(Ordering::SeqCst));
    println!(
        "FLUSHALL, {users} users, {rate} requests a second, {}: {puts} PUTs, {refused} refusals; first request of each user after \
         it: {}; before it: {}; a GET and a login without elastauth: {}; 99 % {ratio:.2} times",
        binary().display(),
        after.told(),
        hits.told(),
        by_hand.told(),
    );
    drop(elastauth);

    for burst in BURSTS.into_iter().filter(|burst| *burst < users).chain([users]) {
        // a process that has found no kept password lately
        let elastauth = Elastauth::start(&binary(), &yaml);
        redis.command(&["FLUSHALL"]);
        let before = elasticsearch.puts().len();
        let served = crowd(&elastauth.grpc, tokens[..burst].to_vec()).await;
        println!(
            "FLUSHALL, {burst} users at once: {} PUTs, all served within {:.1?}, {} refusals, {} requests of one user at most",
            elasticsearch.puts().len() - before,
            served.took,
            usize::try_from(served.asked).unwrap() - burst,
            served.most,
        );
    }
    assert_eq!((puts, refused), (0, 0), "PUTs and refusals at the rate");
    assert!(ratio <= TARGET, "{ratio:.2}");
}
