//! Which cgroups and processes there are in and below a cgroup.

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::process::Pid;

use super::{Cgroup, read, tree};

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
    /// If one of them cannot be read, for example because it is threaded.
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
            members => members.with_context(failed)?,
        };
        let id = rustix::fs::fstat(fd).with_context(failed)?.st_ino;
        self.cgroups.insert(id);
        // A process of another PID namespace is number 0.
        let members = String::from_utf8_lossy(&members);
        let pids = members
            .lines()
            .filter_map(|line| Pid::from_raw(line.parse().ok()?));
        self.processes.extend(pids);
        Ok(())
    }
}
