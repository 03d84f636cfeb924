//! Reads and changes the elements of maps.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;

use aya_obj::generated::{BPF_NOEXIST, bpf_cmd};
use oci_bind_hook_ebpf::abi::{Destination, Policy};
use oci_bind_hook_ebpf::net::V4;

use super::{call, element, map_info, number, read_policy, zeroed};

/// Returns the IPv4 address that goes with a destination (`BPF_MAP_LOOKUP_ELEM`).
pub fn destination(map: BorrowedFd<'_>, key: &Destination) -> io::Result<Option<V4>> {
    let mut value = V4::default();
    let mut attr = element(map, key, (&raw mut value) as u64);
    Ok(found(call(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attr))?.then_some(value))
}

/// Adds a destination (`BPF_MAP_UPDATE_ELEM`); EEXIST if there is one, E2BIG if the map
/// is full.
pub fn add_destination(map: BorrowedFd<'_>, key: &Destination, address: V4) -> io::Result<()> {
    update(map, key, address, BPF_NOEXIST)
}

/// Replaces a destination, or adds it (`BPF_MAP_UPDATE_ELEM`).
pub fn set_destination(map: BorrowedFd<'_>, key: &Destination, address: V4) -> io::Result<()> {
    update(map, key, address, 0)
}

/// Removes a destination (`BPF_MAP_DELETE_ELEM`). It is not an error if there is none.
pub fn remove_destination(map: BorrowedFd<'_>, key: &Destination) -> io::Result<()> {
    found(call(
        bpf_cmd::BPF_MAP_DELETE_ELEM,
        &mut element(map, key, 0),
    ))
    .map(drop)
}

/// Returns the keys of the map of destinations. While others change the map, some may be
/// missing or appear twice.
pub fn destinations(map: BorrowedFd<'_>) -> io::Result<Vec<Destination>> {
    let mut keys = Vec::new();
    let mut next = Destination::default();
    while next_key(map, keys.last(), (&raw mut next) as u64)? {
        keys.push(next);
    }
    Ok(keys)
}

/// Returns the policies in a map, by the ids of their cgroups; `None` if some may be
/// missing: if one goes while the kernel is asked for the next, the kernel does not
/// report those after it. After the last one many kernels return an id that does not
/// exist (`cgroup_storage_get_next_key`), so the list ends at the first such id.
pub fn policies(map: BorrowedFd<'_>) -> io::Result<Option<BTreeMap<u64, Policy>>> {
    let mut all = BTreeMap::new();
    let mut last = None;
    let mut next = 0_u64;
    while next_key(map, last.as_ref(), (&raw mut next) as u64)?
        && let Ok(policy) = read_policy(map, next)
        && all.insert(next, policy).is_none()
    {
        last = Some(next);
    }
    let is_whole = last.is_none_or(|last| read_policy(map, last).is_ok());
    Ok(is_whole.then_some(all))
}

/// Whether a map has any element.
pub fn has_elements(map: BorrowedFd<'_>) -> io::Result<bool> {
    let size = usize::try_from(map_info(map)?.key_size).map_err(io::Error::other)?;
    let mut key = vec![0_u8; size];
    next_key(map, None::<&u8>, key.as_mut_ptr() as u64)
}

/// Writes the key after `last`, or the first one, to `next`, which points to as many
/// bytes as a key of the map has (`BPF_MAP_GET_NEXT_KEY`); false if there is none.
fn next_key<K>(map: BorrowedFd<'_>, last: Option<&K>, next: u64) -> io::Result<bool> {
    let mut attr = match last {
        Some(last) => element(map, last, next),
        None => zeroed(),
    };
    attr.__bindgen_anon_2.map_fd = number(map);
    attr.__bindgen_anon_2.__bindgen_anon_1.next_key = next;
    found(call(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attr))
}

fn update(map: BorrowedFd<'_>, key: &Destination, value: V4, flags: u32) -> io::Result<()> {
    let mut attr = element(map, key, (&raw const value) as u64);
    attr.__bindgen_anon_2.flags = flags.into();
    call(bpf_cmd::BPF_MAP_UPDATE_ELEM, &mut attr)?;
    Ok(())
}

/// Returns false if there is no such element.
fn found(result: io::Result<i32>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
