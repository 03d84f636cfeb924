//! Finds the cgroups that are under a policy from what the kernel holds: the pinned
//! programs of every version, what is attached, and what they counted.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context as _, Result};
use aya::util::nr_cpus;
use oci_bind_hook_ebpf::abi;
use serde::Serialize;

use crate::host::cgroup;
use crate::kernel::catalogue::{PROGRAMS, VERSION};
use crate::kernel::programs::{Opened, Programs};
use crate::kernel::{bpffs, syscall};
use crate::plan::view::PolicyView;

/// One cgroup that has programs of the hook.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its path within the hierarchy.
    pub cgroup: String,
    /// The id of its container, if its path has one.
    pub container: Option<String>,
    /// The engine, if the path tells.
    pub engine: Option<&'static str>,
    /// The version of its programs: the hash of their object.
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
    let Some(_lock) = bpffs::lock_shared()? else {
        return Ok(Vec::new());
    };
    let versions = Programs::all_pinned()?
        .into_iter()
        .map(|(_, programs)| Version::new(programs))
        .collect::<Result<Vec<_>>>()?;
    let mut entries = Vec::new();
    cgroup::walk_names(|path, fd| {
        for version in &versions {
            match version.entry(path, fd) {
                Ok(entry) => entries.extend(entry),
                // Removed in the meantime.
                Err(error) if is_gone(&error) => {}
                Err(error) => {
                    return Err(error.context(format!("look at cgroup {}", path.display())));
                }
            }
        }
        Ok(())
    })?;
    Ok(entries)
}

fn is_gone(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// One version's programs, with what is the same for all cgroups.
struct Version {
    programs: Programs,
    counters: OwnedFd,
    /// Whether its maps have values of our size.
    is_readable: bool,
    cpus: usize,
}

impl Version {
    fn new(programs: Programs) -> Result<Self> {
        let counters = programs.counters()?;
        let size = |map| syscall::value_size(map).context("get the value size of a map");
        let is_readable = size(programs.policy())? == size_of::<abi::Policy>()
            && size(counters.as_fd())? == size_of::<abi::Counters>();
        let cpus = nr_cpus().map_err(|(path, error)| {
            anyhow::Error::new(error).context(format!("read the number of CPUs in {path}"))
        })?;
        Ok(Self {
            programs,
            counters,
            is_readable,
            cpus,
        })
    }

    /// Returns what is known of a cgroup; `None` if it has none of these programs.
    fn entry(&self, path: &Path, fd: BorrowedFd<'_>) -> Result<Option<Entry>> {
        let id = rustix::fs::fstat(fd).map_err(io::Error::from)?.st_ino;
        let policy = match self.is_readable {
            // Most cgroups have no programs of the hook, so check this first.
            true => match self.policy(id)? {
                None => return Ok(None),
                some => some,
            },
            false => None,
        };
        let layout = |policy: &abi::Policy| policy.flags & abi::flag::LAYOUT_MASK;
        let policy = policy.filter(|policy| layout(policy) == abi::flag::LAYOUT);
        let mut attached = Vec::new();
        for program in self.programs.iter() {
            if program.is_attached(fd)? {
                attached.push(program.name);
            }
        }
        if attached.is_empty() {
            return Ok(None);
        }
        let is_missing = |program: &&Opened| {
            policy.is_some_and(|policy| program.is_needed(&policy))
                && !attached.contains(&program.name)
        };
        let counted = match self.is_readable {
            true => syscall::read_counters(self.counters.as_fd(), id, self.cpus)?,
            false => abi::Counters::default(),
        };
        let cgroup = path.to_string_lossy().into_owned();
        let container = cgroup::container(&cgroup);
        Ok(Some(Entry {
            container: container.map(|(_, id)| id.to_owned()),
            engine: container.and_then(|(engine, _)| engine),
            version: self.programs.version(),
            is_current: self.programs.version() == VERSION,
            missing: self
                .programs
                .iter()
                .filter(is_missing)
                .map(|program| program.name)
                .collect(),
            policy: policy.as_ref().map(PolicyView::from),
            counters: Counters::from(&counted),
            cgroup,
        }))
    }

    /// Returns the policy map's value for a cgroup; `None` if no program was ever
    /// attached there.
    fn policy(&self, id: u64) -> Result<Option<abi::Policy>> {
        match syscall::read_policy(self.programs.policy(), id) {
            Ok(policy) => Ok(Some(policy)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
