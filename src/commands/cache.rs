//! `elastauth cache`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use elastauth::app;
use elastauth::config::Settings;
use elastauth::credentials::purge::Found;

/// Looks after the cache.
#[derive(Subcommand)]
pub enum Command {
    /// Removes the records that no key opens: sealed with a `secret_key` that was given up, or left by another program.
    Purge(Purge),
}

/// Without --yes it only says what it would do.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags that do not depend on one another")]
pub struct Purge {
    /// Acts.
    #[arg(long)]
    yes: bool,
    /// Only says what it would do (the default).
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Also those of other Elasticsearch clusters than the configured one: after a migration, when nobody uses them any more.
    #[arg(long)]
    other_clusters: bool,
    /// Acts even if not one record opens, which a wrong `secret_key` looks like.
    #[arg(long)]
    even_all: bool,
}

/// Runs a command to its end.
pub fn run(command: &Command, settings: &Settings) -> ExitCode {
    match command {
        Command::Purge(flags) => super::block_on(purge(flags, settings)),
    }
}

async fn purge(flags: &Purge, settings: &Settings) -> Result<ExitCode, app::Error> {
    let doubtful = |found: &Found| found.sound == 0 && !found.unreadable.is_empty() && !flags.even_all;
    let act = |found: &Found| flags.yes && !flags.dry_run && !doubtful(found);
    let (found, removed) = app::purge(settings, flags.other_clusters, act).await?;
    for record in &found.unreadable {
        say!("{}\t{}", record.key.as_str(), record.why);
    }
    say!("{} open, {} do not, {removed} removed", found.sound, found.unreadable.len());
    if flags.yes && doubtful(&found) {
        remark!(
            "elastauth: not one record is of use: are these the secret_key and the cluster of the replicas that serve? \
             Nothing was removed; if all are to go, add --even-all"
        );
        return Ok(ExitCode::FAILURE);
    }
    if !flags.yes && !found.unreadable.is_empty() {
        remark!("dry run: nothing was removed; --yes removes them");
    }
    Ok(ExitCode::SUCCESS)
}
