//! Measures whether a hit costs more when more users are cached: elastauth with 1, 1,000 and 100,000 of them, asked for in turn.

use elastauth_bench::messages;
use elastauth_support::check::{Answer, Checker};
use elastauth_support::servers::Elastauth;
use tokio::task::JoinSet;

use crate::load;
use crate::report::median;
use crate::series::World;

/// The numbers of cached users.
const USERS: [usize; 3] = [1, 1_000, 100_000];
/// The number of hits that are counted.
const HITS: usize = 100_000;
/// The number of checks on their way at once: few while users are made. While hits are counted there are so many that the server
/// never runs out of work, because the cost of falling asleep and being woken varies from minute to minute.
const FEW: usize = 32;
const MANY: usize = 256;

/// The result for one number of users.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// The number of cached users.
    pub users: usize,
    /// The CPU of a hit, divided by that with one user.
    pub ratio: f64,
    /// The bytes of memory beyond the idle process.
    pub memory: usize,
}

/// Measures each number of users with a process of its own; the processes are asked in turn.
pub async fn growth(world: &World, rounds: usize) -> Vec<Growth> {
    let mut all = Vec::new();
    for users in USERS {
        eprintln!("{users} users");
        all.push(Filled::new(world, users).await);
    }
    let mut runs = vec![Vec::new(); USERS.len()];
    for round in 0..rounds {
        eprintln!("hits of many users, round {} of {rounds}", round + 1);
        for (filled, runs) in all.iter().zip(&mut runs) {
            runs.push(filled.hit().await);
        }
    }
    let base = runs[0].clone();
    let growth = all.iter().zip(runs).map(|(filled, runs)| Growth {
        users: filled.messages.len(),
        ratio: median(runs.iter().zip(&base).map(|(run, base)| run / base)),
        memory: filled.memory,
    });
    growth.collect()
}

/// An elastauth that has a certain number of users cached.
struct Filled {
    elastauth: Elastauth,
    checker: Checker,
    messages: Vec<Vec<u8>>,
    memory: usize,
}

impl Filled {
    async fn new(world: &World, users: usize) -> Self {
        let cache =
            "  type: \"\"\n  near_max_entries: 200000\n  memory_max_entries: 200000\n  token_max_entries: 200000";
        let elastauth = world.elastauth(cache, "");
        let idle = elastauth.process.resident();
        let messages: Vec<Vec<u8>> =
            (0..users).map(|n| messages::check(&world.issuer.token(&format!("user-{n}"), &["admins"]), 20)).collect();
        let checker = Checker::connect(&elastauth.grpc).await;
        // the first call creates the user, the second brings the record into the process
        for _ in 0..2 {
            ask(&checker, &messages, users, FEW).await;
        }
        let memory = elastauth.process.resident().saturating_sub(idle);
        Self { elastauth, checker, messages, memory }
    }

    /// The nanoseconds of CPU for each hit.
    async fn hit(&self) -> f64 {
        let pid = self.elastauth.process.id();
        let before = load::cpu(pid);
        ask(&self.checker, &self.messages, HITS, MANY).await;
        #[expect(clippy::cast_precision_loss, reason = "far from the limits of f64")]
        let each = (load::cpu(pid) - before) / HITS as f64;
        each
    }
}

/// Sends `count` checks, the messages in turn, with `at_once` of them on their way.
pub async fn ask(checker: &Checker, messages: &[Vec<u8>], count: usize, at_once: usize) {
    let mut open = JoinSet::new();
    for n in 0..count {
        if open.len() == at_once {
            answered(open.join_next().await);
        }
        open.spawn(checker.check(messages[n % messages.len()].clone()));
    }
    while let Some(answer) = open.join_next().await {
        answered(Some(answer));
    }
}

fn answered(answer: Option<Result<Result<bytes::Bytes, tonic::Status>, tokio::task::JoinError>>) {
    let reply = answer.expect("one is open").expect("no panic").expect("a reply");
    assert!(Answer::read(&reply).password().is_some(), "let through");
}
