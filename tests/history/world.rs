//! Starts what a history needs: three replicas over one Redis and one stand-in for Elasticsearch, and users with tokens of
//! different age.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::proxy::{Mode, Proxy};
use elastauth_support::random::Random;
use elastauth_support::resp::{Reply, Resp};
use elastauth_support::servers::{Elastauth, REDIS_PASSWORD, Redis, config, optional_tool, redis_cache};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use prost::Message as _;

use crate::record::{Event, Outcome, Requested, Trouble, What};

/// Short, so that lost PUTs end soon; a lease lasts two seconds longer.
pub const WRITE_TIMEOUT: Duration = Duration::from_millis(300);
pub const LEASE: Duration = Duration::from_millis(2300);
/// `grpc.deadline` of the replicas.
pub const DEADLINE: Duration = Duration::from_secs(3);
pub const REPLICAS: usize = 3;
/// Longer than a late PUT takes: after this time records are confirmed.
pub const SETTLING: Duration = Duration::from_millis(2500);
/// How often a confirmed record is confirmed again.
pub const CONFIRM_INTERVAL: Duration = Duration::from_secs(2);
/// The number of users, from the first on, that are asked for much more often than the others.
pub const HOT: usize = 5;
/// Between two looks at the machine.
const PAUSE: Duration = Duration::from_millis(10);
/// A machine on which an answer of Redis takes this long may well use up the 250 ms that a command has.
const LATE: Duration = Duration::from_millis(60);
/// How wrong the clock of one replica is, in seconds. It is within `oidc.leeway`.
const SKEW: i32 = 20;

/// The groups of a token, and the roles that the test's configuration gives to them.
const GROUPS: [(&[&str], &[&str]); 3] = [
    (&["admins"], &["kibana_admin", "monitoring_user"]),
    (&["developers"], &["dev", "kibana_user"]),
    (&["admins", "developers"], &["dev", "kibana_admin", "kibana_user", "monitoring_user"]),
];

pub struct Token {
    pub issued: u64,
    /// Sorted, as elastauth compares them.
    pub roles: Vec<&'static str>,
    check: Vec<u8>,
}

pub struct User {
    pub name: String,
    /// The key of the user's record in Redis.
    pub key: String,
    /// From the oldest to the newest, by elastauth's total order of (`iat`, roles).
    pub tokens: Vec<Token>,
}

struct Replica {
    /// The first part of the path of its requests to Elasticsearch. A process that is started again has another name.
    name: String,
    checker: Checker,
    process: Option<Elastauth>,
}

/// What stays when a replica is started again.
struct Place {
    /// The replica's connections to Redis.
    to_redis: Proxy,
    /// Variables of its environment: the clock of one replica is wrong.
    env: Vec<(&'static str, String)>,
    replica: Mutex<Replica>,
}

/// What every replica needs to start.
struct Servers {
    issuer: Issuer,
    elasticsearch: String,
    /// Whether records are confirmed while the test runs.
    confirms: bool,
}

pub struct World {
    pub elasticsearch: Elasticsearch,
    pub redis: Redis,
    pub users: Vec<User>,
    pub started: Instant,
    servers: Servers,
    places: Vec<Place>,
    requests: Mutex<Vec<Requested>>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl World {
    /// Starts everything; answers none where there is no redis-server.
    pub async fn start(users: usize, confirms: bool, random: &mut Random) -> Option<Self> {
        let redis = Redis::start(&["--notify-keyspace-events", "Ee"])?;
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let users: Vec<User> = (0..users).map(|n| user(&issuer, format!("user-{n}"), random)).collect();
        let servers = Servers { issuer, elasticsearch: elasticsearch.url.clone(), confirms };
        let skewed = random.below(REPLICAS);
        let clock = if random.chance(50) { SKEW } else { -SKEW };
        let mut places = Vec::new();
        for n in 0..REPLICAS {
            let to_redis = Proxy::start(&redis.address).await;
            let env = if n == skewed { wrong_clock(clock) } else { Vec::new() };
            let replica = Mutex::new(servers.start(format!("replica-{n}"), &to_redis.address, &env).await);
            places.push(Place { to_redis, env, replica });
        }
        let events = Arc::<Mutex<Vec<Event>>>::default();
        watch_evictions(&redis, &users, Arc::clone(&events));
        watch_the_machine(&redis, Arc::clone(&events));
        let (started, requests) = (Instant::now(), Mutex::default());
        Some(Self { elasticsearch, redis, users, started, servers, places, requests, events })
    }

    pub fn note(&self, what: What) {
        self.note_at(Instant::now(), what);
    }

    /// Notes what began at that time and ends now.
    pub fn note_at(&self, at: Instant, what: What) {
        self.events.lock().unwrap().push(Event { at, what });
    }

    /// What the connections of a replica to Redis do from now on.
    pub fn connections(&self, replica: usize, mode: Mode) {
        self.places[replica].to_redis.set(mode);
    }

    /// The name of a replica, if it runs.
    pub fn running(&self, replica: usize) -> Option<String> {
        let replica = self.places[replica].replica.lock().unwrap();
        replica.process.as_ref().map(|_| replica.name.clone())
    }

    /// Stops a running replica with SIGSTOP, or lets it go on with SIGCONT.
    pub fn freeze(&self, replica: usize, frozen: bool) {
        let replica = self.places[replica].replica.lock().unwrap();
        let Some(running) = &replica.process else { return };
        if frozen { running.process.stall() } else { running.process.resume() }
    }

    pub fn requests(&self) -> Vec<Requested> {
        self.requests.lock().unwrap().clone()
    }

    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().clone()
    }

