//! Many new users at once, with clients that honour `Retry-After`.

use std::time::{Duration, Instant};

use elastauth_support::check::{Answer, Checker, bearer, retry_after};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 4;

/// The result of a crowd.
pub struct Served {
    /// The time from the first request until every user was let through.
    pub took: Duration,
    /// The number of requests of all clients.
    pub asked: u32,
    /// The largest number of requests of one client.
    pub most: u32,
}

/// Every client asks at once, and again after the time in `Retry-After`, until it is let through.
pub async fn crowd(grpc: &str, tokens: Vec<String>) -> Served {
    let mut checkers = Vec::new();
    for _ in 0..CONNECTIONS {
        checkers.push(Checker::connect(grpc).await);
    }
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for (n, token) in tokens.into_iter().enumerate() {
        clients.spawn(patient(checkers[n % CONNECTIONS].clone(), bearer(&token)));
    }
    let asked = clients.join_all().await;
    Served { took: began.elapsed(), asked: asked.iter().sum(), most: asked.into_iter().max().unwrap_or_default() }
}

async fn patient(checker: Checker, message: Vec<u8>) -> u32 {
    for asked in 1.. {
        let reply = checker.check(message.clone()).await.unwrap();
        match Answer::read(&reply) {
            Answer::Allowed { .. } => return asked,
            Answer::Denied(503) => tokio::time::sleep(retry_after(&reply).unwrap()).await,
            Answer::Denied(other) => panic!("{other}"),
        }
    }
    unreachable!("a client asks until it is let through")
}
