//! Passes signals on to the command.

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::origin::WithOrigin;
use signal_hook::low_level::siginfo::Cause;
use std::fs;
use std::process::{Child, ExitStatus};

const FORWARDED: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2];

/// The signals that are caught.
pub(super) struct Signals {
    signals: SignalsInfo<WithOrigin>,
}

impl Signals {
    /// Catches the signals to pass on. Those that were ignored when this process started,
    /// as under nohup(1), stay ignored, for the command too.
    pub(super) fn catch() -> Result<Self> {
        let ignored = ignored_signals()?;
        let caught = FORWARDED
            .into_iter()
            .filter(|signal| ignored >> (signal - 1) & 1 == 0)
            .chain([SIGCHLD]);
        let signals = SignalsInfo::new(caught).context("catch signals")?;
        Ok(Self { signals })
    }

    /// Passes signals on until the command ends. Those from the kernel, mainly for the
    /// terminal's keys, reach the command directly, since it is in the same process
    /// group.
    pub(super) fn forward_until_exit(&mut self, child: &mut Child) -> Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait().context("wait for the command")? {
                return Ok(status);
            }
            for origin in self.signals.wait() {
                if origin.signal == SIGCHLD || matches!(origin.cause, Cause::Kernel) {
                    continue;
                }
                forward(child, origin.signal)?;
            }
        }
    }
}

fn forward(child: &Child, signal: i32) -> Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal)) {
        // Not reaped yet, so the pid is still its own.
        kill_process(pid, signal).context("pass a signal on to the command")?;
    }
    Ok(())
}

/// Returns the ignored signals: bit N-1 for signal N (proc_pid_status(5), `SigIgn`).
fn ignored_signals() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .context("find SigIgn in /proc/self/status")?;
    u64::from_str_radix(mask.trim(), 16).context("read SigIgn in /proc/self/status")
}
