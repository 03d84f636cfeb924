//! The guard: no packet of the address of somebody else.

use arbitrary::{Result, Unstructured};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::address::{Family, Kind};
use oci_bind_hook_ebpf::guard::{may_enter, may_leave};

use super::policy::{Says as _, any4, any6};

pub fn check(policy: &Policy, input: &mut Unstructured<'_>) -> Result<()> {
    let is_multicast = input.arbitrary()?;
    hold(policy, Family::V4(any4(policy, input)?), is_multicast);
    hold(policy, Family::V6(any6(policy, input)?), is_multicast);
    Ok(())
}

fn hold(policy: &Policy, address: Family, is_multicast: bool) {
    let is_link_local = match address {
        Family::V4(address) => address.to_ne_bytes().starts_with(&[169, 254]),
        Family::V6(_) => address.kind() == Kind::LinkLocal,
    };
    let is_own = policy.owns(address.to_v6())
        || is_link_local
        || matches!(address.kind(), Kind::Loopback | Kind::Unspecified);
    let is_known = policy.flags != 0;
    assert_eq!(
        may_leave(policy, address),
        is_known && is_own,
        "{address:?}"
    );
    let is_for_many = is_multicast || address.kind() == Kind::Multicast;
    assert_eq!(
        may_enter(policy, address, is_multicast),
        is_known && (is_own || is_for_many),
        "{address:?}"
    );
}
