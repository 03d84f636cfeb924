//! `load` and `unload`: the pinned programs.

use anyhow::{Context as _, Result};
use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::print;
use crate::host::cgroup;
use crate::jobs::run;
use crate::kernel::bpffs::{self, DIRECTORY};
use crate::kernel::pins;
use crate::kernel::programs::Programs;
use crate::kernel::{deliver, loader};

/// Loads the programs, and attaches those for network devices where a policy needs them.
/// With a device, only does the latter, at that one.
pub(super) fn load(device: Option<&str>) -> Result<()> {
    if device.is_some() {
        return deliver::cover(device);
    }
    // Dropped at once, since its lock would keep others from changing what is pinned.
    drop(Programs::open_or_load()?);
    if let Some(lock) = bpffs::lock_exclusive()? {
        deliver::sweep(&lock)?;
    }
    deliver::cover(None)
}

/// Removes each version that neither a cgroup nor a server uses, what an interrupted load
/// left behind, and the empty cgroups of `run`.
pub(super) fn unload() -> Result<()> {
    run::sweep_all()?;
    let Some(lock) = bpffs::lock_exclusive()? else {
        return Ok(());
    };
    let all = Programs::all_pinned()?;
    let mut users = vec![0_usize; all.len()];
    cgroup::walk(|path, cgroup| {
        for ((_, programs), users) in all.iter().zip(&mut users) {
            *users += usize::from(uses(path, cgroup, programs)?);
        }
        Ok(())
    })?;
    deliver::sweep(&lock)?;
    for directory in pins::directories()? {
        let found = all
            .iter()
            .zip(&users)
            .find(|((path, _), _)| *path == directory);
        let name = directory.display();
        match found {
            Some((_, users)) if *users > 0 => {
                print(&format!("kept {name}: {users} cgroup(s) use it"))?;
            }
            Some(((path, programs), _)) if programs.have_servers()? || deliver::withdraw(path)? => {
                print(&format!("kept {name}: sockets that are still open need it"))?;
            }
            _ => loader::remove(&directory)?,
        }
    }
    if pins::directories()?.is_empty() {
        fs::remove_dir(DIRECTORY).with_context(|| format!("remove {DIRECTORY}"))?;
    }
    Ok(())
}

/// Whether a cgroup has any of the programs. One that is removed in the meantime has
/// none: asking for its programs gives ENOENT.
fn uses(path: &Path, cgroup: BorrowedFd<'_>, programs: &Programs) -> Result<bool> {
    programs.are_attached(cgroup).or_else(|error| {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(ErrorKind::NotFound) => Ok(false),
            _ => Err(error.context(format!("look at cgroup {}", path.display()))),
        }
    })
}
