//! Runs three real replicas over a real Redis, and a scripted provider with rotation and reuse detection, with hundreds of browsers
//! and a nemesis that kills and freezes replicas, loses all records, and lets the provider fail or lose answers, while people log
//! out here and at the provider. What happened is recorded and judged afterwards by the rules of [`verdict`].
//!
//! `HISTORY_SEED=n` runs one seed, and `make soak` runs many.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use elastauth_support::process::PATIENCE;
use elastauth_support::random::{Random, seed_of_the_clock, variable};
use futures_util::StreamExt as _;
use futures_util::future::join_all;

mod nemesis;
mod person;
mod record;
mod verdict;
mod world;

use person::Person;
use record::What;
use world::World;

const PEOPLE: usize = 150;
/// Between two looks at the machine, and how much later one is where the machine is busy.
const PAUSE: Duration = Duration::from_millis(10);
const LATE: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_sessions_are_refreshed_once_end_when_they_are_ended_and_come_back() {
    run(variable("HISTORY_SEED").unwrap_or_else(seed_of_the_clock)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs for long: make soak"]
async fn soak() {
    for _ in 0..variable("HISTORY_SEEDS").unwrap_or(50) {
        run(variable("HISTORY_SEED").unwrap_or_else(seed_of_the_clock)).await;
    }
}

async fn run(seed: u64) {
    println!("HISTORY_SEED={seed}");
    let mut random = Random::new(seed);
    let Some(world) = World::start().await else { return };
    let world = Arc::new(world);
    let stop = Arc::new(AtomicBool::new(false));
    let people: Vec<_> = (0..PEOPLE)
        .map(|n| {
            let person = Person::new(Arc::clone(&world), n, random.split());
            tokio::spawn(live(person, Arc::clone(&stop)))
        })
        .collect();
    let watch = tokio::spawn(watch_the_machine(Arc::clone(&world)));
    nemesis::run(&world, &mut random).await;
    watch.abort();
    stop.store(true, Ordering::SeqCst);
    let people = join_all(people).await.into_iter().map(Result::unwrap);

    // a logout at the provider also ends what began in the same second, so that second has to be over
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let last = people.map(|mut person| async move { person.last_word().await });
    let last: Vec<_> = futures_util::stream::iter(last).buffer_unordered(10).collect().await;
    let mut verdict = verdict::judge(&world);
    verdict.violations.extend(last.into_iter().flatten());
    println!("{}", verdict.summary);
    assert!(verdict.violations.is_empty(), "HISTORY_SEED={seed}\n{}", verdict.violations.join("\n"));
}

/// Uses the browser until it is told to stop.
async fn live(mut person: Person, stop: Arc<AtomicBool>) -> Person {
    // not all at once
    tokio::time::sleep(person.random.millis(0, 3000)).await;
    while !stop.load(Ordering::SeqCst) {
        let ends = Instant::now() + PATIENCE;
        person.step().await;
        assert!(Instant::now() < ends, "a step of a person hangs");
        // a pause as between the clicks of people; it also leaves the processor to the replicas
        tokio::time::sleep(person.random.millis(200, 1500)).await;
    }
    person
}

/// Notes when the machine has other things to do: an answer that was given in time may have been read too late then.
async fn watch_the_machine(world: Arc<World>) {
    loop {
        let began = Instant::now();
        tokio::time::sleep(PAUSE).await;
        if began.elapsed() > PAUSE + LATE {
            world.note(What::Busy, began);
        }
    }
}

/// A moment, as texts about a violation have it.
fn at(world: &World, moment: Instant) -> String {
    let since = moment.checked_duration_since(world.started).unwrap_or(Duration::ZERO);
    format!("{:.3} s", since.as_secs_f64())
}
