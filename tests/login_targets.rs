//! What a login and a session cost, and how soon an end or a loss is felt: three replicas over a real Redis.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::fixture::serve;
use elastauth_support::process::until;
use elastauth_support::proxy::Proxy;
use elastauth_support::scripted_provider::{Fate, ScriptedProvider};
use elastauth_support::servers::{Elastauth, Redis, redis_cache};
use elastauth_support::web::{Browser, SESSION, WebReply, WebRequest};
use futures_util::future::join_all;

const HOST: &str = "kibana.example.org";

/// Three replicas over one Redis.
struct Fleet {
    provider: ScriptedProvider,
    redis: Redis,
    network: Proxy,
    replicas: Vec<(Elastauth, Checker)>,
    _elasticsearch: Elasticsearch,
}

impl Fleet {
    /// None where there is no redis-server.
    async fn start() -> Option<Self> {
        let redis = Redis::start(&[])?;
        let network = Proxy::start(&redis.address).await;
        let (provider, elasticsearch) = (ScriptedProvider::start().await, Elasticsearch::start().await);
        let cache = redis_cache(&network.address);
        let yaml = provider.config(&elasticsearch.url, &cache, &format!("[{HOST}]"), "");
        let mut replicas = Vec::new();
        for _ in 0..3 {
            replicas.push(serve(elastauth!(), &yaml).await);
        }
        Some(Self { provider, redis, network, replicas, _elasticsearch: elasticsearch })
    }

    fn replica(&self, number: usize) -> &Checker {
        &self.replicas[number % self.replicas.len()].1
    }

    /// A person whom every replica knows.
    async fn known(&self, user: &str) -> Browser {
        let browser = Browser::new(HOST, user);
        assert_eq!(browser.log_in(self.replica(0), "/").await.reply.status, 303);
        for number in 0..3 {
            assert_eq!(self.status(&browser, number).await, 200, "replica {number}");
        }
        browser
    }

    async fn status(&self, browser: &Browser, number: usize) -> i32 {
        let request = browser.own(WebRequest::script("GET", HOST, "/api/status"));
        let reply = WebReply::read(&self.replica(number).check(request.encode()).await.unwrap());
        assert!(reply.user.is_none() || reply.user.as_deref() == Some(&*browser.user), "{reply:?}");
        reply.status
    }

