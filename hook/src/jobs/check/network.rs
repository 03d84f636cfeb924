//! A network namespace with addresses that no host has: all packets stay in it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::host::devices::LOOPBACK;
use crate::host::netlink;

/// The IPv4 address of a container (RFC 5737).
pub const OWN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// The IPv6 address of a container (RFC 3849).
pub const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// The IPv4 address of a peer.
pub const PEER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
/// The IPv6 address of a peer.
pub const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x20);

/// How long the kernel may take until an address can be reached.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gives the addresses to the loopback device of a fresh namespace. Returns whether there
/// is IPv6.
///
/// # Errors
///
/// If the device or the IPv4 addresses cannot be set up.
pub fn set_up() -> Result<bool> {
    let mut up = LinkMessage::default();
    up.header.index = LOOPBACK;
    up.header.flags = LinkFlags::Up;
    up.header.change_mask = LinkFlags::Up;
    netlink::change(RouteNetlinkMessage::SetLink(up), 0).context("set the loopback device up")?;
    for address in [OWN4, PEER4] {
        add(address.into()).with_context(|| format!("add {address}"))?;
    }
    let has_ipv6 = [OWN6, PEER6]
        .into_iter()
        .all(|address| add(address.into()).is_ok());
    Ok(has_ipv6 && is_reached(PEER6.into()))
}

fn add(address: IpAddr) -> io::Result<()> {
    let mut message = AddressMessage::default();
    (message.header.family, message.header.prefix_len) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header.index = LOOPBACK;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Flags(AddressFlags::Nodad),
    ];
    netlink::change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE)
}

/// Waits until an address can be reached: the kernel adds its route from a work queue
/// (`addrconf_dad_work`).
fn is_reached(address: IpAddr) -> bool {
    const MOMENT: Duration = Duration::from_millis(2);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if UdpSocket::bind((address, 0)).is_ok_and(|peer| {
            peer.local_addr()
                .and_then(|address| peer.connect(address))
                .is_ok()
        }) {
            return true;
        }
        sleep(MOMENT);
    }
    false
}
