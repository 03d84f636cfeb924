//! Datagrams that the kernel's own lookup would not bring to the socket that is
//! meant: those to the IPv6 address of a dual-stack socket, which is bound to the
//! IPv4 address ([`crate::decide::dual`]), and replies to what a socket at the assigned IPv4
//! address has sent to loopback ([`crate::decide::sendmsg`]).
//!
//! A program where packets enter the host finds the socket by its IPv4 address, and
//! hands over the packet with it (`bpf_sk_assign`).

use crate::decide::address::{V4, V6, same6};
use crate::decide::dual::DualBind;
use crate::decide::endpoint::Endpoint;
use crate::decide::names::Redirects;
use crate::decide::port::UDP;

/// Where datagrams go: the key of [`crate::abi::DESTINATIONS_MAP`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The address in the packet, network byte order, an IPv4 one IPv4-mapped.
    pub address: V6,
    /// Tells apart the IPv4 addresses that go with it, of several policies: less than
    /// [`SLOTS`], host byte order. A slot is empty only if those after it are.
    pub slot: u32,
}

/// How many IPv4 addresses can go with one address.
pub const SLOTS: u32 = 4;

/// The most destinations of one host.
pub const DESTINATIONS: usize = 1 << 15;

/// A socket, as far as it decides whether a datagram is its own.
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    /// Whether it is an IPv6 socket.
    pub is_v6: bool,
    /// Its local IPv4 address, network byte order.
    pub local: V4,
    /// The device that it is bound to, by its index; 0 if to none.
    pub device: u32,
    /// Whether it is connected.
    pub is_connected: bool,
}

/// The socket that the kernel's own lookup finds for a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Native {
    /// There is one.
    pub is_there: bool,
    /// It has a device or a peer of its own, which come before all else.
    pub is_bound: bool,
}

/// Whether a dual-stack socket leaves a datagram to the socket that the kernel itself
/// finds. Where the program asked for the port, no other socket was there first, or the
/// bind would have failed: one that came later takes nothing from it. A port that the
/// kernel chose may have been somebody's.
#[inline(always)]
pub const fn leaves(bind: &DualBind, native: Native) -> bool {
    native.is_there && (native.is_bound || bind.is_asked == 0)
}

/// Whether a socket that was found at `own`, an IPv4 address, hears datagrams to an
/// IPv6 one: it was bound as a dual-stack socket under a policy with both.
///
/// One of a device does not hear all, and one that is connected its peer alone. One that
/// has become an IPv4 socket since (IPV6_ADDRFORM) hears no IPv6.
#[inline(always)]
pub const fn hears(socket: Socket, bind: &DualBind, own: V4, destination: &V6) -> bool {
    socket.is_v6
        && socket.local == own
        && socket.device == 0
        && !socket.is_connected
        && bind.place.protocol as u32 == UDP
        && same6(&bind.place.address, destination)
}

/// Whether a socket that was found at `own` waits for a datagram to its loopback
/// address: it has called the sender. What others send there is not for it.
#[inline(always)]
pub fn awaits(socket: Socket, redirects: &Redirects, own: V4, from: &Endpoint) -> bool {
    socket.local == own && redirects.asked(from).is_some()
}
