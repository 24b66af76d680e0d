//! `elastauth users`: lists the users that elastauth made, disables, deletes or hands them over, and gives them new passwords.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use elastauth::app;
use elastauth::config::{Provider, Settings};
use elastauth::credentials::Day;
use elastauth::credentials::seal::Seal;
use elastauth::users::{self, Action, Pattern, Rotation, Selection, SubjectSource, Task};
use tokio::signal::unix::{SignalKind, signal};

pub mod output;

use output::{Format, ProgressLine};

/// Lists and changes the users that elastauth made. Without --yes nothing is changed, and the plan is printed.
#[derive(Subcommand)]
pub enum Command {
    /// Lists the users of this elastauth.
    List(List),
    /// Locks users out and removes their cached credentials; they are kept, and stay disabled.
    Disable(Change),
    /// Removes users and their cached credentials.
    Delete(Change),
    /// Takes elastauth's mark off users: they stay as they are, and elastauth refuses them from then on.
    Release(Change),
    /// Takes over users that a person or the Go service made; never built-in ones, nor users with the role superuser.
    Adopt(Adopt),
    /// Exchanges the owner of users, as after a change of the identity provider.
    Rebind(Rebind),
    /// Gives users new passwords, one user after the other; the former passwords are refused at once.
    Rotate(Rotate),
}

/// Which users the command is for; all conditions that are given must hold.
#[derive(Args)]
struct Filter {
    /// The names of the users.
    names: Vec<String>,
    /// Users with a name of this pattern, in which * stands for any text.
    #[arg(long = "match", value_name = "PATTERN")]
    matching: Option<String>,
    /// Users that have made no request for so long, such as 30d.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    inactive_for: Option<Duration>,
    /// Users that belong to this issuer.
    #[arg(long, value_name = "ISSUER")]
    of_issuer: Option<String>,
}

/// Whether anything is changed, and how the result is printed.
#[derive(Args)]
struct Mode {
    /// Makes the changes.
    #[arg(long)]
    yes: bool,
    /// Only prints what would be changed (the default).
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// The form of the result.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Flags of `list`, which changes nothing.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    filter: Filter,
    /// The form of the list.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Flags of each command that changes users; `disable`, `delete` and `release` have no others.
#[derive(Args)]
pub struct Change {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    mode: Mode,
}

/// Flags of `adopt`, which makes users elastauth's.
#[derive(Args)]
pub struct Adopt {
    #[command(flatten)]
    change: Change,
    /// Users that the Go service made.
    #[arg(long)]
    made_by_go: bool,
    /// The issuer that they will belong to; the configured one unless given.
    #[arg(long)]
    issuer: Option<String>,
    #[command(flatten)]
    subjects: Subject,
}

/// Flags of `rebind`, which gives users another owner.
#[derive(Args)]
pub struct Rebind {
    #[command(flatten)]
    change: Change,
    /// The issuer that they will belong to; unchanged unless given.
    #[arg(long)]
    issuer: Option<String>,
    /// The user will belong to the first subject that makes a request with its name.
    #[arg(long)]
    first_subject: bool,
    #[command(flatten)]
    subjects: Subject,
}

/// Flags of `rotate`, which gives users new passwords.
#[derive(Args)]
pub struct Rotate {
    #[command(flatten)]
    change: Change,
    /// All users of this elastauth.
    #[arg(long)]
    all: bool,
    /// Leaves out users with a password that was made at this time or later; the start of this run unless given. With the time of a run
    /// that was interrupted, which it prints, another one goes on where that ended.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_rfc3339_weak)]
    generated_before: Option<SystemTime>,
}

/// The subjects that users will belong to.
#[derive(Args)]
#[group(multiple = false)]
struct Subject {
    /// The subject of the one user that is named.
    #[arg(long)]
    subject: Option<String>,
    /// A file with a line user,subject for each user.
    #[arg(long, value_name = "FILE")]
    subjects: Option<PathBuf>,
}

/// Runs the command to its end, and returns the exit code of the process.
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
        Command::Rotate(rotate) => {
            let action = rotate.action(settings);
            (action, rotate.selected(), false)
        }
    };
    let Change { filter, mode } = change;
    let selection = filter.selection(made_by_go);
    let task = action.and_then(|action| task(action, selection, settings));
    match task {
        Ok(task) => super::block_on(act(task, mode, settings)),
        Err(problem) => {
            remark!("elastauth: {problem}");
            ExitCode::from(super::EXIT_USAGE)
        }
    }
}

