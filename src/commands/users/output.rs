//! Prints the results of `elastauth users`: text for people, JSON for programs, and a progress bar on a terminal for long runs.

use std::io::IsTerminal as _;
use std::time::Duration;

use elastauth::printable::printable;
use elastauth::users::{Account, Outcome, Progress, UserResult};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

/// The form of a result: `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns with a heading.
    Text,
    /// One JSON array on one line.
    Json,
}

/// After how many users a line says how far a run is, where there is no terminal for a bar.
const EACH: usize = 100;

/// How far a long run is: a bar on standard error where that is a terminal, else a line now and then, and lines about what happens.
pub struct ProgressLine(ProgressBar);

impl ProgressLine {
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        // the template is a constant: a mistake in it leaves the default
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} users, {eta} left") {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}

impl Progress for ProgressLine {
    fn at(&self, done: usize, all: usize) {
        self.0.set_length(u64::try_from(all).unwrap_or(u64::MAX));
        self.0.set_position(u64::try_from(done).unwrap_or(u64::MAX));
        if self.0.is_hidden() && done > 0 && done < all && done.is_multiple_of(EACH) {
            remark!("{done} of {}", counted(all));
        }
    }

    fn waits(&self, time: Duration, users: usize) {
        self.0.finish_and_clear();
        let (time, users) = (humantime::format_duration(time), counted(users));
        remark!(
            "{users} changed; waiting {time} for writes that may still arrive, then checking again (Ctrl-C ends without the check)"
        );
    }

    fn undone(&self, users: usize) {
        remark!("the change had been undone by a late write for {}: it is made again", counted(users));
    }

    fn interrupted(&self) {
        remark!("interrupted: no user was checked again, and a write that is still on its way may undo the changes");
    }
}

fn counted(users: usize) -> String {
    if users == 1 { "1 user".into() } else { format!("{users} users") }
}

fn worded(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Done => ("done", ""),
        Outcome::Planned => ("planned", ""),
        Outcome::Unchanged(why) => ("unchanged", why),
        Outcome::Refused(why) => ("refused", why),
        Outcome::Failed(why) => ("failed", why),
    }
}

/// Prints the outcome for each user.
pub fn lines(lines: &[UserResult], format: Format) {
    if format == Format::Json {
        let all = lines.iter().map(|line| {
            let (outcome, detail) = worded(&line.outcome);
            json!({ "user": line.user, "outcome": outcome, "detail": detail })
        });
        say!("{}", Value::Array(all.collect()));
        return;
    }
    let rows = lines.iter().map(|line| {
        let (outcome, detail) = worded(&line.outcome);
        vec![line.user.clone(), outcome.to_owned(), detail.to_owned()]
    });
    columns(&["USER", "OUTCOME", ""], &rows.collect::<Vec<_>>());
}

/// Prints the users of this elastauth.
pub fn accounts(accounts: &[Account], format: Format) {
    if format == Format::Json {
        let all = accounts.iter().filter_map(|account| {
            let stamp = account.stamp.as_ref()?;
            Some(json!({
                "user": account.name,
                "enabled": account.enabled,
                "last_seen": stamp.day().to_string(),
                "issuer": stamp.issuer,
                "subject": stamp.subject,
                "roles": account.roles.iter().collect::<Vec<_>>(),
                "cache": stamp.store,
            }))
        });
        say!("{}", Value::Array(all.collect()));
        return;
    }
    let rows = accounts.iter().filter_map(|account| {
        let stamp = account.stamp.as_ref()?;
        let state = if account.enabled { "enabled" } else { "disabled" };
        let subject = stamp.subject.clone().unwrap_or_else(|| "(the first)".into());
        let roles = account.roles.to_string();
        Some(vec![
            account.name.clone(),
            state.to_owned(),
            stamp.day().to_string(),
            stamp.issuer.clone(),
            subject,
            roles,
        ])
    });
    columns(&["USER", "STATE", "LAST SEEN", "ISSUER", "SUBJECT", "ROLES"], &rows.collect::<Vec<_>>());
}

/// Prints rows below a heading, in columns as wide as they need to be.
pub fn columns(head: &[&str], rows: &[Vec<String>]) {
    let head: Vec<String> = head.iter().map(|title| (*title).to_owned()).collect();
    // escaped first, since the width of a column is that of what is printed
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell).into()).collect()).collect();
    let all = || std::iter::once(&head).chain(&rows);
    let wide = |at: usize| all().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(wide).collect();
    for row in all() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        say!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
