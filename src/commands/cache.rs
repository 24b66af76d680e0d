//! `elastauth cache`: removes records that are of no use.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use elastauth::app;
use elastauth::config::Settings;
use elastauth::credentials::purge::Found;

/// Removes records of the cache that are of no use.
#[derive(Subcommand)]
pub enum Command {
    /// Removes the records that no key opens: sealed with a `secret_key` that was given up, or left by another program.
    Purge(Purge),
}

/// Flags of `purge`. Without --yes nothing is removed, and the plan is printed.
#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags that do not depend on one another")]
pub struct Purge {
    /// Removes the records.
    #[arg(long)]
    yes: bool,
    /// Only prints what would be removed (the default).
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Also removes records of other Elasticsearch clusters than the configured one: after a migration, when they are no longer in use.
    #[arg(long)]
    other_clusters: bool,
    /// Removes the records even if not one of them can be opened, which is also what a wrong `secret_key` looks like.
    #[arg(long)]
    even_all: bool,
}

/// Runs the command to its end, and returns the exit code of the process.
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
            "elastauth: not one record can be opened: are these the secret_key and the cluster of the replicas that serve? \
             Nothing was removed; to remove all records, add --even-all"
        );
        return Ok(ExitCode::FAILURE);
    }
    if !flags.yes && !found.unreadable.is_empty() {
        remark!("dry run: nothing was removed; --yes removes them");
    }
    Ok(ExitCode::SUCCESS)
}