fn task(action: Action, selection: Selection, settings: &Settings) -> Result<Task, String> {
    if selection.is_empty() {
        return Err(
            "no users are selected: name them, or give --match, --inactive-for, --of-issuer or --made-by-go".into()
        );
    }
    let single = matches!(
        &action,
        Action::Adopt { subjects: SubjectSource::Given(_), .. }
            | Action::Rebind { subjects: SubjectSource::Given(_), .. }
    );
    if single && selection.names.len() != 1 {
        return Err("--subject is for one named user; --subjects names a file for several".into());
    }
    let today = Day::at(SystemTime::now());
    Ok(Task { action, selection, cluster: settings.seal.cluster.clone(), today })
}

async fn act(task: Task, mode: Mode, settings: &Settings) -> Result<ExitCode, app::Error> {
    let progress = ProgressLine::new();
    let (lines, note) = app::users(settings, &task, mode.yes.then(interrupted), &progress).await?;
    progress.end();
    output::lines(&lines, mode.output);
    if let Some(note) = note {
        remark!("note: {note}");
    }
    if !mode.yes && lines.iter().any(|line| line.outcome == users::Outcome::Planned) {
        remark!("dry run: nothing was changed; --yes makes the changes");
    }
    if let (Action::Rotate(rotation), true) = (&task.action, mode.yes) {
        let time = UNIX_EPOCH + Duration::from_millis(rotation.generated_before);
        remark!(
            "to go on where this run ended, if users are left: --generated-before {}",
            humantime::format_rfc3339_millis(time)
        );
    }
    let trouble = lines.iter().any(|line| line.outcome.is_trouble());
    Ok(if trouble { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Resolves at SIGINT or SIGTERM. It listens from the first poll, when there is something to interrupt: before that the signals end
/// the process.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        Ok(()) = tokio::signal::ctrl_c() => {}
    }
}

async fn show(list: List, settings: &Settings) -> Result<ExitCode, app::Error> {
    let accounts = app::accounts(settings, &list.filter.selection(false), Day::at(SystemTime::now())).await?;
    output::accounts(&accounts, list.output);
    Ok(ExitCode::SUCCESS)
}

impl Filter {
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
        Ok(Action::Adopt { issuer, subjects: self.subjects.read()?.unwrap_or(SubjectSource::First) })
    }
}

impl Rebind {
    fn action(&self) -> Result<Action, String> {
        let subjects = match (self.subjects.read()?, self.first_subject) {
            (Some(_), true) => return Err("--first-subject cannot be combined with --subject or --subjects".into()),
            (Some(subjects), false) => subjects,
            (None, true) => SubjectSource::First,
            (None, false) if self.issuer.is_none() => {
                return Err("nothing to change is given: add --issuer, --subject, --subjects or --first-subject".into());
            }
            (None, false) => SubjectSource::Kept,
        };
        Ok(Action::Rebind { issuer: self.issuer.clone(), subjects })
    }
}

impl Rotate {
    fn action(&self, settings: &Settings) -> Result<Action, String> {
        let before = self.generated_before.unwrap_or_else(SystemTime::now).duration_since(UNIX_EPOCH);
        let before = before.map_err(|_| "--generated-before is before 1970".to_owned())?;
        let generated_before = u64::try_from(before.as_millis()).unwrap_or(u64::MAX);
        let seal = Seal::new(&settings.seal).map_err(|error| format!("secret_key: {error}"))?;
        Ok(Action::Rotate(Rotation { seal: Arc::new(seal), generated_before }))
    }

    fn selected(self) -> Change {
        let Change { filter, mode } = self.change;
        let all = self.all.then(|| "*".to_owned());
        Change { filter: Filter { matching: filter.matching.or(all), ..filter }, mode }
    }
}

impl Subject {
    fn read(&self) -> Result<Option<SubjectSource>, String> {
        let (Some(path), None) = (&self.subjects, &self.subject) else {
            return Ok(self.subject.clone().map(SubjectSource::Given));
        };
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let listed: HashMap<String, String> =
            users::subjects(&text).map_err(|problem| format!("{}: {problem}", path.display()))?;
        Ok(Some(SubjectSource::Listed(listed)))
    }
}

fn configured_issuer(settings: &Settings) -> Result<String, String> {
    match &settings.identity {
        Provider::Headers(headers) => Ok(headers.issuer.clone()),
        Provider::Oidc(issuers, _) => match issuers.as_slice() {
            [(_, one)] => Ok(one.token.issuer.clone()),
            _ => Err("several issuers are configured: give the one that the users will belong to with --issuer".into()),
        },
    }
}
