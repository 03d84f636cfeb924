//! `load` and `unload`: the pinned programs.

use anyhow::{Context as _, Result};
use std::collections::BTreeMap;
use std::fs;

use super::print;
use crate::host::cgroup;
use crate::jobs::run;
use crate::kernel::bpffs::{self, DIRECTORY};
use crate::kernel::found::{Finder, unless_gone};
use crate::kernel::programs::Programs;
use crate::kernel::{deliver, loader, pins};
use crate::text::count;

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
    let users = users()?;
    deliver::sweep(&lock)?;
    for directory in pins::directories()? {
        let found = all.iter().find(|(path, _)| *path == directory);
        let name = directory.display();
        match found {
            Some((_, programs)) if users.contains_key(&programs.version()) => {
                let users = count(users[&programs.version()], "cgroup");
                print(&format!("kept {name}: in use by {users}"))?;
            }
            Some((path, programs)) if programs.have_servers()? || deliver::withdraw(path)? => {
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

/// Counts the cgroups that use each version that is pinned here. One that is removed in
/// the meantime uses none: asking for its programs gives ENOENT.
fn users() -> Result<BTreeMap<String, usize>> {
    let mut finder = Finder::default();
    let mut users = BTreeMap::new();
    cgroup::walk(|path, cgroup| {
        for found in unless_gone(path, || finder.at(cgroup))? {
            if let Some(name) = &finder.version(found.version).name {
                *users.entry(name.clone()).or_default() += 1;
            }
        }
        Ok(())
    })?;
    Ok(users)
}
