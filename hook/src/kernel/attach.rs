//! Puts a policy on a cgroup, all or nothing, and takes it off.

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::abi::{Policy, flag};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::host::addresses;
use crate::host::cgroup::Cgroup;
use crate::host::memlock::LockedMemory;
use crate::host::netns::{self, Namespace};
use crate::kernel::catalogue::{PROGRAMS, Program};
use crate::kernel::pinned::Programs;
use crate::kernel::pins;
use crate::kernel::{bpffs, deliver, steer, syscall};

/// Puts `policy` on `cgroup`, whose processes are in `namespace`.
///
/// A policy that is there is replaced in one step: every call is decided by
/// the old one or the new one. Between the first attachment and the first
/// policy the programs refuse everything. On failure the cgroup is left as it
/// was.
///
/// # Errors
///
/// If the kernel refuses an attachment.
pub fn attach(cgroup: &Cgroup, policy: Policy, namespace: Namespace) -> Result<()> {
    let put = put(cgroup, policy, namespace);
    // What went before, or came to nothing, may have needed more of the devices.
    if !matches!(put, Ok(Before::Nothing)) {
        refresh(&[namespace]);
    }
    put.map(drop)
}

/// Takes programs off network devices that no policy needs any more. What is left for
/// an error does no harm, and goes the next time.
fn refresh(namespaces: &[Namespace]) {
    if let Err(error) = deliver::refresh(namespaces, None) {
        log::warn!("programs that no policy needs may be left at network devices: {error:#}");
    }
}

/// What was on a cgroup before.
enum Before {
    Nothing,
    Policy,
}

/// The caller does not hold the lock.
fn put(cgroup: &Cgroup, mut policy: Policy, namespace: Namespace) -> Result<Before> {
    let programs = Programs::open_or_load()?;
    let _limit = LockedMemory::unlimited();
    let pins = pins::directory();
    let theirs = namespace.open()?;
    policy.namespace = netns::inode(&theirs)?;
    steer::decide(&mut policy);
    deliver::prepare(&mut policy, &pins, &theirs)
        .context("have datagrams delivered where the kernel would not find the socket")?;
    let others = programs.other_versions_attached(cgroup.fd())?;
    let previous = current_policy(cgroup, &programs)?;
    policy.broadcast = broadcast(&policy, &theirs)?;
    if policy.flags & flag::DUAL != 0 {
        steer::steer(policy.namespace, &theirs, &pins)
            .context("steer calls to servers of both families")?;
    }
    let mut change = Change {
        cgroup,
        programs: &programs,
        previous: previous.unwrap_or_default(),
        attached: Vec::new(),
        is_kept: false,
    };
    // A dual-stack server is bound by one program and found by the work of
    // another: none is bound before both are there.
    let mut first = policy;
    first.flags &= !flag::DUAL | change.previous.flags;
    if previous.is_some() {
        write_policy(&programs, cgroup, &first)?;
    }
    for (program, fd) in programs.iter() {
        if !program.is_needed(&policy) {
            continue;
        }
        change.attach(program, fd)?;
        // The first attachment makes the storage that the policy goes into.
        if previous.is_none() && change.attached.len() == 1 {
            write_policy(&programs, cgroup, &first)?;
        }
    }
    if first != policy {
        write_policy(&programs, cgroup, &policy)?;
    }
    let is_first = previous.is_none() && others.is_empty();
    for other in others {
        detach_version(cgroup, &other)?;
    }
    for (program, fd) in programs.iter() {
        if previous.is_some() && !program.is_needed(&policy) {
            detach_one(cgroup, program, fd)?;
        }
    }
    change.is_kept = true;
    Ok(if is_first {
        Before::Nothing
    } else {
        Before::Policy
    })
}

/// The broadcast address of the assigned address's network, network byte order; 0 if there
/// is none.
fn broadcast(policy: &Policy, namespace: &OwnedFd) -> Result<u32> {
    if policy.flags & flag::IPV4 == 0 {
        return Ok(0);
    }
    let own = policy.ipv4.to_ne_bytes().into();
    let found = netns::visit(namespace, || addresses::broadcast(own))?;
    Ok(found.map_or(0, |address| u32::from_ne_bytes(address.octets())))
}

