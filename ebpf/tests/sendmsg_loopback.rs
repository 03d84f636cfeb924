//! Where datagrams to loopback go, and where they come from, row by row of the semantics.

mod common;

use common::Said::{self, Deny, Pass, Rewrite};
use common::{OWN4, OWN6, PRIVATE, UDP, auto, both, datagram, delivered, family, local};
use common::{no_lookup, only4, only6, private, said, server, wide, with_port};
use oci_bind_hook_ebpf::abi::{Cause, Policy, flag};
use oci_bind_hook_ebpf::decide::address::Family;
use oci_bind_hook_ebpf::decide::loopback::Found::{self, Nobody, Other, Own};
use oci_bind_hook_ebpf::decide::sendmsg::{self, Datagram};
use oci_bind_hook_ebpf::decide::verdict::Path;
use oci_bind_hook_ebpf::net::Port;

const PORT: u32 = 40_000;
/// Addresses of somebody else.
const OTHER4: &str = "192.0.2.20";
const OTHER6: &str = "2001:db8::20";

/// What happens to a datagram to `to` from a socket bound to `from`, with `source` as the
/// source that the kernel has chosen.
fn sendmsg(
    policy: &Policy,
    to: &str,
    (from, source): (&str, &str),
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Said<Path> {
    send(policy, to, source, datagram(local(from, PORT)), find)
}

fn send(
    policy: &Policy,
    to: &str,
    source: &str,
    datagram: Datagram,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Said<Path> {
    let verdict = sendmsg::sendmsg(policy, family(to), wide(source), datagram, find);
    said(verdict)
}

/// A path to a server, with a new source or with the one that the datagram has.
fn path(is_moved: bool, source: &str, destination: &str, port: u16) -> Path {
    Path {
        is_moved,
        source: wide(source),
        is_redirected: true,
        destination: wide(destination),
        port: Port::new(port),
    }
}

#[test]
fn ipv4_goes_to_the_moved_server_from_loopback() {
    let policy = auto(both());
    let any = "0.0.0.0";
    let rows = [
        // Whether it is moved: a bound address stays, unless a foreign one is named.
        (any, any, true),
        (any, OWN4, true),
        (OWN4, OWN4, false),
        ("127.0.0.1", "127.0.0.1", false),
        (OWN4, OTHER4, true),
        ("127.0.0.1", OTHER4, true),
    ];
    for to in ["127.0.0.1", "127.0.0.2", any] {
        for (local, source, is_moved) in rows {
            let verdict = sendmsg(&policy, to, (local, source), server(OWN4, 53, Own));
            let expected = path(is_moved, "127.0.0.1", OWN4, 53);
            assert_eq!(
                verdict,
                Rewrite(expected),
                "L1: to {to}, {local} as {source}"
            );
        }
    }
}

#[test]
fn ipv6_goes_to_the_moved_server_from_loopback() {
    let policy = auto(both());
    let rows = [
        ("::", "::", true),
        ("::", OWN6, true),
        (OWN6, OWN6, false),
        ("::1", "::1", false),
        (OWN6, OTHER6, true),
        ("::1", OTHER6, true),
    ];
    for to in ["::1", "::"] {
        for (local, source, is_moved) in rows {
            let verdict = sendmsg(&policy, to, (local, source), server(OWN6, 53, Own));
            let expected = path(is_moved, "::1", OWN6, 53);
            assert_eq!(
                verdict,
                Rewrite(expected),
                "L1: to {to}, {local} as {source}"
            );
        }
    }
}

#[test]
fn a_moved_port_is_where_it_goes() {
    let policy = with_port(auto(both()), 53, 5353, &[UDP]);
    let verdict = sendmsg(
        &policy,
        "127.0.0.1",
        ("0.0.0.0", "0.0.0.0"),
        server(OWN4, 5353, Own),
    );
    let expected = path(true, "127.0.0.1", OWN4, 5353);
    assert_eq!(verdict, Rewrite(expected), "L1 and B17");
    let verdict = sendmsg(&policy, "::1", ("::", "::"), server(OWN6, 5353, Own));
    let expected = path(true, "::1", OWN6, 5353);
    assert_eq!(verdict, Rewrite(expected), "L1 and B17");
}

/// Each family finds only the servers at its own address.
#[test]
fn without_a_moved_server_it_goes_to_the_hosts() {
    let policy = auto(both());
    let (any4, any6) = (("0.0.0.0", "0.0.0.0"), ("::", "::"));
    let verdict = sendmsg(&policy, "127.0.0.1", any4, server(OWN6, 53, Own));
    assert_eq!(verdict, Rewrite(Path::from(wide("127.0.0.1"))), "L2");
    let verdict = sendmsg(&policy, "::1", any6, server(OWN4, 53, Own));
    assert_eq!(verdict, Rewrite(Path::from(wide("::1"))), "L2");
    // But not from a foreign address.
    let verdict = sendmsg(
        &policy,
        "127.0.0.1",
        ("0.0.0.0", OTHER4),
        server(OWN4, 53, Other),
    );
    assert_eq!(verdict, Rewrite(Path::from(wide(OWN4))), "U2");
    let verdict = sendmsg(&policy, "::1", ("::", OTHER6), server(OWN6, 53, Other));
    assert_eq!(verdict, Rewrite(Path::from(wide(OWN6))), "U2");
}

/// A socket at the assigned address calls loopback from its own loopback address, and
/// remembers whom it called.
#[test]
fn a_bound_socket_calls_from_its_own_loopback_address() {
    let bound = (OWN4, OWN4);
    for policy in [delivered(auto(both())), delivered(private(both()))] {
        let is_auto = policy.flags & flag::LOOPBACK_AUTO != 0;
        for (to, called) in [("127.0.0.53", "127.0.0.53"), ("0.0.0.0", "127.0.0.1")] {
            let called = if is_auto { called } else { PRIVATE };
            let verdict = sendmsg(&policy, to, bound, server(OWN6, 53, Own));
            let expected = path(true, PRIVATE, called, 53);
            assert_eq!(verdict, Rewrite(expected), "L6: to {to}");
        }
        // The container's own server sees loopback too.
        let verdict = sendmsg(&policy, "127.0.0.1", bound, server(OWN4, 53, Own));
        let expected = path(true, PRIVATE, OWN4, 53);
        assert_eq!(verdict, Rewrite(expected), "L6");
        // It answers from the address at which it was called.
        let verdict = sendmsg(&policy, PRIVATE, bound, server(OWN4, 53, Own));
        assert!(!is_moved(verdict), "L6: to {PRIVATE}");
        let answer = Datagram {
            is_answer: true,
            ..datagram(local(OWN4, PORT))
        };
        let find = server(OWN4, 53, Own);
        let verdict = send(&policy, "127.0.0.1", OWN4, answer, find);
        assert!(!is_moved(verdict), "L6: an answer");
    }
    let (policy, find) = (delivered(auto(both())), server(OWN6, 53, Own));
    // Other sockets send as they do without delivery.
    for (local, source, expected) in [
        ("0.0.0.0", "0.0.0.0", Rewrite(Path::from(wide("127.0.0.1")))),
        ("127.0.0.1", "127.0.0.1", Pass),
    ] {
        let verdict = sendmsg(&policy, "127.0.0.1", (local, source), &find);
        assert_eq!(verdict, expected, "from {local}");
    }
    let mut connected = datagram(local(OWN4, PORT));
    connected.is_connected = true;
    let verdict = send(&policy, "127.0.0.1", OWN4, connected, &find);
    assert_eq!(verdict, Pass);
    // In another network namespace, or where nothing is delivered, from the assigned
    // address.
    let elsewhere = Datagram {
        is_at_home: false,
        ..datagram(local(OWN4, PORT))
    };
    let verdict = send(&policy, "127.0.0.1", OWN4, elsewhere, &find);
    assert_eq!(verdict, Pass);
    let verdict = sendmsg(&auto(both()), "127.0.0.1", bound, &find);
    assert_eq!(verdict, Pass);
}

/// Whether a redirected datagram is sent from another address than its socket's.
fn is_moved(verdict: Said<Path>) -> bool {
    match verdict {
        Rewrite(path) => path.is_moved,
        other => panic!("{other:?}"),
    }
}

/// Only loopback destinations are looked up.
#[test]
fn other_destinations_are_not_redirected() {
    let policy = auto(both());
    let verdict = sendmsg(
        &policy,
        "198.51.100.7",
        ("0.0.0.0", "0.0.0.0"),
        server(OWN4, 53, Own),
    );
    assert_eq!(verdict, Rewrite(Path::from(wide(OWN4))), "U1");
    let verdict = sendmsg(
        &policy,
        "2001:db8:1::7",
        ("::", "::"),
        server(OWN6, 53, Own),
    );
    assert_eq!(verdict, Rewrite(Path::from(wide(OWN6))), "U1");
}

/// connect(2) has already decided where it goes.
#[test]
fn a_connected_socket_is_not_redirected() {
    let policy = auto(both());
    let connected = |local| Datagram {
        is_connected: true,
        ..datagram(local)
    };
    for loopback in ["127.0.0.1", "::1"] {
        let from = connected(local(loopback, PORT));
        let verdict = send(&policy, loopback, loopback, from, no_lookup);
        assert_eq!(verdict, Pass, "{loopback}");
    }
}

#[test]
fn the_private_loopback_comes_first() {
    let policy = private(both());
    let any = ("0.0.0.0", "0.0.0.0");
    for find in [server(PRIVATE, 53, Own), server(PRIVATE, 53, Nobody)] {
        let verdict = sendmsg(&policy, "127.0.0.1", any, find);
        let expected = path(true, PRIVATE, PRIVATE, 53);
        assert_eq!(verdict, Rewrite(expected), "L4");
    }
    let verdict = sendmsg(&policy, "127.0.0.1", any, server(OWN4, 53, Own));
    let expected = path(true, PRIVATE, OWN4, 53);
    assert_eq!(verdict, Rewrite(expected), "L4: from the private address");
    // It has no IPv6 address to come from.
    let verdict = sendmsg(&policy, "::1", ("::", "::"), server(OWN6, 53, Own));
    let expected = path(true, OWN6, OWN6, 53);
    assert_eq!(verdict, Rewrite(expected), "L4");
}

#[test]
fn the_hosts_loopback_is_not_behind_a_private_one() {
    let policy = private(both());
    let refused = Cause::Refused;
    let verdict = sendmsg(
        &policy,
        "127.0.0.1",
        ("0.0.0.0", "0.0.0.0"),
        server(PRIVATE, 53, Other),
    );
    assert_eq!(verdict, Deny(refused), "L4");
    let verdict = sendmsg(&policy, "::1", ("::", "::"), server("::1", 53, Other));
    assert_eq!(verdict, Deny(refused), "L4");
}

/// An address that is not assigned is foreign, even if it is all zero in the
/// policy.
#[test]
fn a_family_that_is_not_assigned_has_no_address_of_its_own() {
    let policy = private(only6());
    let verdict = sendmsg(
        &policy,
        "127.0.0.1",
        (OTHER4, OTHER4),
        server(PRIVATE, 53, Own),
    );
    let expected = path(true, PRIVATE, PRIVATE, 53);
    assert_eq!(verdict, Rewrite(expected), "U2");
    // Without an assigned IPv6 address, no server is looked up at one.
    let servers = server(OWN6, 53, Own);
    let verdict = sendmsg(&auto(only4()), "::1", ("::", "::"), servers);
    assert_eq!(verdict, Rewrite(Path::from(wide("::1"))), "L2");
}

/// A reply from the assigned address would not be recognised on loopback.
#[test]
fn a_socket_on_loopback_keeps_its_address() {
    let peer = "2001:db8:1::7";
    let verdict = sendmsg(&both(), peer, ("::1", "::1"), no_lookup);
    assert_eq!(verdict, Pass, "U7");
    let verdict = sendmsg(&both(), peer, ("::1", OTHER6), no_lookup);
    assert_eq!(verdict, Rewrite(Path::from(wide(OWN6))), "U2");
    let verdict = sendmsg(&both(), "198.51.100.7", ("127.0.0.1", OTHER4), no_lookup);
    assert_eq!(verdict, Rewrite(Path::from(wide(OWN4))), "U2");
}