    /// Sends one Check and records the outcome.
    pub async fn ask(&self, user: usize, token: usize, replica: usize) -> Outcome {
        let (name, checker) = {
            let replica = self.places[replica].replica.lock().unwrap();
            (replica.name.clone(), replica.checker.clone())
        };
        let check = self.users[user].tokens[token].check.clone();
        let start = Instant::now();
        // far beyond the deadline: a request that hangs is to be recorded, and not to block the test
        let outcome = match tokio::time::timeout(DEADLINE * 5, checker.check(check)).await {
            Ok(Ok(reply)) => Outcome::read(&reply),
            Ok(Err(status)) => Outcome::Lost(format!("{:?}: {}", status.code(), status.message())),
            Err(_) => Outcome::Lost("no answer".into()),
        };
        let end = Instant::now();
        let request = Requested { user, token, replica: name, start, end, outcome: outcome.clone() };
        self.requests.lock().unwrap().push(request);
        outcome
    }

    /// Kills a replica with SIGKILL.
    pub fn kill(&self, replica: usize) {
        let mut replica = self.places[replica].replica.lock().unwrap();
        if let Some(mut running) = replica.process.take() {
            running.process.kill();
            self.note(What::Killed(replica.name.clone()));
        }
    }

    /// Starts the replicas that were killed.
    pub async fn restart(&self) {
        for Place { to_redis, env, replica } in &self.places {
            let dead = {
                let replica = replica.lock().unwrap();
                replica.process.is_none().then(|| format!("{}+", replica.name))
            };
            if let Some(name) = dead {
                let fresh = self.servers.start(name, &to_redis.address, env).await;
                self.note(What::Started(fresh.name.clone()));
                *replica.lock().unwrap() = fresh;
            }
        }
    }
}

/// The environment of a replica with a clock that is so many seconds ahead; intervals are as long as elsewhere. Nothing, where
/// libfaketime is missing.
fn wrong_clock(ahead: i32) -> Vec<(&'static str, String)> {
    let Some(library) = optional_tool("libfaketime") else { return Vec::new() };
    let library = library.to_str().unwrap().to_owned();
    vec![
        ("LD_PRELOAD", library),
        ("FAKETIME", format!("{ahead:+}s")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("DONT_FAKE_MONOTONIC", "1".into()),
    ]
}

impl Servers {
    /// Starts a replica with the shipped time-outs towards Redis.
    async fn start(&self, name: String, redis: &str, env: &[(&'static str, String)]) -> Replica {
        let confirm = if self.confirms {
            format!("  settling: {}ms\n  confirm_interval: {}ms\n", SETTLING.as_millis(), CONFIRM_INTERVAL.as_millis())
        } else {
            String::new()
        };
        let yaml = config(&self.issuer.url, &format!("{}/{name}", self.elasticsearch), &redis_cache(redis))
            .replace("log_level: debug", "log_level: info")
            .replace(
                "elasticsearch:\n",
                &format!("elasticsearch:\n  write_timeout: {}ms\n{confirm}", WRITE_TIMEOUT.as_millis()),
            );
        let (env, skewed_by) = (env.to_vec(), env);
        let start = move || {
            let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
            Elastauth::start_under(elastauth!(), &yaml, &env)
        };
        let process = tokio::task::spawn_blocking(start).await.unwrap();
        if !skewed_by.is_empty() {
            let loaded = std::fs::read_to_string(format!("/proc/{}/maps", process.process.id())).unwrap();
            assert!(loaded.contains("libfaketime"), "the clock of {name} is right");
        }
        let checker = Checker::connect(&process.grpc).await;
        Replica { name, checker, process: Some(process) }
    }
}

fn user(issuer: &Issuer, name: String, random: &mut Random) -> User {
    let mut tokens: Vec<Token> = (0..=random.below(4))
        .map(|_| {
            let (groups, roles) = *random.pick(&GROUPS);
            // few different ages, so that some tokens are of the same second
            let claims = issuer.claims(&name, groups, 10 * u64::try_from(random.below(5)).unwrap());
            Token {
                issued: claims["iat"].as_u64().unwrap(),
                roles: roles.to_vec(),
                check: check(&issuer.sign(&claims)),
            }
        })
        .collect();
    tokens.sort_by(|a, b| (a.issued, &a.roles).cmp(&(b.issued, &b.roles)));
    let username = elastauth::identity::Username::parse(&name).unwrap();
    let key = elastauth::credentials::CacheKey::of(&username).as_str().to_owned();
    User { name, key, tokens }
}

fn check(token: &str) -> Vec<u8> {
    let headers = [("authorization".to_owned(), format!("Bearer {token}"))].into();
    let http = HttpRequest { headers, ..HttpRequest::default() };
    let request = Some(Request { time: None, http: Some(http) });
    CheckRequest { attributes: Some(AttributeContext { request, ..AttributeContext::default() }) }.encode_to_vec()
}

/// Records when this machine is so busy that Redis answers late although nothing is wrong with it. The thread ends with Redis.
fn watch_the_machine(redis: &Redis, events: Arc<Mutex<Vec<Event>>>) {
    let address = redis.address.clone();
    std::thread::spawn(move || {
        let (_never, pause) = mpsc::channel::<()>();
        let mut at = Instant::now();
        while let Ok(mut connection) = TcpStream::connect(&address) {
            // an error without a password, or a closed connection, is an answer too
            let _ = connection.write_all(b"PING\r\n").and_then(|()| connection.read(&mut [0; 64]));
            let until = Instant::now();
            if until - at > PAUSE + LATE {
                let what = What::Trouble { what: Trouble::Busy, replica: None, until };
                events.lock().unwrap().push(Event { at, what });
            }
            let _ = pause.recv_timeout(PAUSE);
            at = until;
        }
    });
}

/// Records the evictions that Redis reports. The thread ends with Redis.
fn watch_evictions(redis: &Redis, users: &[User], events: Arc<Mutex<Vec<Event>>>) {
    let mut notices = Resp::connect(&redis.address, REDIS_PASSWORD);
    notices.command(&[b"SUBSCRIBE", b"__keyevent@0__:evicted"]);
    let keys: Vec<String> = users.iter().map(|user| user.key.clone()).collect();
    std::thread::spawn(move || {
        while let Some(notice) = notices.read() {
            let Reply::List(parts) = notice else { continue };
            let key = parts.into_iter().nth(2).and_then(Reply::bytes);
            let user = keys.iter().position(|known| Some(known.as_bytes()) == key.as_deref());
            if let Some(user) = user {
                events.lock().unwrap().push(Event { at: Instant::now(), what: What::Evicted(user) });
            }
        }
    });
}
