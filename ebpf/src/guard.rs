//! The guard: packets whose own address is not the cgroup's are dropped.

use crate::abi::Policy;
use crate::address::{Family, Kind, V4, V6, kind4, kind6, same6};
use crate::verdict::{assigned4, assigned6};

/// 169.254.0.0/16 (RFC 3927), network byte order.
const LINK_LOCAL4: [u8; 2] = [169, 254];

/// Whether a packet may leave with this source: an assigned address, loopback,
/// link-local, or the unspecified address, which a host uses as long as it has
/// none (DHCP, duplicate address detection).
///
/// Without a policy nothing may.
#[inline(always)]
pub fn may_leave(policy: &Policy, source: Family) -> bool {
    is_own(policy, source)
}

/// Whether a packet for this address may come in: as [`may_leave`], and
/// multicast and broadcast. `is_multicast` is what the link layer said of it.
#[inline(always)]
pub fn may_enter(policy: &Policy, destination: Family, is_multicast: bool) -> bool {
    is_own(policy, destination)
        || policy.flags != 0 && (is_multicast || matches!(destination.kind(), Kind::Multicast))
}

#[inline(always)]
fn is_own(policy: &Policy, address: Family) -> bool {
    match address {
        Family::V4(address) => is_own4(policy, address),
        Family::V6(address) => is_own6(policy, address),
    }
}

#[inline(always)]
fn is_own4(policy: &Policy, address: V4) -> bool {
    if policy.flags == 0 {
        return false;
    }
    let [first, second, ..] = address.to_ne_bytes();
    assigned4(policy) == Some(address)
        || [first, second] == LINK_LOCAL4
        || matches!(kind4(address), Kind::Loopback | Kind::Unspecified)
}

#[inline(always)]
fn is_own6(policy: &Policy, address: V6) -> bool {
    if policy.flags == 0 {
        return false;
    }
    assigned6(policy).is_some_and(|own| same6(&own, &address))
        || matches!(
            kind6(&address),
            Kind::Loopback | Kind::Unspecified | Kind::LinkLocal
        )
}
