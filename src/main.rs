//! The command line: serve (the default) · check · keys · generate-key · explain · cache · users · sessions.

// these panic when the output is closed: commands::out does not
#![deny(clippy::print_stdout, clippy::print_stderr)]
// a command is one future, and the compiler counts how deep its parts nest
#![recursion_limit = "256"]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use elastauth::{app, config};
use ring::rand::SecureRandom;

/// Writes a line of a command's result, to standard output.
macro_rules! say {
    ($($text:tt)*) => { $crate::commands::out::line(&format!($($text)*)) };
}

/// Writes a line for the operator, to standard error.
macro_rules! remark {
    ($($text:tt)*) => { $crate::commands::out::remark(&format!($($text)*)) };
}

mod commands;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code for a configuration that is wrong: `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// Single sign-on for Elasticsearch and Kibana behind Envoy.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file; else `ELASTAUTH_CONFIG`, ./config.yml, /etc/elastauth/config.yml, /config.yml.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the service that Envoy asks (the default).
    Serve,
    /// Validates the configuration and prints the effective settings, secrets redacted.
    Check {
        /// Also asks Elasticsearch whether the administrator's account can do its work.
        #[arg(long)]
        online: bool,
    },
    /// Prints every key of the configuration with its default and meaning, in chapters with examples, as Markdown.
    Keys,
    /// Prints a new random `secret_key`.
    GenerateKey,
    /// Shows what becomes of a token (on standard input) or of groups, and why; nothing is written.
    Explain(commands::explain::Explain),
    /// Removes records of the cache that are of no use.
    #[command(subcommand)]
    Cache(commands::cache::Command),
    /// Lists and changes the users that elastauth made.
    #[command(subcommand)]
    Users(commands::users::Command),
    /// Lists and ends the sessions of people who logged in with a browser.
    #[command(subcommand)]
    Sessions(commands::sessions::Command),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command.unwrap_or(Command::Serve) {
        Command::GenerateKey => generate_key(),
        Command::Keys => {
            commands::out::lines(&config::reference());
            ExitCode::SUCCESS
        }
        Command::Check { online } => with(arguments.config, |loaded| check(&loaded, online)),
        Command::Users(command) => with(arguments.config, |loaded| commands::users::run(command, &loaded.settings)),
        Command::Sessions(command) => {
            with(arguments.config, |loaded| commands::sessions::run(command, &loaded.settings))
        }
        Command::Explain(flags) => with(arguments.config, |loaded| commands::explain::run(&flags, &loaded.settings)),
        Command::Cache(command) => with(arguments.config, |loaded| commands::cache::run(&command, &loaded.settings)),
        Command::Serve => with(arguments.config, serve),
    }
}

fn with(file: Option<PathBuf>, run: impl FnOnce(config::Loaded) -> ExitCode) -> ExitCode {
    match config::load(file.as_deref(), &config::environment()) {
        Ok(loaded) => run(loaded),
        Err(problems) => misconfigured(&problems),
    }
}

/// The same text and the same exit code for each command.
fn misconfigured(problems: &config::Problems) -> ExitCode {
    commands::out::remarks(&format!("elastauth: {problems}"));
    ExitCode::from(EXIT_CONFIG)
}

/// Makes all parts of the service as `serve` does, then prints the configuration.
fn check(loaded: &config::Loaded, online: bool) -> ExitCode {
    let Some(runtime) = commands::runtime() else { return ExitCode::FAILURE };
    let made = {
        let _within = runtime.enter();
        app::Parts::new(&loaded.settings).map(drop)
    };
    if let Err(problems) = made {
        return misconfigured(&problems);
    }
    show(loaded);
    if online { examine(loaded, &runtime) } else { ExitCode::SUCCESS }
}

fn show(loaded: &config::Loaded) {
    for warning in &loaded.warnings {
        remark!("warning: {warning}");
    }
    match &loaded.source {
        Some(path) => say!("# {}", path.display()),
        None => say!("# no file, environment only"),
    }
    for (key, value) in &loaded.effective {
        say!("{key}: {value}");
    }
}

fn examine(loaded: &config::Loaded, runtime: &tokio::runtime::Runtime) -> ExitCode {
    match runtime.block_on(app::examine(&loaded.settings)) {
        Ok(notes) => {
            for note in notes {
                remark!("warning: {note}");
            }
            say!("# Elasticsearch and the administrator's account work");
            ExitCode::SUCCESS
        }
        Err(why) => {
            remark!("elastauth: elasticsearch: {why}");
            ExitCode::FAILURE
        }
    }
}

fn serve(loaded: config::Loaded) -> ExitCode {
    let Some(runtime) = commands::runtime() else { return ExitCode::FAILURE };
    match runtime.block_on(app::serve(loaded.settings, &loaded.warnings)) {
        Ok(()) => ExitCode::SUCCESS,
        // there is no logger yet
        Err(app::Error::Configuration(problems)) => misconfigured(&problems),
        Err(error) => {
            tracing::error!(%error, "elastauth stops");
            ExitCode::FAILURE
        }
    }
}

fn generate_key() -> ExitCode {
    let mut bytes = [0_u8; 32];
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        remark!("elastauth: the operating system provides no random numbers");
        return ExitCode::FAILURE;
    }
    let mut digits = String::new();
    for byte in bytes {
        digits.push_str(&format!("{byte:02x}"));
    }
    say!("{digits}");
    ExitCode::SUCCESS
}
