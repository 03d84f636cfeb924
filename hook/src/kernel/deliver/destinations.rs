//! The map of destinations: which IPv4 address the datagrams to another address are for.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::abi::{DESTINATION_SLOTS, Destination, Policy};
use oci_bind_hook_ebpf::net::{V4, V6};

use super::needs;
use crate::kernel::syscall::map;

const OPERATION: &str = "add a datagram destination to the map";

/// Whether a destination was added.
pub enum Added {
    /// It is there.
    Yes,
    /// There is no room for it; the text says what can be done.
    NoRoom(&'static str),
}

/// Adds an IPv4 address to those that datagrams to `address` are for, unless it is there.
///
/// # Errors
///
/// If the kernel refuses it.
pub fn add(map: BorrowedFd<'_>, address: V6, own: V4) -> Result<Added> {
    for slot in 0..DESTINATION_SLOTS {
        let key = Destination { address, slot };
        if map::destination(map, &key).context(OPERATION)? == Some(own) {
            return Ok(Added::Yes);
        }
        match map::add_destination(map, &key, own) {
            Ok(()) => return Ok(Added::Yes),
            // Another's, or one that somebody else is adding at the same time.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if map::destination(map, &key).context(OPERATION)? == Some(own) {
                    return Ok(Added::Yes);
                }
            }
            Err(error) if error.raw_os_error() == Some(libc::E2BIG) => {
                return Ok(Added::NoRoom(
                    "the map of destinations is full: run oci-bind-hook load to remove \
                     unused ones, then restart the container",
                ));
            }
            Err(error) => return Err(error).context(OPERATION),
        }
    }
    Ok(Added::NoRoom(
        "four other IPv4 addresses go with the same IPv6 or loopback address: run oci-bind-hook \
         load to remove those of containers that have ended, then restart the container",
    ))
}

/// Lists all destinations, with the addresses that they are for.
///
/// # Errors
///
/// If the kernel cannot list them.
pub fn list(map: BorrowedFd<'_>) -> Result<Vec<(Destination, V4)>> {
    const OPERATION: &str = "list the datagram destinations";
    let mut all = Vec::new();
    for key in map::destinations(map).context(OPERATION)? {
        if let Some(own) = map::destination(map, &key).context(OPERATION)? {
            all.push((key, own));
        }
    }
    Ok(all)
}

/// Adds missing destinations of these policies, and removes all others except those of a
/// socket at one of these IPv4 addresses. What remains for an address moves to its first
/// slots, since the programs stop at the first empty one. Nobody else may add one
/// meanwhile.
///
/// # Errors
///
/// If the kernel refuses it.
pub fn keep(map: BorrowedFd<'_>, live: &[Policy], sockets: &BTreeSet<V4>) -> Result<()> {
    const OPERATION: &str = "remove a datagram destination";
    let policies: BTreeSet<_> = live
        .iter()
        .flat_map(|policy| {
            needs::addresses(policy, policy.flags).map(|(_, address)| (address, policy.ipv4))
        })
        .collect();
    // None of them is missing, unless somebody has removed it.
    for (address, own) in &policies {
        add(map, *address, *own)?;
    }
    let mut by_address: BTreeMap<V6, Vec<(u32, V4)>> = BTreeMap::new();
    for (key, own) in list(map)? {
        by_address
            .entry(key.address)
            .or_default()
            .push((key.slot, own));
    }
    for (address, all) in by_address {
        let kept: Vec<_> = all
            .iter()
            .map(|(_, own)| *own)
            .filter(|own| policies.contains(&(address, *own)) || sockets.contains(own))
            .collect();
        if kept.len() == all.len() {
            continue;
        }
        // A destination that moves exists twice for a moment, but is never missing.
        for (slot, own) in (0..).zip(&kept) {
            map::set_destination(map, &Destination { address, slot }, *own).context(OPERATION)?;
        }
        for (slot, _) in all {
            if slot as usize >= kept.len() {
                map::remove_destination(map, &Destination { address, slot }).context(OPERATION)?;
            }
        }
    }
    Ok(())
}
