//! Dual-stack servers: where they are kept, and which sockets are servers.

mod common;

use std::collections::BTreeSet;

use common::{OWN4, OWN6, TCP, UDP, UDP_LITE, both, dual, only4, only6, v4, v6};
use oci_bind_hook_ebpf::abi::{DUAL_COUNTS, Policy, flag};
use oci_bind_hook_ebpf::decide::address::mapped;
use oci_bind_hook_ebpf::decide::dual::{
    DualBind, GROUPS, Place, SHARES_ADDRESS, SHARES_PORT, SLOTS, Sharing, asked, bucket, can_share,
    dual_bind, found, has_servers, is_dual, is_dual_bind, one,
};
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::net::{Port, V6};
use proptest::prelude::*;

#[test]
fn takes_both_families_and_steering() {
    for (flag, own, other) in [(flag::DUAL, TCP, UDP), (flag::DUAL_UDP, UDP, TCP)] {
        let with = |policy: Policy| Policy {
            flags: policy.flags | flag,
            ..policy
        };
        assert!(is_dual(&with(both()), own));
        assert!(!is_dual(&with(both()), other));
        for policy in [both(), with(only4()), with(only6())] {
            assert!(!is_dual(&policy, own), "{policy:?}");
        }
    }
    assert!(!is_dual(&dual(both()), UDP_LITE));
}

#[test]
fn only_the_wildcard_makes_one() {
    let (policy, own4) = (dual(both()), mapped(v4(OWN4)));
    assert!(is_dual_bind(&policy, TCP, v6("::"), own4));
    assert!(is_dual_bind(&policy, UDP, v6("::"), own4));
    assert!(!is_dual_bind(&both(), TCP, v6("::"), own4));
    for (asked, actual) in [
        ("::ffff:0.0.0.0", "::ffff:192.0.2.10"),
        ("::ffff:192.0.2.10", "::ffff:192.0.2.10"),
        ("::", OWN6),
        (OWN6, OWN6),
    ] {
        assert!(
            !is_dual_bind(&policy, UDP, v6(asked), v6(actual)),
            "{asked} at {actual}"
        );
    }
}

#[test]
fn is_called_at_the_address_of_its_policy() {
    let policy = dual(both());
    let bind = dual_bind(&policy, UDP, Port::new(80));
    assert_eq!(u32::from(bind.place.protocol), UDP);
    assert_eq!(bind.place.namespace, policy.namespace);
    assert_eq!(bind.place.address, v6(OWN6));
    assert_eq!(bind.bound, mapped(v4(OWN4)));
    assert_eq!((bind.is_counted, bind.is_closed), (0, 0));
    assert_eq!(bind.is_asked, 1);
    assert_eq!(dual_bind(&policy, UDP, Port::ANY).is_asked, 0);
}

#[test]
fn who_is_found_at_an_address() {
    for (policy, local, who) in [
        (dual(both()), "::ffff:192.0.2.10", Found::Dual),
        (both(), "::ffff:192.0.2.10", Found::Steered),
        (dual(both()), "::ffff:192.0.2.20", Found::Steered),
        (only6(), "::ffff:192.0.2.20", Found::Steered),
        (dual(both()), OWN6, Found::Own),
        (dual(both()), "::", Found::Other),
        (dual(both()), "::ffff:0.0.0.0", Found::Other),
    ] {
        assert_eq!(found(&policy, v6(OWN6), v6(local)), who, "{local}");
    }
}

#[test]
fn a_policy_further_in_has_bound_first() {
    let outer = dual(both());
    let inner = Policy {
        ipv4: v4("192.0.2.20"),
        ..outer
    };
    let bound = v6("::ffff:192.0.2.20");
    assert_eq!(
        asked(&outer, &dual_bind(&inner, TCP, Port::new(80)), bound),
        v6("::")
    );
    for (bind, address) in [
        // An earlier bind under the same policy, which failed.
        (dual_bind(&outer, TCP, Port::new(80)), mapped(v4(OWN4))),
        (
            dual_bind(&inner, TCP, Port::new(80)),
            v6("::ffff:192.0.2.30"),
        ),
        (dual_bind(&inner, TCP, Port::new(80)), v6(OWN6)),
        (DualBind::default(), bound),
        (DualBind::default(), v6("::")),
    ] {
        assert_eq!(asked(&outer, &bind, address), address, "{bind:?}");
    }
}

#[test]
fn who_can_share_a_port() {
    let of = |options, uid| Sharing { options, uid };
    let (address, port) = (SHARES_ADDRESS, SHARES_PORT);
    for (one, other, tcp, udp) in [
        (of(0, 0), of(0, 0), false, false),
        (of(port, 0), of(port, 0), true, true),
        (of(port, 0), of(port, 1000), false, false),
        (of(port, 0), of(0, 0), false, false),
        (of(port, 0), of(address, 0), false, false),
        (of(address, 0), of(address, 0), false, true),
        (of(address, 0), of(address, 1000), false, true),
        (of(address | port, 0), of(address | port, 1000), false, true),
        (of(0, 0), of(address | port, 0), false, false),
    ] {
        assert_eq!(can_share(TCP, one, other), tcp, "TCP {one:?} {other:?}");
        assert_eq!(can_share(UDP, one, other), udp, "UDP {one:?} {other:?}");
    }
}

/// Servers that share a count make each other's callers search in vain.
#[test]
fn counts_are_seldom_shared() {
    let place = |port: u16, last: u32| Place {
        namespace: 1,
        address: V6([v6(OWN6).0[0], 0, 0, last.to_be()]),
        port: Port::new(port),
        ..Place::default()
    };
    let ports: BTreeSet<_> = (1..=1000).map(|port| bucket(&place(port, 1))).collect();
    let addresses: BTreeSet<_> = (1..=1000).map(|last| bucket(&place(80, last))).collect();
    // 1000 random choices among 65536 collide about 8 times.
    assert!(ports.len() > 950, "{} for 1000 ports", ports.len());
    assert!(addresses.len() > 950, "{} for as many", addresses.len());
}

#[test]
fn groups_of_slots_are_counted_apart() {
    for (group, bounds) in GROUPS.windows(2).enumerate() {
        for slot in bounds[0]..bounds[1] {
            assert_eq!(one(slot), 1 << (16 * group), "slot {slot}");
        }
    }
    // As many as there can be in total.
    let counts = 16384 * one(0) + one(9);
    let found = GROUPS.map(|first| first < SLOTS && has_servers(counts, first));
    assert_eq!(found, [true, false, true, false, false]);
}

proptest! {
    #[test]
    fn a_place_has_one_count(
        namespace in any::<u64>(),
        address in any::<[u32; 4]>(),
        port in any::<u16>(),
        protocol in any::<u16>(),
        slot in any::<u32>(),
    ) {
        let (address, port) = (V6(address), Port(port));
        let place = Place { namespace, address, port, protocol, slot: 0 };
        prop_assert!(bucket(&place) < DUAL_COUNTS);
        prop_assert_eq!(bucket(&place), bucket(&Place { slot, ..place }));
    }
}
