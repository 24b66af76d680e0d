//! `make budget`: compares the instructions of one check, counted by callgrind, with those recorded in `budget.json`. Unlike
//! times, they are the same on a busy machine. Another compiler or architecture makes others, so they are recorded for each.
//!
//! ```sh
//! budget check|record
//! ```

#![expect(clippy::expect_used, reason = "a measurement fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};

use elastauth_support::process;

/// The series that are counted: a name, the service, and the number of headers of the request.
const SERIES: [(&str, &str, &str); 5] = [
    ("floor", "floor", "20"),
    ("lean twin", "lean", "20"),
    ("hit", "hit", "20"),
    ("floor, 60 headers", "floor", "60"),
    ("hit, 60 headers", "hit", "60"),
];
/// The numbers of checks in the two runs; the difference of the runs does not contain the start of the program.
const CHECKS: [u64; 2] = [500, 2500];
/// A hit may grow by this many per cent before it must be recorded anew, with a reason.
const MARGIN: u64 = 3;

/// Instructions of one check, by the name of the series.
type Counts = BTreeMap<String, u64>;

fn main() -> ExitCode {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("budget.json");
    let text = std::fs::read_to_string(&file).expect("budget.json");
    let mut recorded: BTreeMap<String, Counts> = serde_json::from_str(&text).expect("counts by compiler");
    let (compiler, record) = (compiler(), std::env::args().nth(1).as_deref() == Some("record"));
    if process::run(Command::new("valgrind").arg("--version"), "").is_err() {
        println!("skipped: no instructions are counted without valgrind");
        return ExitCode::SUCCESS;
    }
    if !record && !recorded.contains_key(&compiler) {
        println!("skipped: no instructions are recorded for {compiler}; `make budget-record` records them");
        return ExitCode::SUCCESS;
    }
    let counts: Counts = SERIES.map(|(name, service, headers)| (name.to_owned(), count(service, headers))).into();
    if record {
        recorded.insert(compiler, counts);
        let text = serde_json::to_string_pretty(&recorded).expect("text") + "\n";
        std::fs::write(&file, text).expect("budget.json is written");
        return ExitCode::SUCCESS;
    }
    let mut within = true;
    for (name, before) in &recorded[&compiler] {
        let now = counts[name];
        let good = !name.starts_with("hit") || now * 100 <= before * (100 + MARGIN);
        println!("{name}: {now} instructions, recorded {before}{}", if good { "" } else { ": TOO MANY" });
        within &= good;
    }
    if within {
        return ExitCode::SUCCESS;
    }
    println!(
        "a hit costs over {MARGIN} % more than recorded: make it cheaper, or say in the commit why it is worth it and run `make budget-record`"
    );
    ExitCode::FAILURE
}

/// Instructions of one check of this service.
fn count(service: &str, headers: &str) -> u64 {
    let [few, many] = CHECKS.map(|checks| instructions(service, checks, headers));
    (many - few) / (CHECKS[1] - CHECKS[0])
}

fn instructions(service: &str, checks: u64, headers: &str) -> u64 {
    let program = std::env::current_exe().expect("a path").with_file_name("count");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    let output = process::run(valgrind.args([service, &checks.to_string(), headers]), "").expect("valgrind runs");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok());
    collected.filter(|_| output.status.success()).unwrap_or_else(|| panic!("callgrind counts: {text}"))
}

fn compiler() -> String {
    let output = process::run(Command::new("rustc").arg("--version"), "").expect("rustc runs");
    format!("{}, {}", String::from_utf8_lossy(&output.stdout).trim(), std::env::consts::ARCH)
}
