//! The acceptance list: which rows this version claims, what each is about,
//! and the oldest kernel on which it holds.

/// A row of the list.
pub struct Item {
    pub id: &'static str,
    /// The call, as the list has it.
    pub call: &'static str,
    /// The oldest kernel.
    pub floor: &'static str,
}

/// The kernel on which all programs of the hook load.
const ALL: &str = "5.10";
/// Like [`ALL`], and a refused call shows its own errno.
const ERRNO: &str = "5.10; errno from 5.18, EPERM before";

/// All rows, in the order of the list.
#[rustfmt::skip]
pub const LIST: &[Item] = &[
    item("B1", "TCP bind 0.0.0.0:p", ALL),
    item("B2", "UDP bind 0.0.0.0:p", ALL),
    item("B3", "bind port 0", ALL),
    item("B4", "bind to another address of the host", ALL),
    item("B5", "bind to the assigned address", ALL),
    item("B6", "bind 127.0.0.0/8, ::1, ::ffff:127.x", ALL),
    item("B7", "bind multicast, a broadcast address, fe80::/10", ALL),
    item("B8", "bind ::, not v6only, only IPv4 assigned", ALL),
    item("B9", "bind ::, not v6only, only IPv6 assigned", ALL),
    item("B10", "bind ::, not v6only, both assigned (see Limits)", "5.10; UDP with SO_REUSEPORT from 6.6, IPv6 alone before"),
    item("B11", "bind ::, v6only", ERRNO),
    item("B12", "bind ::ffff:0.0.0.0, ::ffff:other", ALL),
    item("B13", "bind to an address of a family that is not assigned", ERRNO),
    item("B14", "AF_UNSPEC bind with 0.0.0.0", ERRNO),
    item("B15", "two containers and the host's own service at one port", ALL),
    item("B16", "SO_REUSEPORT, SO_REUSEADDR, IP_BIND_ADDRESS_NO_PORT, IP_FREEBIND, IP_TRANSPARENT", ALL),
    item("B17", "port mapping", ALL),
    item("B18", "exempt port", ALL),
    item("B19", "listen() with no bind", ALL),
    item("B20", "socket(2) for MPTCP", ERRNO),
    item("B21", "bind through io_uring", "6.11; EINVAL before"),
    item("B22", "bind to the wildcard of a family that is not assigned", ALL),
    item("B23", "bind to every address of the host, one by one", ALL),
    item("B24", "bind ::, both assigned, where the port is served at IPv6 (see Limits)", ALL),
    item("C1", "TCP connect", ALL),
    item("C2", "UDP connect + send", ALL),
    item("C3", "v6 socket to ::ffff:a.b.c.d", ALL),
    item("C4", "UDP v6 socket given an AF_INET address", ALL),
    item("C5", "socket already bound to the assigned address or loopback", ALL),
    item("C6", "connect again: refused, disconnected, second connect of UDP", ALL),
    item("C7", "UDP socket that has sent, then connects", ERRNO),
    item("C8", "family not assigned", ERRNO),
    item("C9", "TCP Fast Open, both forms", ALL),
    item("C10", "ping socket, io_uring connect", "5.10; ping socket from 6.1, guard alone before"),
    item("C11", "getaddrinfo + connect to a name of both families", ALL),
    item("C12", "non-blocking connect; a thousand concurrent connects", ALL),
    item("U1", "sendto, sendmsg, sendmmsg", ALL),
    item("U2", "with IP_PKTINFO / IPV6_PKTINFO naming another address", ALL),
    item("U3", "connected socket with PKTINFO", ALL),
    item("U4", "v6 socket to a mapped destination", ALL),
    item("U5", "reply path", ALL),
    item("U6", "multicast send; multicast receive on an exempt port", ALL),
    item("U7", "bound to loopback, to loopback", ALL),
    item("L1", "policy auto: who is at the very address, else the own server, else the host's loopback", ALL),
    item("L2", "policy auto: bind to loopback stays there", ALL),
    item("L3", "policy host: loopback is never touched", ALL),
    item("L4", "policy private: a loopback of the container's own", ERRNO),
    item("L5", "connect to 0.0.0.0 or :: means loopback", ALL),
    item("L6", "policies auto, private: a UDP socket bound to the wildcard calls loopback (see Limits)", "5.14; from the assigned address before"),
    item("L7", "policy private: 127.0.0.1:p and [::1]:p at once", ALL),
    item("L8", "policy private: nothing reaches the host's loopback", ERRNO),
    item("L9", "a socket bound to loopback reaches no other host", ALL),
    item("G1", "packets leaving from another address", ALL),
    item("G2", "packets for another address", ALL),
    item("G3", "only the programs that a policy needs", ALL),
    item("G4", "sockets passed in, passed out, inherited", ALL),
    item("G5", "child cgroups, processes that move or join, nested containers, programs of others", ALL),
    item("G6", "processes outside", ALL),
    item("G7", "packets that the host rewrites: NAT, a ClusterIP, a published port, IPsec", ALL),
    item("G8", "unicast packets in broadcast and multicast frames", ALL),
    item("M1", "UDP bind to the wildcard at a port for multicast", ALL),
    item("M2", "unicast of such a socket (see Limits)", ALL),
    item("M3", "exempt port, with the guard and without", ERRNO),
    item("M4", "sending to groups and broadcast addresses (see Limits)", ALL),
];

const fn item(id: &'static str, call: &'static str, floor: &'static str) -> Item {
    Item { id, call, floor }
}
