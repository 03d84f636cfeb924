//! A datagram that enters a network namespace, as `struct __sk_buff` has it, and the
//! socket that it is delivered to.

use aya_ebpf::bindings::{__sk_buff, bpf_hdr_start_off::BPF_HDR_START_NET, bpf_sock};
use aya_ebpf::btf_maps::HashMap;
use aya_ebpf::helpers::{bpf_sk_assign, bpf_skb_load_bytes_relative};
use aya_ebpf::programs::TcContext;
use oci_bind_hook_ebpf::abi::{DESTINATION_SLOTS, DESTINATIONS as ROOM, Destination};
use oci_bind_hook_ebpf::decide::address::{Kind, kind4, mapped};
use oci_bind_hook_ebpf::decide::deliver::{Native, Socket, awaits, hears, leaves};
use oci_bind_hook_ebpf::decide::port::UDP;
use oci_bind_hook_ebpf::net::{Endpoint, Port, V4, V6};

use super::field::field;
use super::lookup::{SOCK_DGRAM, Tuple, look_up, release};
use super::{dual, redirects};

/// `BPF_F_NO_PREALLOC`
const NO_PREALLOC: usize = 1;

#[unsafe(link_section = ".maps")]
#[unsafe(no_mangle)]
static DESTINATIONS: HashMap<Destination, V4, ROOM, NO_PREALLOC> = HashMap::new();

/// `ETH_P_IP` and `ETH_P_IPV6`, network byte order.
const IPV4: u32 = 0x0800_u16.to_be() as u32;
const IPV6: u32 = 0x86dd_u16.to_be() as u32;
/// `LOOPBACK_IFINDEX`: the loopback device of every network namespace.
const LOOPBACK_DEVICE: u32 = 1;
/// The first byte of an IPv4 header without options.
const PLAIN4: u8 = 0x45;
/// `IP_MF` and `IP_OFFSET` of `iphdr.frag_off`, network byte order.
const FRAGMENT: u16 = 0x3fff_u16.to_be();
/// `AF_INET6`
const AF_INET6: u32 = 10;
/// `VLAN_VID_MASK`: the number of the VLAN in a tag.
const VLAN: u32 = 0xfff;
/// `TCP_ESTABLISHED`, which is also the state of a connected UDP socket.
const ESTABLISHED: u32 = 1;

/// A datagram that may have to be delivered.
pub enum Datagram {
    /// To an IPv4 loopback address.
    V4(Packet<Header4>),
    /// To an IPv6 address.
    V6(Packet<Header6>),
}

/// A packet with its header.
pub struct Packet<H> {
    buffer: *mut __sk_buff,
    header: H,
}

/// An IPv4 header without options (RFC 791), and the ports (RFC 768). Numbers are in
/// network byte order.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Header4 {
    version_and_length: u8,
    service: u8,
    length: u16,
    id: u16,
    fragment: u16,
    hops: u8,
    protocol: u8,
    checksum: u16,
    source: V4,
    destination: V4,
    from_port: Port,
    to_port: Port,
}

/// An IPv6 header (RFC 8200), and the ports. All numbers in network byte order.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Header6 {
    version: u32,
    length: u16,
    next: u8,
    hops: u8,
    source: V6,
    destination: V6,
    from_port: Port,
    to_port: Port,
}

impl Datagram {
    /// `None` if the packet is not a datagram, is a fragment, or has options or
    /// extensions. A packet of a VLAN enters a second time, through the VLAN's device; a
    /// tag without a VLAN number has only a priority.
    #[inline(always)]
    pub fn new(ctx: &TcContext) -> Option<Self> {
        let buffer = ctx.skb.skb;
        match field!(buffer, protocol) {
            IPV6 if field!(buffer, vlan_present) == 0 || field!(buffer, vlan_tci) & VLAN == 0 => {
                let header: Header6 = load(buffer)?;
                (u32::from(header.next) == UDP).then_some(Self::V6(Packet { buffer, header }))
            }
            IPV4 if field!(buffer, ifindex) == LOOPBACK_DEVICE => {
                let header: Header4 = load(buffer)?;
                let is_whole =
                    header.version_and_length == PLAIN4 && header.fragment & FRAGMENT == 0;
                let is_datagram = u32::from(header.protocol) == UDP
                    && matches!(kind4(header.destination), Kind::Loopback);
                (is_whole && is_datagram).then_some(Self::V4(Packet { buffer, header }))
            }
            _ => None,
        }
    }
}

