//! Load by `h2load` (Debian's nghttp2-client), and what a process spent on it, from the kernel's own accounting.

use std::fs;
use std::path::Path;
use std::process::Command;

use elastauth_bench::messages::framed;
use elastauth_support::process;

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Nanoseconds of CPU that the server spent for each check; through Envoy, both of them.
    pub cpu: f64,
    /// Checks a second.
    pub throughput: f64,
    /// Latency of a check in microseconds: median, 99 %.
    pub latency: [f64; 2],
}

/// Connections and streams of each: two workers of an Envoy, busy.
const CLIENTS: [&str; 6] = ["-c", "2", "-m", "16", "-t", "1"];

/// What is sent, again and again.
pub enum Ask {
    /// A Check, straight to the server.
    Check(Vec<u8>),
    /// A request with these headers, through Envoy.
    Request(Vec<(String, String)>),
}

/// Sends `count` of them; all must be let through, or answered. `pids` are those whose CPU counts.
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

/// `finished in 1.23s, …` or `finished in 456.7ms, …`
fn seconds(text: &str) -> f64 {
    let word = text.split("finished in ").nth(1).and_then(|rest| rest.split(',').next()).expect("h2load's time");
    let (number, factor) = word.strip_suffix("ms").map_or_else(|| (word.trim_end_matches('s'), 1.0), |ms| (ms, 1e-3));
    number.parse::<f64>().expect("a number of seconds") * factor
}

/// h2load's log: start, status and duration in microseconds of each request.
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

/// Nanoseconds on a CPU so far, over all threads of the process.
#[must_use]
pub fn cpu(pid: u32) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the server lives");
    let spent = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    spent.sum()
}
