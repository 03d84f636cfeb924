//! bpf(2): which programs a cgroup carries, how others are put there, and what
//! this kernel can do.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use rustix::io::Errno;

use crate::net::has_dual;

mod load;
mod map;

pub(crate) use load::{EXIT, Instruction, RETURN_1, load, load_classifier};
pub(crate) use map::look_up;
pub use map::{age_policy, elements, words};

/// `BPF_OBJ_PIN` of `enum bpf_cmd`.
const OBJ_PIN: i64 = 6;
/// `BPF_OBJ_GET` of `enum bpf_cmd`.
const OBJ_GET: i64 = 7;
/// `BPF_PROG_ATTACH` of `enum bpf_cmd`.
const PROG_ATTACH: i64 = 8;
/// `BPF_PROG_DETACH` of `enum bpf_cmd`.
const PROG_DETACH: i64 = 9;
/// `BPF_PROG_GET_NEXT_ID`, and the same for maps and links (Linux 5.8), of
/// `enum bpf_cmd`.
const NEXT_ID: [i64; 3] = [11, 12, 31];
/// `BPF_LINK_CREATE` of `enum bpf_cmd`.
const LINK_CREATE: i64 = 28;
/// `BPF_PROG_QUERY` of `enum bpf_cmd`.
pub(crate) const PROG_QUERY: i64 = 16;
/// `BPF_ENABLE_STATS` of `enum bpf_cmd` (Linux 5.8).
const ENABLE_STATS: i64 = 32;
/// `BPF_FUNC_set_retval` of `enum bpf_func_id`.
const FUNC_SET_RETVAL: i32 = 187;

/// The attach points of every policy, by their numbers in
/// `enum bpf_attach_type`.
pub const ATTACH_TYPES: [(&str, u32); 9] = [
    ("INET4_BIND", 8),
    ("INET6_BIND", 9),
    ("INET4_CONNECT", 10),
    ("INET6_CONNECT", 11),
    ("UDP4_SENDMSG", 14),
    ("UDP6_SENDMSG", 15),
    ("INET_SOCK_CREATE", SOCK_CREATE),
    ("INET4_GETSOCKNAME", 31),
    ("INET6_GETSOCKNAME", 32),
];

/// The attach points of a policy that redirects calls to loopback.
pub const NAME_TYPES: [(&str, u32); 4] = [
    ("UDP4_RECVMSG", 19),
    ("UDP6_RECVMSG", 20),
    ("INET4_GETPEERNAME", 29),
    ("INET6_GETPEERNAME", 30),
];

/// The attach points of a policy with a guard.
pub const PACKET_TYPES: [(&str, u32); 2] = [("INET_INGRESS", 0), ("INET_EGRESS", 1)];

/// The attach points of a policy of both families.
pub const SERVER_TYPES: [(&str, u32); 2] = [("SOCK_OPS", SOCK_OPS), ("INET_SOCK_RELEASE", 34)];
/// The attach points that version 0.1.0 had besides, for the programs of these names.
pub const FORMER_TYPES: [(&str, u32); 2] = [("bound6", POST_BIND6), ("options", SETSOCKOPT)];
const SOCK_CREATE: u32 = 2;
const SOCK_OPS: u32 = 3;
const POST_BIND6: u32 = 13;
const SETSOCKOPT: u32 = 22;

/// The attach point of a network namespace's lookups, `BPF_SK_LOOKUP`.
pub const SK_LOOKUP: u32 = 36;

/// The members for `BPF_OBJ_PIN` and `BPF_OBJ_GET` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct PinAttr {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// The member `query` of `union bpf_attr`, as far as Linux 4.15 knows it.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// The members for `BPF_PROG_ATTACH` and `BPF_PROG_DETACH` of `union bpf_attr`,
/// as far as needed.
#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// The member of `union bpf_attr` for `BPF_PROG_GET_NEXT_ID` and the like.
#[repr(C)]
#[derive(Default)]
struct NextAttr {
    start: u32,
    next: u32,
    flags: u32,
}

/// The ids of all programs, maps and links that the kernel holds now.
pub fn census() -> Result<[BTreeSet<u32>; 3]> {
    let mut all = [const { BTreeSet::new() }; 3];
    for (command, ids) in NEXT_ID.into_iter().zip(&mut all) {
        let mut attr = NextAttr::default();
        loop {
            match bpf(command, &mut attr) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
                Err(error) => return Err(error).context("ask for the next program, map or link"),
            }
            ids.insert(attr.next);
            attr.start = attr.next;
        }
    }
    Ok(all)
}

/// The ids of the programs attached to `cgroup` itself, of each attach type
/// that has any.
pub fn attached(cgroup: impl AsFd) -> Result<Vec<(&'static str, Vec<u32>)>> {
    let mut found = Vec::new();
    for (name, attach_type) in all_types() {
        let ids =
            query(&cgroup, attach_type).with_context(|| format!("query programs at {name}"))?;
        if !ids.is_empty() {
            found.push((name, ids));
        }
    }
    Ok(found)
}

