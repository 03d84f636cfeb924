//! Scratch cgroups.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

use crate::hook::Policy;
use crate::{bpf, host, process};

/// A cgroup2 cgroup that is removed when dropped. Whatever lives in it must
/// have been dropped before.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// A fresh cgroup below the one of the test process.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("bind-test-{}-{number}", std::process::id()))
    }

    /// A cgroup of this name below the one of the test process.
    pub fn named(name: &str) -> Result<Self> {
        Self::at(host::scratch_cgroups()?.join(name))
    }

    /// A cgroup of this name below this one.
    pub fn child(&self, name: &str) -> Result<Self> {
        Self::at(self.path.join(name))
    }

    /// A cgroup at this path.
    pub fn at(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("make cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directories of the cgroups directly below it.
    pub fn children(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
        Ok(found)
    }

    /// How many cgroups below it are removed, but not freed: sockets or
    /// programs keep them.
    pub fn dying(&self) -> Result<u32> {
        let path = self.path.join("cgroup.stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let count = stat
            .lines()
            .find_map(|line| line.strip_prefix("nr_dying_descendants "));
        Ok(count.context("find nr_dying_descendants")?.parse()?)
    }

    /// Moves the process in.
    pub fn take_in(&self, pid: u32) -> Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
            .with_context(|| format!("move process {pid} into {}", self.path.display()))
    }

    /// Fails if a program is attached to it.
    pub fn assert_bare(&self) -> Result<()> {
        let found = bpf::attached(&File::open(&self.path)?)?;
        ensure!(
            found.is_empty(),
            "{} carries programs: {found:?}",
            self.path.display()
        );
        Ok(())
    }

    /// Fails unless every attach point that the policy needs, and no other, carries
    /// exactly one program.
    pub fn assert_attached(&self, policy: Policy) -> Result<()> {
        let found = bpf::attached(&File::open(&self.path)?)?;
        let expected = policy.attach_types();
        ensure!(
            found.iter().map(|(name, _)| *name).eq(expected)
                && found.iter().all(|(_, ids)| ids.len() == 1),
            "{} does not carry one program of each type: {found:?}",
            self.path.display()
        );
        Ok(())
    }

    /// Removes it now, and says so if that fails.
    pub fn remove(self) -> Result<()> {
        let removed = self.try_remove();
        std::mem::forget(self);
        removed
    }

    fn try_remove(&self) -> Result<()> {
        wait_empty(&self.path, process::PATIENCE)?;
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.with_context(|| format!("remove {}", self.path.display())),
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = self.try_remove() {
            eprintln!("left behind: {error:#}");
        }
    }
}

/// Waits until no process is left in the cgroup or below it: the kernel
/// signals every change of `cgroup.events` since it was last read. A cgroup
/// that is gone is empty.
pub fn wait_empty(cgroup: &Path, patience: Duration) -> Result<()> {
    let path = cgroup.join("cgroup.events");
    let deadline = Instant::now() + patience;
    let mut events = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        file => file.with_context(|| format!("open {}", path.display()))?,
    };
    loop {
        let mut state = String::new();
        events.rewind()?;
        if events.read_to_string(&mut state).is_err() {
            return Ok(());
        }
        if state.lines().any(|line| line == "populated 0") {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(
            !left.is_zero(),
            "{} still holds processes after {patience:?}: {}",
            cgroup.display(),
            processes(cgroup)
        );
        let mut fds = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)];
        let left = Timespec::try_from(left)?;
        retry_on_intr(|| poll(&mut fds, Some(&left)))?;
    }
}

/// The command lines of the processes in the cgroup itself, for a message.
fn processes(cgroup: &Path) -> String {
    let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let describe = |pid| process::command_line(pid).map(|line| format!("{pid} ({line})"));
    pids.lines()
        .filter_map(|pid| describe(pid.parse().ok()?))
        .collect::<Vec<_>>()
        .join(", ")
}
