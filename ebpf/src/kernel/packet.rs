//! A packet and its socket, as the guard's programs see them.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{__sk_buff, bpf_sock};
use aya_ebpf::helpers::bpf_sk_fullsock;
use aya_ebpf::programs::SkBuffContext;
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::{Family, mapped};
use oci_bind_hook_ebpf::decide::guard::{self, Owner};
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::decide::port::{TCP, UDP};
use oci_bind_hook_ebpf::net::{Port, V4};

use super::field::{field, field6};
use super::lookup::{SOCK_DGRAM, SOCK_STREAM, Tuple, find_private6, find4};

/// `ETH_P_IP`, network byte order.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
/// `IPPROTO_ICMP` and `IPPROTO_ICMPV6`
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// The first byte of an IPv4 header without options.
const PLAIN4: u8 = 0x45;
/// The IPv6 extensions that can contain a route: `NEXTHDR_HOP`, `NEXTHDR_ROUTING` and
/// `NEXTHDR_DEST`, which come first.
const EXTENSIONS: [u8; 3] = [0, 43, 60];
/// `LOOPBACK_IFINDEX`: the loopback device of every network namespace.
const LOOPBACK_DEVICE: u32 = 1;
/// `SOCK_RAW`
const SOCK_RAW: u32 = 3;
/// `BPF_TCP_SYN_SENT`
const SYN_SENT: u32 = 2;
/// `AF_INET6`
const AF_INET6: u32 = 10;

/// Which address of a packet.
#[derive(Clone, Copy)]
enum Side {
    Source,
    Destination,
}

impl Side {
    /// Offset in the IPv4 header (RFC 791), in bytes.
    const fn offset4(self) -> usize {
        match self {
            Self::Source => 12,
            Self::Destination => 16,
        }
    }

    /// Offset in the IPv6 header (RFC 8200), in bytes.
    const fn offset6(self) -> usize {
        match self {
            Self::Source => 8,
            Self::Destination => 24,
        }
    }
}

/// A packet that a socket of the cgroup sends or receives.
pub struct Packet<'a> {
    ctx: &'a SkBuffContext,
    policy: &'a Policy,
}

impl<'a> Packet<'a> {
    #[inline(always)]
    pub const fn new(ctx: &'a SkBuffContext, policy: &'a Policy) -> Self {
        Self { ctx, policy }
    }

    #[inline(always)]
    fn address(&self, side: Side) -> Option<Family> {
        if self.is_v4() {
            self.at(side.offset4()).map(Family::V4)
        } else {
            self.at(side.offset6()).map(Family::V6)
        }
    }

    #[inline(always)]
    fn is_v4(&self) -> bool {
        field!(self.buffer(), protocol) == IPV4
    }

    /// The protocol that the header says comes next.
    #[inline(always)]
    fn next(&self) -> u8 {
        const OFFSET4: usize = 9;
        const OFFSET6: usize = 6;
        let offset = if self.is_v4() { OFFSET4 } else { OFFSET6 };
        self.byte(offset)
    }

    /// A byte of the header; 0 if there is none.
    #[inline(always)]
    fn byte(&self, offset: usize) -> u8 {
        self.ctx.load(offset).unwrap_or(0)
    }

    /// What is at an offset of the header, in bytes. The kernel has the header in
    /// one piece when a socket's packet passes (`ip_rcv_core`, `ip6_rcv_core`).
    #[inline(always)]
    fn at<T: Copy>(&self, offset: usize) -> Option<T> {
        let start = field!(self.buffer(), data) as usize;
        let end = field!(self.buffer(), data_end) as usize;
        // SAFETY: the packet is between these two, as the verifier ensures; the network
        // layer aligns its header.
        (start + offset + size_of::<T>() <= end).then(|| unsafe { *((start + offset) as *const T) })
    }

