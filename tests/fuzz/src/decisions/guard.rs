//! The guard: no packet of the address of somebody else.

use arbitrary::{Result, Unstructured};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::address::{Family, Kind, V4};
use oci_bind_hook_ebpf::guard::{Owner, Packet, may_enter, may_leave};
use oci_bind_hook_ebpf::loopback::Found;
use oci_bind_hook_ebpf::port::{TCP, UDP, is_exempt};

use super::policy::{Says as _, any_address, any_protocol, near_port};

/// A packet on its way out.
struct Outgoing {
    destination: Family,
    is_local: bool,
    owner: Option<Owner>,
    receiver: Found,
}

impl Packet for Outgoing {
    fn destination(&self) -> Option<Family> {
        Some(self.destination)
    }

    fn is_local(&self) -> bool {
        self.is_local
    }

    fn owner(&self) -> Option<Owner> {
        self.owner
    }

    fn receiver(&self, _: &Owner, _: V4) -> Found {
        self.receiver
    }
}

pub fn check(policy: &Policy, input: &mut Unstructured<'_>) -> Result<()> {
    let source = any(policy, input)?;
    let packet = Outgoing {
        destination: any(policy, input)?,
        is_local: input.arbitrary()?,
        owner: owner(policy, input)?,
        receiver: *input.choose(&[Found::Nobody, Found::Own, Found::Other])?,
    };
    leaves(policy, source, &packet);
    enters(policy, any(policy, input)?, packet.owner);
    Ok(())
}

fn any(policy: &Policy, input: &mut Unstructured<'_>) -> Result<Family> {
    any_address(policy, input).map(Family::of)
}

fn owner(policy: &Policy, input: &mut Unstructured<'_>) -> Result<Option<Owner>> {
    if input.arbitrary()? {
        return Ok(None);
    }
    Ok(Some(Owner {
        protocol: any_protocol(input)?,
        local: any_address(policy, input)?,
        port: near_port(input)?,
        peer: any_address(policy, input)?,
        is_opening: input.arbitrary()?,
    }))
}

/// What leaves has the cgroup's own source, or comes from a socket that has.
fn leaves(policy: &Policy, source: Family, packet: &Outgoing) {
    if !may_leave(policy, source, packet) {
        return;
    }
    assert!(policy.flags != 0, "without a policy");
    let goes_to_loopback = packet.destination.kind() == Kind::Loopback;
    if policy.private().is_some() && goes_to_loopback {
        let owner = packet.owner.expect("a socket that calls loopback");
        let is_datagram = owner.protocol == UDP;
        let opens = owner.protocol == TCP && owner.is_opening;
        assert!(
            !(is_datagram || opens) || packet.receiver != Found::Other,
            "to the host's loopback"
        );
    } else if source.kind() == Kind::Loopback {
        assert!(
            packet.is_local || goes_to_loopback,
            "loopback leaves the host"
        );
    } else if !is_own(policy, source) {
        let owner = packet.owner.expect("a socket that may send it");
        assert!(sends_from_own(policy, &owner), "from {source:?}: {owner:?}");
    }
}

/// Whether a socket sends from an address of the cgroup, as far as the programs at
/// its calls govern it; an exempt port may be anywhere.
fn sends_from_own(policy: &Policy, owner: &Owner) -> bool {
    let local = Family::of(owner.local).kind();
    is_exempt(policy, owner.protocol, owner.port)
        || (owner.protocol == UDP && matches!(local, Kind::Unspecified | Kind::Multicast))
        || ([TCP, UDP].contains(&owner.protocol)
            && (policy.owns(owner.local) || local == Kind::Loopback))
}

fn enters(policy: &Policy, destination: Family, owner: Option<Owner>) {
    let is_expected = is_own(policy, destination)
        || matches!(destination.kind(), Kind::Loopback | Kind::Multicast)
        || owner.is_some_and(|owner| is_exempt(policy, owner.protocol, owner.port));
    assert_eq!(
        may_enter(policy, destination, || owner),
        policy.flags != 0 && is_expected,
        "{destination:?}"
    );
}

/// An assigned address, a link-local one, or none yet.
fn is_own(policy: &Policy, address: Family) -> bool {
    let is_link_local = match address {
        Family::V4(address) => address.to_ne_bytes().starts_with(&[169, 254]),
        Family::V6(_) => address.kind() == Kind::LinkLocal,
    };
    policy.owns(address.to_v6()) || is_link_local || address.kind() == Kind::Unspecified
}