/// Takes every version's programs off `cgroup`. Answers whether there were any.
///
/// # Errors
///
/// If the kernel refuses to detach a program.
pub fn detach(cgroup: &Cgroup) -> Result<bool> {
    let Some(lock) = bpffs::lock_shared()? else {
        return Ok(false);
    };
    let mut found = false;
    for (_, programs) in Programs::all_pinned()? {
        found |= detach_version(cgroup, &programs)?;
    }
    drop(lock);
    if found {
        refresh(&deliver::namespaces(cgroup.first_process()));
    }
    Ok(found)
}

/// Takes the policy, if any, off the cgroup of a container that is to have none.
/// Answers whether there was one.
///
/// # Errors
///
/// As for [`detach`]. It is no error if the kernel cannot be asked: an engine that
/// lacks the privileges cannot have put a policy there either.
pub fn clear(cgroup: &Cgroup) -> Result<bool> {
    // Nearly all cgroups have none. The first program is part of every policy.
    let first = PROGRAMS[0].attach_type;
    match syscall::attached(cgroup.fd(), first) {
        Ok(ids) if !ids.is_empty() => detach(cgroup),
        _ => Ok(false),
    }
}

/// A change under way; dropped before it is kept, it is undone.
struct Change<'a> {
    cgroup: &'a Cgroup,
    programs: &'a Programs,
    previous: Policy,
    attached: Vec<(Program, BorrowedFd<'a>)>,
    is_kept: bool,
}

impl<'a> Change<'a> {
    /// Attaches a program, unless it is there already.
    fn attach(&mut self, program: Program, fd: BorrowedFd<'a>) -> Result<()> {
        let target = self.cgroup.fd();
        match syscall::attach(fd, target, program.attach_type) {
            Ok(()) => {
                log::debug!("attached {} to cgroup {}", program.name, self.cgroup.name());
                self.attached.push((program, fd));
            }
            // `__cgroup_bpf_attach` refuses the same program twice.
            Err(error)
                if error.raw_os_error() == Some(libc::EINVAL)
                    && Programs::is_attached(program, fd, target)? => {}
            Err(error) => return Err(explain(error, program, self.cgroup)),
        }
        Ok(())
    }
}

impl Drop for Change<'_> {
    /// Errors are dropped: the cause of the failure is what the user needs to
    /// hear of.
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        for (program, fd) in self.attached.drain(..).rev() {
            let _ = syscall::detach(fd, self.cgroup.fd(), program.attach_type);
        }
        let _ = syscall::write_policy(self.programs.policy(), self.cgroup.id(), &self.previous);
    }
}

/// The policy in force by these programs, if any of them is attached.
fn current_policy(cgroup: &Cgroup, programs: &Programs) -> Result<Option<Policy>> {
    if !programs.are_attached(cgroup.fd())? {
        return Ok(None);
    }
    syscall::read_policy(programs.policy(), cgroup.id())
        .map(Some)
        .with_context(|| format!("read the policy of cgroup {}", cgroup.name()))
}

fn write_policy(programs: &Programs, cgroup: &Cgroup, policy: &Policy) -> Result<()> {
    syscall::write_policy(programs.policy(), cgroup.id(), policy)
        .with_context(|| format!("write the policy of cgroup {}", cgroup.name()))
}

fn detach_version(cgroup: &Cgroup, programs: &Programs) -> Result<bool> {
    let mut found = false;
    // In this order, or a server could be bound that nobody sees listen.
    for (program, fd) in programs.iter() {
        found |= detach_one(cgroup, program, fd)?;
    }
    if found {
        // The storage stays until the cgroup goes. Left as it is, it would be
        // in force at once when somebody attaches another policy.
        syscall::clear_policy(programs.policy(), cgroup.id())
            .with_context(|| format!("clear the policy of cgroup {}", cgroup.name()))?;
    }
    Ok(found)
}

fn detach_one(cgroup: &Cgroup, program: Program, fd: BorrowedFd<'_>) -> Result<bool> {
    let found = syscall::detach(fd, cgroup.fd(), program.attach_type)
        .with_context(|| format!("detach {} from cgroup {}", program.name, cgroup.name()))?;
    if found {
        log::debug!("detached {} from cgroup {}", program.name, cgroup.name());
    }
    Ok(found)
}

fn explain(error: io::Error, program: Program, cgroup: &Cgroup) -> anyhow::Error {
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
