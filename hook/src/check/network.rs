//! A network namespace with addresses that no host has: all packets stay in it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use netlink_packet_core::{
    ErrorBuffer, NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader,
    NetlinkMessage,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// What a container gets, and what a peer has: RFC 5737 and RFC 3849.
pub const OWN4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// As [`OWN4`].
pub const OWN6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
/// The peer's.
pub const PEER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 20);
/// As [`PEER4`].
pub const PEER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x20);

/// The loopback device is the first one of every network namespace.
const LOOPBACK: u32 = 1;
/// How long the kernel may take until an address can be reached.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gives the loopback device of a fresh namespace the addresses. Answers
/// whether there is IPv6.
///
/// # Errors
///
/// If the device or the IPv4 addresses cannot be set up.
pub fn set_up() -> Result<bool> {
    let socket = Socket::new(NETLINK_ROUTE).context("open a netlink socket")?;
    let mut up = LinkMessage::default();
    up.header.index = LOOPBACK;
    up.header.flags = LinkFlags::Up;
    up.header.change_mask = LinkFlags::Up;
    ask(&socket, RouteNetlinkMessage::SetLink(up)).context("set the loopback device up")?;
    for address in [OWN4, PEER4] {
        ask(&socket, addition(address.into())).with_context(|| format!("add {address}"))?;
    }
    let has_ipv6 = [OWN6, PEER6]
        .into_iter()
        .all(|address| ask(&socket, addition(address.into())).is_ok());
    Ok(has_ipv6 && is_reached(PEER6.into()))
}

fn addition(address: IpAddr) -> RouteNetlinkMessage {
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
    RouteNetlinkMessage::NewAddress(message)
}

/// Sends one request and waits for its acknowledgement.
fn ask(socket: &Socket, request: RouteNetlinkMessage) -> Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    let mut message = NetlinkMessage::new(header, request.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
    let mut reply = Vec::with_capacity(4096);
    socket.recv_from(&mut reply, 0)?;
    let reply = NetlinkBuffer::new_checked(reply.as_slice())?;
    anyhow::ensure!(reply.message_type() == NLMSG_ERROR, "no acknowledgement");
    match ErrorBuffer::new_checked(reply.payload())?.code() {
        None => Ok(()),
        Some(code) => Err(std::io::Error::from_raw_os_error(-code.get()).into()),
    }
}

/// The kernel adds an address's route from a work queue (`addrconf_dad_work`).
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