    /// The destination port, which TCP and UDP have in the same place. The kernel calls
    /// the program for whole packets, before it fragments them.
    ///
    /// `None` if an extension follows the IPv6 header.
    #[inline(always)]
    fn destination_port(&self) -> Option<Port> {
        const WORD: usize = 4;
        const OFFSET: usize = 2;
        const HEADER6: usize = 40;
        let header = if self.is_v4() {
            usize::from(self.byte(0) & 0xf) * WORD
        } else if matches!(u32::from(self.next()), TCP | UDP) {
            HEADER6
        } else {
            return None;
        };
        self.ctx.load(header + OFFSET).ok()
    }

    /// The socket. The kernel calls the program only for packets of full sockets; what is
    /// sent before a connection has a socket of its own counts as the listener's.
    #[inline(always)]
    fn socket(&self) -> Option<*mut bpf_sock> {
        let socket = field!(self.buffer(), __bindgen_anon_2);
        // SAFETY: a union of one pointer.
        let socket: *mut bpf_sock = unsafe { socket.sk };
        if socket.is_null() {
            return None;
        }
        // SAFETY: the helper returns null for what is not a full socket.
        let socket = unsafe { bpf_sk_fullsock(socket) };
        (!socket.is_null()).then_some(socket)
    }

    #[inline(always)]
    fn buffer(&self) -> *const __sk_buff {
        self.ctx.as_ptr().cast()
    }
}

impl guard::Packet for Packet<'_> {
    #[inline(always)]
    fn source(&self) -> Option<Family> {
        self.address(Side::Source)
    }

    #[inline(always)]
    fn destination(&self) -> Option<Family> {
        self.address(Side::Destination)
    }

    #[inline(always)]
    fn is_local(&self) -> bool {
        field!(self.buffer(), ifindex) == LOOPBACK_DEVICE
    }

    #[inline(always)]
    fn is_icmp(&self) -> bool {
        self.next() == if self.is_v4() { ICMP } else { ICMPV6 }
    }

    #[inline(always)]
    fn is_plain(&self) -> bool {
        if self.is_v4() {
            self.byte(0) == PLAIN4
        } else {
            !EXTENSIONS.contains(&self.next())
        }
    }

    #[inline(always)]
    fn owner(&self) -> Option<Owner> {
        let socket = self.socket()?;
        // All of them are read, whatever the family: see `Call::destination4`.
        let local6 = field6!(socket, src_ip6);
        let peer6 = field6!(socket, dst_ip6);
        let (local4, peer4) = (V4(field!(socket, src_ip4)), V4(field!(socket, dst_ip4)));
        let (local, peer) = if field!(socket, family) == AF_INET6 {
            (local6, peer6)
        } else {
            (mapped(local4), mapped(peer4))
        };
        let is_raw = field!(socket, type_) == SOCK_RAW;
        let protocol = field!(socket, protocol);
        Some(Owner {
            protocol: if is_raw { 0 } else { protocol },
            local,
            #[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
            port: Port::new(field!(socket, src_port) as u16),
            peer,
            is_opening: field!(socket, state) == SYN_SENT,
        })
    }

    #[inline(always)]
    fn receiver(&self, owner: &Owner, address: Family) -> Found {
        let (Some(from), Some(port)) = (self.source(), self.destination_port()) else {
            return Found::Other;
        };
        let is_datagram = owner.protocol == UDP;
        let socket_type = if is_datagram { SOCK_DGRAM } else { SOCK_STREAM };
        match (from, address) {
            (Family::V4(from), Family::V4(address)) => {
                let mut tuple = Tuple::to(address, port);
                // The receiver of a datagram can be connected to its sender.
                if is_datagram {
                    tuple.from = from;
                    tuple.from_port = owner.port;
                }
                find4(self.ctx.as_ptr(), self.policy, socket_type, tuple, port)
            }
            (Family::V6(from), Family::V6(to)) => {
                let tuple = Tuple {
                    from,
                    to,
                    from_port: owner.port,
                    to_port: port,
                };
                find_private6(self.ctx.as_ptr(), self.policy.loopback, socket_type, tuple)
            }
            _ => Found::Other,
        }
    }
}
