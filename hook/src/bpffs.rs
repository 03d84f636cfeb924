//! The file system in which the programs are pinned.

use anyhow::{Context as _, Result};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, mkdirat, openat, statfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::privileges::REMEDY;

/// Where bpffs is mounted by convention; systemd mounts it there.
pub const MOUNT_POINT: &str = "/sys/fs/bpf";
/// The directory that holds one directory of pins for each version of the
/// object.
pub const DIRECTORY: &str = "/sys/fs/bpf/oci-bind-hook";

/// `BPF_FS_MAGIC`, include/uapi/linux/magic.h
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// The directory of pins, locked against others of this program. The lock ends
/// with the value.
#[derive(Debug)]
pub struct Lock {
    _directory: OwnedFd,
}

/// Locks the directory of pins for reading: nobody changes what is pinned
/// meanwhile. `None` if there is no such directory.
///
/// # Errors
///
/// If the directory cannot be opened.
pub fn lock_shared() -> Result<Option<Lock>> {
    lock(FlockOperation::LockShared)
}

/// Locks the directory of pins for changes, if there is one.
///
/// # Errors
///
/// If the directory cannot be opened.
pub fn lock_exclusive() -> Result<Option<Lock>> {
    lock(FlockOperation::LockExclusive)
}

/// Locks the directory of pins for changes, after making it, and mounting the
/// file system, where they are missing.
///
/// # Errors
///
/// If bpffs is not mounted and cannot be, or the directory cannot be made.
pub fn lock_or_make() -> Result<Lock> {
    mount_if_missing()?;
    loop {
        match mkdirat(CWD, DIRECTORY, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).with_context(|| format!("make {DIRECTORY}")),
        }
        if let Some(lock) = lock_exclusive()? {
            return Ok(lock);
        }
    }
}

/// Waits for the lock. A directory that was removed while we waited is not the
/// one that the next process will lock, so that is the same as none.
fn lock(operation: FlockOperation) -> Result<Option<Lock>> {
    loop {
        let directory = match open_directory(Path::new(DIRECTORY)) {
            Err(Errno::NOENT) => return Ok(None),
            Err(error @ (Errno::ACCESS | Errno::PERM)) => {
                return Err(error).with_context(|| format!("open {DIRECTORY}: {REMEDY}"));
            }
            opened => opened.with_context(|| format!("open {DIRECTORY}"))?,
        };
        flock(&directory, operation).with_context(|| format!("lock {DIRECTORY}"))?;
        let locked = rustix::fs::fstat(&directory).context("stat the locked directory")?;
        match rustix::fs::stat(DIRECTORY) {
            Ok(now) if (now.st_dev, now.st_ino) == (locked.st_dev, locked.st_ino) => {
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

/// Mounts bpffs at [`MOUNT_POINT`] if nothing has. Two that find it missing at
/// once must not both mount it, since the second would hide the first: hence
/// the lock on the directory below.
fn mount_if_missing() -> Result<()> {
    if is_mounted()? {
        return Ok(());
    }
    let below = open_directory(Path::new(MOUNT_POINT))
        .with_context(|| format!("open {MOUNT_POINT}: is sysfs mounted at /sys?"))?;
    flock(&below, FlockOperation::LockExclusive).with_context(|| format!("lock {MOUNT_POINT}"))?;
    if is_mounted()? {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RELATIME;
    mount("bpf", MOUNT_POINT, "bpf", flags, Some(c"mode=0700")).with_context(|| {
        format!(
            "mount bpffs at {MOUNT_POINT}: mount it on the host, \
             mount -t bpf bpf {MOUNT_POINT}, or run as root"
        )
    })
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
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}
