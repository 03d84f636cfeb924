//! What a route to loopback consists of: its address, port, source and cause.

mod common;

use common::{OWN4, OWN6, PRIVATE, TCP, both, family, private};
use common::{server, v4, v6, with_port};
use oci_bind_hook_ebpf::abi::{Cause, Policy, flag};
use oci_bind_hook_ebpf::decide::address::{Family, LOOPBACK6};
use oci_bind_hook_ebpf::decide::loopback::Found::{Dual, Nobody, Other, Own};
use oci_bind_hook_ebpf::decide::loopback::{
    Loopback, Reach, Route, Way, port6, redirects_calls, route, source,
};
use oci_bind_hook_ebpf::net::Port;

/// A call to port 80 from a socket that is open to both families.
const OPEN: Loopback = Loopback {
    address: Family::V6(LOOPBACK6),
    protocol: TCP,
    port: Port::new(80),
    can_be_answer: false,
    reach: Reach::Both,
};

#[test]
fn a_way_to_somewhere_has_an_address_and_a_port() {
    for (address, shown) in [(OWN4, "::ffff:192.0.2.10"), (OWN6, OWN6)] {
        let route = Route::to(family(address), Port::new(8080));
        assert_eq!(route.way, Way::To);
        assert_eq!(route.address, v6(shown));
        assert_eq!(route.port, Port::new(8080));
    }
}

#[test]
fn a_way_to_nowhere_has_a_cause() {
    for cause in [Cause::Refused, Cause::InUse] {
        let route = Route::nowhere(cause);
        assert_eq!((route.way, route.cause), (Way::Nowhere, cause));
    }
}

#[test]
fn only_two_loopback_policies_redirect() {
    for (flags, redirects) in [
        (0, false),
        (!(flag::LOOPBACK_AUTO | flag::LOOPBACK_PRIVATE), false),
        (flag::LOOPBACK_AUTO, true),
        (flag::LOOPBACK_PRIVATE, true),
    ] {
        let policy = Policy {
            flags,
            ..Policy::default()
        };
        assert_eq!(redirects_calls(&policy), redirects, "{flags:#x}");
    }
}

#[test]
fn a_call_comes_from_loopback() {
    let shared = both();
    let private = private(both());
    let rows = [
        (&shared, OWN4, "127.0.0.1"),
        (&shared, OWN6, "::1"),
        (&private, OWN4, PRIVATE),
        (&private, PRIVATE, PRIVATE),
        (&private, OWN6, OWN6),
    ];
    for (policy, destination, expected) in rows {
        let source = source(policy, family(destination).to_v6());
        assert_eq!(source, family(expected).to_v6(), "to {destination}");
    }
}

/// A port is moved only at the assigned addresses.
#[test]
fn the_private_loopback_keeps_the_port() {
    let policy = with_port(private(both()), 80, 8080, &[TCP]);
    let to = |address, port: u16| Route::to(family(address), Port::new(port));
    let at_private = route(&policy, OPEN, server(PRIVATE, 80, Own));
    assert_eq!(at_private, to(PRIVATE, 80), "L4");
    let at_own = route(&policy, OPEN, server(OWN4, 8080, Own));
    assert_eq!(at_own, to(OWN4, 8080), "L4");
    let v4_alone = Loopback {
        reach: Reach::V4,
        ..OPEN
    };
    let nobody = route(&policy, v4_alone, |_, _, _| Nobody);
    assert_eq!(nobody, to(PRIVATE, 80), "L4");
}

/// An exempt port is left alone at the assigned addresses.
#[test]
fn an_exempt_port_is_looked_for_on_the_private_loopback_alone() {
    let policy = with_port(private(both()), 80, 0, &[TCP]);
    let v6only = Loopback {
        reach: Reach::V6,
        ..OPEN
    };
    for call in [OPEN, v6only] {
        let found = route(&policy, call, |address, _, _| {
            if address == family(OWN6) { Own } else { Other }
        });
        assert_eq!(found, Route::nowhere(Cause::Refused), "L4");
    }
}

/// A server of somebody else at the private loopback makes it a refusal, but the moved
/// server of the cgroup still comes first.
#[test]
fn the_moved_server_comes_before_a_refusal() {
    let find = |address, _, _| {
        if address == family(PRIVATE) {
            Other
        } else if address == family(OWN4) {
            Own
        } else {
            Nobody
        }
    };
    let found = route(&private(both()), OPEN, find);
    assert_eq!(found, Route::to(family(OWN4), Port::new(80)), "L4");
    let dual = |address, _, _| {
        if address == family(OWN6) {
            Dual
        } else {
            Nobody
        }
    };
    // A caller that can use IPv4 reaches a dual-stack server at its IPv4 address only.
    let found = route(&private(both()), OPEN, dual);
    let port = port6(v4(PRIVATE), Port::new(80));
    assert_eq!(found, Route::to(family("::1"), port), "L4");
}
