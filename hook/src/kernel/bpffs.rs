//! The file system in which the programs are pinned.
//!
//! Whoever can replace a pin chooses the programs of future containers, and whoever can
//! open the directory can hold its lock. bpffs has mode 1777 unless it is mounted with
//! another one, so any user may have created a directory in it. Hence pins are opened,
//! and locks taken, only in what belongs to root alone.

use anyhow::{Context as _, Result, bail};
use rustix::fs::{
    CWD, FlockOperation, Mode, OFlags, Stat, flock, fstat, lstat, mkdirat, openat, stat, statfs,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::geteuid;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::host::ownership::judge;
use crate::host::privileges::REMEDY;

/// Where bpffs is mounted by convention; systemd mounts it there.
pub const MOUNT_POINT: &str = "/sys/fs/bpf";
/// The directory that holds one directory of pins for each version of the
/// object.
pub const DIRECTORY: &str = "/sys/fs/bpf/oci-bind-hook";

/// The command that mounts bpffs for root alone.
pub(crate) const MOUNT: &str = "mount -t bpf -o mode=0700 bpf /sys/fs/bpf";

/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// How long another process may take to mount the file system.
const PATIENCE: Duration = Duration::from_secs(2);

/// A lock on the directory of pins against other processes of this program, held until
/// the value is dropped.
#[derive(Debug)]
pub struct Lock {
    _directory: OwnedFd,
}

/// Locks the directory of pins for reading: nobody changes what is pinned in the
/// meantime. Returns `None` if there is no such directory.
///
/// # Errors
///
/// If the directory cannot be opened, or others could change what is in it.
pub fn lock_shared() -> Result<Option<Lock>> {
    lock(FlockOperation::LockShared)
}

/// Locks the directory of pins for changes. Returns `None` if there is no such directory.
///
/// # Errors
///
/// As for [`lock_shared`].
pub fn lock_exclusive() -> Result<Option<Lock>> {
    lock(FlockOperation::LockExclusive)
}

/// Locks the directory of pins for changes. Creates it, and mounts the file system, if
/// they are missing.
///
/// # Errors
///
/// If bpffs is not mounted and cannot be, or the directory cannot be created, and as for
/// [`lock_shared`].
pub fn lock_or_make() -> Result<Lock> {
    mount_if_missing()?;
    loop {
        match mkdirat(CWD, DIRECTORY, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("create {DIRECTORY}")),
        }
        if let Some(lock) = lock_exclusive()? {
            return Ok(lock);
        }
    }
}

/// Refuses a directory of pins that others could change.
///
/// # Errors
///
/// If it does not belong to root or the caller, if its group or others may write to it,
/// or if it cannot be looked at. It is not an error if there is none.
pub fn check(directory: &Path) -> Result<()> {
    match lstat(directory) {
        Err(Errno::NOENT) => Ok(()),
        found => check_found(
            directory,
            &found.with_context(|| format!("look at {}", directory.display()))?,
        ),
    }
}

fn check_found(directory: &Path, found: &Stat) -> Result<()> {
    let name = directory.display();
    match judge(found, geteuid().as_raw()) {
        Ok(()) => Ok(()),
        Err(distrust) if directory == Path::new(MOUNT_POINT) => bail!(
            "{name}, where the programs are pinned, {distrust}: \
             chown root {name}; chmod 0700 {name}"
        ),
        Err(distrust) => bail!(
            "{name}, where the programs are pinned, {distrust}: \
             remove it (rm -r {name}), and mount bpffs with mode=0700"
        ),
    }
}

/// Waits for the lock. If the directory was removed in the meantime, the next process
/// will lock another one, so this starts over; `None` if there is none.
fn lock(operation: FlockOperation) -> Result<Option<Lock>> {
    check(Path::new(MOUNT_POINT))?;
    loop {
        let directory = match open_directory(Path::new(DIRECTORY)) {
            Err(Errno::NOENT) => return Ok(None),
            Err(error @ (Errno::ACCESS | Errno::PERM)) => {
                return Err(error).with_context(|| format!("open {DIRECTORY}: {REMEDY}"));
            }
            // With O_DIRECTORY, a symbolic link gives ENOTDIR too.
            Err(Errno::NOTDIR) => bail!("{DIRECTORY} is not a directory: remove it"),
            opened => opened.with_context(|| format!("open {DIRECTORY}"))?,
        };
        let opened = fstat(&directory).with_context(|| format!("look at {DIRECTORY}"))?;
        check_found(Path::new(DIRECTORY), &opened)?;
        flock(&directory, operation).with_context(|| format!("lock {DIRECTORY}"))?;
        match stat(DIRECTORY) {
            Ok(now) if (now.st_dev, now.st_ino) == (opened.st_dev, opened.st_ino) => {
                return Ok(Some(Lock {
                    _directory: directory,
                }));
            }
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("stat {DIRECTORY}")),
        }
    }
}

/// Mounts bpffs at [`MOUNT_POINT`] if it is not mounted. Two processes that find it
/// missing at once must not both mount it, since the second mount would hide the first:
/// hence the lock on the directory below.
fn mount_if_missing() -> Result<()> {
    if is_mounted()? {
        return Ok(());
    }
    let below = open_directory(Path::new(MOUNT_POINT))
        .with_context(|| format!("open {MOUNT_POINT}: is sysfs mounted at /sys?"))?;
    lock_mount_point(&below)?;
    if is_mounted()? {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RELATIME;
    mount("bpf", MOUNT_POINT, "bpf", flags, Some(c"mode=0700")).with_context(|| {
        format!(
            "mount bpffs at {MOUNT_POINT}: mount it on the host ({MOUNT}), \
             or run as root"
        )
    })
}

/// Waits for a limited time: any user can lock a directory of sysfs, and keep it locked.
fn lock_mount_point(below: &OwnedFd) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(20);
    let start = Instant::now();
    loop {
        match flock(below, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if start.elapsed() < PATIENCE => sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => bail!(
                "lock {MOUNT_POINT}: another process holds the lock, \
                 and bpffs is not mounted there: mount it at boot ({MOUNT})"
            ),
            locked => return locked.with_context(|| format!("lock {MOUNT_POINT}")),
        }
    }
}

/// Whether bpffs is mounted at [`MOUNT_POINT`].
///
/// # Errors
///
/// If there is no such directory.
pub fn is_mounted() -> Result<bool> {
    let found = statfs(MOUNT_POINT)
        .with_context(|| format!("look at {MOUNT_POINT}: is sysfs mounted at /sys?"))?;
    Ok(u64::try_from(found.f_type) == Ok(BPF_FS_MAGIC))
}

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
