//! The devices at which policies need the program: pure, apart from listing devices and
//! sockets.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::abi::{Destination, Policy, flag};
use oci_bind_hook_ebpf::decide::address::{Family, mapped};
use oci_bind_hook_ebpf::net::{V4, V6};

use crate::host::devices::LOOPBACK;
use crate::host::devices::{self, Device};

/// The devices at which the program is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// At all of them.
    all: bool,
    /// At the loopback device.
    loopback: bool,
}

impl Needs {
    /// Returns the needs of a policy with these flags.
    pub const fn of(flags: u32) -> Self {
        Self {
            all: flags & flag::DUAL_UDP != 0,
            loopback: flags & (flag::DUAL_UDP | flag::LOOPBACK_UDP) != 0,
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            all: self.all || other.all,
            loopback: self.loopback || other.loopback,
        }
    }

    /// Lists those devices of the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// If the kernel cannot list them.
    pub fn devices(self) -> Result<Vec<Device>> {
        if self.all {
            let mut all = devices::list().context("list the network devices")?;
            all.retain(|device| self.include(device));
            return Ok(all);
        }
        let loopback = Device {
            index: LOOPBACK,
            name: "lo".to_owned(),
            ..Device::default()
        };
        Ok(self.loopback.then_some(loopback).into_iter().collect())
    }

    /// Whether the program is needed at a device.
    pub const fn include(self, device: &Device) -> bool {
        self.all && !device.is_port || self.loopback && device.index == LOOPBACK
    }
}

/// Returns which of [`flag::DUAL_UDP`] and [`flag::LOOPBACK_UDP`] a policy wants.
pub const fn wanted(policy: &Policy) -> u32 {
    let mut wanted = 0;
    if policy.flags & flag::DUAL != 0 {
        wanted |= flag::DUAL_UDP;
    }
    if policy.flags & flag::IPV4 != 0
        && policy.flags & (flag::LOOPBACK_AUTO | flag::LOOPBACK_PRIVATE) != 0
    {
        wanted |= flag::LOOPBACK_UDP;
    }
    wanted
}

/// Returns the addresses whose datagrams are for the policy's IPv4 address, each with its
/// flag; only those whose flag is in `flags`.
pub fn addresses(policy: &Policy, flags: u32) -> impl Iterator<Item = (u32, V6)> {
    [
        (flag::DUAL_UDP, policy.ipv6),
        (flag::LOOPBACK_UDP, mapped(policy.loopback)),
    ]
    .into_iter()
    .filter(move |(flag, _)| flags & flag != 0)
}

/// Returns what is needed in the network namespace with this inode number: by its
/// policies, and by sockets at these IPv4 addresses that were bound under one.
pub fn needs(
    live: &[Policy],
    inode: u64,
    known: &[(Destination, V4)],
    sockets: &BTreeSet<V4>,
) -> Needs {
    let of_policies = live
        .iter()
        .filter(|policy| policy.namespace == inode)
        .fold(Needs::default(), |sum, policy| {
            sum.and(Needs::of(policy.flags))
        });
    let is_heard = known.iter().any(|(destination, own)| {
        matches!(Family::of(destination.address), Family::V6(_)) && sockets.contains(own)
    });
    of_policies.and(Needs::of(if is_heard { flag::DUAL_UDP } else { 0 }))
}

/// Returns the IPv4 addresses that IPv6 UDP sockets of the calling thread's network namespace are bound to.
///
/// # Errors
///
/// If there is no /proc.
pub fn sockets() -> Result<BTreeSet<V4>> {
    const PATH: &str = "/proc/thread-self/net/udp6";
    match fs::read_to_string(PATH) {
        Ok(text) => Ok(text.lines().filter_map(bound_to).collect()),
        // There is no IPv6.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| format!("read {PATH}")),
    }
}

/// Returns the IPv4 address that a socket is bound to (proc_net_udp6(5)): the second
/// field, in words as the kernel stores them.
fn bound_to(line: &str) -> Option<V4> {
    let (address, _) = line.split_whitespace().nth(1)?.split_once(':')?;
    let word =
        |index: usize| u32::from_str_radix(address.get(index * 8..(index + 1) * 8)?, 16).ok();
    match Family::of(V6([word(0)?, word(1)?, word(2)?, word(3)?])) {
        Family::V4(own) => Some(own),
        Family::V6(_) => None,
    }
}

#[cfg(test)]
mod tests;
