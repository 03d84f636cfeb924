//! Whose loopback a call means, row by row of the semantics.

mod common;

use common::{OWN4, OWN6, PRIVATE, TCP, auto, both, family, no_lookup, only4, only6, private};
use common::{server, v4, v6, with_port};
use oci_bind_hook_ebpf::abi::Cause;
use oci_bind_hook_ebpf::decide::address::{
    ANY4, ANY6, Family, Kind, LOOPBACK4, LOOPBACK6, kind4, kind6,
};
use oci_bind_hook_ebpf::decide::loopback::Found::{self, Dual, Moved, Nobody, Other, Own, Steered};
use oci_bind_hook_ebpf::decide::loopback::{
    Loopback, Reach, Route, Way, is_private, meant, port6, route,
};
use oci_bind_hook_ebpf::decide::port::UDP;
use oci_bind_hook_ebpf::net::Port;

/// A call from an IPv4 socket to 127.0.0.1, port 80.
const FROM_V4: Loopback = Loopback {
    address: Family::V4(LOOPBACK4),
    protocol: TCP,
    port: Port::new(80),
    can_be_answer: false,
    reach: Reach::V4,
};
/// A call to `::1` from an IPv6 socket that is open to both families.
const FROM_V6: Loopback = Loopback {
    address: Family::V6(LOOPBACK6),
    reach: Reach::Both,
    ..FROM_V4
};
/// The same from one that is v6only.
const FROM_V6ONLY: Loopback = Loopback {
    reach: Reach::V6,
    ..FROM_V6
};

fn to(address: &str, port: u16) -> Route {
    Route::to(family(address), Port::new(port))
}

#[test]
fn what_loopback_is() {
    for address in ["127.0.0.1", "127.0.0.2", "127.255.255.254"] {
        assert_eq!(kind4(v4(address)), Kind::Loopback, "{address}");
    }
    assert_eq!(kind6(&v6("::1")), Kind::Loopback);
    for address in ["126.255.255.255", "128.0.0.1"] {
        assert_eq!(kind4(v4(address)), Kind::Unicast, "{address}");
    }
    for address in ["::2", "::7f00:1", "1::1"] {
        assert_eq!(kind6(&v6(address)), Kind::Unicast, "{address}");
    }
}

#[test]
fn the_hosts() {
    assert_eq!(route(&both(), FROM_V4, no_lookup), Route::HOST, "L3");
    assert_eq!(route(&both(), FROM_V6, no_lookup), Route::HOST, "L3");
}

/// No lookup finds systemd-resolved, since its sockets are bound to `lo`.
#[test]
fn auto_leaves_calls_to_systemd_resolved_alone() {
    let policy = auto(both());
    let is_left_alone = |address, port: u16| {
        let call = Loopback {
            address: family(address),
            port: Port::new(port),
            ..FROM_V4
        };
        route(&policy, call, server(OWN4, port, Own)) == Route::HOST
    };
    for (address, port, expected) in [
        ("127.0.0.53", 53, true),
        ("127.0.0.54", 53, true),
        ("127.0.0.53", 54, false),
        ("127.0.0.55", 53, false),
        ("127.0.0.1", 53, false),
        ("127.0.1.53", 53, false),
    ] {
        assert_eq!(is_left_alone(address, port), expected, "L1: {address}");
    }
    let call = Loopback {
        address: family("127.0.0.53"),
        port: Port::new(53),
        ..FROM_V4
    };
    let private = route(&private(both()), call, server(PRIVATE, 53, Own));
    assert_eq!(private, to(PRIVATE, 53), "L4");
}

