//! `make profile`: flame graphs of the floor and of a hit, by `perf` and inferno.

use std::path::Path;
use std::process::Command;

use elastauth_bench::messages;
use elastauth_support::process::{self, Process};

use crate::series::{Constant, Series, World, checks};

/// Writes `floor.svg` and `hit.svg` into this folder.
pub async fn flame_graphs(bins: &Path, folder: &Path) {
    let world = World::start(bins).await;
    let (floor, elastauth) = (Constant::start(bins, "floor"), world.elastauth("  type: \"\"", ""));
    let message = messages::check(&world.issuer.token("ann", &["admins"]), 20);
    world.lets_through(&elastauth, &message).await;
    for series in [checks(&floor, "floor", &message), checks(&elastauth, "hit", &message)] {
        tokio::task::block_in_place(|| flame_graph(&series, folder));
    }
}

/// Takes samples by the clock, because virtual machines seldom have performance counters.
fn flame_graph(series: &Series, folder: &Path) {
    let scratch = tempfile::tempdir().expect("a directory");
    let (data, graph) = (scratch.path().join("perf.data"), folder.join(format!("{}.svg", series.name)));
    series.run(scratch.path());
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-e", "cpu-clock", "-F", "1999", "-g", "-p", &series.pid().to_string(), "-o"]);
    let mut perf = Process::start("perf", perf.arg(&data));
    for _ in 0..10 {
        series.run(scratch.path());
    }
    // perf writes the rest of its data when it is interrupted
    perf.interrupt();
    perf.wait();
    let pipe =
        "perf script -i \"$1\" | inferno-collapse-perf | inferno-flamegraph --title \"$3\" --minwidth 0.3 > \"$2\"";
    let title = format!("CPU of a check: {}", series.name);
    let mut draw = Command::new("sh");
    draw.args(["-c", pipe, "sh"]).arg(&data).arg(&graph).arg(title);
    let drawn = process::run(&mut draw, "").expect("a shell");
    assert!(drawn.status.success(), "{}", process::said(&drawn));
}
