//! The decisions of bind(2), row by row of the semantics.

mod common;

use common::Said::{self, Deny, Isolate, Pass, Rewrite};
use common::{
    INET6, NETWORK, OWN4, OWN6, PRIVATE, Socket, TCP, UDP, UDP_LITE, asked, auto, both, dual,
};
use common::{
    family, linked, no_lookup, only4, only6, private, said, server, v4, v6, with_multicast,
};
use common::{with_port, with_rule};
use oci_bind_hook_ebpf::abi::{Cause, Policy, PortRule, flag};
use oci_bind_hook_ebpf::decide::address::{ANY4, Family, mapped};
use oci_bind_hook_ebpf::decide::bind::{self, Asked};
use oci_bind_hook_ebpf::decide::loopback::{Found, port6};
use oci_bind_hook_ebpf::net::{Port, V4, V6};
use proptest::prelude::*;

const UNSPEC: u32 = 0;
const INET: u32 = 2;

fn bind4(policy: &Policy, asked: Asked, address: V4) -> Said<(V4, Port)> {
    said(bind::bind4(policy, asked, address))
}

fn bind6(policy: &Policy, asked: Asked, address: V6, v6only: bool) -> Said<(V6, Port)> {
    let socket = Socket {
        v6only,
        can_be_dual: true,
        find: no_lookup,
    };
    said(bind::bind6(policy, asked, address, &socket))
}

/// Only the address of a verdict. Its port must be the one asked for, or 0, the kernel's
/// choice, if the bind is isolated.
fn address<A>(verdict: Said<(A, Port)>) -> Said<A> {
    let wanted = match verdict {
        Isolate(_) => Port::ANY,
        _ => Port::new(80),
    };
    verdict.map(|(address, port)| {
        assert_eq!(port, wanted, "the port");
        address
    })
}

const NOT_AVAILABLE: Said<&str> = Deny(Cause::NotAssigned);

#[test]
fn ipv4_sockets() {
    let rows = [
        ("B1", both(), "0.0.0.0", Rewrite(OWN4)),
        ("B4", both(), "192.0.2.20", Rewrite(OWN4)),
        ("B5", both(), OWN4, Pass),
        ("B6", both(), "127.0.0.1", Pass),
        ("B6", only6(), "127.255.255.254", Pass),
        ("B7", both(), "224.0.0.251", Pass),
        ("B7", both(), "239.255.255.255", Pass),
        ("B7", both(), "255.255.255.255", Pass),
        ("B7", linked(both()), NETWORK, Pass),
        ("B4", both(), NETWORK, Rewrite(OWN4)),
        ("B13", only6(), "192.0.2.20", NOT_AVAILABLE),
        ("B13", only6(), "224.0.0.251", NOT_AVAILABLE),
    ];
    for (row, policy, wanted, expected) in rows {
        let verdict = address(bind4(&policy, asked(INET), v4(wanted)));
        assert_eq!(verdict, expected.map(v4), "{row}: bind {wanted}");
    }
}

#[test]
fn ipv6_sockets() {
    let mapped = "::ffff:192.0.2.10";
    let rows = [
        ("B6", both(), "::1", false, Pass),
        ("B6", both(), "::ffff:127.0.0.9", false, Pass),
        ("B7", both(), "ff02::fb", false, Pass),
        ("B7", both(), "fe80::1", false, Pass),
        ("B7", both(), "febf::1", false, Pass),
        ("B4", both(), "fec0::1", false, Rewrite(OWN6)),
        ("B7", both(), "::ffff:224.0.0.251", false, Pass),
        ("B7", linked(both()), "::ffff:192.0.2.255", false, Pass),
        ("B8", only4(), "::", false, Rewrite(mapped)),
        ("B9", only6(), "::", false, Rewrite(OWN6)),
        ("B10", both(), "::", false, Rewrite(OWN6)),
        ("B11", both(), "::", true, Rewrite(OWN6)),
        ("B12", both(), "::ffff:0.0.0.0", false, Rewrite(mapped)),
        ("B12", both(), "::ffff:192.0.2.20", false, Rewrite(mapped)),
        ("B5", both(), mapped, false, Pass),
        ("B5", both(), OWN6, false, Pass),
        ("B4", both(), "2001:db8::20", false, Rewrite(OWN6)),
        ("B13", only4(), "2001:db8::20", false, NOT_AVAILABLE),
        ("B13", only4(), "fe80::1", false, NOT_AVAILABLE),
        ("B13", only6(), "::ffff:192.0.2.20", false, NOT_AVAILABLE),
        ("B13", only4(), "::1", false, Pass),
    ];
    for (row, policy, wanted, v6only, expected) in rows {
        let verdict = address(bind6(&policy, asked(INET6), v6(wanted), v6only));
        assert_eq!(verdict, expected.map(v6), "{row}: bind {wanted}");
    }
}

