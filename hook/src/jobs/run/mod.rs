//! `run`: runs a command under a policy, in a cgroup of its own.
//!
//! A second process, [`end_run`], waits on a pipe for the end of the first one and then
//! removes the cgroup. So the end is the same however it comes, even by SIGKILL.

mod cgroup;
mod place;
mod signals;

pub(crate) use cgroup::{end_run, sweep_all};

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::abi::Policy;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::host::netns::Namespace;
use crate::kernel::attach;
use crate::plan::Plan;
use cgroup::RunCgroup;

/// Runs `command` under a policy. Returns its exit status, or 128+N for signal N.
///
/// # Errors
///
/// If the command could not be started.
pub(crate) fn run(plan: &Plan, command: &[OsString]) -> Result<u8> {
    with_cgroup(|cgroup| {
        let policy = Policy::from(plan);
        attach::attach(cgroup.cgroup(), policy, Namespace::Own)?;
        run_inside(cgroup, plan, command).map(exit_code)
    })
}

/// Calls `use_it` with the directory of a new cgroup, which is removed afterwards, along
/// with what runs in it.
///
/// # Errors
///
/// If no cgroup can be created, and those of `use_it`.
pub(crate) fn scratch<T>(use_it: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    with_cgroup(|cgroup| use_it(cgroup.cgroup().path()))
}

fn with_cgroup<T>(use_it: impl FnOnce(&RunCgroup) -> Result<T>) -> Result<T> {
    let cgroup = RunCgroup::make()?;
    let mut ender = start_ender(&cgroup)?;
    let result = use_it(&cgroup);
    // This ends its standard input.
    drop(ender.stdin.take());
    let ended = ender.wait().context("wait for the end of the cgroup");
    // The reason why the command could not be started comes first.
    let result = result?;
    ended?;
    Ok(result)
}

/// Gives this process, while it has one thread, a mount namespace and a network namespace
/// of its own.
#[expect(unsafe_code, reason = "unshare(2) can take descriptors away")]
pub(crate) fn isolate() -> rustix::io::Result<()> {
    // SAFETY: only `UnshareFlags::FILES` takes descriptors away from others.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET) }
}

fn start_ender(cgroup: &RunCgroup) -> Result<Child> {
    Command::new("/proc/self/exe")
        .arg("end-run")
        .arg(cgroup.cgroup().path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // It must not get the signals that the terminal sends to the command.
        .process_group(0)
        .spawn()
        .context("start the process that removes the cgroup")
}

fn run_inside(cgroup: &RunCgroup, plan: &Plan, command: &[OsString]) -> Result<ExitStatus> {
    let (program, arguments) = command.split_first().context("no command")?;
    let name = cgroup.cgroup().name();
    log::info!("cgroup {name} uses {plan}, to run {}", program.display());
    let mut signals = signals::Signals::catch()?;
    let mut start = Command::new(program);
    start.args(arguments);
    enter(&mut start, cgroup.open_procs()?);
    let mut child = start
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    signals.forward_until_exit(&mut child)
}

/// Makes the new process enter the cgroup before it runs the program.
#[expect(unsafe_code, reason = "code between fork and exec")]
fn enter(start: &mut Command, mut procs: File) {
    // SAFETY: the closure makes one write(2) to an open file, which is
    // async-signal-safe; it neither allocates nor takes a lock.
    unsafe {
        start.pre_exec(move || procs.write_all(b"0"));
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
