//! A flood of forged tokens, each different.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use elastauth_support::check::{Answer, Checker, bearer};
use elastauth_support::random::Random;
use tokio::task::JoinSet;

use crate::scheduled;

/// The number of requests on their way at once, over this many connections.
const AT_ONCE: usize = 256;
const CONNECTIONS: usize = 2;

/// The client that sends forged tokens.
pub struct Flood {
    grpc: String,
    /// The header and the payload of a valid token.
    signed: Arc<str>,
    random: Random,
}

/// The answers to the forged tokens.
pub struct Told {
    /// The number of answers with status 401.
    pub unauthorized: usize,
    /// The time until all were answered.
    pub took: Duration,
}

impl Flood {
    /// A flood of tokens that resemble this valid one.
    pub fn of(grpc: &str, good: &str) -> Self {
        let (signed, _) = good.rsplit_once('.').unwrap();
        Self { grpc: grpc.to_owned(), signed: signed.into(), random: Random::new(7) }
    }

    /// Sends `count` tokens, on a thread of the lowest priority, because the server is to be measured and not its client.
    pub async fn send(mut self, count: usize) -> (Self, Told) {
        let sending = tokio::task::spawn_blocking(move || {
            let thread = std::thread::spawn(move || {
                scheduled("--idle", "0");
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let told = runtime.block_on(self.pour(count));
                (self, told)
            });
            thread.join().unwrap()
        });
        sending.await.unwrap()
    }

    async fn pour(&mut self, count: usize) -> Told {
        let mut checkers = Vec::new();
        for _ in 0..CONNECTIONS {
            checkers.push(Checker::connect(&self.grpc).await);
        }
        let began = Instant::now();
        let mut senders = JoinSet::new();
        for n in 0..AT_ONCE {
            let share = count / AT_ONCE + usize::from(n < count % AT_ONCE);
            let (checker, signed, random) =
                (checkers[n % CONNECTIONS].clone(), Arc::clone(&self.signed), self.random.split());
            senders.spawn(one_after_another(checker, signed, random, share));
        }
        let unauthorized = senders.join_all().await.into_iter().sum();
        Told { unauthorized, took: began.elapsed() }
    }
}

async fn one_after_another(checker: Checker, signed: Arc<str>, mut random: Random, count: usize) -> usize {
    let mut unauthorized = 0;
    for _ in 0..count {
        let reply = checker.check(bearer(&made_up(&signed, &mut random))).await.unwrap();
        unauthorized += usize::from(Answer::read(&reply) == Answer::Denied(401));
    }
    unauthorized
}

/// Most have the right key id and a signature of the right length, so that each costs a whole verification; some name a key that
/// does not exist, and some are not tokens at all.
fn made_up(signed: &str, random: &mut Random) -> String {
    let noise: Vec<u8> = (0..8).flat_map(|_| random.number().to_be_bytes()).collect();
    let noise = URL_SAFE_NO_PAD.encode(noise);
    match random.below(10) {
        0 => noise,
        1 => {
            let header = format!(r#"{{"alg":"ES256","typ":"JWT","kid":"key-{}"}}"#, random.number());
            let (_, payload) = signed.split_once('.').unwrap();
            format!("{}.{payload}.{noise}", URL_SAFE_NO_PAD.encode(header))
        }
        _ => format!("{signed}.{noise}"),
    }
}
