//! The servers of a history, and what is noted of it.

use std::sync::Mutex;
use std::time::Instant;

use elastauth_support::check::Checker;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::fixture::serve;
use elastauth_support::scripted_provider::ScriptedProvider;
use elastauth_support::servers::{Elastauth, Redis, redis_cache};

use crate::record::{Asked, End, Session, Trouble, What};

pub const REPLICAS: usize = 3;
pub const HOST: &str = "kibana.example.org";
/// The life of tokens in seconds: they are refreshed every 2¼ seconds.
const LIFETIME: u64 = 3;

struct Replica {
    checker: Checker,
    process: Option<Elastauth>,
}

pub struct World {
    pub provider: ScriptedProvider,
    pub redis: Redis,
    /// For the way of browsers to the provider.
    pub http: reqwest::Client,
    pub started: Instant,
    _elasticsearch: Elasticsearch,
    config: String,
    replicas: Vec<Mutex<Replica>>,
    pub sessions: Mutex<Vec<Session>>,
    pub asked: Mutex<Vec<Asked>>,
    pub troubles: Mutex<Vec<Trouble>>,
    /// Logins that ended in another way than with a session or an outage.
    pub failed_logins: Mutex<Vec<String>>,
}

impl World {
    /// Starts everything; answers none where there is no redis-server.
    pub async fn start() -> Option<Self> {
        let redis = Redis::start(&[])?;
        let (provider, elasticsearch) = (ScriptedProvider::start().await, Elasticsearch::start().await);
        provider.script(|script| script.lifetime = LIFETIME);
        let cache = redis_cache(&redis.address);
        let config = provider.config(&elasticsearch.url, &cache, &format!("[{HOST}]"), "  max_stale: 15s\n");
        // short, so that answers that are lost do not take up the history
        let config = config.replace("oidc:\n", "oidc:\n  timeout: 500ms\n");
        let config = config.replace("log_level: debug", "log_level: info");
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            let (process, checker) = serve(elastauth!(), &config).await;
            replicas.push(Mutex::new(Replica { checker, process: Some(process) }));
        }
        Some(Self {
            provider,
            redis,
            http: elastauth_support::http(),
            started: Instant::now(),
            _elasticsearch: elasticsearch,
            config,
            replicas,
            sessions: Mutex::default(),
            asked: Mutex::default(),
            troubles: Mutex::default(),
            failed_logins: Mutex::default(),
        })
    }

    /// A client of a replica, which may be dead.
    pub fn checker(&self, replica: usize) -> Checker {
        self.replicas[replica].lock().unwrap().checker.clone()
    }

    /// Ends a replica with SIGKILL.
    pub fn kill(&self, replica: usize) {
        let process = self.replicas[replica].lock().unwrap().process.take();
        let from = Instant::now();
        // it is also searched for secrets here
        if let Some(mut process) = process {
            process.process.kill();
            self.note(What::Killed, from);
        }
    }

    /// Stops a running replica with SIGSTOP, or lets it go on with SIGCONT.
    pub fn freeze(&self, replica: usize, frozen: bool) {
        let replica = self.replicas[replica].lock().unwrap();
        let Some(running) = &replica.process else { return };
        if frozen { running.process.stall() } else { running.process.resume() }
    }

    /// Starts the replicas that were killed.
    pub async fn restart(&self) {
        for replica in &self.replicas {
            if replica.lock().unwrap().process.is_none() {
                let (process, checker) = serve(elastauth!(), &self.config).await;
                *replica.lock().unwrap() = Replica { checker, process: Some(process) };
            }
        }
    }

    /// Notes what began at that time and ends now.
    pub fn note(&self, what: What, from: Instant) {
        self.troubles.lock().unwrap().push(Trouble { what, from, until: Instant::now() });
    }

    /// Notes an attempt to end a session; its place among them is returned.
    pub fn ending(&self, session: usize, how: &'static str) -> usize {
        let ends = &mut self.sessions.lock().unwrap()[session].ends;
        ends.push(End { began: Instant::now(), done: None, how });
        ends.len() - 1
    }

    /// Notes that the attempt has succeeded.
    pub fn ended(&self, session: usize, end: usize) {
        self.sessions.lock().unwrap()[session].ends[end].done = Some(Instant::now());
    }
}
