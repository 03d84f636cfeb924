//! Puts a policy on a cgroup, all or nothing, and takes it off.

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::abi::{Policy, flag};
use oci_bind_hook_ebpf::net::V4;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use crate::host::addresses;
use crate::host::cgroup::Cgroup;
use crate::host::memlock::LockedMemory;
use crate::host::netns::{self, Namespace};
use crate::kernel::catalogue::{PROGRAMS, Program};
use crate::kernel::former::Former;
use crate::kernel::found::{Finder, Found};
use crate::kernel::pins;
use crate::kernel::programs::{Opened, Programs};
use crate::kernel::syscall::{self, object};
use crate::kernel::{bpffs, deliver, steer};

/// Puts `policy` on `cgroup`, whose processes are in `namespace`.
///
/// A policy that is there already is replaced in one step: either the old one or the new
/// one decides a call. Between the first attachment and the first policy the programs
/// refuse everything. On failure the cgroup is left as it was.
///
/// # Errors
///
/// If the kernel refuses an attachment.
pub fn attach(cgroup: &Cgroup, policy: Policy, namespace: Namespace) -> Result<Attached> {
    let put = put(cgroup, policy, namespace);
    // The previous policy, or one that failed, may have needed more of the devices.
    let is_first = |attached: &Attached| matches!(attached.former, Former::Nothing);
    if !put.as_ref().is_ok_and(is_first) {
        refresh(&[namespace]);
    }
    put
}

/// What has been put on a cgroup, and what was there.
#[derive(Debug)]
pub struct Attached {
    /// The policy that is in force.
    pub policy: Policy,
    /// The one that was.
    pub former: Former,
}

/// Takes programs off network devices where no policy needs them any more. Any that an
/// error leaves there do no harm, and are removed the next time.
fn refresh(namespaces: &[Namespace]) {
    if let Err(error) = deliver::refresh(namespaces, None) {
        log::warn!("programs that no policy needs may be left on network devices: {error:#}");
    }
}

/// Puts the policy on the cgroup. The caller must not hold the lock.
fn put(cgroup: &Cgroup, policy: Policy, namespace: Namespace) -> Result<Attached> {
    let programs = Programs::open_or_load()?;
    let _limit = LockedMemory::unlimited();
    let own = object::map_id(programs.policy()).context("get the id of the policy map")?;
    let mut finder = Finder::default();
    // Those of a version that is not pinned here are replaced too.
    let (current, others): (Vec<_>, Vec<_>) = finder
        .at(cgroup.fd())?
        .into_iter()
        .partition(|found| finder.version(found.version).has_map(own));
    let previous = match current.is_empty() {
        true => None,
        false => Some(current_policy(cgroup, &programs)?),
    };
    let former = match (previous, others.first()) {
        (Some(previous), _) => Former::of(previous),
        (None, None) => Former::Nothing,
        // Its programs are detached, whether its policy can be read or not.
        (None, Some(other)) => match finder.version(other.version).policy_of(cgroup.id()) {
            Ok(Some(policy)) => Former::of(policy),
            Ok(None) | Err(_) => Former::Unreadable,
        },
    };
    let policy = complete(policy, &namespace.open()?)?;
    let mut change = Change::new(cgroup, &programs, previous);
    change.enforce(&policy)?;
    for other in &others {
        detach_version(cgroup, &finder, other)?;
    }
    change.detach_needless(&policy)?;
    change.is_kept = true;
    Ok(Attached { policy, former })
}

/// Adds to the policy what depends on the network namespace, and sets up everything that
/// it needs other than programs at the cgroup.
fn complete(mut policy: Policy, namespace: &OwnedFd) -> Result<Policy> {
    let pins = pins::directory();
    policy.namespace = netns::inode(namespace)?;
    policy.broadcast = broadcast(&policy, namespace)?;
    steer::allow_dual(&mut policy);
    deliver::prepare(&mut policy, &pins, namespace)
        .context("set up the delivery of datagrams whose socket the kernel would not find")?;
    if policy.flags & flag::DUAL != 0 {
        steer::steer(policy.namespace, namespace, &pins)
            .context("steer calls to dual-stack servers")?;
    }
    Ok(policy)
}

/// Returns the broadcast address of the assigned address's network; 0.0.0.0 if there is
/// none.
fn broadcast(policy: &Policy, namespace: &OwnedFd) -> Result<V4> {
    if policy.flags & flag::IPV4 == 0 {
        return Ok(V4::default());
    }
    let own = policy.ipv4.into();
    let found = netns::visit(namespace, || addresses::broadcast(own))?;
    Ok(found.map(V4::from).unwrap_or_default())
}

/// Takes every version's programs off `cgroup`. Returns whether there were any.
///
/// # Errors
///
/// If the kernel refuses to detach a program.
pub fn detach(cgroup: &Cgroup) -> Result<bool> {
    let lock = bpffs::lock_shared()?;
    let mut finder = Finder::default();
    let all = finder.at(cgroup.fd())?;
    for found in &all {
        detach_version(cgroup, &finder, found)?;
    }
    drop(lock);
    if all.is_empty() {
        return Ok(false);
    }
    refresh(&deliver::namespaces(cgroup.first_process()));
    Ok(true)
}

