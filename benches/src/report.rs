//! Medians of ratios, as a table and as a plot.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use elastauth_support::process::run;

use crate::load::Run;
use crate::plot;
use crate::users::Growth;

/// One series' runs.
pub struct Line {
    /// What was asked of whom.
    pub name: String,
    /// Whose runs it is divided by.
    pub base: &'static str,
    /// The most that the ratio may be, if anything was promised.
    pub target: Option<f64>,
    /// One a round.
    pub runs: Vec<Run>,
}

impl Line {
    /// Without runs.
    pub fn new(name: &str, base: &'static str, target: Option<f64>) -> Self {
        Self { name: name.to_owned(), base, target, runs: Vec::new() }
    }
}

/// Everything that was measured.
pub struct Report {
    /// Checks without Envoy.
    pub lines: Vec<Line>,
    /// By the number of cached users.
    pub growth: Vec<Growth>,
    /// Bytes of memory of an idle process.
    pub idle: u64,
    /// Bytes of the binary.
    pub binary: u64,
}

impl Report {
    /// Writes `RESULTS.md` and `RESULTS.svg`.
    pub fn write(&self, folder: &Path) {
        let text = format!(
            "# Results\n\nWritten by `make bench`. Ratios of one run against the floor server on the same machine; absolute times \
             say nothing elsewhere.\n\n{}\n\n{}\n![CPU and latency of a check](RESULTS.svg)\n",
            machine(),
            self.markdown()
        );
        fs::write(folder.join("RESULTS.md"), text).expect("RESULTS.md");
        let bars: Vec<plot::Bar> = self.lines.iter().map(|line| self.bar(line)).collect();
        fs::write(folder.join("RESULTS.svg"), plot::svg(&bars)).expect("RESULTS.svg");
    }

    fn base(&self, line: &Line) -> &Line {
        self.lines.iter().find(|base| base.name == line.base).expect("the base is measured")
    }

    fn bar(&self, line: &Line) -> plot::Bar {
        let floor = &self.lines[0];
        let ratio =
            |of: fn(&Run) -> f64| median(line.runs.iter().zip(&floor.runs).map(|(run, floor)| of(run) / of(floor)));
        plot::Bar {
            name: line.name.clone(),
            cpu: ratio(|run| run.cpu),
            latency: [ratio(|run| run.latency[0]), ratio(|run| run.latency[1])],
        }
    }

    /// The tables.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| series | CPU ÷ | of | target | µs of CPU | median latency ÷ floor | 99 % latency ÷ floor | checks a second ÷ floor |\n|---|---|---|---|---|---|---|---|\n",
        );
        for line in &self.lines {
            let base = self.base(line);
            let ratio = median(line.runs.iter().zip(&base.runs).map(|(run, base)| run.cpu / base.cpu));
            let target = line.target.map_or(String::new(), |target| format!("≤ {target}"));
            let cpu = median(line.runs.iter().map(|run| run.cpu / 1000.0));
            let bar = self.bar(line);
            let [half, most] = bar.latency;
            let floor = &self.lines[0].runs;
            let rate = median(line.runs.iter().zip(floor).map(|(run, floor)| run.throughput / floor.throughput));
            let (name, of) = (&line.name, line.base);
            let _ = writeln!(
                text,
                "| {name} | {ratio:.2} | {of} | {target} | {cpu:.1} | {half:.2} | {most:.2} | {rate:.2} |"
            );
        }
        let _ = writeln!(text, "\n| other figures | | target |\n|---|---|---|");
        for growth in &self.growth[1..] {
            let (users, ratio) = (growth.users, growth.cpu / self.growth[0].cpu);
            let target = if users == 100_000 { "≤ 1.15" } else { "" };
            let _ = writeln!(text, "| CPU of a hit with {users} users cached ÷ with 1 | {ratio:.2} | {target} |");
        }
        if let Some(most) = self.growth.last() {
            let each = most.memory / most.users as u64;
            let _ = writeln!(text, "| bytes of memory for each cached user with one token | {each} | |");
        }
        let mega = |bytes: u64| bytes / 1_000_000;
        let _ = writeln!(text, "| binary, MB | {} | ≤ 15 |", mega(self.binary));
        let _ = writeln!(text, "| resident when idle, MB | {} | ≤ 20 |", mega(self.idle));
        text
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What it ran on.
fn machine() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = run(Command::new(program).args(arguments), "").map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches(['\t', ':', ' ']);
    let cpus = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    format!("{cpus} × {model}, Linux {}, {}", said("uname", &["-r"]), said("rustc", &["--version"]))
}
