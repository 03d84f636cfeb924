//! Child processes with deadlines.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::retry_on_intr;
pub use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

/// How long to wait for anything that is to happen, before it counts as missed: far
/// longer than it takes, on a slow and busy machine too. Nothing waits that long for
/// what is not to happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program of this workspace, from the directory above the test binary's.
pub fn built(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the own binary")?;
    let path = own
        .ancestors()
        .nth(2)
        .context("find the build directory")?
        .join(name);
    if !path.exists() {
        bail!("{} is missing: run `cargo build` first", path.display());
    }
    Ok(path)
}

/// What a command that ended has left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

/// Runs `command` to its end with `input` on standard input, which is a pipe
/// as it is from an engine.
pub fn run(command: &mut Command, input: &[u8]) -> Result<Output> {
    run_until(command, input, drop)
}

/// The same, with a pipe that is not closed before it has ended.
pub fn run_open(command: &mut Command, input: &[u8]) -> Result<Output> {
    run_until(command, input, |pipe| pipe)
}

/// What `written` makes of the pipe, once all is written, lives until the end.
fn run_until<T: Send + 'static>(
    command: &mut Command,
    input: &[u8],
    written: fn(ChildStdin) -> T,
) -> Result<Output> {
    let stdout = memory_file()?;
    let stderr = memory_file()?;
    let mut running = Running::start(
        command
            .stdin(Stdio::piped())
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?),
    )?;
    let mut pipe = running.stdin()?;
    let input = input.to_vec();
    // A command that does not read everything makes this fail, which is its
    // right; it ends the writer at the latest when it exits.
    let writer = std::thread::spawn(move || {
        let _ = pipe.write_all(&input);
        written(pipe)
    });
    let status = running.wait(PATIENCE)?;
    drop(running);
    writer.join().ok().context("write the standard input")?;
    Ok(Output {
        status,
        stdout: contents(stdout)?,
        stderr: contents(stderr)?,
    })
}

/// `command` as a shell script runs it, in which it is `"$0" "$@"`.
pub fn shell(command: &Command, script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .arg(command.get_program())
        .args(command.get_args());
    shell
}

/// A started command; killed and reaped when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pidfd: OwnedFd,
}

impl Running {
    /// Starts it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        let pidfd = pidfd(child.id())?;
        Ok(Self { child, pidfd })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The parent's end of its standard input, once, if it is a pipe.
    pub fn stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().context("take the standard input")
    }

    /// The parent's end of its standard output, once, if it is a pipe.
    pub fn stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("take the standard output")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, signal)?)
    }

    /// Whether it ends within `patience`.
    pub fn ends(&self, patience: Duration) -> Result<bool> {
        ends(&self.pidfd, patience)
    }

    /// Waits until it ends.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        if !self.ends(patience)? {
            let line = command_line(self.id()).unwrap_or_default();
            bail!(
                "process {} ({line}) still runs after {patience:?}",
                self.id()
            );
        }
        Ok(self.child.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a process that has already been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A descriptor of a process, readable once it has ended.
pub fn pidfd(pid: u32) -> Result<OwnedFd> {
    let pid = Pid::from_raw(pid.try_into()?).context("a process id is positive")?;
    pidfd_open(pid, PidfdFlags::empty()).with_context(|| format!("open process {pid:?}"))
}

/// Whether the process ends within `patience`.
pub fn ends(pidfd: impl AsFd, patience: Duration) -> Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let patience = Timespec::try_from(patience)?;
    Ok(retry_on_intr(|| poll(&mut fds, Some(&patience)))? > 0)
}

/// The command line of a process, unless it has ended.
pub fn command_line(pid: u32) -> Option<String> {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    Some(line.trim_end_matches('\0').replace('\0', " "))
}

fn memory_file() -> Result<File> {
    Ok(memfd_create("output", MemfdFlags::CLOEXEC)?.into())
}

fn contents(mut file: File) -> Result<String> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
