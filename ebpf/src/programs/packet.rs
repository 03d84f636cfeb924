//! The addresses of a packet, by the guard's programs.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::{__sk_buff, bpf_sock};
use aya_ebpf::helpers::bpf_sk_fullsock;
use aya_ebpf::programs::SkBuffContext;
use core::ptr::read_volatile;
use oci_bind_hook_ebpf::address::Family;
use oci_bind_hook_ebpf::port::Port;

/// `ETH_P_IP`, network byte order.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
/// `PACKET_BROADCAST`, `PACKET_MULTICAST` and `PACKET_LOOPBACK`, the local copy
/// of either that a host sends itself, include/uapi/linux/if_packet.h
const BROADCAST: u32 = 1;
const MULTICAST: u32 = 2;
const LOCAL_COPY: u32 = 5;

/// Which address of a packet.
#[derive(Clone, Copy)]
pub enum Side {
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

/// Reads one field of the context.
macro_rules! field {
    ($ctx:expr, $field:ident) => {
        // SAFETY: the kernel hands over a context that is valid while the
        // program runs.
        unsafe { read_volatile(&raw const (*$ctx.as_ptr().cast::<__sk_buff>()).$field) }
    };
}

/// The address of a packet; `None` if the packet has no whole header.
#[inline(always)]
pub fn address(ctx: &SkBuffContext, side: Side) -> Option<Family> {
    if field!(ctx, protocol) == IPV4 {
        at(ctx, side.offset4()).map(Family::V4)
    } else {
        at(ctx, side.offset6()).map(Family::V6)
    }
}

/// What is at an offset of the header, in bytes. The kernel has the header in one
/// piece when a socket's packet passes (`ip_rcv_core`, `ip6_rcv_core`).
#[inline(always)]
fn at<T: Copy>(ctx: &SkBuffContext, offset: usize) -> Option<T> {
    let (start, end) = (field!(ctx, data) as usize, field!(ctx, data_end) as usize);
    // SAFETY: between these two is the packet, as the verifier makes sure of; the
    // network layer aligns its header.
    (start + offset + size_of::<T>() <= end).then(|| unsafe { *((start + offset) as *const T) })
}

/// Whether the link layer took the packet for multicast or broadcast.
#[inline(always)]
pub fn is_multicast(ctx: &SkBuffContext) -> bool {
    matches!(field!(ctx, pkt_type), BROADCAST | MULTICAST | LOCAL_COPY)
}

/// The protocol and the port of the socket of the packet.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "a port has 16 bits")]
pub fn socket_port(ctx: &SkBuffContext) -> Option<(u32, Port)> {
    let socket = field!(ctx, __bindgen_anon_2);
    // SAFETY: a union of one pointer.
    let socket: *mut bpf_sock = unsafe { socket.sk };
    if socket.is_null() {
        return None;
    }
    // SAFETY: the helper answers null for what is not a full socket.
    let socket = unsafe { bpf_sk_fullsock(socket) };
    if socket.is_null() {
        return None;
    }
    // SAFETY: a full socket, held by the packet.
    let protocol = unsafe { read_volatile(&raw const (*socket).protocol) };
    // SAFETY: as above.
    let port = unsafe { read_volatile(&raw const (*socket).src_port) };
    Some((protocol, (port as Port).to_be()))
}
