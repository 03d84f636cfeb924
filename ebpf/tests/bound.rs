//! What is kept about a bind, and what follows from it.

mod common;

use common::{OWN4, OWN6, PRIVATE, TCP, UDP, UDP_LITE, auto, both, only4, only6, private};
use common::{v4, v6, with_multicast, with_port};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::bound::Bound;
use oci_bind_hook_ebpf::decide::loopback::port6;
use oci_bind_hook_ebpf::net::{Endpoint, Port};

fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint::new(v6(address), Port::new(port))
}

/// A policy whose sockets are identified by its loopback address.
fn policy(policy: Policy) -> Policy {
    Policy {
        loopback: v4(PRIVATE),
        ..policy
    }
}

fn kept(of: Policy, protocol: u32, asked: Endpoint) -> Bound {
    Bound::kept(&policy(of), protocol, asked, 1000)
}

#[test]
fn an_address_of_the_host() {
    let moved = with_port(both(), 80, 8080, &[TCP]);
    for (of, protocol, asked, actual) in [
        (
            both(),
            TCP,
            ("::ffff:192.0.2.20", 80),
            ("::ffff:192.0.2.10", 80),
        ),
        (both(), UDP, ("2001:db8::20", 53), (OWN6, 53)),
        (
            with_multicast(both(), 53),
            UDP,
            ("2001:db8::20", 53),
            (OWN6, 53),
        ),
        (
            moved,
            TCP,
            ("::ffff:192.0.2.20", 80),
            ("::ffff:192.0.2.10", 8080),
        ),
        (
            moved,
            UDP,
            ("::ffff:192.0.2.20", 80),
            ("::ffff:192.0.2.10", 80),
        ),
        (
            only4(),
            TCP,
            ("2001:db8::20", 80),
            ("::ffff:192.0.2.10", 80),
        ),
        (only6(), TCP, ("::ffff:192.0.2.20", 80), (OWN6, 80)),
        (only4(), UDP, ("fe80::1", 53), ("::ffff:192.0.2.10", 53)),
    ] {
        let bound = kept(of, protocol, endpoint(asked.0, asked.1));
        assert_eq!(bound.asked, endpoint(asked.0, asked.1));
        assert_eq!(bound.actual, endpoint(actual.0, actual.1), "{asked:?}");
        assert_eq!(
            (bound.is_told, bound.owner, bound.uid),
            (0, v4(PRIVATE), 1000)
        );
    }
}

#[test]
fn what_is_not_kept() {
    let exempt = with_port(both(), 80, 0, &[TCP]);
    let multicast = with_multicast(both(), 80);
    for (of, protocol, asked, port) in [
        (both(), TCP, "::ffff:192.0.2.20", 0),
        (both(), UDP_LITE, "::ffff:192.0.2.20", 80),
        (exempt, TCP, "::ffff:192.0.2.20", 80),
        (both(), TCP, "::", 80),
        (both(), TCP, "fe80::1", 80),
        (both(), UDP, "ff02::fb", 80),
        (multicast, UDP, "::", 80),
        (multicast, UDP, "::ffff:0.0.0.0", 80),
        // Kept only after the decision, by `kernel::bound::tell`.
        (private(both()), TCP, "::1", 80),
    ] {
        let nothing = Bound::default();
        assert_eq!(
            kept(of, protocol, endpoint(asked, port)),
            nothing,
            "{asked}"
        );
    }
}

#[test]
fn the_loopback_that_all_share() {
    for address in ["::1", "::ffff:127.0.0.1", "::ffff:127.0.0.53"] {
        for port in [0, 80] {
            let asked = endpoint(address, port);
            for policy in [auto(both()), both()] {
                let bound = kept(policy, TCP, asked);
                assert_eq!((bound.asked, bound.actual), (asked, asked), "L1");
            }
        }
    }
    let bound = kept(private(both()), TCP, endpoint("::ffff:127.0.0.1", 80));
    assert_eq!(bound.actual, endpoint("::ffff:127.128.2.10", 80), "L1");
}

/// That is: the same user, policy and port, but another address.
#[test]
fn one_address_after_another() {
    let other = kept(both(), TCP, endpoint("::ffff:192.0.2.20", 80));
    let own = kept(both(), TCP, endpoint("::ffff:192.0.2.10", 80));
    let third = kept(both(), TCP, endpoint("::ffff:192.0.2.30", 80));
    assert!(other.is_repeated_by(&own, TCP), "B23");
    assert!(own.is_repeated_by(&other, TCP), "B23");
    assert!(
        !own.is_repeated_by(&own, TCP),
        "the kernel says what it thinks"
    );
    assert!(other.is_repeated_by(&third, UDP), "B23");
    assert!(!other.is_repeated_by(&own, UDP), "it is where it asks for");
    let nobody = Bound::default();
    assert!(!nobody.is_repeated_by(&own, TCP), "nothing is known of it");
    let of_others = Bound { uid: 1001, ..own };
    assert!(!other.is_repeated_by(&of_others, TCP), "another user");
    let of_others = Bound {
        owner: v4(OWN4),
        ..own
    };
    assert!(!other.is_repeated_by(&of_others, TCP), "another policy");
    // 80 is moved to 8080, which the second bind asks for.
    let moved = with_port(both(), 80, 8080, &[TCP]);
    let first = kept(moved, TCP, endpoint("::ffff:192.0.2.20", 80));
    let second = kept(moved, TCP, endpoint("::ffff:192.0.2.10", 8080));
    assert_eq!(first.actual, second.actual);
    assert!(!first.is_repeated_by(&second, TCP), "another port");
}

/// An outer cgroup's policy sees the bind as an inner one has changed it.
#[test]
fn a_bind_of_a_policy_further_in() {
    let bound = kept(both(), TCP, endpoint("::ffff:192.0.2.20", 80));
    assert!(bound.is_made_at(&endpoint("::ffff:192.0.2.10", 80)));
    assert!(!bound.is_made_at(&endpoint("::ffff:192.0.2.20", 80)));
    assert!(!Bound::default().is_made_at(&endpoint("::", 0)), "nothing");
}

/// Of two ports that come to one place, a call is for the one that was asked for.
#[test]
fn who_is_called_at_the_private_loopback() {
    let private = v4(PRIVATE);
    let at = |asked: u16, actual| Bound {
        asked: endpoint("::1", asked),
        actual: Endpoint::new(v6("::1"), actual),
        is_told: 1,
        owner: private,
        uid: 0,
    };
    let place = port6(private, Port::new(80));
    let server = at(80, place);
    assert!(server.is_for(private, Port::new(80)), "L7");
    assert!(!server.is_for(private, Port::new(81)), "L7");
    // At a port of the kernel's choice.
    assert!(at(0, Port::ANY).is_for(private, Port::new(40000)), "L7");
    // The policy of an outer cgroup was asked for the place, and moved it.
    assert!(at(80, port6(private, place)).is_for(private, place), "L7");
}
