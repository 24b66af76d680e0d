//! The commands that look after what a deployment leaves: its cache and its users.

use std::future::Future;
use std::process::ExitCode;

use elastauth::app;

pub mod cache;
pub mod explain;
pub mod out;
pub mod users;

/// As clap has it for a command that cannot be understood.
const EXIT_USAGE: u8 = 2;

/// Runs to its end on a runtime of its own; an error is the last line that a person sees.
fn block_on(command: impl Future<Output = Result<ExitCode, app::Error>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            remark!("elastauth: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(command).unwrap_or_else(|error| {
        remark!("elastauth: {error}");
        ExitCode::FAILURE
    })
}
