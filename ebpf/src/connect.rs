//! connect(2): which address a client connects from.

use crate::abi::Policy;
use crate::address::{ANY6, Family, Kind, V4, V6, kind4, kind6, same6};
use crate::verdict::{Errno, Verdict, assigned4, assigned6, is_active};

/// The local side of a socket that is about to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// No address and no port: free to be moved.
    Unbound,
    /// A port without an address: a datagram socket that has already sent,
    /// which the kernel will not let a program bind any more.
    Port,
    /// Bound to this address, or left there by an earlier connect.
    Address(Family),
}

impl Local {
    /// From the fields of an `AF_INET` socket.
    #[inline(always)]
    pub const fn of4(address: V4, port: u32) -> Self {
        match (address, port) {
            (0, 0) => Self::Unbound,
            (0, _) => Self::Port,
            _ => Self::Address(Family::V4(address)),
        }
    }

    /// From the fields of an `AF_INET6` socket.
    #[inline(always)]
    pub const fn of6(address: V6, port: u32) -> Self {
        match (same6(&address, &ANY6), port) {
            (true, 0) => Self::Unbound,
            (true, _) => Self::Port,
            _ => Self::Address(Family::of(address)),
        }
    }
}

/// Decides a connect to an IPv4 destination, from a socket of either family.
///
/// Loopback is left alone, and so is 0.0.0.0, which means loopback.
#[inline(always)]
pub fn connect4(policy: &Policy, destination: V4, local: Local) -> Verdict<V4> {
    if !is_active(policy) {
        return Verdict::Deny(Errno::NotPermitted);
    }
    if matches!(kind4(destination), Kind::Loopback | Kind::Unspecified) {
        return Verdict::Pass;
    }
    match assigned4(policy) {
        None => Verdict::Deny(Errno::NetworkUnreachable),
        Some(own) => source(policy, local, own),
    }
}

/// Decides a connect to an IPv6 destination that is not IPv4-mapped.
///
/// Loopback is left alone, and so is `::`, which means loopback; and so are
/// link-local destinations, which the kernel answers from a link-local source.
#[inline(always)]
pub fn connect6(policy: &Policy, destination: V6, local: Local) -> Verdict<V6> {
    if !is_active(policy) {
        return Verdict::Deny(Errno::NotPermitted);
    }
    let kind = kind6(&destination);
    if matches!(kind, Kind::Loopback | Kind::Unspecified) {
        return Verdict::Pass;
    }
    match assigned6(policy) {
        None => Verdict::Deny(Errno::NetworkUnreachable),
        Some(_) if matches!(kind, Kind::LinkLocal) => Verdict::Pass,
        Some(own) => source(policy, local, own),
    }
}

/// A free socket is moved to `own`. One that already is at an assigned address
/// or on loopback stays there: the kernel itself refuses a destination of the
/// other family (`ip6_dst_lookup_tail`) or one that is off the host. Any other
/// cannot be moved, and must not leave from where it is.
#[inline(always)]
fn source<A>(policy: &Policy, local: Local, own: A) -> Verdict<A> {
    match local {
        Local::Unbound => Verdict::Rewrite(own),
        Local::Address(address) if may_stay(policy, &address) => Verdict::Pass,
        Local::Address(_) | Local::Port => Verdict::Deny(Errno::AddressNotAvailable),
    }
}

#[inline(always)]
fn may_stay(policy: &Policy, address: &Family) -> bool {
    if matches!(address.kind(), Kind::Loopback | Kind::LinkLocal) {
        return true;
    }
    match address {
        Family::V4(address) => assigned4(policy) == Some(*address),
        Family::V6(address) => assigned6(policy).is_some_and(|own| same6(&own, address)),
    }
}
