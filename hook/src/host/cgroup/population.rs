//! Which cgroups and processes there are in and below a cgroup.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::process::Pid;

use super::{Cgroup, read, says_populated, tree};

/// A cgroup with those below it, and their processes.
#[derive(Debug, Default)]
pub struct Population {
    /// The ids of the cgroups, as [`Cgroup::id`] has them.
    pub cgroups: BTreeSet<u64>,
    /// The processes, without those of other PID namespaces.
    pub processes: Vec<Pid>,
}

impl Population {
    /// Looks at a cgroup and all below it.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read, for example because the cgroup itself is threaded.
    pub fn of(cgroup: &Cgroup) -> Result<Self> {
        let mut all = Self::default();
        let name = Path::new(cgroup.name());
        all.add(name, cgroup.fd())?;
        tree::walk(cgroup.fd(), name, |path, fd| all.add(path, fd))?;
        Ok(all)
    }

    fn add(&mut self, path: &Path, fd: BorrowedFd<'_>) -> Result<()> {
        let failed = || format!("read cgroup.procs of cgroup {}", path.display());
        let members = match read(fd, "cgroup.procs") {
            Err(error) if tree::vanished(error) => return Ok(()),
            // Its processes are listed by the one above that is not threaded (cgroup-v2.rst).
            Err(Errno::OPNOTSUPP) if !self.cgroups.is_empty() => Vec::new(),
            members => members.with_context(failed)?,
        };
        let id = rustix::fs::fstat(fd).with_context(failed)?.st_ino;
        self.cgroups.insert(id);
        self.processes.extend(pids(&members));
        Ok(())
    }

    /// Returns the process that started first. Those that an engine starts in a container for
    /// a moment, such as health checks, are younger than the container's own.
    pub fn oldest(&self) -> Option<Pid> {
        let processes = self.processes.iter();
        let started = processes.filter_map(|&pid| Some((start(pid)?, pid)));
        started
            .min_by_key(|(start, _)| *start)
            .map(|(_, oldest)| oldest)
    }
}

/// Whether there are processes in a cgroup or below it.
///
/// # Errors
///
/// If the kernel does not say; of the kind `NotFound` if the cgroup was removed meanwhile.
pub fn is_populated(cgroup: BorrowedFd<'_>) -> io::Result<bool> {
    match read(cgroup, "cgroup.events") {
        Ok(events) => Ok(says_populated(&String::from_utf8_lossy(&events))),
        Err(error) if tree::vanished(error) => Err(Errno::NOENT.into()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the processes of a cgroup itself that have a pid in our namespace; none if they
/// cannot be read.
pub fn processes(cgroup: BorrowedFd<'_>) -> Vec<Pid> {
    pids(&read(cgroup, "cgroup.procs").unwrap_or_default()).collect()
}

/// Parses `cgroup.procs`. A process of another PID namespace is number 0.
fn pids(members: &[u8]) -> impl Iterator<Item = Pid> {
    let lines = members.split(|byte| *byte == b'\n');
    lines.filter_map(|line| Pid::from_raw(str::from_utf8(line).ok()?.parse().ok()?))
}

/// Returns when a process started, in ticks since the host did: the 20th field after its name,
/// which alone may contain parentheses (proc_pid_stat(5)). `None` if it has ended.
fn start(pid: Pid) -> Option<u64> {
    let stat = read(CWD, &format!("/proc/{pid}/stat")).ok()?;
    let after = stat.rsplit(|byte| *byte == b')').next()?;
    let mut fields = str::from_utf8(after).ok()?.split_ascii_whitespace();
    fields.nth(19)?.parse().ok()
}
