//! `elastauth users`

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use elastauth::app;
use elastauth::config::{Provider, Settings};
use elastauth::credentials::Day;
use elastauth::users::{self, Action, Pattern, Selection, Subjects, Task};
use tokio::signal::unix::{SignalKind, signal};

mod output;

use output::{Bar, Format};

/// Looks after the users that elastauth made. Without --yes it only says what it would do.
#[derive(Subcommand)]
pub enum Command {
    /// Lists the users of this elastauth.
    List(List),
    /// Locks users out and removes their cached credentials; they are kept, and stay disabled.
    Disable(Change),
    /// Removes users and their cached credentials.
    Delete(Change),
    /// Gives users up: they stay as they are, and elastauth refuses them.
    Release(Change),
    /// Takes over users that a person or the Go service made; never built-in ones, nor holders of superuser.
    Adopt(Adopt),
    /// Exchanges the owner of users, as after a change of the identity provider.
    Rebind(Rebind),
}

/// Who is meant.
#[derive(Args)]
struct Who {
    /// By name.
    names: Vec<String>,
    /// By a pattern of the name, in which * stands for anything.
    #[arg(long = "match", value_name = "PATTERN")]
    matching: Option<String>,
    /// Not seen for so long, such as 30d.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    inactive_for: Option<Duration>,
    /// Bound to this issuer.
    #[arg(long, value_name = "ISSUER")]
    of_issuer: Option<String>,
}

/// How it goes.
#[derive(Args)]
struct How {
    /// Acts.
    #[arg(long)]
    yes: bool,
    /// Only says what it would do (the default).
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Flags of `list`.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    who: Who,
    /// How the list is written.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Flags of what needs none of its own.
#[derive(Args)]
pub struct Change {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    how: How,
}

/// Flags of `adopt`.
#[derive(Args)]
pub struct Adopt {
    #[command(flatten)]
    change: Change,
    /// Those that the Go service made.
    #[arg(long)]
    made_by_go: bool,
    /// Whose users they are; the configured one unless given.
    #[arg(long)]
    issuer: Option<String>,
    #[command(flatten)]
    subjects: Subject,
}

/// Flags of `rebind`.
#[derive(Args)]
pub struct Rebind {
    #[command(flatten)]
    change: Change,
    /// Whose users they are from now on; as it was unless given.
    #[arg(long)]
    issuer: Option<String>,
    /// The first subject who comes has the user.
    #[arg(long)]
    first_subject: bool,
    #[command(flatten)]
    subjects: Subject,
}

/// Which subjects are known.
#[derive(Args)]
#[group(multiple = false)]
struct Subject {
    /// The subject, of one user.
    #[arg(long)]
    subject: Option<String>,
    /// A file with a line user,subject for each.
    #[arg(long, value_name = "FILE")]
    subjects: Option<PathBuf>,
}

/// Runs a command to its end.
pub fn run(command: Command, settings: &Settings) -> ExitCode {
    let (action, change, made_by_go) = match command {
        Command::List(list) => return super::block_on(show(list, settings)),
        Command::Disable(change) => (Ok(Action::Disable), change, false),
        Command::Delete(change) => (Ok(Action::Delete), change, false),
        Command::Release(change) => (Ok(Action::Release), change, false),
        Command::Adopt(adopt) => {
            let action = adopt.action(settings);
            (action, adopt.change, adopt.made_by_go)
        }
        Command::Rebind(rebind) => (rebind.action(), rebind.change, false),
    };
    let Change { who, how } = change;
    let selection = who.selection(made_by_go);
    let task = action.and_then(|action| task(action, selection, settings));
    match task {
        Ok(task) => super::block_on(act(task, how, settings)),
        Err(problem) => {
            remark!("elastauth: {problem}");
            ExitCode::from(super::EXIT_USAGE)
        }
    }
}

fn task(action: Action, selection: Selection, settings: &Settings) -> Result<Task, String> {
    if selection.is_empty() {
        return Err("who is meant? Name users, or give --match, --inactive-for, --of-issuer or --made-by-go".into());
    }
    let single = matches!(
        &action,
        Action::Adopt { subjects: Subjects::Given(_), .. } | Action::Rebind { subjects: Subjects::Given(_), .. }
    );
    if single && selection.names.len() != 1 {
        return Err("--subject is for one named user; --subjects names a file for several".into());
    }
    let today = Day::at(SystemTime::now());
    Ok(Task { action, selection, cluster: settings.seal.cluster.clone(), today })
}

async fn act(task: Task, how: How, settings: &Settings) -> Result<ExitCode, app::Error> {
    let bar = Bar::new();
    let (lines, note) = app::users(settings, &task, how.yes.then(interrupted), &bar).await?;
    bar.end();
    output::lines(&lines, how.output);
    if let Some(note) = note {
        remark!("note: {note}");
    }
    if !how.yes && lines.iter().any(|line| line.outcome == users::Outcome::Planned) {
        remark!("dry run: nothing was changed; --yes does it");
    }
    let trouble = lines.iter().any(|line| line.outcome.is_trouble());
    Ok(if trouble { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Resolves at SIGINT or SIGTERM. It listens once it is awaited, which is when there is something to interrupt: before that
/// the signals end the process.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        Ok(()) = tokio::signal::ctrl_c() => {}
    }
}

async fn show(list: List, settings: &Settings) -> Result<ExitCode, app::Error> {
    let accounts = app::accounts(settings, &list.who.selection(false), Day::at(SystemTime::now())).await?;
    output::accounts(&accounts, list.output);
    Ok(ExitCode::SUCCESS)
}

impl Who {
    fn selection(self, of_go_service: bool) -> Selection {
        Selection {
            names: self.names,
            matching: self.matching.map(|text| Pattern::new(&text)),
            inactive_for: self.inactive_for,
            issuer: self.of_issuer,
            of_go_service,
        }
    }
}

impl Adopt {
    fn action(&self, settings: &Settings) -> Result<Action, String> {
        let issuer = self.issuer.clone().map_or_else(|| configured_issuer(settings), Ok)?;
        Ok(Action::Adopt { issuer, subjects: self.subjects.read()?.unwrap_or(Subjects::First) })
    }
}

impl Rebind {
    fn action(&self) -> Result<Action, String> {
        let subjects = match (self.subjects.read()?, self.first_subject) {
            (Some(_), true) => return Err("--first-subject leaves no room for --subject or --subjects".into()),
            (Some(subjects), false) => subjects,
            (None, true) => Subjects::First,
            (None, false) if self.issuer.is_none() => {
                return Err("what is new? --issuer, --subject, --subjects or --first-subject".into());
            }
            (None, false) => Subjects::Kept,
        };
        Ok(Action::Rebind { issuer: self.issuer.clone(), subjects })
    }
}

impl Subject {
    fn read(&self) -> Result<Option<Subjects>, String> {
        let (Some(path), None) = (&self.subjects, &self.subject) else {
            return Ok(self.subject.clone().map(Subjects::Given));
        };
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let listed: HashMap<String, String> =
            users::subjects(&text).map_err(|problem| format!("{}: {problem}", path.display()))?;
        Ok(Some(Subjects::Listed(listed)))
    }
}

fn configured_issuer(settings: &Settings) -> Result<String, String> {
    match &settings.identity {
        Provider::Headers(headers) => Ok(headers.issuer.clone()),
        Provider::Oidc(issuers, _) => match issuers.as_slice() {
            [(_, one)] => Ok(one.token.issuer.clone()),
            _ => Err("several issuers are configured: whose users are these? --issuer".into()),
        },
    }
}
