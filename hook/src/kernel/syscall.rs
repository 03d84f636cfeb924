//! The few commands of bpf(2) that a container start needs.
//!
//! aya loads the programs, once per boot. It does not offer what each container needs
//! after that: opening pins without probing the kernel, attachments that outlive the
//! process (`BPF_PROG_ATTACH`; aya makes links, which end with it), and cgroup storage
//! whose key is the cgroup alone.
#![expect(
    unsafe_code,
    reason = "the bpf system call takes a union of raw pointers"
)]

pub mod device;
pub mod map;
pub mod object;

use aya_obj::generated::{
    BPF_F_ALLOW_MULTI, bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_map_info,
};
use oci_bind_hook_ebpf::abi::{Counters, Policy};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// How many programs one cgroup can have of one attach type
/// (`BPF_CGROUP_MAX_PROGS`).
const MAX_PROGRAMS: u32 = 64;

/// Opens the program or map that is pinned at `path` (`BPF_OBJ_GET`).
pub fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    let fd = call(bpf_cmd::BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to a cgroup, next to those already there, for as long as the cgroup
/// lives (`BPF_PROG_ATTACH`, `BPF_F_ALLOW_MULTI`).
///
/// Fails with EINVAL if this very program is attached already.
pub fn attach(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: bpf_attach_type,
) -> io::Result<()> {
    let mut attr = attachment(program, cgroup, attach_type);
    attr.__bindgen_anon_5.attach_flags = BPF_F_ALLOW_MULTI;
    call(bpf_cmd::BPF_PROG_ATTACH, &mut attr)?;
    Ok(())
}

/// Detaches a program from a cgroup (`BPF_PROG_DETACH`). Returns false if it is not
/// attached there.
pub fn detach(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: bpf_attach_type,
) -> io::Result<bool> {
    match call(
        bpf_cmd::BPF_PROG_DETACH,
        &mut attachment(program, cgroup, attach_type),
    ) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Attaches a program to the lookups of a network namespace, next to those already there,
/// for as long as the link lives (`BPF_LINK_CREATE`).
pub fn link_to_namespace(
    program: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.link_create.__bindgen_anon_1.prog_fd = number(program);
    attr.link_create.__bindgen_anon_2.target_fd = number(namespace);
    attr.link_create.attach_type = bpf_attach_type::BPF_SK_LOOKUP as u32;
    let fd = call(bpf_cmd::BPF_LINK_CREATE, &mut attr)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Returns the inode number of a link's network namespace; 0 once that is gone.
pub fn namespace_of_link(link: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: a plain struct of integers, for which zero is a value.
    let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
    ask(link, &mut info)?;
    // SAFETY: the kernel has set this member of the union, or left it zero.
    Ok(unsafe { info.__bindgen_anon_1.netns.netns_ino })
}

/// Pins a program, map or link (`BPF_OBJ_PIN`).
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = number(object);
    call(bpf_cmd::BPF_OBJ_PIN, &mut attr)?;
    Ok(())
}

/// Returns the ids of the programs attached to this cgroup itself, not to its ancestors
/// (`BPF_PROG_QUERY`).
pub fn attached(cgroup: BorrowedFd<'_>, attach_type: bpf_attach_type) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MAX_PROGRAMS as usize];
    let mut attr = zeroed();
    attr.query.__bindgen_anon_1.target_fd = number(cgroup);
    attr.query.attach_type = attach_type as u32;
    attr.query.prog_ids = ids.as_mut_ptr() as u64;
    attr.query.__bindgen_anon_2.prog_cnt = MAX_PROGRAMS;
    call(bpf_cmd::BPF_PROG_QUERY, &mut attr)?;
    // SAFETY: the kernel has set this member of the union.
    let query = unsafe { attr.query };
    // SAFETY: as above; both members of the inner union are this number.
    let count = unsafe { query.__bindgen_anon_2.prog_cnt };
    Ok(ids.into_iter().take(count as usize).collect())
}

/// Replaces the policy of a cgroup as a whole (`BPF_MAP_UPDATE_ELEM`). `cgroup` is the
/// cgroup's id. Fails with ENOENT before the first attachment.
pub fn write_policy(map: BorrowedFd<'_>, cgroup: u64, policy: &Policy) -> io::Result<()> {
    update(map, cgroup, (&raw const *policy) as u64)
}

/// Sets the policy of a cgroup to zero, which refuses everything, in the map of any
/// version, whose values may have another size. Fails with ENOENT before the first
/// attachment.
pub fn clear_policy(map: BorrowedFd<'_>, cgroup: u64) -> io::Result<()> {
    let zero = vec![0_u8; value_size(map)?];
    update(map, cgroup, zero.as_ptr() as u64)
}

/// Updates an element. `value` points to as many bytes as a value of the map has.
fn update(map: BorrowedFd<'_>, cgroup: u64, value: u64) -> io::Result<()> {
    let mut attr = element(map, &cgroup, value);
    // Cgroup storage accepts only updates of existing elements.
    attr.__bindgen_anon_2.flags = u64::from(aya_obj::generated::BPF_EXIST);
    call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr)?;
    Ok(())
}

/// Reads the policy of a cgroup (`BPF_MAP_LOOKUP_ELEM`). Fails with ENOENT if nothing was
/// ever attached.
pub fn read_policy(map: BorrowedFd<'_>, cgroup: u64) -> io::Result<Policy> {
    let mut policy = Policy::default();
    let mut attr = element(map, &cgroup, (&raw mut policy) as u64);
    call(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr)?;
    Ok(policy)
}

/// Reads the counters of a cgroup, summed over all CPUs (`BPF_MAP_LOOKUP_ELEM` of a
/// per-CPU map, which needs room for as many values as there are possible CPUs). Fails
/// with ENOENT if nothing was ever attached.
pub fn read_counters(map: BorrowedFd<'_>, cgroup: u64, cpus: usize) -> io::Result<Counters> {
    let mut copies = vec![Counters::default(); cpus];
    let mut attr = element(map, &cgroup, copies.as_mut_ptr() as u64);
    call(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr)?;
    let mut sum = Counters::default();
    copies.iter().for_each(|copy| sum.add(copy));
    Ok(sum)
}

/// Returns the size of a map's values in bytes.
pub fn value_size(map: BorrowedFd<'_>) -> io::Result<usize> {
    usize::try_from(map_info(map)?.value_size).map_err(io::Error::other)
}

fn map_info(map: BorrowedFd<'_>) -> io::Result<bpf_map_info> {
    // SAFETY: a plain struct of integers, for which zero is a value.
    let mut info: bpf_map_info = unsafe { std::mem::zeroed() };
    ask(map, &mut info)?;
    Ok(info)
}

/// Asks the kernel about a program, map or link (`BPF_OBJ_GET_INFO_BY_FD`).
fn ask<T>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let mut attr = zeroed();
    attr.info.bpf_fd = number(object);
    attr.info.info_len = u32::try_from(size_of::<T>()).map_err(io::Error::other)?;
    attr.info.info = (&raw mut *info) as u64;
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(())
}

fn attachment(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: bpf_attach_type,
) -> bpf_attr {
    let mut attr = zeroed();
    attr.__bindgen_anon_5.__bindgen_anon_1.target_fd = number(cgroup);
    attr.__bindgen_anon_5.attach_bpf_fd = number(program);
    attr.__bindgen_anon_5.attach_type = attach_type as u32;
    attr
}

/// `key` and `value` must be valid while [`call`] runs.
fn element<K>(map: BorrowedFd<'_>, key: &K, value: u64) -> bpf_attr {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = number(map);
    attr.__bindgen_anon_2.key = (&raw const *key) as u64;
    attr.__bindgen_anon_2.__bindgen_anon_1.value = value;
    attr
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of plain integers, for which zero is a value; the kernel
    // wants the bytes that a command does not use to be zero.
    unsafe { std::mem::zeroed() }
}

fn call(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: the callers above put pointers to live values of the right size
    // into `attr`, which is itself valid for the size given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_int,
            &raw mut *attr,
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
