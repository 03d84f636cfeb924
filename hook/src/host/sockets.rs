//! The sockets at which a network namespace can be called: TCP sockets that listen, and
//! bound UDP sockets without a peer. Asks the kernel over sock_diag(7).

mod holders;

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use netlink_packet_core::{NetlinkSerializable, NlasIterator};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink;

pub use holders::{Holder, holders};

/// The protocol of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The `IPPROTO` number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The states of the sockets that can be called, one bit each: `TCP_LISTEN`, or
    /// `TCP_CLOSE` for a UDP socket without a peer.
    const fn states(self) -> u32 {
        match self {
            Self::Tcp => 1 << 10,
            Self::Udp => 1 << 7,
        }
    }
}

/// A socket that can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its own address; an IPv4 one of an IPv6 socket is IPv4-mapped.
    pub address: SocketAddr,
    /// Its `IPV6_V6ONLY`.
    pub v6only: bool,
    /// The id of the cgroup that it was created in, whose policy is the socket's.
    pub cgroup: u64,
    /// Its inode number.
    pub inode: u32,
}

/// Lists those of the calling thread's network namespace.
///
/// # Errors
///
/// If the kernel cannot list them: `NotFound` if it lacks the module `tcp_diag` or
/// `udp_diag`.
pub fn listeners() -> io::Result<Vec<Listener>> {
    let mut all = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        for family in [libc::AF_INET, libc::AF_INET6] {
            let request = Request { family, protocol };
            for message in netlink::list_of(NETLINK_SOCK_DIAG, &request)? {
                let malformed = || netlink::malformed("malformed reply from the kernel");
                all.push(parse(protocol, &message).ok_or_else(malformed)?);
            }
        }
    }
    Ok(all)
}

/// `struct inet_diag_req_v2`: a request for all sockets of one family and protocol.
#[derive(Clone, Copy)]
struct Request {
    family: i32,
    protocol: Protocol,
}

impl NetlinkSerializable for Request {
    /// `SOCK_DIAG_BY_FAMILY`
    fn message_type(&self) -> u16 {
        20
    }

    fn buffer_len(&self) -> usize {
        56
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 256"
    )]
    fn serialize(&self, buffer: &mut [u8]) {
        buffer[0] = self.family as u8;
        buffer[1] = self.protocol.number();
        buffer[4..8].copy_from_slice(&self.protocol.states().to_ne_bytes());
    }
}

/// Reads a `struct inet_diag_msg` and the attributes behind it.
fn parse(protocol: Protocol, message: &[u8]) -> Option<Listener> {
    const HEADER: usize = 72;
    const INET_DIAG_SKV6ONLY: u16 = 11;
    const INET_DIAG_CGROUP_ID: u16 = 21;
    let (header, attributes) = message.split_at_checked(HEADER)?;
    let source = header[8..24].first_chunk::<16>()?;
    let ip: IpAddr = match i32::from(header[0]) {
        libc::AF_INET => IpAddr::from(*source.first_chunk::<4>()?),
        libc::AF_INET6 => Ipv6Addr::from(*source).into(),
        _ => return None,
    };
    let port = u16::from_be_bytes([header[4], header[5]]);
    let mut listener = Listener {
        protocol,
        address: SocketAddr::new(ip, port),
        v6only: false,
        cgroup: 0,
        inode: u32::from_ne_bytes(*header[68..72].first_chunk()?),
    };
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.ok()?;
        match attribute.kind() {
            INET_DIAG_SKV6ONLY => listener.v6only = *attribute.value().first()? != 0,
            INET_DIAG_CGROUP_ID => {
                listener.cgroup = u64::from_ne_bytes(*attribute.value().first_chunk()?);
            }
            _ => {}
        }
    }
    Some(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::netns;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn listeners_are_found() {
        netns::within_new(|| {
            let tcp = TcpListener::bind("[::]:0").expect("listen");
            let udp = UdpSocket::bind("0.0.0.0:0").expect("bind");
            let connected = UdpSocket::bind("0.0.0.0:0").expect("bind");
            let all = listeners().expect("list");
            let find = |protocol, address: SocketAddr| {
                let is_it = |one: &&Listener| (one.protocol, one.address) == (protocol, address);
                all.iter().find(is_it).copied()
            };
            let tcp = find(Protocol::Tcp, tcp.local_addr().expect("a name"));
            let tcp = tcp.expect("the TCP socket");
            assert!(!tcp.v6only && tcp.inode != 0 && tcp.cgroup != 0, "{tcp:?}");
            let udp = find(Protocol::Udp, udp.local_addr().expect("a name"));
            assert_eq!(udp.expect("the UDP socket").cgroup, tcp.cgroup);
            assert_eq!(all.len(), 3, "{all:?}");
            drop(connected);
        });
    }

    #[test]
    fn what_is_too_short_is_refused() {
        assert_eq!(parse(Protocol::Tcp, &[2; 71]), None);
        assert_eq!(parse(Protocol::Tcp, &[9; 72]), None);
        let mut message = [0; 80];
        message[0] = 2;
        message[72..76].copy_from_slice(&[8, 0, 21, 0]);
        assert_eq!(parse(Protocol::Tcp, &message), None);
    }
}
