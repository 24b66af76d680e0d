//! The commands that an operator runs besides the service itself.

use std::future::Future;
use std::process::ExitCode;

use elastauth::app;
use tokio::runtime::{Builder, Runtime};

pub mod cache;
pub mod explain;
pub mod out;
pub mod sessions;
pub mod users;

/// The exit code of a command that cannot be understood, as clap has it.
const EXIT_USAGE: u8 = 2;

/// The runtime of the process. Where there can be none, that is printed.
pub fn runtime() -> Option<Runtime> {
    Builder::new_multi_thread().enable_all().build().inspect_err(|error| remark!("elastauth: {error}")).ok()
}

/// Runs a command to its end on a runtime of its own; an error is the last line that is printed.
fn block_on(command: impl Future<Output = Result<ExitCode, app::Error>>) -> ExitCode {
    let Some(runtime) = runtime() else { return ExitCode::FAILURE };
    runtime.block_on(command).unwrap_or_else(|error| {
        remark!("elastauth: {error}");
        ExitCode::FAILURE
    })
}
