//! `elastauth sessions`: lists the sessions of people who logged in with a browser, and ends them.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use elastauth::app;
use elastauth::config::Settings;
use elastauth::login::administer::{Listed, Selection};
use serde_json::{Value, json};

use super::users::output::{Format, columns};

/// Lists and ends the sessions of people who logged in with a browser.
#[derive(Subcommand)]
pub enum Command {
    /// Lists sessions.
    List(List),
    /// Ends sessions: these people log in again. Without --yes nothing is ended, and the plan is printed.
    End(End),
}

/// Flags of `list`, which changes nothing.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    which: Which,
    /// The form of the list.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Flags of `end`; one of them says whose sessions.
#[derive(Args)]
pub struct End {
    #[command(flatten)]
    which: Which,
    /// The sessions of everybody.
    #[arg(long, conflicts_with_all = ["user", "issuer"])]
    all: bool,
    /// Ends the sessions.
    #[arg(long)]
    yes: bool,
    /// Only prints which sessions would be ended (the default).
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// The form of the list of these sessions.
    #[arg(long, value_enum, default_value = "text")]
    output: Format,
}

/// Whose sessions the command is for.
#[derive(Args)]
#[group(multiple = false)]
struct Which {
    /// Those of the Elasticsearch user with this name.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Those of people who logged in at this issuer.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
}

impl Which {
    fn selection(self) -> Option<Selection> {
        self.user.map(Selection::User).or(self.issuer.map(Selection::Issuer))
    }
}

/// Runs the command to its end, and returns the exit code of the process.
pub fn run(command: Command, settings: &Settings) -> ExitCode {
    match command {
        Command::List(List { which, output }) => super::block_on(async move {
            show(&app::sessions(settings, &which.selection().unwrap_or(Selection::All)).await?, output);
            Ok(ExitCode::SUCCESS)
        }),
        Command::End(flags) => {
            let End { which, all, yes, dry_run: _, output } = flags;
            let Some(selection) = which.selection().or(all.then_some(Selection::All)) else {
                remark!("elastauth: no sessions are selected: give --user, --issuer or --all");
                return ExitCode::from(super::EXIT_USAGE);
            };
            super::block_on(end(settings, selection, yes, output))
        }
    }
}

async fn end(settings: &Settings, selection: Selection, yes: bool, output: Format) -> Result<ExitCode, app::Error> {
    if yes {
        let (sessions, ended) = app::end_sessions(settings, &selection).await?;
        show(&sessions, output);
        remark!("{ended} of {} sessions were ended; the others had ended meanwhile", sessions.len());
    } else {
        let sessions = app::sessions(settings, &selection).await?;
        show(&sessions, output);
        if !sessions.is_empty() {
            remark!("dry run: no session was ended; --yes ends them");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints sessions.
fn show(sessions: &[Listed], format: Format) {
    let now = SystemTime::now();
    let time = |time| humantime::format_rfc3339_seconds(time).to_string();
    let unused_until = |session: &Listed| time(now + session.remaining);
    if format == Format::Json {
        let all = sessions.iter().map(|session| {
            json!({
                "user": session.username.as_str(),
                "issuer": &*session.owner.issuer,
                "subject": &*session.owner.subject,
                "began": time(session.began),
                "ends_unless_used": unused_until(session),
            })
        });
        say!("{}", Value::Array(all.collect()));
        return;
    }
    let rows = sessions.iter().map(|session| {
        vec![
            session.username.to_string(),
            session.owner.issuer.to_string(),
            session.owner.subject.to_string(),
            time(session.began),
            unused_until(session),
        ]
    });
    columns(&["USER", "ISSUER", "SUBJECT", "BEGAN", "ENDS UNLESS USED"], &rows.collect::<Vec<_>>());
}
