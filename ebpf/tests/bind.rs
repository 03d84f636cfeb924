//! The decisions of bind(2), row by row of the semantics.

mod common;

use common::{OWN4, OWN6, both, only4, only6, v4, v6, words};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::bind::{bind4, bind6};
use oci_bind_hook_ebpf::verdict::Errno;
use oci_bind_hook_ebpf::verdict::Verdict::{self, Deny, Pass, Rewrite};
use proptest::prelude::*;

const UNSPEC: u32 = 0;
const INET: u32 = 2;
const INET6: u32 = 10;

const NOT_AVAILABLE: Verdict<&str> = Deny(Errno::AddressNotAvailable);

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
        ("B13", only6(), "0.0.0.0", NOT_AVAILABLE),
        ("B13", only6(), "224.0.0.251", NOT_AVAILABLE),
    ];
    for (row, policy, asked, expected) in rows {
        let verdict = bind4(&policy, INET, v4(asked));
        assert_eq!(verdict, expected.map(v4), "{row}: bind {asked}");
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
        ("B8", only4(), "::", false, Rewrite(mapped)),
        ("B9", only6(), "::", false, Rewrite(OWN6)),
        ("B10", both(), "::", false, Rewrite(OWN6)),
        ("B11", both(), "::", true, Rewrite(OWN6)),
        ("B11", only4(), "::", true, NOT_AVAILABLE),
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
    for (row, policy, asked, v6only, expected) in rows {
        let verdict = bind6(&policy, INET6, v6(asked), v6only);
        assert_eq!(verdict, expected.map(v6), "{row}: bind {asked}");
    }
}

#[test]
fn another_family_is_refused() {
    let refused = Errno::FamilyNotSupported;
    assert_eq!(bind4(&both(), UNSPEC, v4("0.0.0.0")), Deny(refused));
    assert_eq!(bind6(&both(), INET, v6("::"), false), Deny(refused));
}

#[test]
fn without_a_policy_everything_is_refused() {
    let nothing = Policy::default();
    let refused = Errno::NotPermitted;
    for asked in ["0.0.0.0", "127.0.0.1", OWN4] {
        assert_eq!(bind4(&nothing, INET, v4(asked)), Deny(refused));
    }
    for asked in ["::", "::1", OWN6] {
        assert_eq!(bind6(&nothing, INET6, v6(asked), false), Deny(refused));
    }
}

proptest! {
    /// Whatever a program asks for, it ends up at its own address, on loopback,
    /// at a multicast or link-local address, or nowhere.
    #[test]
    fn nobody_gets_the_address_of_somebody_else(
        asked in any::<std::net::Ipv6Addr>(),
        low in any::<u32>(),
        is_mapped in any::<bool>(),
        v6only in any::<bool>(),
        policy in prop_oneof![Just(only4()), Just(only6()), Just(both())],
    ) {
        let asked = if is_mapped {
            std::net::Ipv4Addr::from(low).to_ipv6_mapped()
        } else {
            asked
        };
        match bind6(&policy, INET6, words(asked), v6only) {
            Rewrite(address) => prop_assert!(
                address == v6(OWN6) || address == v6("::ffff:192.0.2.10")
            ),
            Pass => {
                let canonical = asked.to_canonical();
                prop_assert!(
                    canonical.is_loopback()
                        || canonical.is_multicast()
                        || canonical == std::net::Ipv4Addr::BROADCAST
                        || asked.is_unicast_link_local()
                        || words(asked) == v6(OWN6)
                        || words(asked) == v6("::ffff:192.0.2.10")
                );
            }
            Deny(_) => {}
        }
    }
}