/// The bind succeeds where no other host can reach it.
#[test]
fn the_wildcard_of_a_family_that_is_not_assigned() {
    let loopback4 = Isolate((v4("127.0.0.1"), Port::ANY));
    assert_eq!(bind4(&only6(), asked(INET), ANY4), loopback4, "B22");
    let policy = private(only6());
    let own = Isolate((v4(PRIVATE), Port::ANY));
    assert_eq!(bind4(&policy, asked(INET), ANY4), own, "B22: private");
    let verdict = |policy: &Policy, wanted| bind6(policy, asked(INET6), v6(wanted), true);
    let loopback6 = Isolate((v6("::1"), Port::ANY));
    assert_eq!(verdict(&only4(), "::"), loopback6, "B22");
    assert_eq!(verdict(&private(only4()), "::"), loopback6, "B22: private");
    let mapped = Isolate((v6("::ffff:127.0.0.1"), Port::ANY));
    assert_eq!(verdict(&only6(), "::ffff:0.0.0.0"), mapped, "B22");
    let exempt = with_port(only6(), 80, 0, &[TCP]);
    assert_eq!(bind4(&exempt, asked(INET), ANY4), Pass, "B18");
}

/// A program binds every address of the host; its first bind has got the assigned one.
#[test]
fn one_address_after_another() {
    let next = |family| Asked {
        is_repeated: true,
        ..asked(family)
    };
    let bound = |wanted: Family| match wanted {
        Family::V4(wanted) => {
            bind4(&both(), next(INET), wanted).map(|(address, port)| (mapped(address), port))
        }
        Family::V6(wanted) => bind6(&both(), next(INET6), wanted, true),
    };
    for (wanted, expected) in [
        ("192.0.2.20", "::ffff:127.0.0.1"),
        ("::ffff:192.0.2.20", "::ffff:127.0.0.1"),
        (OWN4, "::ffff:127.0.0.1"),
        ("2001:db8::20", "::1"),
        (OWN6, "::1"),
    ] {
        let verdict = bound(family(wanted));
        assert_eq!(verdict, Isolate((v6(expected), Port::ANY)), "B23: {wanted}");
    }
}

#[test]
fn another_family_is_refused() {
    let refused = Cause::Family;
    assert_eq!(bind4(&both(), asked(UNSPEC), v4("0.0.0.0")), Deny(refused));
    assert_eq!(bind6(&both(), asked(INET), v6("::"), false), Deny(refused));
}

#[test]
fn without_a_policy_everything_is_refused() {
    let nothing = Policy::default();
    let refused = Cause::NoPolicy;
    for wanted in ["0.0.0.0", "127.0.0.1", OWN4] {
        assert_eq!(bind4(&nothing, asked(INET), v4(wanted)), Deny(refused));
    }
    for wanted in ["::", "::1", OWN6] {
        let verdict = bind6(&nothing, asked(INET6), v6(wanted), false);
        assert_eq!(verdict, Deny(refused));
    }
}

