//! oci-bind-hook: an OCI createRuntime hook that gives a container one of the
//! host's IP addresses. Data flow:
//!
//! ```text
//! stdin --state--> annotations --request--> policy --plan--> cgroup --> programs --> attach
//! ```

pub mod addresses;
pub mod annotations;
pub mod attach;
pub mod bpf;
pub mod bpffs;
pub mod btf;
pub mod cdi;
pub mod cgroup;
mod check;
pub mod cli;
mod commands;
pub mod config;
mod deliver;
pub mod dual;
pub mod loader;
mod memory;
pub mod namespace;
mod netlink;
pub mod policy;
mod privileges;
pub mod programs;
pub mod report;
pub mod request;
mod run;
pub mod state;
pub mod status;
mod threads;
pub mod trust;
mod verify;

use clap::Parser as _;
use std::process::ExitCode;
use std::time::Instant;

/// A failed command: why, and its exit status.
#[derive(Debug)]
struct Failure {
    error: anyhow::Error,
    status: u8,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { error, status: 1 }
    }
}

/// Runs the command line; the one place that reports and chooses the exit
/// status.
pub fn main() -> ExitCode {
    let start = Instant::now();
    let cli = cli::Cli::parse();
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
