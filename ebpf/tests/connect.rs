//! The decisions of connect(2), row by row of the semantics.

mod common;

use common::Said::{self, Deny, Pass, Rewrite};
use common::{OWN4, OWN6, PRIVATE, TCP, both, family, local, no_lookup, only4, only6};
use common::{private, said, server, wide, with_multicast, with_port};
use oci_bind_hook_ebpf::abi::{Cause, Policy, flag};
use oci_bind_hook_ebpf::decide::connect::{self, Client, Local};
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::decide::verdict::Path;
use oci_bind_hook_ebpf::net::Port;

const PORT: u32 = 40_000;
const UNREACHABLE: Said<&str> = Deny(Cause::Unreachable);
const NOT_AVAILABLE: Said<&str> = Deny(Cause::Immovable);

fn connect(policy: &Policy, destination: &str, client: Client) -> Said<Path> {
    said(connect::connect(
        policy,
        family(destination),
        client,
        no_lookup,
    ))
}

/// A TCP socket that is about to connect to port 80.
fn client(local: Local) -> Client {
    Client {
        local,
        local_port: Port::ANY,
        protocol: TCP,
        can_be_mapped: true,
        port: Port::new(80),
    }
}

/// A connect to the destination that was asked for, from this address.
fn from(address: &str) -> Path {
    Path::from(wide(address))
}

#[test]
fn ipv4_destinations() {
    let peer = "198.51.100.7";
    let unbound = local("0.0.0.0", 0);
    let rows = [
        ("C1", both(), peer, unbound, Rewrite(OWN4)),
        ("C3", both(), peer, local("::", 0), Rewrite(OWN4)),
        ("C5", both(), peer, local(OWN4, PORT), Pass),
        ("C5", both(), peer, local(OWN4, 0), Pass),
        ("C5", both(), peer, local("127.0.0.1", PORT), Pass),
        ("C5", both(), peer, local("::ffff:192.0.2.10", PORT), Pass),
        ("C7", both(), peer, local("0.0.0.0", PORT), NOT_AVAILABLE),
        ("C7", both(), peer, local("::", PORT), NOT_AVAILABLE),
        ("C7", both(), peer, local("192.0.2.20", PORT), NOT_AVAILABLE),
        ("C8", only6(), peer, unbound, UNREACHABLE),
        ("C8", only6(), "127.0.0.1", unbound, Pass),
        ("L3", both(), "127.8.8.8", unbound, Pass),
        ("L5", both(), "0.0.0.0", unbound, Pass),
        ("U6", both(), "224.0.0.251", unbound, Rewrite(OWN4)),
    ];
    for (row, policy, destination, local, expected) in rows {
        let verdict = connect(&policy, destination, client(local));
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
    let unbound = local("::", 0);
    let rows = [
        ("C1", both(), peer, unbound, Rewrite(OWN6)),
        ("C5", both(), peer, local(OWN6, PORT), Pass),
        ("C5", both(), peer, local("::1", PORT), Pass),
        ("C5", both(), peer, local("::ffff:192.0.2.10", PORT), Pass),
        ("C7", both(), peer, local("::", PORT), NOT_AVAILABLE),
        (
            "C7",
            both(),
            peer,
            local("2001:db8::20", PORT),
            NOT_AVAILABLE,
        ),
        ("C8", only4(), peer, unbound, UNREACHABLE),
        ("C8", only4(), "fe80::1", unbound, UNREACHABLE),
        ("C8", only4(), "::1", unbound, Pass),
        ("B7", both(), "fe80::1", unbound, Pass),
        ("L5", both(), "::", unbound, Pass),
    ];
    for (row, policy, destination, local, expected) in rows {
        let verdict = connect(&policy, destination, client(local));
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
        let destination = family("127.0.0.1");
        said(connect::connect(
            &policy,
            destination,
            client(local),
            nobody,
        ))
    };
    let refused = Deny(Cause::Immovable);
    assert_eq!(to(local("0.0.0.0", PORT)), refused, "L4");
    assert_eq!(to(local("::", PORT)), refused, "L4");
    let at_home = to(local(PRIVATE, PORT));
    assert!(matches!(at_home, Rewrite(path) if !path.is_moved), "L4");
    // For the assigned address the kernel finds the right source.
    let server = server(OWN4, 80, Found::Own);
    let client = client(local("0.0.0.0", PORT));
    let verdict = said(connect::connect(
        &policy,
        family("127.0.0.1"),
        client,
        server,
    ));
    assert!(matches!(verdict, Rewrite(path) if !path.is_moved), "L4");
}

#[test]
fn without_a_policy_everything_is_refused() {
    let nothing = Policy::default();
    let refused = Cause::NoPolicy;
    let unbound = client(local("0.0.0.0", 0));
    assert_eq!(connect(&nothing, "127.0.0.1", unbound), Deny(refused));
    assert_eq!(connect(&nothing, "::1", unbound), Deny(refused));
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
        ("B18", exempt, local("0.0.0.0", 5353), Pass),
        ("B18", exempt, local("192.0.2.20", 5353), Pass),
        // The guard would drop what it sends.
        ("M3", guarded, local("0.0.0.0", 5353), NOT_AVAILABLE),
        ("M3", guarded, local("192.0.2.20", 5353), NOT_AVAILABLE),
        ("M3", guarded, local(OWN4, 5353), Pass),
        ("M2", multicast, local("0.0.0.0", 5353), NOT_AVAILABLE),
        ("M2", multicast, local(OWN4, 5353), Pass),
    ] {
        let client = Client {
            local_port: Port::new(5353),
            ..client(local)
        };
        let verdict = connect(&policy, "198.51.100.7", client);
        assert_eq!(verdict, expected.map(from), "{row}: from {local:?}");
    }
}
