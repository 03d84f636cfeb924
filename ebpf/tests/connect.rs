//! The decisions of connect(2), row by row of the semantics.

mod common;

use common::{OWN4, OWN6, both, only4, only6, v4, v6};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::connect::{Local, connect4, connect6};
use oci_bind_hook_ebpf::verdict::Errno;
use oci_bind_hook_ebpf::verdict::Verdict::{self, Deny, Pass, Rewrite};

const PORT: u32 = 40_000;
const UNREACHABLE: Verdict<&str> = Deny(Errno::NetworkUnreachable);
const NOT_AVAILABLE: Verdict<&str> = Deny(Errno::AddressNotAvailable);

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
        let verdict = connect4(&policy, v4(destination), local);
        assert_eq!(
            verdict,
            expected.map(v4),
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
        let verdict = connect6(&policy, v6(destination), local);
        assert_eq!(
            verdict,
            expected.map(v6),
            "{row}: to {destination} from {local:?}"
        );
    }
}

#[test]
fn without_a_policy_everything_is_refused() {
    let nothing = Policy::default();
    let refused = Errno::NotPermitted;
    let unbound = Local::Unbound;
    assert_eq!(connect4(&nothing, v4("127.0.0.1"), unbound), Deny(refused));
    assert_eq!(connect6(&nothing, v6("::1"), unbound), Deny(refused));
}
