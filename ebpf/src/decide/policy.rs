//! What a policy says of addresses.

use crate::abi::{Policy, flag};
use crate::decide::address::{Family, Kind, mapped};
use crate::net::{V4, V6};

/// Whether the policy has been written. Until then, every call of the cgroup is
/// refused.
#[inline(always)]
pub const fn is_active(policy: &Policy) -> bool {
    policy.flags & flag::ACTIVE != 0
}

/// The assigned IPv4 address, if there is one.
#[inline(always)]
pub const fn assigned4(policy: &Policy) -> Option<V4> {
    if policy.flags & flag::IPV4 != 0 {
        Some(policy.ipv4)
    } else {
        None
    }
}

/// The assigned IPv6 address, if there is one.
#[inline(always)]
pub const fn assigned6(policy: &Policy) -> Option<V6> {
    if policy.flags & flag::IPV6 != 0 {
        Some(policy.ipv6)
    } else {
        None
    }
}

/// The cgroup's own loopback address, if it has one.
#[inline(always)]
pub fn private_loopback(policy: &Policy) -> Option<V4> {
    if policy.flags & flag::LOOPBACK_PRIVATE != 0 {
        Some(policy.loopback)
    } else {
        None
    }
}

/// The kind of an address. The broadcast address of the assigned address's network, if
/// known, is treated like a multicast group or 255.255.255.255, for binds and for packets.
#[inline(always)]
pub fn kind(policy: &Policy, address: &Family) -> Kind {
    match (address.kind(), address) {
        (Kind::Unicast, Family::V4(address)) if *address == policy.broadcast => Kind::Multicast,
        (kind, _) => kind,
    }
}

/// The assigned address of the family of `address`, if there is one, an IPv4 one
/// IPv4-mapped.
#[inline(always)]
pub fn assigned(policy: &Policy, address: Family) -> Option<V6> {
    match address {
        Family::V4(_) => assigned4(policy).map(mapped),
        Family::V6(_) => assigned6(policy),
    }
}

/// Whether an address is an assigned one.
#[inline(always)]
pub fn is_assigned(policy: &Policy, address: Family) -> bool {
    match address {
        Family::V4(address) => assigned4(policy) == Some(address),
        Family::V6(address) => assigned6(policy).is_some_and(|own| own == address),
    }
}
