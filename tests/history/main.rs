//! Runs three real replicas over a real Redis and a stand-in for Elasticsearch, with hundreds of users and a nemesis that kills and
//! freezes processes, loses data, refuses writes and slows connections down. The time-outs towards Redis are the shipped ones; that of
//! a write to Elasticsearch is short, since a user waits for the lease of a lost write, and a history would see few of them. What
//! happened is recorded and judged afterwards by the rules of [`verdict`].
//!
//! `HISTORY_SEED=n` runs one seed, `HISTORY_USERS=n` sets how many users there are, and `make soak` runs many seeds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use elastauth_support::process::{PATIENCE, until};
use elastauth_support::random::{Random, seed_of_the_clock, variable};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use tokio::task::JoinSet;

mod nemesis;
mod record;
mod verdict;
mod world;

use nemesis::Weather;
use record::{History, Outcome};
use verdict::{Settled, Verdict, judge};
use world::{CONFIRM_INTERVAL, HOT, REPLICAS, World};

const CLIENTS: usize = 40;
const USERS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_each_user_ends_with_one_credential_that_works() {
    for seed in variable("HISTORY_SEED").map_or_else(|| vec![1, seed_of_the_clock()], |seed| vec![seed]) {
        run(seed, false).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_writes_and_rolled_back_records_are_repaired() {
    for seed in variable("HISTORY_SEED").map_or_else(|| vec![2, seed_of_the_clock()], |seed| vec![seed]) {
        run(seed, true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs for long: make soak"]
async fn soak() {
    for _ in 0..variable("HISTORY_SEEDS").unwrap_or(50) {
        run(variable("HISTORY_SEED").unwrap_or_else(seed_of_the_clock), false).await;
        run(variable("HISTORY_SEED").unwrap_or_else(seed_of_the_clock), true).await;
    }
}

/// Runs one history. `late_writes_and_rollback` adds the faults that elastauth cannot notice when they happen.
async fn run(seed: u64, late_writes_and_rollback: bool) {
    println!("HISTORY_SEED={seed}");
    let mut random = Random::new(seed);
    let users = variable("HISTORY_USERS").map_or(USERS, |users| usize::try_from(users).unwrap()).max(HOT);
    let Some(world) = World::start(users, late_writes_and_rollback, &mut random).await else { return };
    let world = Arc::new(world);
    Weather::Fair.begins(&world, &mut random);
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(client(Arc::clone(&world), random.split(), Arc::clone(&stop)))).collect();
    nemesis::run(&world, &mut random, late_writes_and_rollback).await;
    stop.store(true, Ordering::SeqCst);
    join_all(clients).await.into_iter().for_each(Result::unwrap);

    quiet(&world).await;
    last_word(&world, &mut random).await;
    quiet(&world).await;
    let mut settled = last_word_and_login(&world, &mut random).await;
    let ends = Instant::now() + PATIENCE;
    // until confirmations have found everything, and roles that could not be written are written, wrong answers are asked for again
    while !all_right(&world, &settled) && Instant::now() < ends {
        tokio::time::sleep(CONFIRM_INTERVAL / 4).await;
        settled = last_word_and_login(&world, &mut random).await;
    }
    let history = History::of(&world);
    let verdict = judge(&world, &history, &settled, late_writes_and_rollback);
    println!("{}", summary(&world, &history, &verdict));
    report(seed, &world, &history, &verdict);
}

/// Asks for one user after another, sometimes several times at once, with any of the user's tokens and at any replica.
async fn client(world: Arc<World>, mut random: Random, stop: Arc<AtomicBool>) {
    let mut asked = JoinSet::new();
    while !stop.load(Ordering::SeqCst) {
        // a few users are asked for at all times, so that a fault happens while several replicas work for one user
        let user = if random.chance(40) { random.below(HOT) } else { random.below(world.users.len()) };
        let together = if random.chance(20) { 2 + random.below(4) } else { 1 };
        let asks = (0..together).map(|_| {
            let (token, replica) = (random.below(world.users[user].tokens.len()), random.below(REPLICAS));
            (user, token, replica)
        });
        for (user, token, replica) in asks.collect::<Vec<_>>() {
            let world = Arc::clone(&world);
            asked.spawn(async move { world.ask(user, token, replica).await });
        }
        // a replica that hangs holds up a few requests, and not the client
        let answered = async { while asked.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_millis(300), answered).await;
        // a pause as between the requests of people; it also leaves the processor to the replicas
        tokio::time::sleep(random.millis(5, 80)).await;
    }
    asked.join_all().await;
}

/// Waits until nothing has been asked of Elasticsearch for a while, and no PUT can be applied any more.
async fn quiet(world: &World) {
    let mut last = (0, Instant::now());
    until("quiet", || {
        let asked = world.elasticsearch.requests();
        if asked != last.0 || world.elasticsearch.open_puts() > 0 {
            last = (asked, Instant::now());
        }
        let long = last.1.elapsed() > Duration::from_secs(1);
        async move { long }
    })
    .await;
}

/// Asks for every user once more with the newest token, and again while elastauth answers that the client may come again.
async fn last_word(world: &World, random: &mut Random) -> Vec<Outcome> {
    let asks: Vec<_> = (0..world.users.len())
        .map(|user| {
            let mut random = random.split();
            async move {
                let (newest, ends) = (world.users[user].tokens.len() - 1, Instant::now() + PATIENCE);
                loop {
                    let outcome = world.ask(user, newest, random.below(REPLICAS)).await;
                    if outcome != Outcome::Denied(503) || Instant::now() > ends {
                        return outcome;
                    }
                    tokio::time::sleep(random.millis(20, 100)).await;
                }
            }
        })
        .collect();
    futures_util::stream::iter(asks).buffered(100).collect().await
}

fn all_right(world: &World, settled: &[Settled]) -> bool {
    world.users.iter().zip(settled).all(|(user, settled)| settled.wrong(user).is_none())
}

/// The same, and logs in to Elasticsearch with each credential.
async fn last_word_and_login(world: &World, random: &mut Random) -> Vec<Settled> {
    let outcomes = last_word(world, random).await;
    let http = elastauth_support::http();
    let mut all = Vec::new();
    for outcome in outcomes {
        let mut roles = None;
        if let Outcome::Allowed { username, password } = &outcome {
            let request = http.get(&world.elasticsearch.url).basic_auth(username, Some(password));
            let answer = request.send().await.unwrap();
            if answer.status().is_success() {
                let body: serde_json::Value = answer.json().await.unwrap();
                roles = serde_json::from_value(body["roles"].clone()).ok();
            }
        }
        all.push(Settled { outcome, roles });
    }
    all
}

fn summary(world: &World, history: &History, verdict: &Verdict) -> String {
    let requests = |which: fn(&Outcome) -> bool| history.requests.iter().filter(|r| which(&r.outcome)).count();
    let (allowed, denied) = (requests(Outcome::is_allowed), requests(|outcome| matches!(outcome, Outcome::Denied(_))));
    let events = |which: fn(&record::What) -> bool| history.events.iter().filter(|event| which(&event.what)).count();
    let troubles = events(|what| matches!(what, record::What::Trouble { what, .. } if *what != record::Trouble::Busy));
    let late: Duration = history
        .events
        .iter()
        .map(|event| match event.what {
            record::What::Trouble { what: record::Trouble::Busy, until, .. } => until - event.at,
            _ => Duration::ZERO,
        })
        .sum();
    let refused: Vec<_> = verdict.refused.iter().map(|(why, times)| format!("{times} {why}")).collect();
    let acknowledged = history.puts.iter().filter(|put| put.acknowledged().is_some()).count();
    let (most, bound) = verdict.busiest;
    format!(
        "{} users, {} requests ({allowed} allowed, {denied} denied); {} PUTs ({acknowledged} acknowledged; at most {most} \
         for one user, for whom {bound} are allowed; {} races of two passwords); {} kills, {} flushes, {} evictions and expiries, \
         {} roll-backs, {troubles} troubles of one replica or of Redis, {:.1} s too busy to judge refusals; refused although they could be served: {}; \
         to be confirmed: {}; {:.1} s",
        world.users.len(),
        history.requests.len(),
        history.puts.len(),
        verdict.races,
        events(|what| matches!(what, record::What::Killed(_))),
        events(|what| matches!(what, record::What::Flushed)),
        events(|what| matches!(what, record::What::Evicted(_) | record::What::Expired(_))),
        events(|what| matches!(what, record::What::RolledBack(_))),
        late.as_secs_f32(),
        if refused.is_empty() { "none".to_owned() } else { refused.join(", ") },
        verdict.unconfirmed.len(),
        world.started.elapsed().as_secs_f32(),
    )
}

/// Fails with the seed, and shows the histories of the first users with a violation.
fn report(seed: u64, world: &World, history: &History, verdict: &Verdict) {
    for (user, wrong) in verdict.violations.iter().take(3) {
        println!("\n{}: {wrong}\n{}", world.users[*user].name, history.show(world, *user));
    }
    let wrong: Vec<String> =
        verdict.violations.iter().map(|(n, what)| format!("{}: {what}", world.users[*n].name)).collect();
    assert!(wrong.is_empty(), "HISTORY_SEED={seed}: {} violations\n{}", wrong.len(), wrong.join("\n"));
}
