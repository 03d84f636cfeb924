//! Which port a socket gets, against a plain map.

use std::collections::BTreeMap;

use oci_bind_hook_ebpf::abi::{PORT_RULES, Policy, protocol};
use oci_bind_hook_ebpf::port::{PortUse, port};
use proptest::collection::btree_map;
use proptest::prelude::{any, prop_assert_eq, proptest};

const TCP: u32 = 6;
const UDP: u32 = 17;
const SCTP: u32 = 132;

/// A policy with these ports, by protocol and port asked for.
fn policy(rules: &BTreeMap<(bool, u16), u16>) -> Policy {
    let mut policy = Policy::default();
    for (&(is_udp, asked), &actual) in rules {
        let protocols = if is_udp { protocol::UDP } else { protocol::TCP };
        assert!(policy.set_port(protocols, asked, actual));
    }
    policy
}

fn expected(actual: Option<&u16>, asked: u16) -> PortUse {
    match actual {
        None => PortUse::Is(asked),
        Some(0) => PortUse::Exempt,
        Some(actual) => PortUse::Is(*actual),
    }
}

proptest! {
    #[test]
    fn a_port_is_what_its_rule_says(
        rules in btree_map((any::<bool>(), 1_u16..), any::<u16>(), 0..=PORT_RULES),
        other in any::<u16>(),
    ) {
        let policy = policy(&rules);
        for asked in rules.keys().map(|(_, asked)| *asked).chain([other, 0, u16::MAX]) {
            let of = |is_udp| expected(rules.get(&(is_udp, asked)), asked);
            prop_assert_eq!(port(&policy, TCP, asked), of(false));
            prop_assert_eq!(port(&policy, UDP, asked), of(true));
            prop_assert_eq!(port(&policy, SCTP, asked), PortUse::Is(asked));
        }
    }
}

#[test]
fn a_policy_has_room_for_so_many_ports() {
    let mut policy = Policy::default();
    for asked in 1..=u16::try_from(PORT_RULES).unwrap() {
        assert!(policy.set_port(protocol::TCP, asked, 0));
    }
    assert!(!policy.set_port(protocol::TCP, u16::MAX, 0));
    assert!(policy.set_port(protocol::UDP, 1, 0), "a port that is known");
}
