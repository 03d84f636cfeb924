//! Running programs, most of them scripts of `tests/vm`.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Runs a program, and returns its status as a shell has it.
pub fn status(command: &mut Command) -> Result<i32> {
    let status = command.status().with_context(|| running(command))?;
    Ok(number(status))
}

/// Runs a program that has to succeed.
pub fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    ensure!(status == 0, "{} ended with {status}", name(command));
    Ok(())
}

/// Runs a program, and returns its status and what it printed, without the last
/// end of a line.
pub fn print(command: &mut Command) -> Result<(i32, String)> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| running(command))?;
    let text = String::from_utf8(output.stdout)
        .with_context(|| format!("read what {} prints", name(command)))?;
    Ok((number(output.status), text.trim_end().to_owned()))
}

/// Runs a program that has to succeed, and returns what it printed.
pub fn printed(command: &mut Command) -> Result<String> {
    let (status, text) = print(command)?;
    ensure!(status == 0, "{} ended with {status}", name(command));
    Ok(text)
}

/// 128 and the number of the signal, for a program that one ended.
fn number(status: ExitStatus) -> i32 {
    let by_signal = || 128 + status.signal().unwrap_or_default();
    status.code().unwrap_or_else(by_signal)
}

fn running(command: &Command) -> String {
    format!("run {}", name(command))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
