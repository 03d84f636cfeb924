//! Walks the cgroup directories below one, however deep.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::hierarchy::DIRECTORY;

/// Calls `visit` for every cgroup below `top`, parents first, with its path (below
/// `path`) and its descriptor. Cgroups that vanish in the meantime are skipped.
///
/// The walk holds one descriptor at a time and goes up by `..`, so that depth costs
/// neither stack nor descriptors, and no path is longer than one name. A cgroup cannot be
/// renamed, so `..` is where we came from.
///
/// # Errors
///
/// The first error of `visit`, or a directory cannot be read.
pub fn walk(
    top: BorrowedFd<'_>,
    path: &Path,
    mut visit: impl FnMut(&Path, BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    let failed = |path: &Path| format!("read cgroup {}", path.display());
    let device = rustix::fs::fstat(top).with_context(|| failed(path))?.st_dev;
    let mut pending = vec![children(top).with_context(|| failed(path))?];
    let mut path = path.to_owned();
    let mut at: Option<OwnedFd> = None;
    while let Some(level) = pending.last_mut() {
        let here = at.as_ref().map_or(top, |at| at.as_fd());
        let Some(name) = level.pop() else {
            pending.pop();
            path.pop();
            at = match pending.len() {
                0 | 1 => None,
                _ => Some(open(here, c"..").with_context(|| failed(&path))?),
            };
            continue;
        };
        let fd = match open(here, &name) {
            Ok(fd) => fd,
            Err(error) if vanished(error) => continue,
            Err(error) => return Err(error).with_context(|| failed(&path)),
        };
        path.push(OsStr::from_bytes(name.to_bytes()));
        // Something else may be mounted on a cgroup.
        let same = rustix::fs::fstat(&fd).is_ok_and(|stat| stat.st_dev == device);
        if !same {
            path.pop();
            continue;
        }
        visit(&path, fd.as_fd())?;
        pending.push(children(fd.as_fd()).with_context(|| failed(&path))?);
        at = Some(fd);
    }
    Ok(())
}

fn open(at: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(at, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
}

/// Returns the names of the child cgroups; none if the cgroup has vanished.
fn children(at: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    match list(at) {
        Err(error) if vanished(error) => Ok(Vec::new()),
        other => other,
    }
}

fn list(at: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    // Listing a cgroup's sixty files costs the most. A directory without subdirectories
    // has two links (kernfs_refresh_inode): skip it.
    if rustix::fs::fstat(at)?.st_nlink == 2 {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(at)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Whether an error means that a cgroup was removed in the meantime.
pub fn vanished(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NODEV)
}
