//! The elements of a map whose keys and values are plain structs without padding.

use std::io;
use std::os::fd::BorrowedFd;

use aya_obj::generated::{BPF_NOEXIST, bpf_attr, bpf_cmd};
use oci_bind_hook_ebpf::deliver::Destination;

use super::{call, map_info, number, read_policy, zeroed};

/// A struct without padding, any bytes of which are a value.
///
/// # Safety
///
/// As said.
unsafe trait Plain: Copy {}

// SAFETY: a number.
unsafe impl Plain for u32 {}
// SAFETY: a number.
unsafe impl Plain for u64 {}
// SAFETY: five numbers of four bytes.
unsafe impl Plain for Destination {}

/// The IPv4 address that goes with a destination, network byte order
/// (`BPF_MAP_LOOKUP_ELEM`).
pub fn destination(map: BorrowedFd<'_>, key: &Destination) -> io::Result<Option<u32>> {
    let mut value = 0_u32;
    let mut attr = element(map, key);
    attr.__bindgen_anon_2.__bindgen_anon_1.value = (&raw mut value) as u64;
    Ok(found(call(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr))?.then_some(value))
}

/// Adds a destination (`BPF_MAP_UPDATE_ELEM`); EEXIST if there is one, E2BIG if the map
/// is full.
pub fn add_destination(map: BorrowedFd<'_>, key: &Destination, address: u32) -> io::Result<()> {
    update(map, key, address, BPF_NOEXIST)
}

/// Replaces a destination, or adds it (`BPF_MAP_UPDATE_ELEM`).
pub fn set_destination(map: BorrowedFd<'_>, key: &Destination, address: u32) -> io::Result<()> {
    update(map, key, address, 0)
}

/// Removes a destination (`BPF_MAP_DELETE_ELEM`); that there is none is no error.
pub fn remove_destination(map: BorrowedFd<'_>, key: &Destination) -> io::Result<()> {
    found(call(bpf_cmd::BPF_MAP_DELETE_ELEM, &mut element(map, key))).map(drop)
}

/// The keys of the map of destinations.
pub fn destinations(map: BorrowedFd<'_>) -> io::Result<Vec<Destination>> {
    keys(map)
}

/// The ids of the cgroups that a map of policies has values of. None if the list may be
/// short: the kernel says nothing of those that follow if one goes while it is asked for
/// the next. After the last one many kernels answer an id that is none
/// (`cgroup_storage_get_next_key`), so the list ends with what is not there.
pub fn cgroups(map: BorrowedFd<'_>) -> io::Result<Option<Vec<u64>>> {
    let mut found: Vec<u64> = Vec::new();
    loop {
        let mut next = 0_u64;
        let last = found.last().copied();
        let is_there = next_key(map, last.as_ref(), &mut next)?
            && !found.contains(&next)
            && read_policy(map, next).is_ok();
        if is_there {
            found.push(next);
            continue;
        }
        let is_whole = last.is_none_or(|last| read_policy(map, last).is_ok());
        return Ok(is_whole.then_some(found));
    }
}

/// Whether a map has any element (`BPF_MAP_GET_NEXT_KEY`).
pub fn has_elements(map: BorrowedFd<'_>) -> io::Result<bool> {
    let size = usize::try_from(map_info(map)?.key_size).map_err(io::Error::other)?;
    let mut key = vec![0_u8; size];
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = number(map);
    attr.__bindgen_anon_2.__bindgen_anon_1.next_key = key.as_mut_ptr() as u64;
    found(call(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attr))
}

/// All keys (`BPF_MAP_GET_NEXT_KEY`). While others change the map, some can be missing
/// or come twice.
fn keys<K: Plain + Default>(map: BorrowedFd<'_>) -> io::Result<Vec<K>> {
    let mut keys = Vec::new();
    let mut next = K::default();
    while next_key(map, keys.last(), &mut next)? {
        keys.push(next);
    }
    Ok(keys)
}

/// The key after `last`, or the first one; false if there is none.
fn next_key<K: Plain>(map: BorrowedFd<'_>, last: Option<&K>, next: &mut K) -> io::Result<bool> {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = number(map);
    if let Some(last) = last {
        attr.__bindgen_anon_2.key = (&raw const *last) as u64;
    }
    attr.__bindgen_anon_2.__bindgen_anon_1.next_key = (&raw mut *next) as u64;
    found(call(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attr))
}

fn update(map: BorrowedFd<'_>, key: &Destination, value: u32, flags: u32) -> io::Result<()> {
    let mut attr = element(map, key);
    attr.__bindgen_anon_2.__bindgen_anon_1.value = (&raw const value) as u64;
    attr.__bindgen_anon_2.flags = flags.into();
    call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr)?;
    Ok(())
}

/// `key` is read while [`call`] runs.
fn element<K: Plain>(map: BorrowedFd<'_>, key: &K) -> bpf_attr {
    let mut attr = zeroed();
    attr.__bindgen_anon_2.map_fd = number(map);
    attr.__bindgen_anon_2.key = (&raw const *key) as u64;
    attr
}

/// False if there is no such element.
fn found(result: io::Result<i32>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
