//! Finds the place for the cgroup of a `run`: where only root can write.
//!
//! The owner of a cgroup can remove the cgroups in it and create others of the same name.
//! And to move a process, even one of root's, it is enough to be allowed to write to
//! cgroup.procs of the destination and of the closest common ancestor
//! (`cgroup_procs_write_permission`). Below user@.service, and below units with
//! `Delegate=` and `User=`, another user can do both.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rustix::fs::stat;
use rustix::process::geteuid;

use crate::host::cgroup;
use crate::host::ownership::judge;

/// Returns the innermost of the caller's cgroup and its ancestors that only root can
/// change, and all of whose ancestors only root can change.
///
/// # Errors
///
/// If others can change even the root of what is mounted here.
pub(super) fn find() -> Result<PathBuf> {
    let own = cgroup::own_directory()?;
    let mut place = cgroup::mount()?.point;
    let below = own
        .strip_prefix(&place)
        .context("find this process's own cgroup")?;
    check(&place).context(
        "the cgroup hierarchy here does not belong to root alone: run the command on the host",
    )?;
    // From the root down: nobody else can replace what only root's directories contain.
    for name in below {
        let next = place.join(name);
        if let Err(error) = check(&next) {
            log::debug!("the new cgroup is not below the caller's own: {error:#}");
            break;
        }
        place = next;
    }
    Ok(place)
}

/// Refuses a cgroup in which others could create and remove cgroups, or out of
/// which they could move processes.
fn check(cgroup: &Path) -> Result<()> {
    for path in [cgroup.to_owned(), cgroup.join("cgroup.procs")] {
        let shown = path.display();
        let found = stat(&path).with_context(|| format!("look at {shown}"))?;
        if let Err(distrust) = judge(&found, geteuid().as_raw()) {
            bail!("{shown} {distrust}");
        }
    }
    Ok(())
}
