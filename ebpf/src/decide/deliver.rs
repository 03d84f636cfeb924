//! Datagrams that the kernel's own lookup would not deliver to the right socket: those to
//! the IPv6 address of a dual-stack socket, which is bound to the IPv4 address
//! ([`crate::decide::dual`]), and replies to what a socket at the assigned IPv4 address
//! has sent to loopback ([`crate::decide::sendmsg`]).
//!
//! A program that runs where packets enter the host finds the socket by its IPv4 address,
//! and hands it the packet (`bpf_sk_assign`).

use crate::decide::dual::DualBind;
use crate::decide::names::Redirects;
use crate::decide::port::UDP;
use crate::net::{Endpoint, V4, V6};

/// The properties of a socket that decide whether a datagram is for it.
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    /// Whether it is an IPv6 socket.
    pub is_v6: bool,
    /// Its local IPv4 address.
    pub local: V4,
    /// The index of the device that it is bound to; 0 if there is none.
    pub device: u32,
    /// Whether it is connected.
    pub is_connected: bool,
}

/// The socket that the kernel's own lookup finds for a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Native {
    /// Whether there is one.
    pub is_there: bool,
    /// Whether it is bound to a device or connected, and so comes before all others.
    pub is_bound: bool,
}

/// Whether a dual-stack socket leaves a datagram to the socket that the kernel itself
/// finds. If the program asked for the port, no other socket was there first, or the bind
/// would have failed, and one that came later takes nothing from it. A port that the
/// kernel chose may already have been somebody's.
#[inline(always)]
pub const fn leaves(bind: &DualBind, native: Native) -> bool {
    native.is_there && (native.is_bound || bind.is_asked == 0)
}

/// Whether a socket that was found at `own`, an IPv4 address, receives datagrams to an
/// IPv6 address: it was bound as a dual-stack socket under a policy with both.
///
/// A socket bound to a device does not receive all of them, a connected one only its
/// peer's. One that has since become an IPv4 socket (IPV6_ADDRFORM) receives no IPv6.
#[inline(always)]
pub fn hears(socket: Socket, bind: &DualBind, own: V4, destination: &V6) -> bool {
    socket.is_v6
        && socket.local == own
        && socket.device == 0
        && !socket.is_connected
        && bind.place.protocol as u32 == UDP
        && bind.place.address == *destination
}

/// Whether a socket that was found at `own` waits for a datagram to its loopback address:
/// it has called the sender. What anybody else sends there is not for it.
#[inline(always)]
pub fn awaits(socket: Socket, redirects: &Redirects, own: V4, from: &Endpoint) -> bool {
    socket.local == own && redirects.asked(from).is_some()
}
