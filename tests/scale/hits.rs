//! A known user that sends requests all the time, and how long each answer took.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use elastauth_support::check::{Answer, Checker, bearer};
use tokio::time::{MissedTickBehavior, interval};

use crate::scheduled;

/// The time from one request to the next.
const EVERY: Duration = Duration::from_millis(2);

/// The client of the known user, on a thread of its own, so that it waits for the server only.
pub struct Hits {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Latencies>,
}

/// The latencies of all requests, sorted.
pub struct Latencies {
    all: Vec<Duration>,
    /// The number of requests that were not let through.
    pub refused: usize,
}

impl Hits {
    pub fn start(grpc: &str, token: &str) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (stopped, grpc, message) = (Arc::clone(&stop), grpc.to_owned(), bearer(token));
        let thread = std::thread::spawn(move || {
            // clients on other machines would not wait for a processor of this one
            scheduled("--rr", "1");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(ask(&grpc, &message, &stopped))
        });
        Self { stop, thread }
    }

    pub async fn finish(self) -> Latencies {
        self.stop.store(true, Ordering::SeqCst);
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap()
    }
}

async fn ask(grpc: &str, message: &[u8], stop: &AtomicBool) -> Latencies {
    let checker = Checker::connect(grpc).await;
    let (mut all, mut refused) = (Vec::new(), 0);
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.load(Ordering::SeqCst) || all.is_empty() {
        ticks.tick().await;
        let began = Instant::now();
        let reply = checker.check(message.to_vec()).await.unwrap();
        all.push(began.elapsed());
        refused += usize::from(Answer::read(&reply).password().is_none());
    }
    all.sort();
    Latencies { all, refused }
}

impl Latencies {
    /// The latency below which this share of the requests stayed.
    fn of(&self, quantile: f64) -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        self.all[(quantile * (self.all.len() - 1) as f64) as usize]
    }

    /// How many times as long as the other's these latencies are, at 99 %.
    pub fn slower_than(&self, other: &Self) -> f64 {
        self.of(0.99).as_secs_f64() / other.of(0.99).as_secs_f64()
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of median {:.1?} and 99 % {:.1?}", self.all.len(), self.of(0.5), self.of(0.99))
    }
}
