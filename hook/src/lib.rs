//! oci-bind-hook: an OCI createRuntime hook that gives a container one of the
//! host's IP addresses. Data flow:
//!
//! ```text
//! stdin --state--> input --request--> plan --policy--> host::cgroup --> kernel::attach
//! ```

mod cdi;
pub mod cli;
mod commands;
pub mod host;
pub mod input;
mod jobs;
mod kernel;
pub mod plan;
mod report;
mod text;

use std::process::ExitCode;
use std::time::Instant;

/// Runs the command line. Only this function reports errors and chooses the exit status.
pub fn main() -> ExitCode {
    let start = Instant::now();
    let cli = cli::parse();
    report::start();
    let status = commands::execute(cli).unwrap_or_else(|failure| {
        report::error(&failure.error);
        failure.status
    });
    log::debug!(
        "exit status {status} after {} ms",
        start.elapsed().as_millis()
    );
    status.into()
}
