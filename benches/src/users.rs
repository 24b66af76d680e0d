//! Whether a hit costs more when more users are cached: elastauth with 1, 1,000 and 100,000 of them, each asked for in turn.

use elastauth_support::check::{Answer, Checker};
use tokio::task::JoinSet;

use crate::load;
use crate::messages;
use crate::series::World;

/// How many are cached.
const USERS: [usize; 3] = [1, 1_000, 100_000];
/// Hits that are counted.
const HITS: usize = 100_000;
/// Checks on their way at once.
const AT_ONCE: usize = 32;

/// What one number of users gave.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// How many were cached.
    pub users: usize,
    /// Nanoseconds of CPU for each hit.
    pub cpu: f64,
    /// Bytes of memory beyond the idle process.
    pub memory: u64,
}

/// Each with a process of its own.
pub async fn growth(world: &World) -> Vec<Growth> {
    let mut all = Vec::new();
    for users in USERS {
        eprintln!("{users} users");
        all.push(one(world, users).await);
    }
    all
}

async fn one(world: &World, users: usize) -> Growth {
    let elastauth = world.elastauth(
        "  type: \"\"\n  near_max_entries: 200000\n  memory_max_entries: 200000\n  token_max_entries: 200000",
        "",
    );
    let (pid, idle) = (elastauth.process.id(), load::resident(elastauth.process.id()));
    let messages: Vec<Vec<u8>> =
        (0..users).map(|n| messages::check(&world.issuer.token(&format!("user-{n}"), &["admins"]), 20)).collect();
    let checker = Checker::connect(&elastauth.grpc).await;
    // the first makes the user, the second brings the record into the process
    for _ in 0..2 {
        ask(&checker, &messages, users).await;
    }
    let before = load::cpu(pid);
    ask(&checker, &messages, HITS).await;
    #[expect(clippy::cast_precision_loss, reason = "far from the limits of f64")]
    let cpu = (load::cpu(pid) - before) / HITS as f64;
    Growth { users, cpu, memory: load::resident(pid).saturating_sub(idle) }
}

/// `count` checks, of one message after another.
async fn ask(checker: &Checker, messages: &[Vec<u8>], count: usize) {
    let mut open = JoinSet::new();
    for n in 0..count {
        if open.len() == AT_ONCE {
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
