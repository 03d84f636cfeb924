//! The programs: loaded and pinned once a boot, opened by everybody after that.
//!
//! Each version of the object has a directory of pins of its own, named by its
//! hash. Containers that started under an older version keep its programs.

use anyhow::{Context as _, Result};
use aya_obj::generated::bpf_attach_type;
use oci_bind_hook_ebpf::abi::{Policy, flag};
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::bpf;
use crate::bpffs::{self, DIRECTORY};
use crate::loader;
use crate::privileges::REMEDY;

/// The first 16 digits of the SHA-256 of the embedded object.
pub const VERSION: &str = env!("OBJECT_HASH");

/// One program: its name in the object and as a pin, and where it is attached.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Name in the object, and of the pin.
    pub name: &'static str,
    /// The hook in the kernel.
    pub attach_type: bpf_attach_type,
    /// It is needed by a policy that has one of these bits of
    /// [`oci_bind_hook_ebpf::abi::flag`].
    needed_by: u32,
}

impl Program {
    /// Whether a cgroup under this policy needs the program.
    pub fn is_needed(&self, policy: &Policy) -> bool {
        policy.flags & self.needed_by != 0
    }

    /// Whether it sees packets, and not calls.
    pub fn sees_packets(&self) -> bool {
        self.needed_by == PACKETS
    }
}

/// Programs that decide calls, or tell where a socket is bound.
const CALLS: u32 = flag::ACTIVE;
/// Programs that tell a redirected program the peers that it used.
const NAMES: u32 = flag::LOOPBACK_AUTO | flag::LOOPBACK_PRIVATE;
/// Programs that see every packet.
const PACKETS: u32 = flag::GUARD;
/// Programs that enter dual-stack servers into the map.
const SERVERS: u32 = flag::DUAL;

/// All programs, in the order of attachment; first those that count, in the
/// order of [`oci_bind_hook_ebpf::abi::Hook`].
pub const PROGRAMS: [Program; 17] = [
    program("bind4", bpf_attach_type::BPF_CGROUP_INET4_BIND, CALLS),
    program("bind6", bpf_attach_type::BPF_CGROUP_INET6_BIND, CALLS),
    program("connect4", bpf_attach_type::BPF_CGROUP_INET4_CONNECT, CALLS),
    program("connect6", bpf_attach_type::BPF_CGROUP_INET6_CONNECT, CALLS),
    program("sendmsg4", bpf_attach_type::BPF_CGROUP_UDP4_SENDMSG, CALLS),
    program("sendmsg6", bpf_attach_type::BPF_CGROUP_UDP6_SENDMSG, CALLS),
    program("recvmsg4", bpf_attach_type::BPF_CGROUP_UDP4_RECVMSG, NAMES),
    program("recvmsg6", bpf_attach_type::BPF_CGROUP_UDP6_RECVMSG, NAMES),
    program(
        "getpeername4",
        bpf_attach_type::BPF_CGROUP_INET4_GETPEERNAME,
        NAMES,
    ),
    program(
        "getpeername6",
        bpf_attach_type::BPF_CGROUP_INET6_GETPEERNAME,
        NAMES,
    ),
    program(
        "getsockname4",
        bpf_attach_type::BPF_CGROUP_INET4_GETSOCKNAME,
        CALLS,
    ),
    program(
        "getsockname6",
        bpf_attach_type::BPF_CGROUP_INET6_GETSOCKNAME,
        CALLS,
    ),
    program("egress", bpf_attach_type::BPF_CGROUP_INET_EGRESS, PACKETS),
    program("ingress", bpf_attach_type::BPF_CGROUP_INET_INGRESS, PACKETS),
    program(
        "socket",
        bpf_attach_type::BPF_CGROUP_INET_SOCK_CREATE,
        CALLS,
    ),
    program("listen", bpf_attach_type::BPF_CGROUP_SOCK_OPS, SERVERS),
    program(
        "release",
        bpf_attach_type::BPF_CGROUP_INET_SOCK_RELEASE,
        SERVERS,
    ),
];

/// Programs of earlier versions, which are taken off with theirs.
const FORMER: [Program; 2] = [
    program("bound6", bpf_attach_type::BPF_CGROUP_INET6_POST_BIND, 0),
    program("options", bpf_attach_type::BPF_CGROUP_SETSOCKOPT, 0),
];

/// Name of the pinned policy map.
pub(crate) const POLICY_PIN: &str = "policy";
/// Name of the pinned map of counters.
pub(crate) const COUNTERS_PIN: &str = "counters";
/// Name of the pinned map of servers of both families.
pub(crate) const DUAL_PIN: &str = "dual";
/// Name of the program that delivers datagrams at network devices, and of its pin.
pub(crate) const DELIVER: &str = "deliver";
/// Name of the pinned map of destinations of datagrams.
pub(crate) const DESTINATIONS_PIN: &str = "destinations";

const fn program(name: &'static str, attach_type: bpf_attach_type, needed_by: u32) -> Program {
    Program {
        name,
        attach_type,
        needed_by,
    }
}

/// One version's programs and its policy map, opened.
#[derive(Debug)]
pub struct Programs {
    programs: Vec<(Program, OwnedFd)>,
    policy: OwnedFd,
    directory: PathBuf,
    _lock: Option<bpffs::Lock>,
}

