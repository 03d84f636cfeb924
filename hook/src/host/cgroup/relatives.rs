//! The cgroups above and below one.

use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::Result;

use super::{Cgroup, Hierarchy, choose, tree};

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
    let hierarchy = Hierarchy::find()?;
    for name in choose::upwards(cgroup.name()).skip(1) {
        // Those above the mount cannot be seen from here.
        let Ok(above) = Cgroup::open(&hierarchy, name) else {
            break;
        };
        visit(Path::new(name), above.fd())?;
    }
    tree::walk(cgroup.fd(), Path::new(cgroup.name()), visit)
}
