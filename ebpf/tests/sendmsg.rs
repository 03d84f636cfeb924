//! The decisions about datagrams, row by row of the semantics.

mod common;

use common::Said::{self, Deny, Pass, Rewrite};
use common::{OWN4, OWN6, both, datagram, no_lookup, only4, only6, said, v4, v6};
use oci_bind_hook_ebpf::abi::{Cause, Policy};
use oci_bind_hook_ebpf::decide::address::{V4, V6};
use oci_bind_hook_ebpf::decide::connect::Local;
use oci_bind_hook_ebpf::decide::sendmsg::{self, Datagram};
use oci_bind_hook_ebpf::decide::verdict::Path;

const PORT: u32 = 40_000;
const UNREACHABLE: Said<&str> = Deny(Cause::Unreachable);
const NOT_AVAILABLE: Said<&str> = Deny(Cause::NotAssigned);

fn sendmsg4(policy: &Policy, to: V4, source: V4, datagram: Datagram) -> Said<Path<V4>> {
    said(sendmsg::sendmsg4(policy, to, source, datagram, no_lookup))
}

fn sendmsg6(policy: &Policy, to: V6, source: V6, datagram: Datagram) -> Said<Path<V6>> {
    said(sendmsg::sendmsg6(policy, to, source, datagram, no_lookup))
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
    for (row, policy, destination, local, source, expected) in rows {
        let local = Local::of4(v4(local), PORT);
        let verdict = sendmsg4(&policy, v4(destination), v4(source), datagram(local));
        assert_eq!(
            verdict,
            expected.map(v4).map(Path::from),
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
    for (row, policy, destination, local, source, expected) in rows {
        let local = Local::of6(v6(local), PORT);
        let verdict = sendmsg6(&policy, v6(destination), v6(source), datagram(local));
        assert_eq!(
            verdict,
            expected.map(v6).map(Path::from),
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
    let local = v4("127.0.0.1");
    let from4 = connected(Local::of4(local, PORT));
    let (peer, loopback) = (v4("198.51.100.7"), v4("127.0.0.9"));
    assert_eq!(sendmsg4(&both(), peer, local, from4), Deny(denied), "L9");
    assert_eq!(sendmsg4(&both(), loopback, local, from4), Pass, "U7");
    let from6 = connected(Local::of6(v6("::1"), PORT));
    let peer = v6("2001:db8:1::7");
    assert_eq!(
        sendmsg6(&both(), peer, v6("::1"), from6),
        Deny(denied),
        "L9"
    );
    assert_eq!(sendmsg6(&both(), v6("::1"), v6("::1"), from6), Pass, "U7");
}

#[test]
fn a_connected_socket_names_nobody() {
    let port = 53_u16.to_be();
    for (family, port, expected) in [
        (0, 0, true),
        (0, port, false),
        (2, port, false),
        (2, 0, false),
    ] {
        let is_connected = sendmsg::is_connected(family, port);
        assert_eq!(is_connected, expected, "L8: family {family}, port {port}");
    }
}

#[test]
fn without_a_policy_everything_is_refused() {
    let nothing = Policy::default();
    let refused = Cause::NoPolicy;
    let any = datagram(Local::of4(0, 0));
    let (to4, to6) = (v4("127.0.0.1"), v6("::1"));
    assert_eq!(sendmsg4(&nothing, to4, 0, any), Deny(refused));
    assert_eq!(sendmsg6(&nothing, to6, [0; 4], any), Deny(refused));
}
