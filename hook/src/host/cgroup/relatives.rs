//! The cgroups above and below one.

use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::Result;

use super::{Cgroup, Hierarchy, choose, tree};

/// Calls `visit` for the cgroup of this name and every one above it but the root, the nearest
/// first, with its name in the hierarchy and its descriptor.
///
/// # Errors
///
/// The first error of `visit`, or there is no cgroup2.
pub fn walk_up(
    name: &str,
    mut visit: impl FnMut(&Path, BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    let hierarchy = Hierarchy::find()?;
    for name in choose::upwards(name) {
        // Those above the mount cannot be seen from here.
        let Ok(cgroup) = Cgroup::open(&hierarchy, name) else {
            break;
        };
        visit(Path::new(name), cgroup.fd())?;
    }
    Ok(())
}

/// Calls `visit` for every cgroup above this one but the root, the nearest first, and then
/// for every one below it, with its name in the hierarchy and its descriptor.
///
/// # Errors
///
/// The first error of `visit`, or a cgroup cannot be read.
pub fn walk_relatives(
    cgroup: &Cgroup,
    mut visit: impl FnMut(&Path, BorrowedFd<'_>) -> Result<()>,
) -> Result<()> {
    if let Some((above, _)) = cgroup.name().rsplit_once('/') {
        walk_up(above, &mut visit)?;
    }
    tree::walk(cgroup.fd(), Path::new(cgroup.name()), visit)
}