#[test]
fn a_moved_port() {
    let policy = with_port(both(), 80, 8080, &[TCP]);
    let moved = Port::new(8080);
    let tcp = asked(INET);
    let udp = Asked {
        protocol: UDP,
        ..tcp
    };
    let own = v4(OWN4);
    assert_eq!(bind4(&policy, tcp, ANY4), Rewrite((own, moved)), "B17");
    assert_eq!(bind4(&policy, tcp, own), Rewrite((own, moved)), "B17");
    assert_eq!(bind4(&policy, udp, ANY4), Rewrite((own, udp.port)), "B17");
    assert_eq!(bind4(&policy, tcp, v4("127.0.0.1")), Pass, "B6");
    let tcp = asked(INET6);
    let own = v6(OWN6);
    assert_eq!(
        bind6(&policy, tcp, own, false),
        Rewrite((own, moved)),
        "B17"
    );
}

#[test]
fn an_exempt_port() {
    let policy = with_port(only4(), 80, 0, &[TCP, UDP]);
    assert_eq!(bind4(&policy, asked(INET), ANY4), Pass, "B18");
    assert_eq!(bind6(&policy, asked(INET6), v6("::"), false), Pass, "B18");
    let other = Asked {
        port: Port::new(81),
        ..asked(INET)
    };
    let verdict = bind4(&policy, other, ANY4);
    assert_eq!(verdict, Rewrite((v4(OWN4), other.port)), "B1");
}

/// Consecutive ports are moved to consecutive ports.
#[test]
fn a_range_of_ports() {
    let policy = with_rule(
        both(),
        PortRule {
            tcp: 0,
            udp: 9000,
            ..PortRule::unchanged(80, 90)
        },
    );
    let of = |protocol, port: u16| Asked {
        protocol,
        port: Port::new(port),
        ..asked(INET)
    };
    for (protocol, asked, expected) in [
        (TCP, 79, Some(79)),
        (TCP, 80, None),
        (TCP, 90, None),
        (TCP, 91, Some(91)),
        (UDP, 79, Some(79)),
        (UDP, 80, Some(9000)),
        (UDP, 85, Some(9005)),
        (UDP_LITE, 90, Some(9010)),
        (UDP, 91, Some(91)),
    ] {
        let expected = expected.map_or(Pass, |port: u16| Rewrite((v4(OWN4), Port::new(port))));
        assert_eq!(
            bind4(&policy, of(protocol, asked), ANY4),
            expected,
            "{asked}"
        );
    }
}

#[test]
fn a_port_for_multicast() {
    let of = |policy| with_multicast(policy, 80);
    let call = |family, protocol| Asked {
        protocol,
        ..asked(family)
    };
    let (mapped, any4) = ("::ffff:192.0.2.10", "::ffff:0.0.0.0");
    let dual = of(dual(both()));
    for (row, policy, protocol, wanted, v6only, expected) in [
        ("M1", dual, UDP, "::", false, Pass),
        ("M1", dual, UDP, "::", true, Pass),
        ("M1", dual, UDP, any4, false, Pass),
        ("M1", of(only6()), UDP, "::", false, Pass),
        ("M1", of(only6()), UDP, "::", true, Pass),
        ("M1", of(only4()), UDP, "::", false, Rewrite(any4)),
        ("B7", dual, UDP, "ff02::fb", false, Pass),
        ("B4", dual, UDP, "2001:db8::20", false, Rewrite(OWN6)),
        ("B4", dual, UDP, "::ffff:192.0.2.20", false, Rewrite(mapped)),
        // These protocols have no multicast ports.
        ("B10", dual, TCP, "::", false, Rewrite(mapped)),
        ("B9", dual, UDP_LITE, "::", false, Rewrite(OWN6)),
    ] {
        let socket = Socket {
            v6only,
            can_be_dual: true,
            find: |_, _, _| Found::Nobody,
        };
        let call = call(INET6, protocol);
        let verdict = said(bind::bind6(&policy, call, v6(wanted), &socket));
        assert_eq!(address(verdict), expected.map(v6), "{row}: bind {wanted}");
    }
    for (row, policy, protocol, wanted, expected) in [
        ("M1", of(both()), UDP, "0.0.0.0", Pass),
        ("B4", of(both()), UDP, "192.0.2.20", Rewrite(OWN4)),
        ("B1", of(both()), TCP, "0.0.0.0", Rewrite(OWN4)),
        ("B2", of(both()), UDP_LITE, "0.0.0.0", Rewrite(OWN4)),
        ("B22", of(only6()), UDP, "0.0.0.0", Isolate("127.0.0.1")),
    ] {
        let verdict = bind4(&policy, call(INET, protocol), v4(wanted));
        assert_eq!(address(verdict), expected.map(v4), "{row}: bind {wanted}");
    }
    let verdict = bind6(&of(only4()), call(INET6, UDP), v6("::"), true);
    assert_eq!(verdict, Isolate((v6("::1"), Port::ANY)), "B22");
    let nothing = Policy {
        flags: flag::ACTIVE,
        ..Policy::default()
    };
    let verdict = bind6(&of(nothing), call(INET6, UDP), v6("::"), false);
    assert_eq!(
        verdict,
        Isolate((v6("::ffff:127.0.0.1"), Port::ANY)),
        "no address"
    );
}

