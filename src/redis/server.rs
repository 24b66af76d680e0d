//! One server at the end of a route: how connections to it are made, and whether it is asked at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, pipe};
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::breaker::{Before, Breaker, Signs, Use};
use super::connect::{ConnectError, Connector, send, untimed};
use super::rights::PREFIX;
use super::sentinel::Sentinels;
use super::settings::Settings;

/// How many connections are kept that were made for requests which did not wait for them.
const SPARE: usize = 8;

/// Which server a connection leads to.
#[derive(Clone)]
pub(super) enum Route {
    /// The server at this address, perhaps a name that moves with the master. It must be a master.
    Master(Address),
    /// The server that the Sentinels name as the master.
    Elected(Arc<Sentinels>),
    /// This node of a cluster, master or replica: it redirects commands that it does not serve.
    Member(Address),
}

impl Route {
    pub(super) async fn connect(
        &self,
        connector: &Connector,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, ConnectError> {
        match self {
            Self::Master(address) => connector.to_master(address, config).await,
            Self::Elected(sentinels) => sentinels.connect(connector, config).await,
            Self::Member(address) => {
                connector.connect_with(address, config.clone()).await.map(|(connection, _)| connection)
            }
        }
    }

    /// Whether the server has to be a master. A node of a cluster redirects what it does not serve.
    pub(super) fn needs_master(&self) -> bool {
        match self {
            Self::Master(_) | Self::Elected(_) => true,
            Self::Member(_) => false,
        }
    }

    /// The server as log lines name it.
    fn name(&self, settings: &Settings) -> String {
        match self {
            Self::Master(address) | Self::Member(address) => address.to_string(),
            Self::Elected(_) => settings.addresses(),
        }
    }
}

/// A connection and the generation in which it was made: those of an earlier generation are not used again.
pub(super) struct Pooled {
    pub(super) connection: MultiplexedConnection,
    pub(super) generation: u64,
    made: Instant,
}

/// One server.
pub(super) struct Server {
    connector: Connector,
    pub(super) route: Route,
    pub(super) breaker: Breaker,
    pub(super) generation: AtomicU64,
    /// Connections that were ready when the request that had asked for them was gone.
    spare: Mutex<Vec<Pooled>>,
    command_timeout: Duration,
}

impl Server {
    pub(super) fn new(connector: Connector, route: Route, settings: &Settings, signs: Signs) -> Self {
        let breaker = Breaker::new(route.name(settings), settings.command_timeout * 2, signs);
        let (generation, spare) = (AtomicU64::new(0), Mutex::default());
        Self { connector, route, breaker, generation, spare, command_timeout: settings.command_timeout }
    }

    /// Makes a connection, within `cache.redis_connect_timeout`. After a failure the server is probed.
    async fn connect(self: &Arc<Self>) -> Result<Pooled, ConnectError> {
        let (generation, before) = (self.generation.load(Ordering::Acquire), self.breaker.before());
        match self.route.connect(&self.connector, &untimed()).await {
            Ok(connection) => Ok(Pooled { connection, generation, made: Instant::now() }),
            Err(error) => {
                if self.breaker.no_connection(before, &error.to_string()) {
                    self.probe();
                }
                Err(error)
            }
        }
    }

    /// A connection for a request. It goes on being made when the request does not wait any longer, and is then kept: a request
    /// with a short patience would otherwise begin anew each time.
    pub(super) async fn connection(self: &Arc<Self>) -> Result<Pooled, ConnectError> {
        if let Some(spare) = self.spare() {
            return Ok(spare);
        }
        let server = Arc::clone(self);
        let (give, take) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            // boxed: this future is large
            let made = Box::pin(server.connect()).await;
            if let Err(Ok(unclaimed)) = give.send(made) {
                server.keep(unclaimed);
            }
        });
        take.await.unwrap_or_else(|_| Err(ConnectError::Failed("the task that connects was lost".into())))
    }

    fn keep(&self, unclaimed: Pooled) {
        let mut spare = self.spare.lock();
        if spare.len() < SPARE {
            spare.push(unclaimed);
        }
    }

    fn spare(&self) -> Option<Pooled> {
        let generation = self.generation.load(Ordering::Acquire);
        let mut spare = self.spare.lock();
        spare.retain(|pooled| pooled.generation == generation);
        spare.pop()
    }

    /// Closes spare connections that nothing has used for this long.
    pub(super) fn close_spare(&self, idle: Duration) {
        self.spare.lock().retain(|pooled| pooled.made.elapsed() < idle);
    }

    /// Probes the server in the background until it answers.
    pub(super) fn probe(self: &Arc<Self>) {
        Breaker::probe(self, |server| &server.breaker, Self::answers);
    }

    /// Whether a new connection can be made and a read is answered over it, if only with an error.
    async fn answers(self: Arc<Self>) -> bool {
        let generation = self.generation.load(Ordering::Acquire);
        let Ok(mut connection) = Box::pin(self.route.connect(&self.connector, &untimed())).await else { return false };
        let mut read = pipe();
        read.cmd("GET").arg(format!("{PREFIX}?"));
        let answered = matches!(timeout(self.command_timeout, send(&mut connection, &read)).await, Ok(Ok(_)));
        if answered {
            self.keep(Pooled { connection, generation, made: Instant::now() });
        }
        answered
    }

    /// Notes that a command had no answer in time, and probes the server. Returns whether nothing else was answered meanwhile.
    pub(super) fn no_answer(self: &Arc<Self>, what: Use, before: Before, why: &str) -> bool {
        let silent = self.breaker.no_answer(what, before, why);
        if silent {
            self.probe();
        }
        silent
    }
}
