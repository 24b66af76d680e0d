//! `make bench`: measures the cost of a Check as a ratio to the floor server of the same run, because absolute times mean nothing
//! on another machine. Rounds are interleaved: each asks every server in turn, and the medians of the rounds' ratios are
//! reported.
//!
//! ```sh
//! bench TARGET_DIRECTORY [ROUNDS]
//! bench TARGET_DIRECTORY profile
//! ```

#![expect(clippy::expect_used, reason = "a measurement fails by panicking")]

mod load;
mod plot;
mod profile;
mod report;
mod series;
mod signature;
mod users;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use elastauth_bench::messages;
use elastauth_support::servers::{Redis, redis_cache};
use report::{Line, Report};
use series::{Constant, World, checks, envoy, requests};

/// The allocator is elastauth's, because some of elastauth runs in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(bins) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: bench TARGET_DIRECTORY [ROUNDS | profile]");
        return ExitCode::from(2);
    };
    let what = arguments.next();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    if what.as_deref() == Some("profile") {
        runtime.block_on(profile::flame_graphs(&bins, folder));
        return ExitCode::SUCCESS;
    }
    let rounds = what.and_then(|n| n.parse().ok()).unwrap_or(7);
    let report = runtime.block_on(measure(&bins, rounds));
    report.write(folder);
    print!("{}", report.markdown());
    ExitCode::SUCCESS
}

async fn measure(bins: &Path, rounds: usize) -> Report {
    let world = World::start(bins).await;
    let mut lines = Vec::new();
    let mut idle = Vec::new();
    for n in 0..rounds {
        eprintln!("round {} of {rounds}", n + 1);
        idle.push(round(&world, bins, &mut lines).await);
    }
    let new = signature::new_tokens(&world, rounds).await;
    let growth = users::growth(&world, rounds).await;
    idle.sort_unstable();
    Report { lines, new, growth, idle: idle[idle.len() / 2], binary: size(&bins.join("elastauth")) }
}

/// Asks every server once, in turn, and returns the memory of an idle process. All processes are new in each round: the place in
/// memory that the system gives to a process makes one up to a tenth faster than another, Envoy above all.
async fn round(world: &World, bins: &Path, lines: &mut Vec<Line>) -> usize {
    let folder = tempfile::tempdir().expect("a directory");
    let (floor, lean) = (Constant::start(bins, "floor"), Constant::start(bins, "lean"));
    let memory = world.elastauth("  type: \"\"", "");
    let counting = world.elastauth("  type: \"\"", "enable_metrics: true\n");
    let verifying = world.elastauth("  type: \"\"\n  token_max_entries: 0", "");
    let redis = Redis::start(&[]).expect("a Redis");
    let near = world.elastauth(&redis_cache(&redis.address), "");
    let far = world.elastauth(&format!("{}\n  near_max_entries: 0", redis_cache(&redis.address)), "");
    let (of_floor, of_elastauth) = (envoy(&floor, true).await, envoy(&memory, true).await);
    let alone = envoy(&floor, false).await;

    let idle = memory.process.resident();
    let token = world.issuer.token("ann", &["admins"]);
    let (twenty, sixty) = (messages::check(&token, 20), messages::check(&token, 60));
    for elastauth in [&memory, &counting, &verifying, &near, &far] {
        world.lets_through(elastauth, &twenty).await;
    }
    let all = [
        checks(&floor, "floor", &twenty),
        checks(&floor, "floor, 60 headers", &sixty),
        checks(&lean, "lean twin", &twenty),
        checks(&memory, "hit", &twenty).target("CPU ≤ 0.95"),
        checks(&memory, "hit, 60 headers", &sixty).over("floor, 60 headers"),
        checks(&counting, "hit, metrics on", &twenty).over("hit"),
        checks(&near, "hit, cache in Redis", &twenty).over("hit").target("CPU ≤ 1.05"),
        checks(&far, "Redis asked each time", &twenty).fewer(),
        checks(&verifying, "signature verified each time", &twenty).fewer(),
        requests(&of_floor, &floor, "Envoy and the floor", &token),
        requests(&of_elastauth, &memory, "Envoy and elastauth", &token).target("throughput ≥ 0.95"),
        requests(&alone, &floor, "Envoy alone", &token),
    ];
    for series in &all {
        tokio::task::block_in_place(|| series.run(folder.path()));
    }
    if lines.is_empty() {
        lines.extend(all.iter().map(|series| Line::new(&series.name, series.base, series.target)));
    }
    for (series, line) in all.iter().zip(lines) {
        line.runs.push(tokio::task::block_in_place(|| series.run(folder.path())));
    }
    idle
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).expect("the binary").len()
}