#[test]
fn auto_finds_the_moved_server() {
    let policy = auto(both());
    let rows = [
        (FROM_V4, server(OWN4, 80, Own), to(OWN4, 80)),
        (FROM_V4, server(OWN4, 80, Other), Route::HOST),
        (FROM_V4, server(OWN4, 81, Own), Route::HOST),
        (FROM_V4, server(OWN6, 80, Own), Route::HOST),
        (FROM_V6, server(OWN6, 80, Own), to(OWN6, 80)),
        (FROM_V6, server(OWN4, 80, Own), to(OWN4, 80)),
        (FROM_V6ONLY, server(OWN6, 80, Own), to(OWN6, 80)),
        (FROM_V6, server(OWN6, 80, Dual), to(OWN6, 80)),
        (FROM_V6ONLY, server(OWN6, 80, Dual), to(OWN6, 80)),
        (FROM_V6ONLY, server(OWN4, 80, Own), Route::HOST),
    ];
    for (call, find, expected) in rows {
        assert_eq!(route(&policy, call, find), expected, "L1: {call:?}");
    }
    let only4 = route(&auto(only4()), FROM_V6ONLY, server(OWN6, 80, Own));
    assert_eq!(only4, Route::HOST, "L1: no such address");
    let only6 = route(&auto(only6()), FROM_V4, server(OWN4, 80, Own));
    assert_eq!(only6, Route::HOST, "L1: no such address");
}

/// The same happens on a host without policies.
#[test]
fn auto_leaves_a_call_to_who_is_at_the_very_address() {
    let policy = auto(both());
    let to_v4 = |address| Loopback { address, ..FROM_V4 };
    let to_v6 = |address| Loopback { address, ..FROM_V6 };
    for (call, there) in [
        (FROM_V4, "127.0.0.1"),
        (to_v4(family("127.0.0.53")), "127.0.0.53"),
        (to_v4(Family::V4(ANY4)), "127.0.0.1"),
        (FROM_V6, "::1"),
        (to_v6(Family::V6(ANY6)), "::1"),
    ] {
        let find = |found| move |address, _, _| if address == family(there) { found } else { Own };
        assert_eq!(route(&policy, call, find(Own)), Route::HOST, "L1: {call:?}");
        // Somebody at the wildcard address, or nobody.
        for found in [Other, Nobody] {
            let way = route(&policy, call, find(found)).way;
            assert_eq!(way, Way::To, "L1: {call:?}, {found:?}");
        }
    }
    let elsewhere = route(&policy, to_v4(family("127.0.0.53")), |address, _, _| {
        if address == family("127.0.0.1") || address == family(OWN4) {
            Own
        } else {
            Nobody
        }
    });
    assert_eq!(elsewhere, to(OWN4, 80), "L1");
}

#[test]
fn auto_finds_the_moved_port() {
    let policy = with_port(auto(both()), 80, 8080, &[TCP]);
    let found = route(&policy, FROM_V4, server(OWN4, 8080, Own));
    assert_eq!(found, to(OWN4, 8080), "L1 and B17");
    let exempt = with_port(auto(both()), 80, 0, &[TCP]);
    let found = route(&exempt, FROM_V4, server(OWN4, 80, Own));
    assert_eq!(found, Route::HOST, "B18");
}

#[test]
fn private_never_reaches_the_host() {
    let policy = private(both());
    let refused = Route::nowhere(Cause::Refused);
    // Nobody is there, or a server comes later.
    let own6 = to("::1", port6(v4(PRIVATE), Port::new(80)).number());
    let rows = [
        (FROM_V4, server(PRIVATE, 80, Own), to(PRIVATE, 80)),
        (FROM_V4, server(OWN4, 80, Own), to(OWN4, 80)),
        (FROM_V4, server(PRIVATE, 80, Nobody), to(PRIVATE, 80)),
        // A wildcard server of the host would answer there.
        (FROM_V4, server(PRIVATE, 80, Other), refused),
        (FROM_V6, server(PRIVATE, 80, Own), to(PRIVATE, 80)),
        (FROM_V6, server(OWN6, 80, Own), to(OWN6, 80)),
        (FROM_V6ONLY, server(OWN6, 80, Own), to(OWN6, 80)),
        (FROM_V6ONLY, server(OWN6, 80, Dual), to(OWN6, 80)),
        (FROM_V6ONLY, server(PRIVATE, 80, Own), own6),
        // All containers share ::1, so one of the host's there is not the container's.
        (FROM_V6, server("::1", 80, Other), own6),
        (FROM_V6ONLY, server("::1", 80, Other), own6),
        (FROM_V6ONLY, server("::1", 80, Nobody), own6),
    ];
    for (call, find, expected) in rows {
        assert_eq!(route(&policy, call, find), expected, "L4: {call:?}");
    }
    // A dual-stack server is called at its IPv4 address, from the private loopback.
    let dual = |address, _, _| match address {
        Family::V4(address) if address == v4(OWN4) => Own,
        Family::V6(_) => Dual,
        Family::V4(_) => Nobody,
    };
    assert_eq!(route(&policy, FROM_V6, dual), to(OWN4, 80), "L4: dual");
}