    /// How often Redis was asked for records so far, by command.
    fn commands(&self) -> BTreeMap<String, usize> {
        let said = self.redis.command(&["INFO", "commandstats"]);
        let calls = said.lines().filter_map(|line| {
            let (name, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let of_records = matches!(name, "get" | "set" | "eval" | "evalsha" | "del" | "pttl" | "mget" | "pexpire");
            of_records.then(|| (name.to_owned(), figures.split(',').next().unwrap().parse().unwrap()))
        });
        calls.collect()
    }
}

/// The commands of one and not of the other, which is earlier.
fn since(before: &BTreeMap<String, usize>, after: BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let new = after.into_iter().map(|(name, calls)| {
        let old = before.get(&name).copied().unwrap_or_default();
        (name, calls - old)
    });
    new.filter(|(_, calls)| *calls > 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_requests_at_the_end_of_the_tokens_are_one_refresh_over_three_replicas() {
    const LIFETIME: u64 = 4;
    let Some(fleet) = Fleet::start().await else { return };
    // slow enough for all sixty to come while it is under way
    let fate = Fate { delay: Duration::from_millis(300), ..Fate::default() };
    fleet.provider.script(|script| {
        script.lifetime = LIFETIME;
        script.fates = Some(std::sync::Arc::new(move || fate));
    });
    let ann = fleet.known("ann").await;
    let mut received = Instant::now();
    for (round, (quarters, what)) in
        [(4, "after their end"), (3, "before their end"), (4, "again")].into_iter().enumerate()
    {
        // the replicas' clocks go on whatever this test does; half a second more than is due
        let due = received + Duration::from_secs(LIFETIME) / 4 * quarters + Duration::from_millis(500);
        tokio::time::sleep_until(due.into()).await;
        let began = Instant::now();
        let answers = join_all((0..60).map(|number| fleet.status(&ann, number))).await;
        println!("60 requests {what}: {:?}", began.elapsed());
        assert!(answers.iter().all(|status| *status == 200), "{what}: {answers:?}");
        until("the refresh", || async { fleet.provider.refreshes() > round }).await;
        until("its end", || async { fleet.provider.redemptions().iter().all(|one| one.ended.is_some()) }).await;
        received = fleet.provider.redemptions().last().unwrap().ended.unwrap();
        assert_eq!(fleet.provider.refreshes(), round + 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_costs_three_round_trips_to_redis_at_most_and_one_call_of_the_token_endpoint() {
    let Some(fleet) = Fleet::start().await else { return };
    fleet.known("bob").await;
    let (before, redeemed) = (fleet.commands(), fleet.provider.redemptions().len());
    let ann = Browser::new(HOST, "ann");
    let login = ann.log_in(fleet.replica(0), "/app").await;
    assert_eq!(login.reply.status, 303);
    let login = since(&before, fleet.commands());
    assert!(login.values().sum::<usize>() <= 3, "{login:?}");
    assert_eq!(fleet.provider.redemptions().len(), redeemed + 1);
    let cookie = ann.cookie(SESSION).unwrap();
    assert!(SESSION.len() + 1 + cookie.len() <= 80);

    let before = fleet.commands();
    assert_eq!(fleet.status(&ann, 0).await, 200);
    let first = since(&before, fleet.commands());
    println!("a login: {login:?}; the first request after it, which also gets the credential: {first:?}");
    let before = fleet.commands();
    for _ in 0..100 {
        assert_eq!(fleet.status(&ann, 0).await, 200);
    }
    let hits = since(&before, fleet.commands());
    // something that the login left for the background may be among them
    assert!(hits.values().sum::<usize>() < 5, "100 hits ask nothing, and not once each: {hits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_felt_at_every_replica_within_a_second() {
    let Some(fleet) = Fleet::start().await else { return };
    let by_provider = |claim: &str, value: &str| {
        let mut claims = fleet.provider.logout_claims();
        claims[claim] = value.into();
        let token = fleet.provider.sign_logout(&claims);
        WebRequest::new("POST", HOST, "/.elastauth/backchannel-logout").form(&format!("logout_token={token}"))
    };
    let by_person = WebRequest::script("POST", HOST, "/.elastauth/logout");
    for (user, request) in [("ann", by_person), ("bob", by_provider("sub", "id-of-bob"))] {
        let browser = fleet.known(user).await;
        let gone = browser.cookie(SESSION).unwrap();
        assert_eq!(browser.send(fleet.replica(0), request).await.status, 200, "{user}");
        let ended = Instant::now();
        browser.set_cookie(SESSION, &gone);
        for number in 0..3 {
            until("the end", || async { fleet.status(&browser, number).await == 401 }).await;
        }
        assert!(ended.elapsed() < Duration::from_secs(1), "{user}: {:?}", ended.elapsed());
        println!("{user}: felt everywhere after {:?}", ended.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_loss_of_redis_everybody_is_back_after_one_redirect() {
    let Some(mut fleet) = Fleet::start().await else { return };
    let mut people = Vec::new();
    for number in 0..20 {
        people.push(fleet.known(&format!("person-{number}")).await);
    }
    for loss in ["FLUSHALL", "another Redis"] {
        if loss == "FLUSHALL" {
            fleet.redis.command(&["FLUSHALL"]);
        } else {
            fleet.redis = Redis::start(&[]).unwrap();
            fleet.network.lead_to(&fleet.redis.address);
        }
        for (number, person) in people.iter().enumerate() {
            // the loop guard counts logins within 30 s
            person.forget("__Host-elastauth-logins");
            until("the loss is noticed", || async { matches!(fleet.status(person, number).await, 401) }).await;
            let form = WebRequest::script("POST", HOST, "/api/saved_objects");
            assert_eq!(person.send(fleet.replica(number), form).await.status, 401, "{loss}: a POST is not redirected");
            let started = fleet.provider.started();
            let login = person.log_in(fleet.replica(number), "/app").await;
            assert_eq!((login.reply.status, login.reply.location()), (303, "/app"), "{loss}: {login:?}");
            assert_eq!(fleet.status(person, number + 1).await, 200, "{loss}");
            assert_eq!(fleet.provider.started(), started + 1, "{loss}: one redirect");
        }
    }
}
