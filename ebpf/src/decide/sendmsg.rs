//! sendto(2), sendmsg(2) and sendmmsg(2) on datagram sockets: which address a
//! datagram leaves from, and where one to loopback goes.

use crate::abi::{Cause, Policy, flag};
use crate::decide::address::{
    ANY4, ANY6, Family, Kind, LOOPBACK4, LOOPBACK6, V4, V6, kind4, kind6, same6,
};
use crate::decide::connect::{Bound, Local};
use crate::decide::hide;
use crate::decide::loopback::{self, Found, Loopback, Route, Way, route};
use crate::decide::port::Port;
use crate::decide::verdict::{Path, Verdict, assigned4, assigned6, is_active};

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
pub const fn is_connected(family: u32, port: Port) -> bool {
    family == AF_UNSPEC && port == 0
}

/// Decides a datagram to an IPv4 destination, from a socket of either family.
/// `find` is as in [`route`].
///
/// `source` is the address that the kernel would send from so far: the bound address, the
/// one that the program named with `IP_PKTINFO`, or 0.0.0.0.
///
/// A datagram to loopback is sent from loopback: a reply to the assigned address would not
/// be recognised there, many servers answer nobody else, and the kernel would use the
/// host's own address if the program names a device. A socket at the assigned address
/// sends from its own loopback address. Datagrams to that address are delivered to it
/// ([`crate::decide::deliver`]) if it remembers whom it called, so the destination is
/// remembered even if it stays the same. A socket that is called from loopback answers
/// from the assigned address, where it was called. A socket bound to loopback is left
/// alone, but one that is also connected to loopback may call nobody else: the guard could
/// not tell that from packets that the host redirects. Even then the program may not name
/// somebody else's address.
#[inline(always)]
pub fn sendmsg4(
    policy: &Policy,
    destination: V4,
    source: V4,
    datagram: Datagram,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Verdict<Path<V4>> {
    if !is_active(policy) {
        return Verdict::deny(Cause::NoPolicy);
    }
    let is_loopback = matches!(kind4(destination), Kind::Loopback | Kind::Unspecified);
    let is_named = hide::truth(policy, matches!(kind4(source), Kind::Unicast));
    if is_loopback && !datagram.is_connected {
        let has_loopback = has_loopback(policy, datagram, destination);
        let route = to_loopback(policy, Family::V4(destination), datagram, find);
        if matches!(route.way, Way::Nowhere) {
            return Verdict::deny(route.cause);
        }
        let is_elsewhere = matches!(route.way, Way::To);
        if has_loopback || is_elsewhere {
            let is_foreign = is_named && assigned4(policy) != Some(source);
            let is_moved = has_loopback || is_free(datagram.local) || is_foreign;
            return Verdict::rewrite(Path {
                is_moved,
                source: if has_loopback {
                    policy.loopback
                } else {
                    loopback::source(policy, route.address)[3]
                },
                is_redirected: true,
                destination: if is_elsewhere {
                    route.address[3]
                } else {
                    Family::V4(destination).or_loopback().to_v6()[3]
                },
                port: if is_elsewhere {
                    route.port
                } else {
                    datagram.port
                },
            });
        }
    }
    if is_loopback && source == ANY4 {
        return Verdict::rewrite(Path::from(LOOPBACK4));
    }
    if !is_loopback && is_tied(datagram) {
        return Verdict::deny(Cause::Immovable);
    }
    let is_left = is_loopback || is_on_loopback(datagram.local);
    match assigned4(policy) {
        None if !is_loopback => Verdict::deny(Cause::Unreachable),
        _ if is_left && !is_named => Verdict::pass(),
        None => Verdict::deny(Cause::NotAssigned),
        Some(own) if own == source => Verdict::pass(),
        Some(own) => Verdict::rewrite(Path::from(own)),
    }
}

/// Decides a datagram to an IPv6 destination that is not IPv4-mapped: mapped ones
/// reach [`sendmsg4`] (`udpv6_sendmsg`). `source` is the same as there, with
/// `IPV6_PKTINFO`.
///
/// Link-local destinations are left to the kernel, which reaches them from a link-local
/// source. The kernel accepts no IPv4-mapped destination here, so `::1` finds only servers
/// at the IPv6 address.
#[inline(always)]
pub fn sendmsg6(
    policy: &Policy,
    destination: V6,
    source: V6,
    datagram: Datagram,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Verdict<Path<V6>> {
    if !is_active(policy) {
        return Verdict::deny(Cause::NoPolicy);
    }
    let kind = kind6(&destination);
    let is_loopback = matches!(kind, Kind::Loopback | Kind::Unspecified);
    let is_named = hide::truth(policy, matches!(kind6(&source), Kind::Unicast));
    if is_loopback && !datagram.is_connected {
        let route = to_loopback(policy, Family::V6(destination), datagram, find);
        match route.way {
            Way::Host => {}
            Way::Nowhere => return Verdict::deny(route.cause),
            Way::To => {
                let is_foreign = is_named && !is_own6(policy, &source);
                return Verdict::rewrite(Path {
                    is_moved: is_free(datagram.local) || is_foreign,
                    source: loopback::source(policy, route.address),
                    is_redirected: true,
                    destination: route.address,
                    port: route.port,
                });
            }
        }
    }
    if is_loopback && hide::truth(policy, same6(&source, &ANY6)) {
        return Verdict::rewrite(Path::from(LOOPBACK6));
    }
    if !is_loopback && is_tied(datagram) {
        return Verdict::deny(Cause::Immovable);
    }
    let is_left = is_loopback || is_on_loopback(datagram.local);
    match assigned6(policy) {
        None if !is_loopback => Verdict::deny(Cause::Unreachable),
        _ if is_left && !is_named => Verdict::pass(),
        None => Verdict::deny(Cause::NotAssigned),
        Some(_) if matches!(kind, Kind::LinkLocal) && !is_named => Verdict::pass(),
        Some(own) if same6(&own, &source) => Verdict::pass(),
        Some(own) => Verdict::rewrite(Path::from(own)),
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
        can_be_v4: matches!(address, Family::V4(_)),
        can_be_v6: matches!(address, Family::V6(_)),
    };
    route(policy, call, find)
}

#[inline(always)]
fn is_own6(policy: &Policy, address: &V6) -> bool {
    assigned6(policy).is_some_and(|own| same6(&own, address))
}

/// Whether the socket is at the assigned address, and can also send to `destination` from
/// a loopback address.
#[inline(always)]
fn has_loopback(policy: &Policy, datagram: Datagram, destination: V4) -> bool {
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
    !matches!(local.bound, Bound::Address)
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
