//! Which port a socket gets, compared with a linear search of the rules.

use oci_bind_hook_ebpf::abi::{PORT_RULES, Policy, PortRule};
use oci_bind_hook_ebpf::decide::port::{PortUse, port};
use oci_bind_hook_ebpf::net::Port;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};

const TCP: u32 = 6;
const UDP: u32 = 17;
const SCTP: u32 = 132;
const UDP_LITE: u32 = 136;

/// Rules that a policy could have: ranges in ascending order, about half of which are
/// single ports.
fn rules() -> impl Strategy<Value = Vec<PortRule>> {
    let gap = prop_oneof![Just(0), 0_u16..2000];
    let more = prop_oneof![Just(0), 0_u16..2000];
    let becomes = || prop_oneof![Just(None), any::<u16>().prop_map(Some)];
    let rule = (gap, more, becomes(), becomes(), any::<bool>());
    vec(rule, 0..=PORT_RULES).prop_map(|parts| {
        let mut next = Some(1_u16);
        let mut rules = Vec::new();
        for (gap, more, tcp, udp, multicast) in parts {
            let Some(first) = next.and_then(|next| next.checked_add(gap)) else {
                break;
            };
            let last = first.saturating_add(more);
            next = last.checked_add(1);
            // No port may be beyond 65535.
            let becomes = |actual: Option<u16>| match actual {
                None => first,
                Some(actual) => actual.min(u16::MAX - (last - first)),
            };
            rules.push(PortRule {
                first,
                last,
                tcp: becomes(tcp),
                udp: becomes(udp.filter(|_| !multicast)),
                multicast: multicast.into(),
                reserved: 0,
            });
        }
        rules
    })
}

/// What happens to a port, in host byte order.
fn expected(rules: &[PortRule], number: u32, asked: u16) -> PortUse {
    let rule = rules
        .iter()
        .find(|rule| (rule.first..=rule.last).contains(&asked));
    let is = |port: u16| PortUse::Is(Port::new(port));
    let Some(rule) = rule else {
        return is(asked);
    };
    let distance = asked - rule.first;
    match number {
        TCP if rule.tcp == 0 => PortUse::Exempt,
        TCP => is(rule.tcp + distance),
        UDP | UDP_LITE if rule.udp == 0 => PortUse::Exempt,
        UDP if rule.multicast != 0 => PortUse::Multicast(Port::new(asked)),
        UDP | UDP_LITE => is(rule.udp + distance),
        _ => is(asked),
    }
}

proptest! {
    #[test]
    fn a_port_is_what_its_rule_says(rules in rules(), other in any::<u16>()) {
        let mut policy = Policy::default();
        assert!(policy.set_rules(&rules));
        let near = rules.iter().flat_map(|rule| {
            let beyond = rule.last.saturating_add(1);
            [rule.first - 1, rule.first, rule.first.midpoint(rule.last), rule.last, beyond]
        });
        for asked in near.chain([other, 0, u16::MAX]) {
            for number in [TCP, UDP, UDP_LITE, SCTP] {
                let found = port(&policy, number, Port::new(asked));
                prop_assert_eq!(found, expected(&rules, number, asked), "{} {}", number, asked);
            }
        }
    }
}

#[test]
fn a_policy_has_room_for_so_many_rules() {
    let mut policy = Policy::default();
    let rules: Vec<_> = (1..=u16::try_from(PORT_RULES).unwrap() + 1)
        .map(|port| PortRule::unchanged(port, port))
        .collect();
    assert!(policy.set_rules(&rules[1..]));
    let before = policy;
    assert!(!policy.set_rules(&rules));
    assert_eq!(policy, before);
    assert!(policy.set_rules(&rules[..1]), "fewer than before");
    assert_eq!(
        policy.port_rules[..PORT_RULES - 1],
        [PortRule::default(); PORT_RULES - 1]
    );
}
