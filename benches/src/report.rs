//! Writes the medians of ratios as a table and as a plot.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use elastauth_support::process::run;

use crate::load::Run;
use crate::plot;
use crate::signature::New;
use crate::users::Growth;

/// The runs of one series.
pub struct Line {
    /// Which message was sent to which server.
    pub name: String,
    /// The name of the line that these runs are divided by.
    pub base: &'static str,
    /// The ratio that is promised; empty when none is.
    pub target: &'static str,
    /// The runs, one for each round.
    pub runs: Vec<Run>,
}

impl Line {
    /// A line that has no runs yet.
    pub fn new(name: &str, base: &'static str, target: &'static str) -> Self {
        Self { name: name.to_owned(), base, target, runs: Vec::new() }
    }
}

/// Everything that was measured.
pub struct Report {
    /// The series that were measured in turn.
    pub lines: Vec<Line>,
    /// The cost of a token that was never seen before.
    pub new: New,
    /// The cost of a hit by the number of cached users.
    pub growth: Vec<Growth>,
    /// The memory of an idle process, in bytes.
    pub idle: usize,
    /// The size of the binary, in bytes.
    pub binary: u64,
}

impl Report {
    /// Writes `RESULTS.md` and `RESULTS.svg` into this folder.
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

    /// The median of the rounds' ratios to the line's base.
    fn ratio(&self, line: &Line, of: fn(&Run) -> f64) -> f64 {
        let base = self.lines.iter().find(|base| base.name == line.base).expect("the base is measured");
        median(line.runs.iter().zip(&base.runs).map(|(run, base)| of(run) / of(base)))
    }

    fn bar(&self, line: &Line) -> plot::Bar {
        let latency = [self.ratio(line, |run| run.latency[0]), self.ratio(line, |run| run.latency[1])];
        let name = if line.base == "floor" { line.name.clone() } else { format!("{} ÷ {}", line.name, line.base) };
        plot::Bar { name, cpu: self.ratio(line, |run| run.cpu), latency }
    }

    /// Formats the results as tables in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| series | ÷ | CPU | checks a second | median latency | 99 % latency | target | µs of CPU |\n|---|---|---|---|---|---|---|---|\n",
        );
        for line in &self.lines {
            let (cpu, rate) = (self.ratio(line, |run| run.cpu), self.ratio(line, |run| run.throughput));
            let [half, most] = self.bar(line).latency;
            let micros = median(line.runs.iter().map(|run| run.cpu / 1000.0));
            let Line { name, base, target, .. } = line;
            let _ = writeln!(
                text,
                "| {name} | {base} | {cpu:.2} | {rate:.2} | {half:.2} | {most:.2} | {target} | {micros:.1} |"
            );
        }
        let _ = writeln!(text, "\n| other figures | | target |\n|---|---|---|");
        let New { local, whole, beyond_a_hit } = self.new;
        let _ = writeln!(
            text,
            "| CPU of a check with a new ES256 token, without a network, ÷ the raw verification | {local:.2} | ≤ 1.3 |"
        );
        let _ = writeln!(text, "| the same over a connection | {whole:.2} | |");
        let _ = writeln!(text, "| that, less a hit | {beyond_a_hit:.2} | |");
        for Growth { users, ratio, .. } in self.growth[1..].iter().copied() {
            let target = if users == 100_000 { "≤ 1.15" } else { "" };
            let _ = writeln!(text, "| CPU of a hit with {users} users cached ÷ with 1 | {ratio:.2} | {target} |");
        }
        if let Some(most) = self.growth.last() {
            let each = most.memory / most.users;
            let _ = writeln!(text, "| bytes of memory for each cached user with one token | {each} | |");
        }
        let mega = |bytes: u64| bytes / 1_000_000;
        let _ = writeln!(text, "| binary, MB | {} | ≤ 15 |", mega(self.binary));
        let _ = writeln!(text, "| resident when idle, MB | {} | ≤ 20 |", mega(self.idle as u64));
        text
    }
}

/// The median; the upper one of the two in the middle when there is an even number of values.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Describes the machine and the compiler.
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
