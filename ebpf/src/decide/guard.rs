//! The guard: packets that are not the cgroup's own are dropped.
//!
//! Outgoing packets are judged late: the kernel calls the program after the host's own
//! rules and IPsec have rewritten the packet. Most packets pass by the source in their
//! header. For any other, the address of the socket decides, if it is one whose address
//! the other programs control (TCP and UDP).

use crate::abi::{Policy, flag};
use crate::decide::address::{Family, Kind, kind4, kind6};
use crate::decide::loopback::Found;
use crate::decide::policy::{is_assigned, kind};
use crate::decide::port::{TCP, UDP};
use crate::net::{Port, V6};

/// The first octets of 169.254.0.0/16 (RFC 3927).
const LINK_LOCAL4: [u8; 2] = [169, 254];

/// The socket of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Its protocol, an `IPPROTO` number; 0 for a raw socket, which can have any protocol
    /// number, and whose calls no program controls.
    pub protocol: u32,
    /// The address that it receives at, an IPv4 one IPv4-mapped; unspecified if
    /// it has none.
    pub local: V6,
    /// The port at that address.
    pub port: Port,
    /// The address that it is connected to, in the same form.
    pub peer: V6,
    /// Whether it is a TCP client whose connection is not open yet.
    pub is_opening: bool,
}

/// An outgoing packet. Most packets are judged by their source alone, so the rest
/// is read only when it matters, and the source is then read again: to keep it,
/// the compiler would spill words that an IPv4 address does not have
/// ("R5 !read_ok").
pub trait Packet {
    /// Its source; `None` if the header is not complete.
    fn source(&self) -> Option<Family>;
    /// Its destination.
    fn destination(&self) -> Option<Family>;
    /// Whether it goes to this host itself.
    fn is_local(&self) -> bool;
    /// Whether its header says ICMP. The socket cannot tell, since its program may write
    /// the header itself.
    fn is_icmp(&self) -> bool;
    /// Whether its header has neither options nor extensions, which can lead it elsewhere
    /// than to where the socket sends it.
    fn is_plain(&self) -> bool;
    /// Its socket.
    fn owner(&self) -> Option<Owner>;
    /// Who receives it at this address of this host.
    fn receiver(&self, owner: &Owner, address: Family) -> Found;
}

/// Whether a packet may leave.
///
/// Without a policy nothing may.
#[inline(always)]
pub fn may_leave(policy: &Policy, packet: &impl Packet) -> bool {
    if policy.flags & flag::LOOPBACK_PRIVATE != 0
        && let Some(destination) = packet.destination()
        && matches!(destination.kind(), Kind::Loopback)
    {
        return may_reach(policy, destination, packet);
    }
    let Some(source) = packet.source() else {
        return false;
    };
    if is_own(policy, source) {
        return true;
    }
    if policy.flags == 0 {
        return false;
    }
    if matches!(source.kind(), Kind::Loopback) {
        return packet.is_local() || is_for_loopback(packet);
    }
    packet
        .owner()
        .is_some_and(|owner| may_send(policy, &owner, packet))
}

/// Whether the socket was allowed to send a packet with a foreign source address, which
/// the host may have written into it.
///
/// A UDP socket without an address of its own, and without a peer, sends from the source
/// that sendmsg has chosen ([`crate::decide::sendmsg`]), except to link-local addresses,
/// where the kernel chooses; a route in the header leads elsewhere than sendmsg was told.
/// About other sockets without an address nothing is known.
///
/// A socket on loopback does not reach another host, unless it calls loopback and the host
/// itself redirects that call elsewhere. One that is connected to loopback may not name
/// another destination, which sendmsg ensures.
#[inline(always)]
fn may_send(policy: &Policy, owner: &Owner, packet: &impl Packet) -> bool {
    let local = Family::of(owner.local);
    let is_governed = owner.protocol == TCP || owner.protocol == UDP;
    if is_governed && matches!(local.kind(), Kind::Loopback) {
        return packet.is_local() || matches!(Family::of(owner.peer).kind(), Kind::Loopback);
    }
    match kind(policy, &local) {
        // A socket bound to a multicast group sends like one without an address.
        Kind::Unspecified | Kind::Multicast => {
            owner.protocol == UDP
                && matches!(Family::of(owner.peer).kind(), Kind::Unspecified)
                && packet.is_plain()
                && packet
                    .destination()
                    .is_some_and(|destination| match destination.kind() {
                        Kind::LinkLocal => false,
                        Kind::Loopback => packet.is_local(),
                        _ => true,
                    })
        }
        _ => is_governed && is_assigned(policy, local),
    }
}

/// Whether a packet may go to loopback where the cgroup has its own: to a socket that is
/// there, or, over IPv4, in a TCP connection that somebody else has opened.
///
/// The kernel itself answers ICMP, and packets to a port where nobody listens. A server
/// that was not there yet when the call was made is found here.
#[inline(always)]
fn may_reach(policy: &Policy, destination: Family, packet: &impl Packet) -> bool {
    let Some(owner) = packet.owner() else {
        return false;
    };
    if owner.protocol != TCP && owner.protocol != UDP {
        return packet.is_icmp();
    }
    let is_reply = owner.protocol == TCP && !owner.is_opening;
    match destination {
        // All cgroups share this address: the receiver of each packet tells whose it is.
        Family::V6(_) => !matches!(packet.receiver(&owner, destination), Found::Other),
        Family::V4(_) if is_reply => packet.source().is_some_and(|source| {
            let is_own = matches!(source, Family::V4(address) if address == policy.loopback);
            !matches!(source.kind(), Kind::Loopback) || is_own
        }),
        Family::V4(address) => {
            address == policy.loopback
                && !matches!(packet.receiver(&owner, destination), Found::Other)
        }
    }
}

#[inline(always)]
fn is_for_loopback(packet: &impl Packet) -> bool {
    packet
        .destination()
        .is_some_and(|destination| matches!(destination.kind(), Kind::Loopback))
}

/// Whether a packet for this address may come in: the cgroup's own addresses, loopback,
/// link-local and multicast addresses, and the broadcast address of the assigned address's
/// network.
///
/// The frame does not matter: a neighbour can put a packet for any address into a
/// broadcast frame.
#[inline(always)]
pub fn may_enter(policy: &Policy, destination: Family) -> bool {
    policy.flags != 0
        && (is_own(policy, destination)
            || matches!(kind(policy, &destination), Kind::Loopback | Kind::Multicast))
}

/// Whether an address is assigned, link-local or the unspecified address, which a host
/// uses while it has no other (DHCP, duplicate address detection).
#[inline(always)]
fn is_own(policy: &Policy, address: Family) -> bool {
    if policy.flags == 0 {
        return false;
    }
    is_assigned(policy, address)
        || match address {
            Family::V4(address) => {
                let [first, second, ..] = address.octets();
                [first, second] == LINK_LOCAL4 || matches!(kind4(address), Kind::Unspecified)
            }
            Family::V6(address) => {
                matches!(kind6(&address), Kind::Unspecified | Kind::LinkLocal)
            }
        }
}
