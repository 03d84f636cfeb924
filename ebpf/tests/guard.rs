//! Which packets the guard lets through.

mod common;

use common::{OWN4, OWN6, both, family, only4};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::guard::{may_enter, may_leave};

#[test]
fn own_addresses() {
    for address in [
        OWN4,
        OWN6,
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "169.254.7.7",
        "fe80::1",
        "0.0.0.0",
        "::",
    ] {
        assert!(may_leave(&both(), family(address)), "G1: from {address}");
        assert!(
            may_enter(&both(), family(address), false),
            "G2: to {address}"
        );
    }
}

#[test]
fn addresses_of_others() {
    for address in ["192.0.2.11", "2001:db8::11", "fec0::1", "169.253.1.1"] {
        assert!(!may_leave(&both(), family(address)), "G1: from {address}");
        assert!(
            !may_enter(&both(), family(address), false),
            "G2: to {address}"
        );
    }
    assert!(!may_leave(&only4(), family(OWN6)), "G1: not assigned");
    assert!(
        !may_enter(&only4(), family(OWN6), false),
        "G2: not assigned"
    );
}

#[test]
fn multicast_and_broadcast_come_in() {
    for address in ["224.0.0.251", "255.255.255.255", "ff02::fb"] {
        assert!(
            may_enter(&both(), family(address), false),
            "G2: to {address}"
        );
        assert!(!may_leave(&both(), family(address)), "G1: from {address}");
    }
    // The broadcast address of a network looks like any other.
    assert!(may_enter(&both(), family("192.0.2.255"), true), "G2");
    assert!(!may_enter(&both(), family("192.0.2.255"), false), "G2");
}

#[test]
fn without_a_policy_nothing_passes() {
    let nothing = Policy::default();
    for address in ["0.0.0.0", "127.0.0.1", "::", "::1", "224.0.0.251"] {
        assert!(!may_leave(&nothing, family(address)), "{address}");
        assert!(!may_enter(&nothing, family(address), true), "{address}");
    }
}