/// Takes the policy, if any, off the cgroup of a container that should have none. Returns
/// whether there was one.
///
/// # Errors
///
/// As for [`detach`]. It is not an error if the kernel cannot be asked: an engine that
/// lacks the privileges cannot have put a policy there either.
pub fn clear(cgroup: &Cgroup) -> Result<bool> {
    // Nearly all cgroups have none. The first program is part of every policy.
    let first = PROGRAMS[0].attach_type;
    match syscall::attached(cgroup.fd(), first) {
        Ok(ids) if !ids.is_empty() => detach(cgroup),
        _ => Ok(false),
    }
}

/// A change in progress, which is undone if it is dropped before it is kept.
struct Change<'a> {
    cgroup: &'a Cgroup,
    programs: &'a Programs,
    previous: Option<Policy>,
    attached: Vec<&'a Opened>,
    is_kept: bool,
}

impl<'a> Change<'a> {
    /// `previous` is the policy in force.
    fn new(cgroup: &'a Cgroup, programs: &'a Programs, previous: Option<Policy>) -> Self {
        Self {
            cgroup,
            programs,
            previous,
            attached: Vec::new(),
            is_kept: false,
        }
    }

    /// Attaches the programs that a policy needs, and puts the policy in force.
    fn enforce(&mut self, policy: &Policy) -> Result<()> {
        // A dual-stack server is bound by one program and found through the work of
        // another: none is bound before both are attached.
        let mut first = *policy;
        first.flags &= !flag::DUAL | self.previous.unwrap_or_default().flags;
        if self.previous.is_some() {
            self.write(&first)?;
        }
        for program in self.programs.iter() {
            if !program.is_needed(policy) {
                continue;
            }
            self.attach(program)?;
            // The first attachment creates the storage for the policy.
            if self.previous.is_none() && self.attached.len() == 1 {
                self.write(&first)?;
            }
        }
        if first != *policy {
            self.write(policy)?;
        }
        Ok(())
    }

    /// Attaches a program, unless it is there already.
    fn attach(&mut self, program: &'a Opened) -> Result<()> {
        let target = self.cgroup.fd();
        match syscall::attach(program.fd(), target, program.attach_type) {
            Ok(()) => {
                log::debug!("attached {} to cgroup {}", program.name, self.cgroup.name());
                self.attached.push(program);
            }
            // `__cgroup_bpf_attach` refuses the same program twice.
            Err(error)
                if error.raw_os_error() == Some(libc::EINVAL) && program.is_attached(target)? => {}
            Err(error) => return Err(explain(error, program, self.cgroup)),
        }
        Ok(())
    }

    /// Detaches the programs that only the previous policy needed.
    fn detach_needless(&self, policy: &Policy) -> Result<()> {
        if self.previous.is_none() {
            return Ok(());
        }
        for program in self.programs.iter() {
            if !program.is_needed(policy) {
                detach_one(self.cgroup, program)?;
            }
        }
        Ok(())
    }

    fn write(&self, policy: &Policy) -> Result<()> {
        syscall::write_policy(self.programs.policy(), self.cgroup.id(), policy)
            .with_context(|| format!("write the policy of cgroup {}", self.cgroup.name()))
    }
}

impl Drop for Change<'_> {
    /// Ignores errors: the user needs to hear of the cause of the failure.
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        for program in self.attached.drain(..).rev() {
            let _ = syscall::detach(program.fd(), self.cgroup.fd(), program.attach_type);
        }
        let _ = self.write(&self.previous.unwrap_or_default());
    }
}

/// Returns the policy in force through these programs.
fn current_policy(cgroup: &Cgroup, programs: &Programs) -> Result<Policy> {
    syscall::read_policy(programs.policy(), cgroup.id())
        .with_context(|| format!("read the policy of cgroup {}", cgroup.name()))
}

fn detach_version(cgroup: &Cgroup, finder: &Finder, found: &Found) -> Result<()> {
    // In this order: otherwise a server could be bound that no program sees listen.
    for program in &found.programs {
        detach_one(cgroup, program)?;
    }
    // The storage stays until the cgroup is removed. Left as it is, it would be in force
    // as soon as somebody attaches another policy.
    if let Some(policy) = &finder.version(found.version).policy {
        syscall::clear_policy(policy.as_fd(), cgroup.id())
            .with_context(|| format!("clear the policy of cgroup {}", cgroup.name()))?;
    }
    Ok(())
}

fn detach_one(cgroup: &Cgroup, program: &Opened) -> Result<()> {
    let found = syscall::detach(program.fd(), cgroup.fd(), program.attach_type)
        .with_context(|| format!("detach {} from cgroup {}", program.name, cgroup.name()))?;
    if found {
        log::debug!("detached {} from cgroup {}", program.name, cgroup.name());
    }
    Ok(())
}

fn explain(error: io::Error, program: &Program, cgroup: &Cgroup) -> anyhow::Error {
    let remedy = match error.raw_os_error() {
        Some(libc::EPERM) => {
            ": needs CAP_NET_ADMIN and CAP_BPF in the initial user namespace, and no exclusive \
             program of this type in the cgroup or an ancestor (bpftool cgroup tree shows them)"
        }
        Some(libc::E2BIG) => ": the cgroup has 64 programs of this type, the kernel's limit",
        _ => "",
    };
    anyhow::Error::new(error).context(format!(
        "attach {} to cgroup {}{remedy}",
        program.name,
        cgroup.name()
    ))
}