/// The ids of the programs of one attach type at a cgroup or a network namespace.
pub fn query(target: impl AsFd, attach_type: u32) -> Result<Vec<u32>> {
    let mut ids = [0u32; 64];
    let mut attr = QueryAttr {
        target_fd: target.as_fd().as_raw_fd().try_into()?,
        attach_type,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len().try_into()?,
        ..QueryAttr::default()
    };
    bpf(PROG_QUERY, &mut attr)?;
    Ok(ids[..usize::try_from(attr.prog_cnt)?].to_vec())
}

/// The attach points of any policy.
fn all_types() -> Vec<(&'static str, u32)> {
    [
        &ATTACH_TYPES[..],
        &NAME_TYPES,
        &PACKET_TYPES,
        &SERVER_TYPES,
        &FORMER_TYPES,
    ]
    .concat()
}

/// Those of a policy that needs every program which there is on this kernel.
pub fn full_types() -> Vec<(&'static str, u32)> {
    let mut types = all_types();
    types.retain(|one| !FORMER_TYPES.contains(one) && (has_dual() || !SERVER_TYPES.contains(one)));
    types
}

/// The errno that a refused call shows here: `wanted` where a program can
/// choose it, EPERM elsewhere.
pub fn deny_errno(wanted: Errno) -> Errno {
    static CAN_CHOOSE: OnceLock<bool> = OnceLock::new();
    if *CAN_CHOOSE.get_or_init(has_set_retval) {
        wanted
    } else {
        Errno::PERM
    }
}

/// Attaches a program with these flags.
pub(crate) fn attach(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
    attach_flags: u32,
) -> Result<()> {
    let target = cgroup.as_raw_fd().try_into()?;
    attach_at(program, target, attach_type, attach_flags)
}

/// The same, to what has this descriptor, or is the network device with this index.
pub(crate) fn attach_at(
    program: BorrowedFd<'_>,
    target: u32,
    attach_type: u32,
    attach_flags: u32,
) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: target,
        attach_bpf_fd: program.as_raw_fd().try_into()?,
        attach_type,
        attach_flags,
    };
    bpf(PROG_ATTACH, &mut attr).context("attach a program")?;
    Ok(())
}

/// Attaches a program to the lookups of a network namespace for as long as the
/// link lives.
pub(crate) fn link(program: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut attr = AttachAttr {
        // The two descriptors come in the other order here.
        target_fd: program.as_raw_fd().try_into()?,
        attach_bpf_fd: namespace.as_raw_fd().try_into()?,
        attach_type: SK_LOOKUP,
        attach_flags: 0,
    };
    let fd = bpf(LINK_CREATE, &mut attr).context("attach a program by a link")?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Detaches a program.
pub fn detach(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>, attach_type: u32) -> Result<()> {
    let mut attr = AttachAttr {
        target_fd: cgroup.as_raw_fd().try_into()?,
        attach_bpf_fd: program.as_raw_fd().try_into()?,
        attach_type,
        attach_flags: 0,
    };
    bpf(PROG_DETACH, &mut attr).context("detach a program")?;
    Ok(())
}

/// Whether the kernel has `bpf_set_retval` (5.18), by loading a program that
/// calls it.
fn has_set_retval() -> bool {
    const R1_MINUS_1: Instruction = (0xb7, 1, 0, -1);
    const CALL: Instruction = (0x85, 0, 0, FUNC_SET_RETVAL);
    let (_, inet4_bind) = ATTACH_TYPES[0];
    load(&[R1_MINUS_1, CALL, RETURN_1, EXIT], inet4_bind).is_ok()
}

pub(crate) fn bpf<T>(command: i64, attr: &mut T) -> std::io::Result<i32> {
    // SAFETY: the kernel reads and writes `size_of::<T>()` bytes at `attr`; the
    // callers keep alive what it points to.
    let returned = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    match i32::try_from(returned) {
        Ok(returned) if returned >= 0 => Ok(returned),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Has the kernel count how often each program runs, for as long as the descriptor
/// lives.
pub fn count_runs() -> Result<OwnedFd> {
    let mut run_time = 0_u32;
    let fd = bpf(ENABLE_STATS, &mut run_time).context("have runs counted")?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a program or map that is pinned.
pub fn open_pin(path: &Path) -> Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = PinAttr {
        path: name.as_ptr() as u64,
        ..PinAttr::default()
    };
    let fd = bpf(OBJ_GET, &mut attr).with_context(|| format!("open {}", path.display()))?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins a program.
pub(crate) fn pin(program: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = PinAttr {
        path: name.as_ptr() as u64,
        descriptor: program.as_raw_fd().try_into()?,
        ..PinAttr::default()
    };
    bpf(OBJ_PIN, &mut attr).with_context(|| format!("pin {}", path.display()))?;
    Ok(())
}