impl Programs {
    /// This version's programs: opened if they are pinned, loaded otherwise.
    ///
    /// Nobody removes the pins while the value lives.
    ///
    /// # Errors
    ///
    /// If there is no bpffs and none can be mounted, if the kernel refuses a
    /// program, or for lack of privileges.
    pub fn open_or_load() -> Result<Self> {
        if let Some(lock) = bpffs::lock_shared()?
            && let Some(mut found) = Self::open_own()?
        {
            found._lock = Some(lock);
            log::debug!("opened the programs pinned in {}", directory().display());
            return Ok(found);
        }
        let lock = bpffs::lock_or_make()?;
        let mut found = match Self::open_own()? {
            Some(found) => found,
            None => {
                loader::load(&directory())?;
                log::debug!("loaded the programs, pinned in {}", directory().display());
                Self::open_own()?.context("open the programs just pinned")?
            }
        };
        found._lock = Some(lock);
        Ok(found)
    }

    /// This version's programs, or `None` if a pin is missing.
    fn open_own() -> Result<Option<Self>> {
        let found = Self::open(&directory())?;
        Ok(found.filter(|found| found.programs.len() == PROGRAMS.len()))
    }

    /// The programs pinned in `directory`, or `None` if there are none. Another
    /// version may lack some of ours, or have more: those of earlier ones are known.
    fn open(directory: &Path) -> Result<Option<Self>> {
        bpffs::check(directory)?;
        let Some(policy) = open_pin(&directory.join(POLICY_PIN))? else {
            return Ok(None);
        };
        let mut programs = Vec::with_capacity(PROGRAMS.len());
        for program in PROGRAMS.into_iter().chain(FORMER) {
            if let Some(fd) = open_pin(&directory.join(program.name))? {
                programs.push((program, fd));
            }
        }
        Ok(Some(Self {
            programs,
            policy,
            directory: directory.to_owned(),
            _lock: None,
        }))
    }

    /// Every version's programs that are pinned. The caller holds the lock.
    ///
    /// # Errors
    ///
    /// If the directory of pins cannot be read.
    pub fn all_pinned() -> Result<Vec<(PathBuf, Self)>> {
        let mut all = Vec::new();
        for directory in pinned_directories()? {
            if let Some(programs) = Self::open(&directory)? {
                all.push((directory, programs));
            }
        }
        Ok(all)
    }

    /// Each program with its descriptor, in the order of attachment.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Program, BorrowedFd<'_>)> {
        self.programs
            .iter()
            .map(|(program, fd)| (*program, fd.as_fd()))
    }

    /// The policy map.
    pub fn policy(&self) -> BorrowedFd<'_> {
        self.policy.as_fd()
    }

    /// Opens the map of counters, which only those who look need.
    ///
    /// # Errors
    ///
    /// If there is no such pin, or it cannot be opened.
    pub fn counters(&self) -> Result<OwnedFd> {
        let path = self.directory.join(COUNTERS_PIN);
        open_pin(&path)?.with_context(|| no_pin(&path))
    }

    /// Whether servers of both families listen that these programs have bound: they
    /// are called at IPv6 as long as the pins are there.
    ///
    /// # Errors
    ///
    /// If the pin cannot be opened, or the kernel cannot be asked.
    pub fn have_servers(&self) -> Result<bool> {
        let path = self.directory.join(DUAL_PIN);
        match open_pin(&path)? {
            None => Ok(false),
            Some(map) => bpf::map::has_elements(map.as_fd())
                .with_context(|| format!("look for servers in {}", path.display())),
        }
    }

    /// The name of the version: the hash of its object.
    pub fn version(&self) -> String {
        let name = self.directory.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Whether any of these programs is attached to the cgroup itself.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub fn are_attached(&self, cgroup: BorrowedFd<'_>) -> Result<bool> {
        for (program, fd) in self.iter() {
            if Self::is_attached(program, fd, cgroup)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether one program is attached to the cgroup itself.
    ///
    /// # Errors
    ///
    /// If the kernel cannot be asked.
    pub fn is_attached(
        program: Program,
        fd: BorrowedFd<'_>,
        cgroup: BorrowedFd<'_>,
    ) -> Result<bool> {
        let attached = bpf::attached(cgroup, program.attach_type)
            .with_context(|| format!("list the {} programs: {REMEDY}", program.name))?;
        if attached.is_empty() {
            return Ok(false);
        }
        let id = bpf::program_id(fd)
            .with_context(|| format!("ask for the id of program {}", program.name))?;
        Ok(attached.contains(&id))
    }

    /// The other versions that are attached to the cgroup: those of a container
    /// that started before an upgrade.
    ///
    /// # Errors
    ///
    /// If the pins cannot be read or the kernel cannot be asked.
    pub fn other_versions_attached(&self, cgroup: BorrowedFd<'_>) -> Result<Vec<Self>> {
        let own = directory();
        let mut others = Vec::new();
        for other in pinned_directories()? {
            if other != own
                && let Some(programs) = Self::open(&other)?
                && programs.are_attached(cgroup)?
            {
                others.push(programs);
            }
        }
        Ok(others)
    }
}

/// Where this version is pinned.
pub fn directory() -> PathBuf {
    Path::new(DIRECTORY).join(VERSION)
}

/// The directories of pins, of any version.
///
/// # Errors
///
/// If the directory of pins cannot be read; that there is none is no error.
pub fn pinned_directories() -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("read {DIRECTORY}"))?,
    };
    entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("read {DIRECTORY}"))
}

/// What to say of a pin that is missing.
pub(crate) fn no_pin(path: &Path) -> String {
    format!(
        "open {}: no such pin: remove what is beside it, and load makes all anew",
        path.display()
    )
}

pub(crate) fn open_pin(path: &Path) -> Result<Option<OwnedFd>> {
    match bpf::open_pin(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            Err(error).with_context(|| format!("open {}: {REMEDY}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("open {}", path.display())),
    }
}
