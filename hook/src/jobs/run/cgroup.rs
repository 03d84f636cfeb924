//! The cgroup of one `run`: created below the caller's own, so that the caller's limits
//! apply, or further up if others could change that one ([`place`]), and removed at the
//! end.

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::place;
use crate::host::cgroup::{self, Cgroup};
use crate::kernel::deliver;

/// The start of such a cgroup's name; the process id follows.
const PREFIX: &str = "oci-bind-hook-run-";
/// How long the processes of a cgroup may take to die.
const PATIENCE: Duration = Duration::from_secs(10);

/// A new cgroup. Its directory stays locked as long as the value lives: that is how
/// [`sweep_all`] tells one that is about to be used from one that was left behind.
pub(super) struct RunCgroup {
    cgroup: Cgroup,
    _lock: OwnedFd,
}

impl RunCgroup {
    /// Creates the cgroup, after removing those that others left behind beside it.
    pub(super) fn make() -> Result<Self> {
        let parent = place::find()?;
        sweep(&parent)?;
        for attempt in 0.. {
            let path = parent.join(name(attempt));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.with_context(|| {
                    format!(
                        "create cgroup {}: needs root, and room within cgroup.max.descendants \
                         and cgroup.max.depth",
                        path.display()
                    )
                })?,
            }
            if let Some(lock) = lock(&path)? {
                let cgroup = cgroup::of_path(&path)?;
                return Ok(Self {
                    cgroup,
                    _lock: lock,
                });
            }
        }
        unreachable!("the loop has no end")
    }

    pub(super) fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Opens the file through which a process enters the very cgroup that has the policy.
    pub(super) fn open_procs(&self) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let procs = openat(self.cgroup.fd(), "cgroup.procs", flags, Mode::empty());
        let path = self.cgroup.path().display();
        Ok(procs
            .with_context(|| format!("open {path}/cgroup.procs"))?
            .into())
    }
}

/// Waits for the end of standard input, then kills what is left in the cgroup
/// and removes it.
///
/// # Errors
///
/// If a process survives, or the cgroup cannot be removed.
pub(crate) fn end_run(path: &Path) -> Result<()> {
    let mut nothing = Vec::new();
    io::stdin()
        .read_to_end(&mut nothing)
        .context("wait for the end of the run")?;
    let start = Instant::now();
    let id = fs::metadata(path).ok().map(|found| found.ino());
    loop {
        kill_all(path)?;
        match remove_tree(path) {
            // A process whose start was under way when the run was killed has entered.
            Err(error) if is_busy(&error) && start.elapsed() < PATIENCE => {}
            removed => break removed?,
        }
    }
    // The next `load`, `unload` or `detach` does this too.
    if let Err(error) = deliver::refresh(&deliver::namespaces(None), id) {
        log::debug!("programs may be left on network devices: {error:#}");
    }
    Ok(())
}

fn is_busy(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::ResourceBusy)
}

/// Removes the empty cgroups that `run` left behind, everywhere.
///
/// # Errors
///
/// If the hierarchy cannot be read.
pub(crate) fn sweep_all() -> Result<()> {
    let mut parents = Vec::new();
    cgroup::walk(|path, _| {
        if is_run(path)
            && let Some(parent) = path.parent()
        {
            parents.push(parent.to_owned());
        }
        Ok(())
    })?;
    parents.dedup();
    parents.iter().try_for_each(|parent| sweep(parent))
}

/// Removes the empty cgroups that `run` left behind in one directory.
fn sweep(parent: &Path) -> Result<()> {
    let entries = fs::read_dir(parent).with_context(|| format!("read {}", parent.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        // One in use is either locked or not empty. The lock is held until the cgroup is
        // removed: otherwise, whoever has just created it would take the lock.
        if is_run(&path)
            && let Ok(Some(_lock)) = lock(&path)
        {
            let _ = remove_tree(&path);
        }
    }
    Ok(())
}

fn is_run(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with(PREFIX))
}

fn name(attempt: u32) -> String {
    let pid = std::process::id();
    match attempt {
        0 => format!("{PREFIX}{pid}"),
        _ => format!("{PREFIX}{pid}-{attempt}"),
    }
}

/// Locks a cgroup's directory; `None` if somebody else has locked or removed it.
fn lock(path: &Path) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match openat(CWD, path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NODEV) => return Ok(None),
        opened => opened.with_context(|| format!("open cgroup {}", path.display()))?,
    };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        locked => {
            locked.with_context(|| format!("lock cgroup {}", path.display()))?;
            Ok(path.exists().then_some(directory))
        }
    }
}

/// Kills every process of the cgroup and waits until it is empty or gone.
fn kill_all(path: &Path) -> Result<()> {
    let events = path.join("cgroup.events");
    let mut events = match File::open(&events) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened.with_context(|| format!("open {}", events.display()))?,
    };
    let start = Instant::now();
    while is_populated(&mut events)
        .with_context(|| format!("read cgroup.events of cgroup {}", path.display()))?
    {
        ensure!(
            start.elapsed() < PATIENCE,
            "cgroup {} still has processes {} s after they were killed: \
             oci-bind-hook unload removes it once they are gone",
            path.display(),
            PATIENCE.as_secs()
        );
        // cgroup.kill came with Linux 5.14.
        if fs::write(path.join("cgroup.kill"), "1").is_err() {
            kill_each(path)?;
        }
        wait_for_change(&events, path)?;
    }
    Ok(())
}

fn kill_each(path: &Path) -> Result<()> {
    for directory in tree(path)? {
        let procs = directory.join("cgroup.procs");
        let pids =
            fs::read_to_string(&procs).with_context(|| format!("read {}", procs.display()))?;
        for pid in pids.lines().filter_map(|pid| pid.parse().ok()) {
            if let Some(pid) = Pid::from_raw(pid) {
                // It may have ended meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
    Ok(())
}

/// Whether there are processes. A cgroup that another process has removed in the meantime
/// was empty: its files give ENODEV.
fn is_populated(events: &mut File) -> io::Result<bool> {
    let mut text = String::new();
    let read = events
        .seek(SeekFrom::Start(0))
        .and_then(|_| events.read_to_string(&mut text));
    match read {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        read => {
            read?;
            Ok(cgroup::says_populated(&text))
        }
    }
}

/// Waits until cgroup.events changes. The kernel then raises POLLPRI, but holds the event
/// back for up to 10 ms, and drops it when the cgroup is removed in that time
/// (`cgroup_file_notify`, `cgroup_rm_file`): hence the short wait.
fn wait_for_change(events: &File, path: &Path) -> Result<()> {
    const A_MOMENT: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    let mut fds = [PollFd::new(events, PollFlags::PRI)];
    poll(&mut fds, Some(&A_MOMENT))
        .with_context(|| format!("wait for the processes of cgroup {} to end", path.display()))?;
    Ok(())
}

/// Removes a cgroup without processes, and those that the command created in it.
fn remove_tree(path: &Path) -> Result<()> {
    for directory in tree(path)?.iter().rev() {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => {
                removed.with_context(|| format!("remove cgroup {}", directory.display()))?;
            }
        }
    }
    Ok(())
}

/// Returns a cgroup and all below it, parents first.
fn tree(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![path.to_owned()];
    let mut next = 0;
    while let Some(directory) = found.get(next).cloned() {
        next += 1;
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("read {}", directory.display()))?,
        };
        found.extend(
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.is_dir()),
        );
    }
    Ok(found)
}
