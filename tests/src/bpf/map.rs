//! What is in a map.

use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result, bail};
use oci_bind_hook_ebpf::abi::{Policy, flag};

use super::bpf;

/// `BPF_MAP_LOOKUP_ELEM` of `enum bpf_cmd`.
const MAP_LOOKUP_ELEM: i64 = 1;
/// `BPF_MAP_UPDATE_ELEM` of `enum bpf_cmd`.
const MAP_UPDATE_ELEM: i64 = 2;
/// `BPF_MAP_GET_NEXT_KEY` of `enum bpf_cmd`.
const MAP_GET_NEXT_KEY: i64 = 4;

/// The members for these of `union bpf_attr`.
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The first words of an array of such, 8 bytes each.
pub fn words(map: BorrowedFd<'_>, count: u32) -> Result<Vec<u64>> {
    let mut words = Vec::new();
    for key in 0..count {
        let mut word = 0_u64;
        look_up(map, (&raw const key) as u64, (&raw mut word) as u64)?;
        words.push(word);
    }
    Ok(words)
}

/// Reads an element of a map; `key` and `value` are addresses of as many bytes as it
/// has for them.
pub(crate) fn look_up(map: BorrowedFd<'_>, key: u64, value: u64) -> Result<()> {
    bpf(MAP_LOOKUP_ELEM, &mut element(map, key, value)?).context("read from a map")?;
    Ok(())
}

fn element(map: BorrowedFd<'_>, key: u64, value: u64) -> Result<ElementAttr> {
    Ok(ElementAttr {
        map_fd: map.as_raw_fd().try_into()?,
        padding: 0,
        key,
        value,
        flags: 0,
    })
}

/// Has the policy of a cgroup look like one of an older version, whose layout differs:
/// its flags hold the number.
pub fn age_policy(map: BorrowedFd<'_>, cgroup: u64) -> Result<()> {
    let mut policy = [0_u8; size_of::<Policy>()];
    let value = policy.as_mut_ptr() as u64;
    let key = (&raw const cgroup) as u64;
    look_up(map, key, value)?;
    let [flags, ..] = policy.as_chunks_mut().0 else {
        bail!("a policy has flags");
    };
    let older = u32::from_ne_bytes(*flags) - (1 << flag::LAYOUT_MASK.trailing_zeros());
    *flags = older.to_ne_bytes();
    bpf(MAP_UPDATE_ELEM, &mut element(map, key, value)?).context("change an element of a map")?;
    Ok(())
}

/// How many elements a map has, with keys of this size.
pub fn elements(map: BorrowedFd<'_>, key_size: usize) -> Result<usize> {
    let (mut key, mut next) = (vec![0_u8; key_size], vec![0_u8; key_size]);
    let mut attr = element(map, 0, next.as_mut_ptr() as u64)?;
    let mut count = 0;
    loop {
        match bpf(MAP_GET_NEXT_KEY, &mut attr) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(count),
            found => found.context("ask for the next key of a map")?,
        };
        count += 1;
        key.copy_from_slice(&next);
        attr.key = key.as_ptr() as u64;
    }
}
