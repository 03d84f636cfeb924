//! The decisions about datagrams, row by row of the semantics.

mod common;

use common::Said::{self, Deny, Pass, Rewrite};
use common::{OWN4, OWN6, both, datagram, family, local, no_lookup, only4, only6, said, wide};
use oci_bind_hook_ebpf::abi::{Cause, Policy};
use oci_bind_hook_ebpf::decide::sendmsg::{self, Datagram};
use oci_bind_hook_ebpf::decide::verdict::Path;
use oci_bind_hook_ebpf::net::Port;

const PORT: u32 = 40_000;
const UNREACHABLE: Said<&str> = Deny(Cause::Unreachable);
const NOT_AVAILABLE: Said<&str> = Deny(Cause::NotAssigned);

fn sendmsg(policy: &Policy, to: &str, source: &str, datagram: Datagram) -> Said<Path> {
    let (to, source) = (family(to), wide(source));
    said(sendmsg::sendmsg(policy, to, source, datagram, no_lookup))
}

#[test]
fn ipv4_destinations() {
    let peer = "198.51.100.7";
    let other = "192.0.2.20";
    let any = "0.0.0.0";
    let rows = [
        ("U1", both(), peer, any, any, Rewrite(OWN4)),
        ("U1", both(), peer, OWN4, OWN4, Pass),
        ("U2", both(), peer, any, other, Rewrite(OWN4)),
        ("U2", both(), "127.0.0.1", any, other, Rewrite(OWN4)),
        ("U2", only6(), "127.0.0.1", any, other, NOT_AVAILABLE),
        ("U6", both(), "224.0.0.251", any, any, Rewrite(OWN4)),
        ("U7", both(), "127.0.0.1", "127.0.0.1", "127.0.0.1", Pass),
        ("U7", both(), "127.0.0.1", any, any, Rewrite("127.0.0.1")),
        ("U7", both(), "127.0.0.1", any, "127.0.0.9", Pass),
        ("U7", both(), peer, "127.0.0.1", "127.0.0.1", Pass),
        ("L5", both(), any, any, any, Rewrite("127.0.0.1")),
        ("C8", only6(), peer, any, any, UNREACHABLE),
    ];
    for (row, policy, destination, bound, source, expected) in rows {
        let local = local(bound, PORT);
        let verdict = sendmsg(&policy, destination, source, datagram(local));
        assert_eq!(
            verdict,
            expected.map(wide).map(Path::from),
            "{row}: to {destination}, {source}"
        );
    }
}

#[test]
fn ipv6_destinations() {
    let peer = "2001:db8:1::7";
    let other = "2001:db8::20";
    let rows = [
        ("U1", both(), peer, "::", "::", Rewrite(OWN6)),
        ("U1", both(), peer, OWN6, OWN6, Pass),
        ("U2", both(), peer, "::", other, Rewrite(OWN6)),
        ("U2", both(), "fe80::1", "::", other, Rewrite(OWN6)),
        ("U2", only4(), "::1", "::", other, NOT_AVAILABLE),
        ("B7", both(), "fe80::1", "::", "::", Pass),
        ("B7", both(), "fe80::1", "::", "fe80::2", Pass),
        ("U7", both(), "::1", "::1", "::1", Pass),
        ("U7", both(), "::1", "::", "::", Rewrite("::1")),
        ("L5", both(), "::", "::", "::", Rewrite("::1")),
        ("C8", only4(), peer, "::", "::", UNREACHABLE),
    ];
    for (row, policy, destination, bound, source, expected) in rows {
        let local = local(bound, PORT);
        let verdict = sendmsg(&policy, destination, source, datagram(local));
        assert_eq!(
            verdict,
            expected.map(wide).map(Path::from),
            "{row}: to {destination}, {source}"
        );
    }
}

#[test]
fn a_socket_that_calls_loopback_calls_nobody_else() {
    let denied = Cause::Immovable;
    let connected = |local| Datagram {
        is_peer_on_loopback: true,
        ..datagram(local)
    };
    let from4 = connected(local("127.0.0.1", PORT));
    let send4 = |to| sendmsg(&both(), to, "127.0.0.1", from4);
    assert_eq!(send4("198.51.100.7"), Deny(denied), "L9");
    assert_eq!(send4("127.0.0.9"), Pass, "U7");
    let from6 = connected(local("::1", PORT));
    let send6 = |to| sendmsg(&both(), to, "::1", from6);
    assert_eq!(send6("2001:db8:1::7"), Deny(denied), "L9");
    assert_eq!(send6("::1"), Pass, "U7");
}

#[test]
fn a_connected_socket_names_nobody() {
    let port = Port::new(53);
    for (family, port, expected) in [
        (0, Port::ANY, true),
        (0, port, false),
        (2, port, false),
        (2, Port::ANY, false),
    ] {
        let is_connected = sendmsg::is_connected(family, port);
        assert_eq!(is_connected, expected, "L8: family {family}, {port:?}");
    }
}

#[test]
fn without_a_policy_everything_is_refused() {
    let nothing = Policy::default();
    let refused = Cause::NoPolicy;
    for (to, any) in [("127.0.0.1", "0.0.0.0"), ("::1", "::")] {
        let verdict = sendmsg(&nothing, to, any, datagram(local(any, 0)));
        assert_eq!(verdict, Deny(refused), "to {to}");
    }
}
