//! Which calls are measured.

use std::net::{IpAddr, SocketAddr};

use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, mapped};
use oci_bind_hook_tests::results::Target;

/// Servers, by IPv4 and by IPv6.
pub struct Peers {
    pub tcp: [SocketAddr; 2],
    pub udp: [SocketAddr; 2],
}

/// What a call names.
#[derive(Clone, Copy)]
pub enum Address {
    /// This address, and a port of the kernel's choice.
    Own(IpAddr),
    Tcp4,
    Tcp6,
    TcpMapped,
    Udp4,
    Udp6,
    UdpMapped,
}

impl Address {
    pub fn of(self, peers: &Peers) -> SocketAddr {
        let as_mapped = |it: SocketAddr| SocketAddr::new(mapped(it.ip()), it.port());
        match self {
            Self::Own(address) => SocketAddr::new(address, 0),
            Self::Tcp4 => peers.tcp[0],
            Self::Tcp6 => peers.tcp[1],
            Self::TcpMapped => as_mapped(peers.tcp[0]),
            Self::Udp4 => peers.udp[0],
            Self::Udp6 => peers.udp[1],
            Self::UdpMapped => as_mapped(peers.udp[0]),
        }
    }
}

/// One line of the table.
pub struct Call {
    pub name: &'static str,
    /// As the caller knows it, with the kind of the socket.
    pub request: &'static str,
    pub inside: Address,
    /// What the plain process names. A moved bind is set against one with the
    /// same result, too: the kernel looks a specific address up, and the
    /// wildcard not.
    pub plain: Address,
    /// How many in a batch.
    pub count: u32,
    pub target: Option<Target>,
}

const BIND: Option<Target> = Some(Target::AtMost(1.15));
const CONNECT: Option<Target> = Some(Target::AtMost(1.05));
const SEND: Option<Target> = Some(Target::AtMost(1.03));

use Address::{Own, Tcp4, Tcp6, TcpMapped, Udp4, Udp6, UdpMapped};

pub const CALLS: &[Call] = &[
    bind("TCP bind own address", "bind tcp4", CIP4, CIP4, BIND),
    bind("TCP bind 0.0.0.0 / own", "bind tcp4", ANY4, CIP4, BIND),
    bind("TCP bind 0.0.0.0", "bind tcp4", ANY4, ANY4, None),
    bind("TCP bind :: / own", "bind tcp6", ANY6, CIP6, BIND),
    bind("TCP bind ::", "bind tcp6", ANY6, ANY6, None),
    bind("UDP bind own address", "bind udp4", CIP4, CIP4, BIND),
    bind("UDP bind 0.0.0.0 / own", "bind udp4", ANY4, CIP4, BIND),
    bind("UDP bind 0.0.0.0", "bind udp4", ANY4, ANY4, None),
    call("TCP connect", "connect tcp4", Tcp4, 50, CONNECT),
    call("TCP connect, IPv6", "connect tcp6", Tcp6, 50, CONNECT),
    call(
        "TCP connect, mapped",
        "connect tcp6",
        TcpMapped,
        50,
        CONNECT,
    ),
    call("UDP connect", "connect udp4", Udp4, 100, CONNECT),
    call("UDP connect, IPv6", "connect udp6", Udp6, 100, CONNECT),
    call(
        "UDP connect, mapped",
        "connect udp6",
        UdpMapped,
        100,
        CONNECT,
    ),
    call("sendto", "sendto udp4", Udp4, 1000, SEND),
    call("sendto, IPv6", "sendto udp6", Udp6, 1000, SEND),
    call("sendto, mapped", "sendto udp6", UdpMapped, 1000, SEND),
    call("getpeername", "getpeername tcp4", Tcp4, 2000, None),
    call("accept", "accept tcp4", Own(CIP4), 50, None),
];

const fn call(
    name: &'static str,
    request: &'static str,
    to: Address,
    count: u32,
    target: Option<Target>,
) -> Call {
    Call {
        name,
        request,
        inside: to,
        plain: to,
        count,
        target,
    }
}

const fn bind(
    name: &'static str,
    request: &'static str,
    inside: IpAddr,
    plain: IpAddr,
    target: Option<Target>,
) -> Call {
    Call {
        inside: Own(inside),
        ..call(name, request, Own(plain), 100, target)
    }
}