#[test]
fn private_loopback() {
    let policy = private(both());
    let mapped = "::ffff:127.128.2.10";
    for wanted in ["127.0.0.1", "127.0.0.2", "127.255.255.255"] {
        let verdict = address(bind4(&policy, asked(INET), v4(wanted)));
        assert_eq!(verdict, Rewrite(v4(PRIVATE)), "L4: bind {wanted}");
    }
    let verdict = address(bind6(&policy, asked(INET6), v6("::ffff:127.0.0.1"), false));
    assert_eq!(verdict, Rewrite(v6(mapped)), "L4");
    let port = port6(v4(PRIVATE), Port::new(80));
    for v6only in [false, true] {
        for (there, expected) in [
            (Found::Nobody, Rewrite((v6("::1"), port))),
            (Found::Own, Rewrite((v6("::1"), port))),
            // Somebody else's, so the port is not shared.
            (Found::Other, Deny(Cause::InUse)),
            // Our own, which asked for another port.
            (Found::Moved, Deny(Cause::InUse)),
        ] {
            let socket = Socket {
                v6only,
                can_be_dual: true,
                find: server("::1", port.number(), there),
            };
            let verdict = said(bind::bind6(&policy, asked(INET6), v6("::1"), &socket));
            assert_eq!(verdict, expected, "L7: v6only {v6only}, {there:?}");
        }
    }
    let verdict = bind4(&auto(both()), asked(INET), v4("127.0.0.1"));
    assert_eq!(verdict, Pass, "L2");
}

proptest! {
    /// Whatever a program asks for, it ends up at its own address, on loopback,
    /// at a multicast or link-local address, or nowhere.
    #[test]
    fn nobody_gets_the_address_of_somebody_else(
        random in any::<std::net::Ipv6Addr>(),
        low in any::<u32>(),
        is_mapped in any::<bool>(),
        v6only in any::<bool>(),
        policy in prop_oneof![Just(only4()), Just(only6()), Just(both())],
    ) {
        let wanted = if is_mapped {
            std::net::Ipv4Addr::from(low).to_ipv6_mapped()
        } else {
            random
        };
        match address(bind6(&policy, asked(INET6), V6::from(wanted), v6only)) {
            Rewrite(address) => prop_assert!(
                address == v6(OWN6) || address == v6("::ffff:192.0.2.10")
            ),
            Pass => {
                let canonical = wanted.to_canonical();
                prop_assert!(
                    canonical.is_loopback()
                        || canonical.is_multicast()
                        || canonical == std::net::Ipv4Addr::BROADCAST
                        || wanted.is_unicast_link_local()
                        || V6::from(wanted) == v6(OWN6)
                        || V6::from(wanted) == v6("::ffff:192.0.2.10")
                );
            }
            Isolate(address) => prop_assert!(
                address == v6("::1") || address == v6("::ffff:127.0.0.1")
            ),
            Deny(_) => {}
        }
    }
}
