//! The commands, one file for each.

mod attach;
mod cdi;
mod check;
mod create_runtime;
mod load;
mod status;

use anyhow::{Context as _, Result};
use serde::Serialize;
use signal_hook::consts::SIGPIPE;
use signal_hook::low_level::emulate_default_handler;
use std::io::{self, ErrorKind, Write as _};
use std::path::Path;

use crate::cli::{Cli, Command};
use crate::host::addresses::{self, Unconfigured};
use crate::host::netns::Namespace;
use crate::input::config::{self, Config};
use crate::input::request::Request;
use crate::jobs::run;
use crate::plan::{self, Plan};
use crate::report;
use crate::text::is_printable;

/// A failed command: the error, and its exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: anyhow::Error,
    pub(crate) status: u8,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { error, status: 1 }
    }
}

/// Exit status of `run` when the command could not be started.
const NOT_STARTED: u8 = 125;

/// Carries out the command line. Returns the exit status.
pub(crate) fn execute(cli: Cli) -> Result<u8, Failure> {
    // Commands that decide nothing work without a configuration.
    let config = configuration(cli.config.as_deref());
    if config.as_ref().is_ok_and(|config| config.debug) {
        report::debug();
    }
    match cli.command {
        Command::CreateRuntime { dry_run } => create_runtime::create_runtime(config, dry_run)?,
        Command::Run { policy, command } => {
            return config
                .and_then(|config| {
                    let request = policy.into();
                    plan(&request, &config, Namespace::Own, Unconfigured::Refused)
                })
                .and_then(|plan| run::run(&plan, &command))
                .map_err(|error| Failure {
                    status: NOT_STARTED,
                    ..error.into()
                });
        }
        Command::Attach { target, policy } => attach::attach(&target, &policy.into(), &config?)?,
        Command::Detach { target } => attach::detach(&target)?,
        Command::Load { device } => load::load(device.as_deref())?,
        Command::Unload => load::unload()?,
        Command::Status {
            container,
            json,
            watch,
        } => status::status(container.as_deref(), json, watch)?,
        Command::Cdi => cdi::cdi()?,
        Command::Check { json } => return Ok(check::check(&config, json)?),
        Command::Probe { cgroup } => check::probe(&cgroup)?,
        Command::EndRun { cgroup } => run::end_run(&cgroup)?,
    }
    Ok(0)
}

/// Makes the plan for a request, and checks it against the configuration and the
/// addresses of the network namespace.
fn plan(
    request: &Request,
    config: &Config,
    namespace: Namespace,
    unconfigured: Unconfigured,
) -> Result<Plan> {
    log::debug!(
        "configuration {}: allow {:?}, deny {:?}, require-local-address {}",
        config.origin,
        config.allow,
        config.deny,
        config.require_local_address
    );
    let plan = plan::decide(request, config)?;
    if plan.require_local_address {
        let wait = config.wait_for_address;
        addresses::check(namespace, plan.ipv4, plan.ipv6, unconfigured, wait)?;
    }
    Ok(plan)
}

/// Reads the file named on the command line, or the usual one if it exists.
fn configuration(named: Option<&Path>) -> Result<Config> {
    match named {
        Some(path) => config::load(path, true),
        None => config::load(Path::new(config::PATH), false),
    }
}

/// Formats JSON for programs and terminals: a string's unprintable characters are
/// escaped, including those that JSON would let pass.
fn json(value: &impl Serialize) -> Result<String> {
    let mut text = String::new();
    for character in serde_json::to_string_pretty(value)?.chars() {
        if character == '\n' || is_printable(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            text += &format!("\\u{unit:04x}");
        }
    }
    Ok(text)
}

/// Prints a line on standard output. If nobody reads it any more, as after `| head`, ends
/// the process by SIGPIPE, which Rust ignores at the start.
///
/// # Errors
///
/// If standard output cannot be written to, for example on a full file system.
fn print(line: &str) -> Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            emulate_default_handler(SIGPIPE).context("end by SIGPIPE")
        }
        printed => printed.context("write to standard output"),
    }
}