/// Reads the header of the network layer, and what follows it.
#[inline(always)]
fn load<H: Default>(buffer: *mut __sk_buff) -> Option<H> {
    let mut header = H::default();
    let size = size_of::<H>() as u32;
    // SAFETY: the helper writes as many bytes as the header has; any bytes are valid.
    let error = unsafe {
        bpf_skb_load_bytes_relative(
            buffer.cast(),
            0,
            (&raw mut header).cast(),
            size,
            BPF_HDR_START_NET,
        )
    };
    (error == 0).then_some(header)
}

impl Packet<Header6> {
    /// Delivers it to the dual-stack socket that it is for, unless it is somebody else's.
    #[inline(always)]
    pub fn deliver(&self) {
        let header = &self.header;
        let Some(own) = at(header.destination, 0) else {
            return;
        };
        let native = self.native();
        try_each(header.destination, own, |own| self.deliver_at(own, native));
    }

    /// Who would receive it by the kernel's own lookup.
    #[inline(always)]
    fn native(&self) -> Native {
        let header = &self.header;
        let socket = look_up(
            self.buffer,
            SOCK_DGRAM,
            Tuple {
                from: header.source,
                to: header.destination,
                from_port: header.from_port,
                to_port: header.to_port,
            },
        );
        if socket.is_null() {
            return Native::default();
        }
        let found = state(socket);
        release(socket);
        Native {
            is_there: true,
            is_bound: found.device != 0 || found.is_connected,
        }
    }

    /// Delivers it to the socket at this IPv4 address, if it is for that one. The kernel
    /// itself chooses the member of a group (`inet6_steal_sock`).
    #[inline(always)]
    fn deliver_at(&self, own: V4, native: Native) -> bool {
        let socket = look_up(self.buffer, SOCK_DGRAM, Tuple::to(own, self.header.to_port));
        if socket.is_null() {
            return false;
        }
        let bind = dual::of(socket)
            .filter(|bind| hears(state(socket), bind, own, &self.header.destination));
        let is_heard = bind.is_some();
        if bind.is_some_and(|bind| !leaves(bind, native)) {
            assign(self.buffer, socket);
        }
        release(socket);
        is_heard
    }
}

impl Packet<Header4> {
    /// Delivers a reply to the socket that has called the sender. It comes before one at
    /// the loopback address itself, where anybody could wait for replies to others.
    #[inline(always)]
    pub fn deliver(&self) {
        let header = &self.header;
        let Some(own) = at(mapped(header.destination), 0) else {
            return;
        };
        let tuple = |to| Tuple {
            from: header.source,
            to,
            from_port: header.from_port,
            to_port: header.to_port,
        };
        let from = Endpoint::new(mapped(header.source), header.from_port);
        try_each(mapped(header.destination), own, |own| {
            let socket = look_up(self.buffer, SOCK_DGRAM, tuple(own));
            if socket.is_null() {
                return false;
            }
            let is_awaited = redirects::of(socket)
                .is_some_and(|redirects| awaits(state(socket), redirects, own, &from));
            if is_awaited {
                assign(self.buffer, socket);
            }
            release(socket);
            is_awaited
        });
    }
}

/// Tries the IPv4 addresses that go with an address, beginning with `first`, until one is
/// right.
#[inline(always)]
fn try_each(address: V6, first: V4, is_right: impl Fn(V4) -> bool) {
    let mut own = first;
    for slot in 1..=DESTINATION_SLOTS {
        if is_right(own) {
            return;
        }
        match at(address, slot) {
            Some(next) => own = next,
            None => return,
        }
    }
}

/// The IPv4 address that goes with an address, in this slot.
#[inline(always)]
fn at(address: V6, slot: u32) -> Option<V4> {
    // SAFETY: a word, which user space replaces as a whole.
    unsafe { DESTINATIONS.get(Destination { address, slot }) }.copied()
}

#[inline(always)]
fn state(socket: *mut bpf_sock) -> Socket {
    Socket {
        is_v6: field!(socket, family) == AF_INET6,
        local: V4(field!(socket, src_ip4)),
        device: field!(socket, bound_dev_if),
        is_connected: field!(socket, state) == ESTABLISHED,
    }
}

/// Assigns the socket to the packet. If the kernel refuses, as it does before Linux 6.6
/// for a member of a group, the packet goes on without it.
#[inline(always)]
fn assign(buffer: *mut __sk_buff, socket: *mut bpf_sock) {
    // SAFETY: the socket is held until it is released.
    let _ = unsafe { bpf_sk_assign(buffer.cast(), socket.cast(), 0) };
}