/// A server that a program has bound to `::1` is at a port of the cgroup's own; a client
/// of one is at the port that the kernel chose.
#[test]
fn private_finds_servers_at_the_ipv6_loopback() {
    let policy = private(both());
    let port = port6(v4(PRIVATE), Port::new(80)).number();
    assert_ne!(port, 80);
    for call in [FROM_V6, FROM_V6ONLY] {
        for at in [port, 80] {
            let route = route(&policy, call, server("::1", at, Own));
            assert_eq!(route, to("::1", at), "L7: {call:?}");
        }
    }
    // A socket that asked for another port gets answers at its actual port, but no calls.
    let moved = |can_be_answer, at| {
        let call = Loopback {
            protocol: UDP,
            can_be_answer,
            ..FROM_V6ONLY
        };
        route(&policy, call, server("::1", at, Moved))
    };
    assert_eq!(moved(true, 80), to("::1", 80), "L7");
    assert_eq!(moved(false, 80), to("::1", port), "L7");
    // Nor is one that came to the place of this port by another.
    let refused = Route::nowhere(Cause::Refused);
    assert_eq!(moved(false, port), refused, "L7: another's port");
    assert_eq!(moved(true, port), to("::1", 80), "L7: an answer");
    // It comes before the server of the same port at 127.0.0.1.
    let both = |address, looked_up: Port, _| match address {
        Family::V4(_) => Own,
        Family::V6(address) if address == LOOPBACK6 && looked_up == Port::new(port) => Own,
        Family::V6(_) => Nobody,
    };
    assert_eq!(route(&policy, FROM_V6, both), to("::1", port), "L7");
    assert_eq!(route(&policy, FROM_V4, both), to(PRIVATE, 80), "L7");
    // An answer to a socket that is connected, which no lookup finds.
    let datagram = Loopback {
        protocol: UDP,
        can_be_answer: true,
        ..FROM_V6ONLY
    };
    let nobody = route(&policy, datagram, |_, _, _| Nobody);
    assert_eq!(nobody, to("::1", 80), "L7");
    for call in [datagram, FROM_V6, FROM_V6ONLY] {
        let other = route(&policy, call, |_, _, _| Other);
        assert_eq!(other, Route::nowhere(Cause::Refused), "L8: {call:?}");
    }
}

#[test]
fn what_is_found_is_a_number_too() {
    for found in [Own, Moved, Dual, Steered, Other, Nobody] {
        assert_eq!(Found::from(found as u32), found);
    }
}

#[test]
fn ports_of_the_ipv6_loopback() {
    for port in 1..=u16::MAX {
        let own = port6(v4(PRIVATE), Port::new(port)).number();
        assert!((1024..32768).contains(&own), "{port}: {own}");
        let others = port6(v4("127.128.2.11"), Port::new(port));
        assert_ne!(Port::new(own), others, "{port}");
    }
    assert_eq!(port6(v4(PRIVATE), Port::ANY), Port::ANY);
}

#[test]
fn private_addresses_are_known() {
    let policy = private(both());
    assert!(is_private(&policy, v6("::ffff:127.128.2.10")));
    for address in ["::ffff:127.0.0.1", "::ffff:127.128.2.11", "::1"] {
        assert!(!is_private(&policy, v6(address)), "{address}");
    }
    assert!(!is_private(&auto(both()), v6("::ffff:127.128.2.10")));
}

#[test]
fn the_unspecified_address_means_loopback() {
    let (any4, own4) = ("::ffff:0.0.0.0", "::ffff:192.0.2.10");
    for (destination, source, expected) in [
        (any4, own4, "::ffff:127.0.0.1"),
        // The kernel itself treats it as loopback.
        (any4, any4, any4),
        (any4, "::", any4),
        ("::", OWN6, "::"),
        ("::", own4, "::"),
        // If the socket is on loopback, it means the socket's own address, as on any host.
        (any4, "::ffff:127.0.0.9", any4),
        (own4, own4, own4),
    ] {
        let found = meant(v6(destination), v6(source));
        assert_eq!(found, v6(expected), "L5: {destination} from {source}");
    }
}
