//! Network namespaces. Any but our own is entered on a thread that ends there.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result, anyhow, bail};
use rustix::fs::{Mode, OFlags, fstat, open, stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Pid, getpid};
use rustix::thread::{LinkNameSpaceType, gettid, move_into_link_name_space};

/// A network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The calling thread's.
    Own,
    /// That of a process.
    OfProcess(Pid),
}

impl Namespace {
    /// Calls `act` in the namespace.
    ///
    /// # Errors
    ///
    /// If the process has ended, or its namespace may not be entered; and those of `act`.
    pub fn enter<T: Send>(self, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        match self {
            Self::OfProcess(pid) => match foreign(pid)? {
                None => act(),
                Some(theirs) => {
                    within(&theirs, act).with_context(|| format!("network namespace of pid {pid}"))
                }
            },
            Self::Own => act(),
        }
    }

    /// Whether it is the calling thread's.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`].
    pub fn is_own(self) -> Result<bool> {
        match self {
            Self::OfProcess(pid) => foreign(pid).map(|theirs| theirs.is_none()),
            Self::Own => Ok(true),
        }
    }

    /// Opens the namespace.
    ///
    /// # Errors
    ///
    /// If there is no /proc, or the process has ended.
    pub fn open(self) -> Result<OwnedFd> {
        if let Self::OfProcess(pid) = self
            && let Some(theirs) = foreign(pid)?
        {
            return Ok(theirs);
        }
        let own = own();
        open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("open {own}: is proc mounted at /proc?"))
    }

    /// Returns the inode number of the namespace, which is unique as long as it exists.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`].
    pub fn inode(self) -> Result<u64> {
        inode(&self.open()?)
    }
}

/// Returns the cookie of the calling thread's namespace (`SO_NETNS_COOKIE`), which no
/// other gets until the host reboots; `None` before Linux 5.14.
///
/// # Errors
///
/// If the kernel cannot be asked through a socket.
#[expect(unsafe_code, reason = "an option that rustix does not know")]
pub fn cookie() -> Result<Option<u64>> {
    let socket = socket(AddressFamily::UNIX, SocketType::DGRAM, None)
        .context("open a socket to read the network namespace's cookie")?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>())?;
    // SAFETY: the kernel writes no more bytes than `length` says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        return Ok(Some(cookie));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(None),
        error => Err(error).context("read the network namespace's cookie"),
    }
}

/// Lists the namespaces of all processes that can be looked at, each by one process.
///
/// # Errors
///
/// If there is no /proc.
pub fn all() -> Result<Vec<Namespace>> {
    let mut known = BTreeSet::new();
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let name = entry.context("read /proc")?.file_name();
        let pid = name.to_str().and_then(|name| name.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            continue;
        };
        // It may have ended.
        if let Ok(found) = stat(format!("/proc/{pid}/ns/net"))
            && known.insert((found.st_dev, found.st_ino))
        {
            all.push(Namespace::OfProcess(pid));
        }
    }
    Ok(all)
}

/// Calls `act` in an open namespace, on a new thread unless it is our own.
///
/// # Errors
///
/// If it may not be entered; and those of `act`.
pub fn visit<T: Send>(namespace: &OwnedFd, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    if inode(namespace)? == Namespace::Own.inode()? {
        act()
    } else {
        within(namespace, act)
    }
}

/// Returns the inode number of an open namespace.
///
/// # Errors
///
/// If the kernel cannot be asked.
pub fn inode(namespace: &OwnedFd) -> Result<u64> {
    let found = fstat(namespace).context("look at the network namespace")?;
    Ok(found.st_ino)
}

/// Opens the network namespace of a process; `None` if it is our own.
pub(crate) fn foreign(pid: Pid) -> Result<Option<OwnedFd>> {
    let path = format!("/proc/{pid}/ns/net");
    let fd = match open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT | Errno::SRCH) => {
            bail!("pid {pid}: no such process: it ended before its addresses could be checked")
        }
        other => other.with_context(|| format!("open {path}: needs CAP_SYS_PTRACE"))?,
    };
    let theirs = fstat(&fd).with_context(|| format!("look at {path}"))?;
    let own = own();
    let ours = stat(own).with_context(|| format!("look at {own}: is proc mounted at /proc?"))?;
    let same = (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino);
    Ok((!same).then_some(fd))
}

/// Returns the path of the calling thread's network namespace. /proc/self stands for the
/// first thread, whose namespace may be another; for that thread it is cheaper.
fn own() -> &'static str {
    if gettid() == getpid() {
        "/proc/self/ns/net"
    } else {
        "/proc/thread-self/ns/net"
    }
}

/// Calls `act` in a network namespace, on a new thread.
pub(crate) fn within<T: Send>(
    namespace: &OwnedFd,
    act: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let entered = || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .context("enter it: setns(2) needs CAP_SYS_ADMIN")?;
        act()
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .spawn_scoped(scope, entered)
            .context("start a thread")?
            .join()
            .map_err(|_| anyhow!("the thread that entered it panicked"))?
    })
}

/// Runs a test in a new network namespace, which ends with it.
#[cfg(test)]
#[allow(
    deprecated,
    reason = "the replacement is unsafe for the sake of CLONE_FILES, which is not used"
)]
pub(crate) fn within_new(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET)
                .expect("a network namespace of its own: run it as root");
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}
