//! Policies of cgroups above and below one, which apply to it or besides its own.

use anyhow::Result;
use oci_bind_hook_ebpf::abi::Policy;
use std::io;

use crate::host::cgroup::{self, Cgroup};
use crate::kernel::bpffs;
use crate::kernel::found::{Finder, unless_gone};

/// A policy that applies besides another.
#[derive(Debug)]
pub struct Nested {
    /// The name of its cgroup in the hierarchy.
    pub cgroup: String,
    /// `None` if this version cannot read it.
    pub policy: Option<Policy>,
}

/// Whether the cgroup of this name, or one above it, has a policy.
///
/// # Errors
///
/// If there is no cgroup2, or for lack of privileges.
pub fn covers(cgroup: &str) -> Result<bool> {
    let _lock = bpffs::lock_shared()?;
    let mut finder = Finder::default();
    let mut is_covered = false;
    cgroup::walk_up(cgroup, |_, fd| {
        is_covered = is_covered || !finder.at(fd)?.is_empty();
        Ok(())
    })?;
    Ok(is_covered)
}

/// Returns the policies of the cgroups above and below this one.
///
/// # Errors
///
/// If the hierarchy or the pins cannot be read.
pub fn nested(cgroup: &Cgroup) -> Result<Vec<Nested>> {
    let _lock = bpffs::lock_shared()?;
    let mut finder = Finder::default();
    let mut all = Vec::new();
    cgroup::walk_relatives(cgroup, |path, fd| {
        let found = unless_gone(path, || finder.at(fd))?;
        let id = rustix::fs::fstat(fd).map_err(io::Error::from)?.st_ino;
        for version in found {
            all.push(Nested {
                cgroup: path.to_string_lossy().into_owned(),
                policy: finder.version(version.version).policy_of(id)?,
            });
        }
        Ok(())
    })?;
    Ok(all)
}
