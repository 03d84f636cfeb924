//! sendto(2), sendmsg(2) and sendmmsg(2) on datagram sockets: which address a
//! datagram leaves from, and where one to loopback goes.

use crate::abi::{Cause, Policy, flag};
use crate::decide::address::{Family, Kind, mapped};
use crate::decide::connect::{BoundTo, Local};
use crate::decide::hide;
use crate::decide::loopback::{self, Found, Loopback, Reach, Route, Way, route};
use crate::decide::policy::{assigned, assigned4, is_active, is_assigned};
use crate::decide::verdict::{Path, Verdict};
use crate::net::{Port, V6};

/// A datagram that is about to be sent, apart from its addresses.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// The local side of the socket.
    pub local: Local,
    /// The protocol of the socket, an `IPPROTO` number.
    pub protocol: u32,
    /// The destination port.
    pub port: Port,
    /// Whether the socket is connected, so that its destination is fixed.
    pub is_connected: bool,
    /// Whether the peer of the socket is on loopback.
    pub is_peer_on_loopback: bool,
    /// Whether it answers a call from loopback; known only if `is_at_home`.
    pub is_answer: bool,
    /// Whether the socket is in the network namespace that the policy is for; known only
    /// for a datagram to loopback.
    pub is_at_home: bool,
}

/// `AF_UNSPEC`
const AF_UNSPEC: u32 = 0;

/// Whether a datagram has no destination of its own because the socket is connected:
/// the kernel then passes an address that is all zero. A program that names a
/// destination can leave out the family, which counts as IPv4 (`udp_sendmsg`), but not
/// the port.
#[inline(always)]
pub fn is_connected(family: u32, port: Port) -> bool {
    family == AF_UNSPEC && port == Port::ANY
}

/// Decides a datagram. `find` is as in [`route`].
///
/// A destination of an IPv6 socket can be an IPv4 one (`udpv6_sendmsg`). `source` is the
/// address of the same family that the kernel would send from so far: the bound address,
/// the one that the program named with `IP_PKTINFO` or `IPV6_PKTINFO`, or the unspecified
/// one. It and the addresses in the verdict are IPv4-mapped if they are IPv4 ones.
///
/// A datagram to loopback is sent from loopback: a reply to the assigned address would not
/// be recognised there, many servers answer nobody else, and the kernel would use the
/// host's own address if the program names a device. A socket at the assigned IPv4 address
/// sends from its own loopback address. Datagrams to that address are delivered to it
/// ([`crate::decide::deliver`]) if it remembers whom it called, so the destination is
/// remembered even if it stays the same. A socket that is called from loopback answers
/// from the assigned address, where it was called. A socket bound to loopback is left
/// alone, but one that is also connected to loopback may call nobody else: the guard could
/// not tell that from packets that the host redirects. Even then the program may not name
/// somebody else's address.
///
/// Link-local destinations are left to the kernel, which reaches them from a link-local
/// source. The kernel accepts no IPv4-mapped destination where an IPv6 one was named, so
/// `::1` finds only servers at the IPv6 address.
#[inline(always)]
pub fn sendmsg(
    policy: &Policy,
    destination: Family,
    source: V6,
    datagram: Datagram,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Verdict<Path> {
    if !is_active(policy) {
        return Verdict::deny(Cause::NoPolicy);
    }
    let kind = destination.kind();
    let is_loopback = matches!(kind, Kind::Loopback | Kind::Unspecified);
    let from = same_family(destination, source);
    let is_named = hide::truth(policy, matches!(from.kind(), Kind::Unicast));
    if is_loopback && !datagram.is_connected {
        let has_loopback = has_loopback(policy, datagram, destination);
        let route = to_loopback(policy, destination, datagram, find);
        if matches!(route.way, Way::Nowhere) {
            return Verdict::deny(route.cause);
        }
        let is_elsewhere = matches!(route.way, Way::To);
        if has_loopback || is_elsewhere {
            let is_foreign = is_named && !is_assigned(policy, from);
            let (to, port) = if is_elsewhere {
                (same_family(destination, route.address), route.port)
            } else {
                (destination.or_loopback(), datagram.port)
            };
            return Verdict::rewrite(Path {
                is_moved: has_loopback || is_free(datagram.local) || is_foreign,
                source: if has_loopback {
                    mapped(policy.loopback)
                } else {
                    loopback::source(policy, to.to_v6())
                },
                is_redirected: true,
                destination: to.to_v6(),
                port,
            });
        }
    }
    if is_loopback && matches!(from.kind(), Kind::Unspecified) {
        return Verdict::rewrite(Path::from(destination.loopback()));
    }
    if !is_loopback && is_tied(datagram) {
        return Verdict::deny(Cause::Immovable);
    }
    let is_left = is_loopback || is_on_loopback(datagram.local);
    match assigned(policy, destination) {
        None if !is_loopback => Verdict::deny(Cause::Unreachable),
        _ if is_left && !is_named => Verdict::pass(),
        None => Verdict::deny(Cause::NotAssigned),
        Some(_) if matches!(kind, Kind::LinkLocal) && !is_named => Verdict::pass(),
        Some(own) if own == source => Verdict::pass(),
        Some(own) => Verdict::rewrite(Path::from(own)),
    }
}

/// An address of the same family as another; an IPv4 one is IPv4-mapped.
#[inline(always)]
const fn same_family(other: Family, address: V6) -> Family {
    match other {
        Family::V4(_) => Family::V4(address.v4()),
        Family::V6(_) => Family::V6(address),
    }
}

#[inline(always)]
fn to_loopback(
    policy: &Policy,
    address: Family,
    datagram: Datagram,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Route {
    let call = Loopback {
        address,
        protocol: datagram.protocol,
        port: datagram.port,
        can_be_answer: true,
        reach: match address {
            Family::V4(_) => Reach::V4,
            Family::V6(_) => Reach::V6,
        },
    };
    route(policy, call, find)
}

/// Whether the socket is at the assigned address, and can also send to `destination` from
/// a loopback address.
#[inline(always)]
fn has_loopback(policy: &Policy, datagram: Datagram, destination: Family) -> bool {
    let Family::V4(destination) = destination else {
        return false;
    };
    let is_at_own = match Family::of(datagram.local.address) {
        Family::V4(address) => assigned4(policy) == Some(address),
        Family::V6(_) => false,
    };
    let has_loopback = policy.flags & flag::LOOPBACK_UDP != 0
        && datagram.is_at_home
        && policy.loopback != destination;
    hide::truth(policy, is_at_own && has_loopback && !datagram.is_answer)
}

/// Whether the socket has no address yet. One that has an address keeps it as the source.
#[inline(always)]
const fn is_free(local: Local) -> bool {
    !matches!(local.bound, BoundTo::Address)
}

/// Whether the socket is on loopback, and connected to it.
#[inline(always)]
fn is_tied(datagram: Datagram) -> bool {
    datagram.is_peer_on_loopback && is_on_loopback(datagram.local)
}

#[inline(always)]
fn is_on_loopback(local: Local) -> bool {
    // `::`, of a socket without an address, is not loopback.
    matches!(Family::of(local.address).kind(), Kind::Loopback)
}
