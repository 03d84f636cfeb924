//! Checks that an address is configured in a network namespace, and usable.
//!
//! The kernel refuses a bind to an address that it does not have (EADDRNOTAVAIL), in the
//! middle of somebody else's program. It is better to say so before the container starts.

pub mod dump;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, bail};
use ipnet::Ipv4Net;
use netlink_packet_route::address::AddressFlags;

use crate::host::netns::Namespace;

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

    /// Whether the kernel lets a socket bind to it. An optimistic address may
    /// be used while duplicate address detection runs
    /// (`ipv6_chk_addr_and_flags`).
    fn usable(&self) -> bool {
        !self.flags.contains(AddressFlags::Dadfailed)
            && (self.flags.contains(AddressFlags::Optimistic)
                || !self.flags.contains(AddressFlags::Tentative))
    }
}

/// Checks that the addresses are configured in the namespace, on any device, and that a
/// socket could bind to them. Without addresses there is nothing to check.
///
/// # Errors
///
/// An address is missing, still tentative, or failed duplicate address
/// detection; the process has ended; or its namespace may not be entered.
pub fn check(namespace: Namespace, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Result<()> {
    let wanted: Vec<IpAddr> = [ipv4.map(IpAddr::V4), ipv6.map(IpAddr::V6)]
        .into_iter()
        .flatten()
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    namespace.enter(|| look(&wanted))
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
}

/// Lists the addresses of our network namespace that a container can have, sorted: all
/// but loopback and link-local IPv6 addresses.
///
/// # Errors
///
/// If the kernel does not list them.
pub fn list() -> Result<Vec<(IpAddr, State)>> {
    let mut all: Vec<_> = dump::addresses(&[])?
        .into_iter()
        .filter(|found| match found.address {
            IpAddr::V4(address) => !address.is_loopback(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        })
        .map(|found| {
            let state = if found.usable() {
                State::Usable
            } else if found.flags.contains(AddressFlags::Dadfailed) {
                State::Duplicate
            } else {
                State::Tentative
            };
            (found.address, state)
        })
        .collect();
    all.sort_unstable_by_key(|(address, _)| *address);
    all.dedup();
    Ok(all)
}

/// Checks the calling thread's namespace.
fn look(wanted: &[IpAddr]) -> Result<()> {
    let found = dump::addresses(wanted)?;
    wanted
        .iter()
        .try_for_each(|wanted| verdict(*wanted, &found))
}

/// Checks that a list of addresses has the wanted one, and that it is usable on at least
/// one device.
fn verdict(wanted: IpAddr, found: &[Found]) -> Result<()> {
    let setting = setting_of(wanted);
    let mut having = found.iter().filter(|found| found.covers(wanted)).peekable();
    if having.peek().is_none() {
        bail!(
            "{setting} address {wanted} is not configured in the network namespace: \
             add it (ip address add {wanted} dev DEV), \
             or set require-local-address = false in the configuration"
        );
    }
    let mut failed = false;
    for found in having {
        if found.usable() {
            return Ok(());
        }
        failed |= found.flags.contains(AddressFlags::Dadfailed);
    }
    if failed {
        bail!(
            "{setting} address {wanted} failed duplicate address detection: \
             another host answered for it: free the address there, or assign another one"
        );
    }
    bail!(
        "{setting} address {wanted} is still tentative: \
         duplicate address detection has not finished: retry in a second, or add it with nodad"
    );
}

/// Returns the name of the setting that holds an address, for messages about it.
pub(crate) const fn setting_of(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    }
}
