//! `make bench`: what a Check costs, told as a ratio to the floor server of the same run, because absolute times say nothing
//! on another machine. Rounds are interleaved: each asks every server in turn, and the medians of the rounds' ratios count.
//!
//! ```sh
//! bench TARGET_DIRECTORY [ROUNDS]
//! ```

#![expect(clippy::expect_used, reason = "a measurement fails by panicking")]

mod load;
mod messages;
mod plot;
mod report;
mod series;
mod users;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use elastauth_support::servers::{Redis, redis_cache};
use report::{Line, Report};
use series::{Constant, World};

/// Checks of one run: long enough for the kernel's accounting, short enough that a disturbance hits few of them.
const COUNT: u32 = 20_000;
/// The same where each costs a signature or a round trip.
const FEWER: u32 = 5_000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(bins) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: bench TARGET_DIRECTORY [ROUNDS]");
        return ExitCode::from(2);
    };
    let rounds = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(7);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let report = runtime.block_on(measure(&bins, rounds));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    report.write(folder);
    print!("{}", report.markdown());
    ExitCode::SUCCESS
}

async fn measure(bins: &Path, rounds: usize) -> Report {
    let (world, folder) = (World::start(bins).await, tempfile::tempdir().expect("a directory"));
    let floor = Constant::start(bins, "floor");
    let memory = world.elastauth("  type: \"\"", "");
    let verifying = world.elastauth("  type: \"\"\n  token_max_entries: 0", "");
    let redis = Redis::start(&[]).expect("a Redis");
    let near = world.elastauth(&redis_cache(&redis.address), "");
    let far = world.elastauth(&format!("{}\n  near_max_entries: 0", redis_cache(&redis.address)), "");

    let idle = load::resident(memory.process.id());
    let (twenty, sixty) = (world.ann(&memory, 20).await, world.ann(&memory, 60).await);
    let of = series::of;
    let mut all = vec![
        floor.series("floor", twenty.clone(), COUNT),
        floor.series("floor, 60 headers", sixty.clone(), COUNT),
        of(&memory, "hit", twenty, COUNT, Some(0.95)),
        of(&memory, "hit, 60 headers", sixty, COUNT, None).over("floor, 60 headers"),
        of(&near, "hit, cache in Redis", world.ann(&near, 20).await, COUNT, Some(1.05)).over("hit"),
        of(&far, "Redis asked each time", world.ann(&far, 20).await, FEWER, None),
        of(&verifying, "signature verified each time", world.ann(&verifying, 20).await, FEWER, None),
    ];
    for series in &all {
        tokio::task::block_in_place(|| series.run(folder.path()));
    }
    let mut lines: Vec<Line> = all.iter().map(|series| Line::new(&series.name, series.base, series.target)).collect();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (series, line) in all.iter().zip(&mut lines) {
            line.runs.push(tokio::task::block_in_place(|| series.run(folder.path())));
        }
    }
    all.clear();
    let growth = users::growth(&world).await;
    Report { lines, growth, idle, binary: size(&bins.join("elastauth")) }
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).expect("the binary").len()
}
