//! The addresses of a network namespace, and whether they are usable.

pub mod dump;
mod require;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;
use netlink_packet_route::address::AddressFlags;

use super::devices::{self, LOOPBACK};
pub use require::{Unconfigured, check};

/// An address that the kernel lists: one RTM_NEWADDR message, rtnetlink(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The local end, not the peer's.
    address: IpAddr,
    /// Length of the prefix in bits.
    prefix: u8,
    /// The broadcast address that it was given; IPv4 only.
    broadcast: Option<Ipv4Addr>,
    /// `IFA_F_*`.
    flags: AddressFlags,
    /// The index of the device that has it.
    device: u32,
    /// Whether that device is in a VRF, as far as it was asked for.
    is_in_vrf: bool,
}

impl Found {
    /// Whether having this address means having the wanted one. An address in 127.0.0.0/8
    /// stands for its whole prefix, all of which the loopback device routes to itself.
    fn covers(&self, wanted: IpAddr) -> bool {
        if self.address == wanted {
            return true;
        }
        match (self.address, wanted) {
            (IpAddr::V4(address), IpAddr::V4(wanted)) => {
                address.is_loopback()
                    && wanted.is_loopback()
                    && Ipv4Net::new(address, self.prefix).is_ok_and(|net| net.contains(&wanted))
            }
            _ => false,
        }
    }

    /// Returns the broadcast address of its network: the one that it was given, or else
    /// the last address of a prefix that has more than two (`fib_add_ifaddr`).
    fn broadcast(&self) -> Option<Ipv4Addr> {
        self.broadcast.or_else(|| match self.address {
            IpAddr::V4(address) if self.prefix < 31 => {
                Some(Ipv4Net::new(address, self.prefix).ok()?.broadcast())
            }
            _ => None,
        })
    }

    /// Returns whether the kernel lets a socket bind to it. An optimistic address may be
    /// used while duplicate address detection runs (`ipv6_chk_addr_and_flags`).
    fn state(&self) -> State {
        if self.flags.contains(AddressFlags::Dadfailed) {
            State::Duplicate
        } else if self.flags.contains(AddressFlags::Tentative)
            && !self.flags.contains(AddressFlags::Optimistic)
        {
            State::Tentative
        } else if self.is_in_vrf {
            State::InVrf
        } else {
            State::Usable
        }
    }
}

/// Returns the broadcast address of the network that an address of our network namespace
/// is in; `None` if the address is not there, or its network has no broadcast address.
///
/// # Errors
///
/// If the kernel does not list the addresses.
pub fn broadcast(address: Ipv4Addr) -> Result<Option<Ipv4Addr>> {
    let found = dump::addresses(&[address.into()])?;
    Ok(found.iter().find_map(Found::broadcast))
}

/// Whether a socket can bind to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can.
    Usable,
    /// Not before duplicate address detection has finished.
    Tentative,
    /// Never: duplicate address detection failed.
    Duplicate,
    /// Only one that is bound to the VRF, or to a device in it (`inet_addr_valid_or_nonlocal`
    /// asks the routing table of the socket's device).
    InVrf,
}

/// Finds out which addresses are on a device in a VRF.
fn mark_vrf(found: &mut [Found]) -> Result<()> {
    let mut devices: BTreeSet<_> = found.iter().map(|found| found.device).collect();
    // The loopback device cannot be in one (`do_vrf_add_slave`).
    devices.remove(&LOOPBACK);
    for index in devices {
        let device = devices::with_index(index).context("ask for a network device")?;
        if device.is_some_and(|device| device.is_in_vrf) {
            for found in found.iter_mut().filter(|found| found.device == index) {
                found.is_in_vrf = true;
            }
        }
    }
    Ok(())
}

/// Lists the addresses of our network namespace that a container can have, sorted: all
/// but loopback and link-local IPv6 addresses.
///
/// # Errors
///
/// If the kernel does not list them.
pub fn list() -> Result<Vec<(IpAddr, State)>> {
    let mut found = dump::addresses(&[])?;
    mark_vrf(&mut found)?;
    let mut all: Vec<_> = found
        .into_iter()
        .filter(|found| match found.address {
            IpAddr::V4(address) => !address.is_loopback(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        })
        .map(|found| (found.address, found.state()))
        .collect();
    all.sort_unstable_by_key(|(address, _)| *address);
    all.dedup();
    Ok(all)
}

/// Returns the name of the setting that holds an address, for messages about it.
pub(crate) const fn setting_of(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    }
}
