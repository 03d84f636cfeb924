//! bind(2): which local address a server gets.

use crate::abi::Policy;
use crate::address::{ANY4, ANY6, Family, Kind, V4, V6, kind4, kind6, mapped, same6};
use crate::verdict::{Errno, Verdict, assigned4, assigned6, is_active};

/// `AF_UNSPEC` of the socket address that a program passed.
const AF_UNSPEC: u32 = 0;
/// `AF_INET6` of the socket address that a program passed.
const AF_INET6: u32 = 10;

/// Decides a bind of an IPv4 socket to `asked`, whose family field says
/// `family`.
///
/// `AF_UNSPEC` with 0.0.0.0 is the one other family that the kernel takes
/// (`__inet_bind`, for old programs); it would bind to the wildcard, so it is
/// refused.
#[inline(always)]
pub fn bind4(policy: &Policy, family: u32, asked: V4) -> Verdict<V4> {
    if !is_active(policy) {
        return Verdict::Deny(Errno::NotPermitted);
    }
    if family == AF_UNSPEC && asked == ANY4 {
        return Verdict::Deny(Errno::FamilyNotSupported);
    }
    local4(policy, asked)
}

/// Decides a bind of an IPv6 socket to `asked`, whose family field says
/// `family`. `v6only` is the socket's `IPV6_V6ONLY`.
///
/// A wildcard socket that is open to both families can have only one address;
/// it gets the IPv6 one if there is one.
#[inline(always)]
pub fn bind6(policy: &Policy, family: u32, asked: V6, v6only: bool) -> Verdict<V6> {
    if !is_active(policy) {
        return Verdict::Deny(Errno::NotPermitted);
    }
    if family != AF_INET6 {
        return Verdict::Deny(Errno::FamilyNotSupported);
    }
    match Family::of(asked) {
        Family::V4(asked) => local4(policy, asked).map(mapped),
        Family::V6(ANY6) if !v6only && assigned6(policy).is_none() => {
            local4(policy, ANY4).map(mapped)
        }
        Family::V6(asked) => local6(policy, asked),
    }
}

#[inline(always)]
fn local4(policy: &Policy, asked: V4) -> Verdict<V4> {
    let kind = kind4(asked);
    if matches!(kind, Kind::Loopback) {
        return Verdict::Pass;
    }
    match assigned4(policy) {
        None => Verdict::Deny(Errno::AddressNotAvailable),
        Some(_) if matches!(kind, Kind::Multicast) => Verdict::Pass,
        Some(own) if own == asked => Verdict::Pass,
        Some(own) => Verdict::Rewrite(own),
    }
}

#[inline(always)]
fn local6(policy: &Policy, asked: V6) -> Verdict<V6> {
    let kind = kind6(&asked);
    if matches!(kind, Kind::Loopback) {
        return Verdict::Pass;
    }
    match assigned6(policy) {
        None => Verdict::Deny(Errno::AddressNotAvailable),
        Some(_) if matches!(kind, Kind::Multicast | Kind::LinkLocal) => Verdict::Pass,
        Some(own) if same6(&own, &asked) => Verdict::Pass,
        Some(own) => Verdict::Rewrite(own),
    }
}
