//! The decisions about datagrams, row by row of the semantics.

mod common;

use common::{OWN4, OWN6, both, only4, only6, v4, v6};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::connect::Local;
use oci_bind_hook_ebpf::sendmsg::{sendmsg4, sendmsg6};
use oci_bind_hook_ebpf::verdict::Errno;
use oci_bind_hook_ebpf::verdict::Verdict::{self, Deny, Pass, Rewrite};

const PORT: u32 = 40_000;
const UNREACHABLE: Verdict<&str> = Deny(Errno::NetworkUnreachable);
const NOT_AVAILABLE: Verdict<&str> = Deny(Errno::AddressNotAvailable);

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
        ("U7", both(), "127.0.0.1", any, any, Pass),
        ("U7", both(), peer, "127.0.0.1", "127.0.0.1", Pass),
        ("L5", both(), any, any, any, Pass),
        ("C8", only6(), peer, any, any, UNREACHABLE),
    ];
    for (row, policy, destination, local, source, expected) in rows {
        let local = Local::of4(v4(local), PORT);
        let verdict = sendmsg4(&policy, v4(destination), local, v4(source));
        assert_eq!(
            verdict,
            expected.map(v4),
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
        ("L5", both(), "::", "::", "::", Pass),
        ("C8", only4(), peer, "::", "::", UNREACHABLE),
    ];
    for (row, policy, destination, local, source, expected) in rows {
        let local = Local::of6(v6(local), PORT);
        let verdict = sendmsg6(&policy, v6(destination), local, v6(source));
        assert_eq!(
            verdict,
            expected.map(v6),
            "{row}: to {destination}, {source}"
        );
    }
}

#[test]
fn without_a_policy_everything_is_refused() {
    let nothing = Policy::default();
    let refused = Errno::NotPermitted;
    let local = Local::Unbound;
    let (to4, to6) = (v4("127.0.0.1"), v6("::1"));
    assert_eq!(sendmsg4(&nothing, to4, local, 0), Deny(refused));
    assert_eq!(sendmsg6(&nothing, to6, local, [0; 4]), Deny(refused));
}
