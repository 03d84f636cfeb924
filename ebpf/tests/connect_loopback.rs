//! Where connects to loopback go, and where they come from, row by row of the semantics.

mod common;

use common::Said::{self, Deny, Pass, Rewrite};
use common::{OWN4, OWN6, PRIVATE, TCP, auto, both, family, local, no_lookup, only6, private};
use common::{said, server, v4, v6, wide, with_port};
use oci_bind_hook_ebpf::abi::{Cause, Policy};
use oci_bind_hook_ebpf::decide::address::Family;
use oci_bind_hook_ebpf::decide::connect::{self, BoundTo, Client, Local};
use oci_bind_hook_ebpf::decide::loopback::Found::{self, Nobody, Other, Own};
use oci_bind_hook_ebpf::decide::loopback::port6;
use oci_bind_hook_ebpf::decide::verdict::Path;
use oci_bind_hook_ebpf::net::Port;

const PORT: u32 = 40_000;
/// A peer on another host.
const PEER4: &str = "198.51.100.7";

/// An IPv6 TCP socket that is about to connect to port 80.
fn client(address: &str, port: u32) -> Client {
    Client {
        local: Local::of6(v6(address), port),
        local_port: Port::ANY,
        protocol: TCP,
        can_be_mapped: true,
        port: Port::new(80),
    }
}

/// The same, but v6only.
fn v6only() -> Client {
    Client {
        can_be_mapped: false,
        ..client("::", 0)
    }
}

fn connect(
    policy: &Policy,
    to: &str,
    client: Client,
    find: impl FnMut(Family, Port, Port) -> Found,
) -> Said<Path> {
    said(connect::connect(policy, family(to), client, find))
}

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
fn ipv6_loopback_finds_servers_of_both_families() {
    let policy = auto(both());
    let open = client("::", 0);
    let to_own6 = Rewrite(path(true, "::1", OWN6, 80));
    let to_own4 = Rewrite(path(true, "127.0.0.1", OWN4, 80));
    for to in ["::1", "::"] {
        let at_own6 = || server(OWN6, 80, Own);
        let at_own4 = || server(OWN4, 80, Own);
        assert_eq!(connect(&policy, to, open, at_own6()), to_own6, "L1: {to}");
        assert_eq!(connect(&policy, to, open, at_own4()), to_own4, "L1: {to}");
        let found = connect(&policy, to, v6only(), at_own6());
        assert_eq!(found, to_own6, "L1: v6only to {to}");
        let found = connect(&policy, to, v6only(), at_own4());
        assert_eq!(found, Pass, "L2: v6only to {to}");
    }
}

/// An IPv4-mapped destination is an IPv4 one, which has no servers at an IPv6 address,
/// whether or not the socket is v6only.
#[test]
fn mapped_loopback_finds_servers_of_ipv4_alone() {
    let policy = auto(both());
    let to_own4 = Rewrite(path(true, "127.0.0.1", OWN4, 80));
    for to in ["::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
        for client in [client("::", 0), v6only()] {
            let found = connect(&policy, to, client, server(OWN4, 80, Own));
            assert_eq!(found, to_own4, "L1: {to}");
            let found = connect(&policy, to, client, server(OWN6, 80, Own));
            assert_eq!(found, Pass, "L2: {to}");
        }
    }
}

#[test]
fn ipv4_loopback_finds_servers_of_ipv4_alone() {
    let policy = auto(both());
    let to = |find| {
        let client = client("::", 0);
        connect(&policy, "127.0.0.1", client, find)
    };
    let to_own4 = Rewrite(path(true, "127.0.0.1", OWN4, 80));
    assert_eq!(to(server(OWN4, 80, Own)), to_own4, "L1");
    assert_eq!(to(server(OWN6, 80, Own)), Pass, "L2");
}

#[test]
fn a_moved_port_is_where_it_goes() {
    let policy = with_port(auto(both()), 80, 8080, &[TCP]);
    let found = connect(&policy, "::1", client("::", 0), server(OWN6, 8080, Own));
    assert_eq!(found, Rewrite(path(true, "::1", OWN6, 8080)), "L1 and B17");
}

