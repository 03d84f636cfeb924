//! The cgroups that are under a policy, from what the kernel holds: what is attached, the
//! policies, and what was counted.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use anyhow::{Context as _, Result};
use aya::util::nr_cpus;
use oci_bind_hook_ebpf::abi;
use serde::Serialize;

use crate::host::cgroup;
use crate::kernel::catalogue::{PROGRAMS, Program, VERSION};
use crate::kernel::found::{Finder, Found, Version, readable, unless_gone};
use crate::kernel::{bpffs, syscall};
use crate::plan::view::PolicyView;

/// What stands for the version of programs that are not pinned in this bpffs.
pub const UNPINNED: &str = "unpinned";

/// One cgroup that has programs of the hook.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its path within the hierarchy.
    pub cgroup: String,
    /// The id of its container, if its path has one.
    pub container: Option<String>,
    /// The engine, if the path tells.
    pub engine: Option<&'static str>,
    /// Whether there are processes in it or below it. Some engines leave the cgroup of a
    /// container that has ended.
    pub is_populated: bool,
    /// The version of its programs: the hash of their object, or [`UNPINNED`].
    pub version: String,
    /// Whether that is this program's version.
    pub is_current: bool,
    /// Its policy. `None` if none was written, so that everything is refused, or if this
    /// version cannot read that one's.
    pub policy: Option<PolicyView>,
    /// Programs that its policy needs but that are not attached: somebody detached them.
    pub missing: Vec<&'static str>,
    /// What was decided since the first attachment.
    pub counters: Counters,
}

/// What was decided in one cgroup.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    /// Calls, by program.
    pub calls: BTreeMap<&'static str, Calls>,
    /// Refused calls, by cause.
    pub denied: BTreeMap<&'static str, u64>,
    /// Binds that succeeded although no other host can reach the socket, by program: to
    /// the wildcard address of a family that is not assigned, or to another address of
    /// the host.
    pub isolated: BTreeMap<&'static str, u64>,
    /// Packets that the guard dropped, by direction.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// Calls that one program decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Calls whose address was replaced.
    pub rewritten: u64,
    /// Calls left as they were. Programs that see every socket, or translate names,
    /// do not count them.
    pub passed: u64,
    /// Calls refused.
    pub denied: u64,
}

/// Names of the causes, in the order of [`abi::Cause`].
const CAUSES: [&str; abi::CAUSES] = [
    "no-policy",
    "family",
    "not-assigned",
    "unreachable",
    "immovable",
    "refused",
    "in-use",
    "protocol",
];

impl From<&abi::Counters> for Counters {
    fn from(counted: &abi::Counters) -> Self {
        let mut counters = Self::default();
        for (program, hook) in PROGRAMS.iter().zip(&counted.hooks) {
            if program.sees_packets() {
                counters.dropped.insert(program.name, hook.denied);
            } else {
                counters.calls.insert(
                    program.name,
                    Calls {
                        rewritten: hook.rewritten,
                        passed: hook.passed,
                        denied: hook.denied,
                    },
                );
            }
        }
        counters.denied = CAUSES.into_iter().zip(counted.causes).collect();
        let names = PROGRAMS.iter().map(|program| program.name);
        counters.isolated = names.zip(counted.isolated).collect();
        counters
    }
}

/// Whether a cgroup is under a policy: its own, or that of one above it.
pub fn covers(entries: &[Entry], cgroup: &str) -> bool {
    let mut entries = entries.iter();
    entries.any(|entry| cgroup::contains(&entry.cgroup, cgroup))
}

impl Counters {
    /// Returns the sum of all calls.
    pub fn sum(&self) -> Calls {
        let sum = |field: fn(&Calls) -> u64| self.calls.values().map(field).sum();
        Calls {
            rewritten: sum(|calls| calls.rewritten),
            passed: sum(|calls| calls.passed),
            denied: sum(|calls| calls.denied),
        }
    }
}

/// Lists the cgroups below the mount that have programs of the hook, parents first.
///
/// # Errors
///
/// If the hierarchy or the pins cannot be read, or for lack of privileges.
pub fn collect() -> Result<Vec<Entry>> {
    let _lock = bpffs::lock_shared()?;
    let cpus = nr_cpus().map_err(|(path, error)| {
        anyhow::Error::new(error).context(format!("read the number of CPUs in {path}"))
    })?;
    let mut finder = Finder::default();
    let mut entries = Vec::new();
    cgroup::walk_names(|path, fd| {
        entries.extend(unless_gone(path, || {
            let all = finder.at(fd)?;
            let entry = |found: &Found| entry(path, fd, finder.version(found.version), found, cpus);
            all.iter().map(entry).collect()
        })?);
        Ok(())
    })?;
    Ok(entries)
}

/// Returns what is known of a cgroup that has programs of a version.
fn entry(
    path: &Path,
    fd: BorrowedFd<'_>,
    version: &Version,
    found: &Found,
    cpus: usize,
) -> Result<Entry> {
    let id = rustix::fs::fstat(fd).map_err(io::Error::from)?.st_ino;
    let policy = version.policy_of(id)?;
    let counted = readable::<abi::Counters>(version.counters.as_ref())?
        .map(|map| syscall::read_counters(map, id, cpus))
        .transpose()?
        .unwrap_or_default();
    let is_missing = |program: &&Program| {
        policy.is_some_and(|policy| program.is_needed(&policy))
            && !found
                .programs
                .iter()
                .any(|there| there.name == program.name)
    };
    let cgroup = path.to_string_lossy().into_owned();
    let container = cgroup::container(&cgroup);
    let name = version.name.as_deref();
    Ok(Entry {
        container: container.map(|(_, id)| id.to_owned()),
        engine: container.and_then(|(engine, _)| engine),
        is_populated: cgroup::is_populated(fd).context("read cgroup.events")?,
        version: name.unwrap_or(UNPINNED).to_owned(),
        is_current: name == Some(VERSION),
        missing: version
            .programs
            .iter()
            .filter(is_missing)
            .map(|program| program.name)
            .collect(),
        policy: policy.as_ref().map(PolicyView::from),
        counters: Counters::from(&counted),
        cgroup,
    })
}
