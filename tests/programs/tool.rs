//! Programs of the distribution, and how to start them.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use oci_bind_hook_tests::harness::skip;
use oci_bind_hook_tests::hook::{Hook, Policy};
use oci_bind_hook_tests::process::{self, Output};

/// A package, and a program in it.
pub type Tool = (&'static str, &'static str);

/// Runs Go where it is in the cache, and tells whether it is: see `tests/go.sh`.
pub const GO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/go.sh");

/// Runs systemd-resolved in the same way: see `tests/resolved.sh`.
pub const RESOLVED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/resolved.sh");

/// Runs ntpd in the same way: see `tests/ntpd.sh`.
pub const NTPD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/ntpd.sh");

/// Where packages put programs; what a user has elsewhere is not meant.
const PATH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// What tests/setup.sh installs.
const INSTALLED: &str = include_str!("packages");

/// Skips the trial if a package is missing, or fails it in CI, where all that
/// tests/setup.sh installs must be there.
pub fn require(needs: &[Tool]) -> Result<()> {
    for (package, program) in needs {
        if is_there(program)? {
            continue;
        }
        let reason = format!("package {package} is not installed");
        let is_expected = INSTALLED.lines().any(|line| line == *package);
        if is_expected && std::env::var_os("CI").is_some() {
            bail!("{reason}");
        }
        return Err(skip(reason));
    }
    Ok(())
}

fn is_there(program: &str) -> Result<bool> {
    if [GO, RESOLVED, NTPD].contains(&program) {
        let mut command = Command::new(program);
        return Ok(process::run(command.arg("version"), b"")?.status.success());
    }
    Ok(PATH
        .iter()
        .any(|directory| Path::new(directory).join(program).exists()))
}

/// The binary under test with the built-in defaults.
pub fn hook() -> Result<Hook> {
    Hook::with_config("")
}

/// The command line of a table with its placeholders filled in.
pub fn words(template: &[&str], dir: &Path, host: Option<IpAddr>) -> Vec<String> {
    let fill = |word: &&str| {
        let word = word.replace("{dir}", &dir.display().to_string());
        match host {
            Some(host) => word
                .replace("{host}", &host.to_string())
                .replace("{at}", &bracketed(host)),
            None => word,
        }
    };
    template.iter().map(fill).collect()
}

fn bracketed(host: IpAddr) -> String {
    match host {
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) => format!("[{host}]"),
    }
}

/// These words as a command, outside of any container.
pub fn plain(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// These words as a command under `run`, with loopback and the guard as they are by
/// default.
pub fn run_under(hook: &Hook, policy: Policy, words: &[String]) -> Command {
    let mut command = hook.command("run");
    for (name, value) in policy.settings() {
        if name != "loopback" && name != "guard" {
            command.arg(format!("--{name}")).arg(value);
        }
    }
    command.arg("--").args(words);
    command
}

/// Fits the environment of a command: the distribution's programs, English,
/// and no proxy between a client and its server.
pub fn fit(command: &mut Command) -> &mut Command {
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.env("PATH", PATH.join(":")).env("LC_ALL", "C")
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Result<Output> {
    process::run(fit(&mut command), b"")
}
