//! The decisions of connect(2), row by row of the semantics.

mod common;

use common::Said::{self, Deny, Pass, Rewrite};
use common::{OWN4, OWN6, PRIVATE, TCP, both, family, no_lookup, only4, only6, private, said};
use common::{server, v4, v6, with_multicast, with_port};
use oci_bind_hook_ebpf::abi::{Cause, Policy, flag};
use oci_bind_hook_ebpf::decide::address::{V4, V6};
use oci_bind_hook_ebpf::decide::connect::{self, Client, Local};
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::decide::verdict::Path;

const PORT: u32 = 40_000;
const UNREACHABLE: Said<&str> = Deny(Cause::Unreachable);
const NOT_AVAILABLE: Said<&str> = Deny(Cause::Immovable);

fn connect4(policy: &Policy, destination: V4, client: Client) -> Said<Path<V6>> {
    said(connect::connect4(policy, destination, client, no_lookup))
}

fn connect6(policy: &Policy, destination: V6, client: Client) -> Said<Path<V6>> {
    said(connect::connect6(policy, destination, client, no_lookup))
}

/// A TCP socket that is about to connect to port 80.
fn client(local: Local) -> Client {
    Client {
        local,
        local_port: 0,
        protocol: TCP,
        can_be_mapped: true,
        port: 80_u16.to_be(),
    }
}

/// A connect to the destination that was asked for, from this address.
fn from(address: &str) -> Path<V6> {
    Path::from(family(address).to_v6())
}

fn local4(address: &str, port: u32) -> Local {
    Local::of4(v4(address), port)
}

fn local6(address: &str, port: u32) -> Local {
    Local::of6(v6(address), port)
}

#[test]
fn ipv4_destinations() {
    let peer = "198.51.100.7";
    let unbound = local4("0.0.0.0", 0);
    let rows = [
        ("C1", both(), peer, unbound, Rewrite(OWN4)),
        ("C3", both(), peer, local6("::", 0), Rewrite(OWN4)),
        ("C5", both(), peer, local4(OWN4, PORT), Pass),
        ("C5", both(), peer, local4(OWN4, 0), Pass),
        ("C5", both(), peer, local4("127.0.0.1", PORT), Pass),
        ("C5", both(), peer, local6("::ffff:192.0.2.10", PORT), Pass),
        ("C7", both(), peer, local4("0.0.0.0", PORT), NOT_AVAILABLE),
        ("C7", both(), peer, local6("::", PORT), NOT_AVAILABLE),
        (
            "C7",
            both(),
            peer,
            local4("192.0.2.20", PORT),
            NOT_AVAILABLE,
        ),
        ("C8", only6(), peer, unbound, UNREACHABLE),
        ("C8", only6(), "127.0.0.1", unbound, Pass),
        ("L3", both(), "127.8.8.8", unbound, Pass),
        ("L5", both(), "0.0.0.0", unbound, Pass),
        ("U6", both(), "224.0.0.251", unbound, Rewrite(OWN4)),
    ];
    for (row, policy, destination, local, expected) in rows {
        let verdict = connect4(&policy, v4(destination), client(local));
        assert_eq!(
            verdict,
            expected.map(from),
            "{row}: to {destination} from {local:?}"
        );
    }
}

#[test]
fn ipv6_destinations() {
    let peer = "2001:db8:1::7";
    let unbound = local6("::", 0);
    let rows = [
        ("C1", both(), peer, unbound, Rewrite(OWN6)),
        ("C5", both(), peer, local6(OWN6, PORT), Pass),
        ("C5", both(), peer, local6("::1", PORT), Pass),
        ("C5", both(), peer, local6("::ffff:192.0.2.10", PORT), Pass),
        ("C7", both(), peer, local6("::", PORT), NOT_AVAILABLE),
        (
            "C7",
            both(),
            peer,
            local6("2001:db8::20", PORT),
            NOT_AVAILABLE,
        ),
        ("C8", only4(), peer, unbound, UNREACHABLE),
        ("C8", only4(), "fe80::1", unbound, UNREACHABLE),
        ("C8", only4(), "::1", unbound, Pass),
        ("B7", both(), "fe80::1", unbound, Pass),
        ("L5", both(), "::", unbound, Pass),
    ];
    for (row, policy, destination, local, expected) in rows {
        let verdict = connect6(&policy, v6(destination), client(local));
        assert_eq!(
            verdict,
            expected.map(from),
            "{row}: to {destination} from {local:?}"
        );
    }
}

#[test]
fn a_port_without_an_address_cannot_go_to_the_private_loopback() {
    let policy = private(both());
    let nobody = |_, _, _| Found::Nobody;
    let to = |local| {
        said(connect::connect4(
            &policy,
            v4("127.0.0.1"),
            client(local),
            nobody,
        ))
    };
    let refused = Deny(Cause::Immovable);
    assert_eq!(to(local4("0.0.0.0", PORT)), refused, "L4");
    assert_eq!(to(local6("::", PORT)), refused, "L4");
    let at_home = to(local4(PRIVATE, PORT));
    assert!(matches!(at_home, Rewrite(path) if !path.is_moved), "L4");
    // For the assigned address the kernel finds the right source.
    let server = server(OWN4, 80, Found::Own);
    let local = client(local4("0.0.0.0", PORT));
    let verdict = said(connect::connect4(&policy, v4("127.0.0.1"), local, server));
    assert!(matches!(verdict, Rewrite(path) if !path.is_moved), "L4");
}

#[test]
fn without_a_policy_everything_is_refused() {
    let nothing = Policy::default();
    let refused = Cause::NoPolicy;
    let unbound = client(Local::of4(0, 0));
    let (to4, to6) = (v4("127.0.0.1"), v6("::1"));
    assert_eq!(connect4(&nothing, to4, unbound), Deny(refused));
    assert_eq!(connect6(&nothing, to6, unbound), Deny(refused));
}

#[test]
fn a_socket_at_an_exempt_or_multicast_port() {
    let exempt = with_port(both(), 5353, 0, &[TCP]);
    let guarded = Policy {
        flags: exempt.flags | flag::GUARD,
        ..exempt
    };
    let multicast = with_multicast(both(), 5353);
    for (row, policy, local, expected) in [
        ("B18", exempt, local4("0.0.0.0", 5353), Pass),
        ("B18", exempt, local4("192.0.2.20", 5353), Pass),
        // The guard would drop what it sends.
        ("M3", guarded, local4("0.0.0.0", 5353), NOT_AVAILABLE),
        ("M3", guarded, local4("192.0.2.20", 5353), NOT_AVAILABLE),
        ("M3", guarded, local4(OWN4, 5353), Pass),
        ("M2", multicast, local4("0.0.0.0", 5353), NOT_AVAILABLE),
        ("M2", multicast, local4(OWN4, 5353), Pass),
    ] {
        let client = Client {
            local_port: 5353_u16.to_be(),
            ..client(local)
        };
        let verdict = connect4(&policy, v4("198.51.100.7"), client);
        assert_eq!(verdict, expected.map(from), "{row}: from {local:?}");
    }
}