/// Only a socket with neither address nor port can be moved.
#[test]
fn a_bound_client_goes_from_where_it_is() {
    let policy = auto(both());
    for (local, port, is_moved) in [
        ("::", 0, true),
        ("::", PORT, false),
        (OWN6, PORT, false),
        (OWN6, 0, false),
    ] {
        let found = connect(&policy, "::1", client(local, port), server(OWN6, 80, Own));
        let expected = Rewrite(path(is_moved, "::1", OWN6, 80));
        assert_eq!(found, expected, "L1: from {local} port {port}");
    }
}

#[test]
fn the_private_loopback_comes_first() {
    let policy = private(both());
    let open = client("::", 0);
    let rows = [
        (open, server(PRIVATE, 80, Own), PRIVATE, PRIVATE),
        (open, server(OWN4, 80, Own), PRIVATE, OWN4),
        // It has no IPv6 address to come from.
        (open, server(OWN6, 80, Own), OWN6, OWN6),
        (v6only(), server(OWN6, 80, Own), OWN6, OWN6),
    ];
    for (client, find, source, destination) in rows {
        let found = connect(&policy, "::1", client, find);
        let expected = Rewrite(path(true, source, destination, 80));
        assert_eq!(found, expected, "L4: {destination}");
    }
    // Nobody is there, or a server comes later.
    let port = port6(v4(PRIVATE), Port::new(80));
    for client in [open, v6only()] {
        let found = connect(&policy, "::1", client, |_, _, _| Nobody);
        let expected = path(true, "::1", "::1", port.number());
        assert_eq!(found, Rewrite(expected), "L7");
        let found = connect(&policy, "::1", client, |_, _, _| Other);
        assert_eq!(found, Deny(Cause::Refused), "L8");
    }
}

/// A socket on a loopback address may stay there, if the cgroup has no other.
#[test]
fn a_client_on_loopback_may_stay() {
    let immovable = Deny(Cause::Immovable);
    let rows = [
        ("host", both(), "::ffff:127.0.0.1", Pass),
        ("auto", auto(both()), "::ffff:127.0.0.1", Pass),
        ("private", private(both()), "::ffff:127.128.2.10", Pass),
        ("private", private(both()), "::ffff:127.0.0.1", immovable),
        ("private", private(both()), "::ffff:127.128.2.11", immovable),
        ("private", private(both()), "::ffff:192.0.2.10", Pass),
        ("private", private(both()), "::1", Pass),
        ("link-local", both(), "fe80::1", Pass),
        ("not assigned", only6(), "::ffff:192.0.2.10", immovable),
    ];
    let peer6 = "2001:db8:1::7";
    for (what, policy, local, expected) in rows {
        let found = connect(&policy, peer6, client(local, PORT), no_lookup);
        assert_eq!(found, expected, "C5 and C7: {what}, {local}");
    }
}

#[test]
fn loopback_is_one_of_the_addresses_of_ipv4() {
    let policy = private(both());
    let local = client("::ffff:127.128.2.10", PORT);
    assert_eq!(connect(&policy, PEER4, local, no_lookup), Pass, "C5");
    let local = client("::ffff:127.0.0.1", PORT);
    let verdict = connect(&policy, PEER4, local, no_lookup);
    assert_eq!(verdict, Deny(Cause::Immovable), "C7");
}

#[test]
fn what_a_socket_has_survives_being_hidden() {
    for (local, bound) in [
        (local("0.0.0.0", 0), BoundTo::Nothing),
        (local("0.0.0.0", PORT), BoundTo::Port),
        (local(OWN4, PORT), BoundTo::Address),
        (local(OWN4, 0), BoundTo::Address),
        (local("::", 0), BoundTo::Nothing),
        (local("::", PORT), BoundTo::Port),
        (local(OWN6, PORT), BoundTo::Address),
    ] {
        assert_eq!(local.bound, bound);
        for policy in [both(), only6()] {
            assert_eq!(local.hidden(&policy), local, "{local:?}");
        }
    }
    assert_eq!(local(OWN4, PORT).address, wide(OWN4));
    assert_eq!(local("0.0.0.0", PORT).address, wide("::"));
}
