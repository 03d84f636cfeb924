//! sendto(2), sendmsg(2) and sendmmsg(2) on datagram sockets: which address a
//! datagram leaves from.

use crate::abi::Policy;
use crate::address::{Kind, V4, V6, kind4, kind6, same6};
use crate::connect::Local;
use crate::verdict::{Errno, Verdict, assigned4, assigned6, is_active};

/// Decides a datagram to an IPv4 destination, from a socket of either family.
///
/// `source` is what the kernel would send from so far: the bound address, the
/// one that the program named by `IP_PKTINFO`, or 0.0.0.0.
///
/// Loopback is left alone, and so are sockets bound to it: a reply from the
/// assigned address would not be recognised there. Even then the program may
/// not name the address of somebody else.
#[inline(always)]
pub fn sendmsg4(policy: &Policy, destination: V4, local: Local, source: V4) -> Verdict<V4> {
    if !is_active(policy) {
        return Verdict::Deny(Errno::NotPermitted);
    }
    let stays = matches!(kind4(destination), Kind::Loopback | Kind::Unspecified);
    if (stays || is_loopback(local)) && !matches!(kind4(source), Kind::Unicast) {
        return Verdict::Pass;
    }
    match assigned4(policy) {
        None => Verdict::Deny(unassigned(stays)),
        Some(own) if own == source => Verdict::Pass,
        Some(own) => Verdict::Rewrite(own),
    }
}

/// Decides a datagram to an IPv6 destination that is not IPv4-mapped: those
/// reach [`sendmsg4`] (`udpv6_sendmsg`). `source` is as there, with
/// `IPV6_PKTINFO`.
///
/// Link-local destinations are left to the kernel too, which answers them
/// from a link-local source.
#[inline(always)]
pub fn sendmsg6(policy: &Policy, destination: V6, local: Local, source: V6) -> Verdict<V6> {
    if !is_active(policy) {
        return Verdict::Deny(Errno::NotPermitted);
    }
    let kind = kind6(&destination);
    let stays = matches!(kind, Kind::Loopback | Kind::Unspecified);
    let named = matches!(kind6(&source), Kind::Unicast);
    if (stays || is_loopback(local)) && !named {
        return Verdict::Pass;
    }
    match assigned6(policy) {
        None => Verdict::Deny(unassigned(stays)),
        Some(_) if matches!(kind, Kind::LinkLocal) && !named => Verdict::Pass,
        Some(own) if same6(&own, &source) => Verdict::Pass,
        Some(own) => Verdict::Rewrite(own),
    }
}

/// Without an address of the family nothing can be reached off the host; on
/// loopback it is the named source that is not to be had.
#[inline(always)]
const fn unassigned(stays: bool) -> Errno {
    if stays {
        Errno::AddressNotAvailable
    } else {
        Errno::NetworkUnreachable
    }
}

#[inline(always)]
fn is_loopback(local: Local) -> bool {
    match local {
        Local::Address(address) => matches!(address.kind(), Kind::Loopback),
        Local::Unbound | Local::Port => false,
    }
}
