//! Makes load by `h2load` (Debian's nghttp2-client), and measures what a process spent on it by the kernel's own accounting.

use std::fs;
use std::path::Path;
use std::process::Command;

use elastauth_bench::messages::framed;
use elastauth_support::process;

/// The figures of one run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The nanoseconds of CPU that the server spent for each check; through Envoy, the sum of both processes.
    pub cpu: f64,
    /// The number of checks in a second.
    pub throughput: f64,
    /// The latency of a check in microseconds: median, and 99 %.
    pub latency: [f64; 2],
}

/// Two connections with sixteen streams each, which keep two workers of an Envoy busy.
const CLIENTS: [&str; 6] = ["-c", "2", "-m", "16", "-t", "1"];

/// The message that is sent again and again.
pub enum Ask {
    /// A Check that is sent straight to the server.
    Check(Vec<u8>),
    /// A request with these headers that is sent through Envoy.
    Request(Vec<(String, String)>),
}

/// Sends `count` of them; each must be let through, or answered. The CPU of the processes `pids` is measured.
pub fn send(address: &str, ask: &Ask, count: u32, pids: &[u32], folder: &Path) -> Run {
    let (data, log) = (folder.join("message"), folder.join("log"));
    let _ = fs::remove_file(&log);
    let mut command = Command::new("h2load");
    command.args(CLIENTS).args(["-n", &count.to_string(), "--log-file"]).arg(&log);
    match ask {
        Ask::Check(message) => {
            fs::write(&data, framed(message)).expect("the message");
            command.args(["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "grpc-timeout: 3S"]);
            command.arg("-d").arg(&data).arg(format!("http://{address}/envoy.service.auth.v3.Authorization/Check"));
        }
        Ask::Request(headers) => {
            for (name, value) in headers {
                command.arg("-H").arg(format!("{name}: {value}"));
            }
            command.arg(format!("http://{address}/internal/bsearch"));
        }
    }
    run(&mut command, count, pids, &log)
}

fn run(command: &mut Command, count: u32, pids: &[u32], log: &Path) -> Run {
    let cpu = || pids.iter().map(|pid| cpu(*pid)).sum::<f64>();
    let before = cpu();
    let output = process::run(command, "").expect("h2load runs");
    let spent = cpu() - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{count} succeeded, 0 failed, 0 errored, 0 timeout");
    let good = format!("status codes: {count} 2xx");
    assert!(text.contains(&all) && text.contains(&good), "{text}");
    let latency = quantiles(log, [0.5, 0.99]);
    Run { cpu: spent / f64::from(count), throughput: f64::from(count) / seconds(&text), latency }
}

/// Parses `finished in 1.23s, …` or `finished in 456.7ms, …`.
fn seconds(text: &str) -> f64 {
    let word = text.split("finished in ").nth(1).and_then(|rest| rest.split(',').next()).expect("h2load's time");
    let (number, factor) = word.strip_suffix("ms").map_or_else(|| (word.trim_end_matches('s'), 1.0), |ms| (ms, 1e-3));
    number.parse::<f64>().expect("a number of seconds") * factor
}

/// Parses h2load's log: start, status and duration in microseconds of each request.
fn quantiles(log: &Path, at: [f64; 2]) -> [f64; 2] {
    let text = fs::read_to_string(log).expect("h2load's log");
    let mut all: Vec<f64> = text.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect();
    all.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    at.map(|q| all[(q * (all.len() - 1) as f64) as usize])
}

/// The nanoseconds on a CPU so far, over all threads of the process.
#[must_use]
pub fn cpu(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the server lives");
    let spent = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    spent.sum()
}
