//! Surroundings in which something is missing, made for one command.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use oci_bind_hook_tests::process::{self, Output};
use tempfile::{NamedTempFile, TempPath};

/// Without these capabilities the modes of files hold for root too.
pub const FILES: &str = "-dac_override,-dac_read_search";

/// A file whose reading fails with EIO: the memory of this process, from address
/// 0 on.
pub fn unreadable() -> PathBuf {
    format!("/proc/{}/mem", std::process::id()).into()
}

/// `command` without these capabilities: `-net_admin,-bpf`.
pub fn without(capabilities: &str, command: &Command) -> Command {
    wrapped(
        "setpriv",
        &[&format!("--bounding-set={capabilities}")],
        command,
    )
}

/// `command` with another file in the place of this one below /proc/self, in a
/// mount namespace of its own.
pub fn with_own(name: &str, by: &Path, command: &Command) -> Command {
    let script = format!(
        "mount --bind '{}' /proc/$$/{name} && exec \"$0\" \"$@\"",
        by.display()
    );
    unshared("--mount", &process::shell(command, &script))
}

/// `command` with nothing in /proc but what a shell script makes there.
pub fn without_proc(script: &str, command: &Command) -> Command {
    let script = format!("mount -t tmpfs none /proc && {script} && exec \"$0\" \"$@\"");
    unshared("--mount", &process::shell(command, &script))
}

/// `command` in namespaces of its own, as unshare(1) has them.
pub fn unshared(namespaces: &str, command: &Command) -> Command {
    wrapped("unshare", &[namespaces], command)
}

fn wrapped(wrapper: &str, arguments: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper);
    wrapped
        .args(arguments)
        .arg(command.get_program())
        .args(command.get_args());
    wrapped
}

/// A file with this text.
pub fn file(text: &str) -> Result<TempPath> {
    let path = NamedTempFile::new()?.into_temp_path();
    std::fs::write(&path, text)?;
    Ok(path)
}

/// Runs a command with more and more descriptors until it says what is wanted.
/// `run` runs what limits them.
pub fn short_of_descriptors(
    hook: &Command,
    wanted: &str,
    run: impl Fn(&mut Command) -> Result<Output>,
) -> Result<Output> {
    let mut said = Vec::new();
    for count in 3..64 {
        let output = run(&mut wrapped(
            "prlimit",
            &[&format!("--nofile={count}")],
            hook,
        ))?;
        if output.stderr.contains(wanted) {
            return Ok(output);
        }
        said.push(output.stderr);
    }
    bail!("{wanted:?} was not said, but {said:?}")
}
