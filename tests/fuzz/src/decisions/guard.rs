//! The guard: no packet of the address of somebody else, and none to the host's
//! loopback when it is hidden.

use arbitrary::{Result, Unstructured};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::{Family, Kind, LOOPBACK6, mapped};
use oci_bind_hook_ebpf::decide::guard::{self, Owner, may_enter, may_leave};
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::decide::port::{TCP, UDP};

use super::policy::{Says as _, any_protocol, any4, any6, near_port};

#[derive(Clone, Copy, Debug)]
struct Packet {
    source: Family,
    destination: Family,
    is_local: bool,
    is_icmp: bool,
    is_plain: bool,
    owner: Option<Owner>,
    receiver: Found,
}

impl guard::Packet for Packet {
    fn source(&self) -> Option<Family> {
        Some(self.source)
    }

    fn destination(&self) -> Option<Family> {
        Some(self.destination)
    }

    fn is_local(&self) -> bool {
        self.is_local
    }

    fn is_icmp(&self) -> bool {
        self.is_icmp
    }

    fn is_plain(&self) -> bool {
        self.is_plain
    }

    fn owner(&self) -> Option<Owner> {
        self.owner
    }

    fn receiver(&self, _: &Owner, _: Family) -> Found {
        self.receiver
    }
}

pub fn check(policy: &Policy, input: &mut Unstructured<'_>) -> Result<()> {
    let is_v4 = input.arbitrary()?;
    let address = |input: &mut Unstructured<'_>| {
        Ok(if is_v4 {
            Family::V4(any4(policy, input)?)
        } else {
            Family::V6(any6(policy, input)?)
        })
    };
    let (source, mut destination) = (address(input)?, address(input)?);
    if is_v4 && input.ratio(1, 4)? {
        destination = Family::V4(policy.broadcast);
    }
    let owner = Owner {
        protocol: any_protocol(input)?,
        local: address(input)?.to_v6(),
        port: near_port(input)?,
        peer: address(input)?.to_v6(),
        is_opening: input.arbitrary()?,
    };
    let packet = Packet {
        source,
        destination,
        is_local: input.arbitrary()?,
        is_icmp: input.arbitrary()?,
        is_plain: input.arbitrary()?,
        owner: input.arbitrary::<bool>()?.then_some(owner),
        receiver: *input.choose(&[Found::Own, Found::Other, Found::Nobody])?,
    };
    leaves(policy, &packet);
    enters(policy, destination);
    Ok(())
}

fn leaves(policy: &Policy, packet: &Packet) {
    if !may_leave(policy, packet) {
        return;
    }
    assert_ne!(policy.flags, 0, "without a policy: {packet:?}");
    let kind = packet.destination.kind();
    if let (Kind::Loopback, Some(private)) = (kind, policy.private()) {
        let owner = packet.owner.expect("a packet of nobody to loopback");
        let is_reply = owner.protocol == TCP && !owner.is_opening;
        let is_own = [mapped(private), LOOPBACK6].contains(&packet.destination.to_v6())
            && (owner.protocol == TCP || owner.protocol == UDP)
            && packet.receiver != Found::Other;
        assert!(is_reply || is_own || packet.is_icmp, "{packet:?}");
        return;
    }
    if is_own(policy, packet.source) {
        return;
    }
    if packet.source.kind() == Kind::Loopback {
        assert!(packet.is_local || kind == Kind::Loopback, "{packet:?}");
        return;
    }
    let owner = packet.owner.expect("a packet of nobody");
    let local = Family::of(owner.local);
    let peer = Family::of(owner.peer).kind();
    let is_chosen = matches!(policy.kind(local), Kind::Unspecified | Kind::Multicast)
        && owner.protocol == UDP
        && peer == Kind::Unspecified
        && packet.is_plain
        && (packet.is_local || kind != Kind::Loopback);
    let is_called = local.kind() == Kind::Loopback && (packet.is_local || peer == Kind::Loopback);
    let is_governed = owner.protocol == TCP || owner.protocol == UDP;
    assert!(
        is_governed && (is_chosen || is_called || policy.owns(owner.local)),
        "{packet:?}"
    );
}

fn enters(policy: &Policy, destination: Family) {
    let is_for_all = matches!(policy.kind(destination), Kind::Loopback | Kind::Multicast);
    assert_eq!(
        may_enter(policy, destination),
        policy.flags != 0 && (is_own(policy, destination) || is_for_all),
        "{destination:?}"
    );
}

fn is_own(policy: &Policy, address: Family) -> bool {
    let is_link_local = match address {
        Family::V4(address) => address.octets().starts_with(&[169, 254]),
        Family::V6(_) => address.kind() == Kind::LinkLocal,
    };
    policy.owns(address.to_v6()) || is_link_local || address.kind() == Kind::Unspecified
}
