//! Which packets the guard lets through.

mod common;

use common::{NETWORK, OWN4, OWN6, PRIVATE, TCP, UDP, UDP_LITE, both, family, linked, only4};
use common::{private, with_multicast, with_port};
use oci_bind_hook_ebpf::abi::Policy;
use oci_bind_hook_ebpf::decide::address::{Family, Kind};
use oci_bind_hook_ebpf::decide::guard::{self, Owner, may_enter};
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::decide::policy::kind;
use oci_bind_hook_ebpf::net::Port;

/// The protocol of a raw socket, whatever its number.
const RAW: u32 = 0;
const PEER4: &str = "198.51.100.7";
const PEER6: &str = "2001:db8:1::7";
/// An address of the host, which it may write into packets as the source.
const HOST4: &str = "192.0.2.11";
const HOST6: &str = "2001:db8::11";

/// A packet that leaves, to another host or to the host itself.
#[derive(Clone, Copy)]
struct Packet {
    source: &'static str,
    destination: &'static str,
    is_local: bool,
    is_icmp: bool,
    is_plain: bool,
    owner: Option<Owner>,
    /// Who is at the private loopback, if it may be looked up.
    receiver: Option<Found>,
}

impl guard::Packet for Packet {
    fn source(&self) -> Option<Family> {
        Some(family(self.source))
    }

    fn destination(&self) -> Option<Family> {
        Some(family(self.destination))
    }

    fn is_local(&self) -> bool {
        self.is_local
    }

    fn is_icmp(&self) -> bool {
        self.is_icmp
    }

    fn is_plain(&self) -> bool {
        self.is_plain
    }

    fn owner(&self) -> Option<Owner> {
        self.owner
    }

    fn receiver(&self, _: &Owner, address: Family) -> Found {
        assert!(
            [family(PRIVATE), family("::1")].contains(&address),
            "looked up elsewhere"
        );
        self.receiver.expect("looked up a receiver")
    }
}

/// A packet whose socket is not known.
const UNKNOWN: Packet = Packet {
    source: OWN4,
    destination: PEER4,
    is_local: false,
    is_icmp: false,
    is_plain: true,
    owner: None,
    receiver: None,
};
/// `IPPROTO_ICMP`
const ICMP: u32 = 1;

fn owner(protocol: u32, local: &str, peer: &str) -> Owner {
    Owner {
        protocol,
        local: family(local).to_v6(),
        port: Port::new(5353),
        peer: family(peer).to_v6(),
        is_opening: false,
    }
}

fn may_leave(policy: &Policy, source: &'static str, packet: Packet) -> bool {
    guard::may_leave(policy, &Packet { source, ..packet })
}

fn enters(policy: &Policy, destination: &str) -> bool {
    may_enter(policy, family(destination))
}

#[test]
fn own_addresses() {
    for address in [OWN4, OWN6, "169.254.7.7", "fe80::1", "0.0.0.0", "::"] {
        assert!(may_leave(&both(), address, UNKNOWN), "G1: from {address}");
        assert!(enters(&both(), address), "G2: to {address}");
    }
}

#[test]
fn addresses_of_others() {
    for address in [HOST4, HOST6, "fec0::1", "169.253.1.1"] {
        assert!(!may_leave(&both(), address, UNKNOWN), "G1: from {address}");
        assert!(!enters(&both(), address), "G2: to {address}");
    }
    assert!(!may_leave(&only4(), OWN6, UNKNOWN), "G1: not assigned");
    assert!(!enters(&only4(), OWN6), "G2: not assigned");
}

#[test]
fn what_the_host_rewrites_goes_by_the_socket() {
    let (tcp, udp) = (TCP, UDP);
    #[rustfmt::skip]
    let rows = [
        ("G7", tcp, OWN4, PEER4, PEER4, true),
        ("G7", udp, OWN4, PEER4, PEER4, true),
        ("G7", tcp, OWN6, PEER6, PEER6, true),
        ("G7", udp, OWN6, PEER6, PEER6, true),
        // sendmsg chooses the source of a UDP socket, except for link-local
        // destinations.
        ("G7", udp, "0.0.0.0", "0.0.0.0", PEER4, true),
        ("G7", udp, "::", "::", PEER6, true),
        ("G7", udp, "224.0.0.251", "0.0.0.0", PEER4, true),
        ("G7", udp, NETWORK, "0.0.0.0", PEER4, true),
        ("G1", udp, "::", "::", "fe80::1", false),
        // It leaves by another device than `lo`.
        ("G1", udp, "::", "::", "::1", false),
        ("G1", tcp, "0.0.0.0", "0.0.0.0", PEER4, false),
        ("G1", tcp, "::", "::", PEER6, false),
        // Bound before the policy was attached.
        ("G1", tcp, HOST4, PEER4, PEER4, false),
        ("G1", udp, HOST6, PEER6, PEER6, false),
        // Bound to a group or broadcast address, but also connected.
        ("G1", udp, "224.0.0.251", PEER4, PEER4, false),
        ("G1", udp, "ff02::fb", PEER6, PEER6, false),
        ("G1", udp, NETWORK, PEER4, PEER4, false),
        ("G1", UDP_LITE, OWN4, PEER4, PEER4, false),
        ("G1", UDP_LITE, "0.0.0.0", "0.0.0.0", PEER4, false),
        ("G1", RAW, OWN4, PEER4, PEER4, false),
        ("G1", RAW, "0.0.0.0", "0.0.0.0", PEER4, false),
        ("G1", RAW, "::", "::", PEER6, false),
        ("L9", udp, "127.0.0.1", PEER4, PEER4, false),
        ("L9", udp, "127.0.0.1", "0.0.0.0", PEER4, false),
        ("L9", tcp, "::1", PEER6, PEER6, false),
        // A NodePort that is called at loopback.
        ("G7", tcp, "127.0.0.1", "127.0.0.1", PEER4, true),
        ("G7", udp, "127.0.0.1", "127.0.0.1", PEER4, true),
    ];
    for (row, protocol, local, peer, destination, expected) in rows {
        let packet = Packet {
            destination,
            owner: Some(owner(protocol, local, peer)),
            ..UNKNOWN
        };
        let source = if destination.contains(':') {
            HOST6
        } else {
            HOST4
        };
        let leaves = may_leave(&linked(both()), source, packet);
        assert_eq!(leaves, expected, "{row}: {protocol} at {local}");
        let routed = Packet {
            is_plain: false,
            ..packet
        };
        let kind = kind(&linked(both()), &family(local));
        let has_address = !matches!(kind, Kind::Unspecified | Kind::Multicast);
        let leaves = may_leave(&linked(both()), source, routed);
        assert_eq!(leaves, expected && has_address, "G1: {protocol} at {local}");
    }
}

#[test]
fn loopback_stays_on_the_host() {
    for (source, destination, other) in [
        ("127.0.0.1", "127.0.0.1", PEER4),
        ("127.8.8.8", "127.0.0.1", PEER4),
        ("::1", "::1", PEER6),
    ] {
        assert!(enters(&both(), source), "G2: to {source}");
        for (destination, is_local, expected) in [
            (destination, true, true),
            (destination, false, true),
            (other, true, true),
            (other, false, false),
        ] {
            let packet = Packet {
                destination,
                is_local,
                ..UNKNOWN
            };
            let leaves = may_leave(&both(), source, packet);
            assert_eq!(leaves, expected, "L9: {source} to {destination}");
        }
    }
}

#[test]
fn private_loopback_is_all_that_is_reached() {
    use Found::{Nobody, Other, Own};
    let host = "127.0.0.1";
    let policy = private(both());
    // Not opening a connection: in an open one, neither end is looked up over IPv4.
    let open = |protocol| (protocol, false);
    let opening = (TCP, true);
    #[rustfmt::skip]
    let rows = [
        (open(UDP), PRIVATE, PRIVATE, Some(Own), true),
        (open(UDP), PRIVATE, PRIVATE, Some(Nobody), true),
        (open(UDP), PRIVATE, PRIVATE, Some(Other), false),
        (open(UDP), PRIVATE, host, None, false),
        (open(UDP), OWN4, host, None, false),
        (open(UDP), "::1", "::1", Some(Own), true),
        (open(UDP), "::1", "::1", Some(Nobody), true),
        (open(UDP), OWN6, "::1", Some(Other), false),
        (opening, PRIVATE, PRIVATE, Some(Own), true),
        (opening, PRIVATE, PRIVATE, Some(Nobody), true),
        (opening, PRIVATE, PRIVATE, Some(Other), false),
        (opening, PRIVATE, host, None, false),
        (opening, "::1", "::1", Some(Own), true),
        (opening, OWN6, "::1", Some(Other), false),
        // To programs on the host that have called the container's servers.
        (open(TCP), PRIVATE, host, None, true),
        (open(TCP), OWN4, host, None, true),
        // A connection from before the policy.
        (open(TCP), host, host, None, false),
        (open(TCP), "::1", "::1", Some(Own), true),
        (open(TCP), "::1", "::1", Some(Nobody), true),
        (open(TCP), "::1", "::1", Some(Other), false),
        // The kernel itself answers.
        (open(ICMP), host, host, None, true),
        (open(UDP_LITE), host, host, None, false),
        (open(UDP_LITE), PRIVATE, PRIVATE, None, false),
        (open(RAW), OWN4, host, None, false),
        (open(RAW), OWN4, host, None, false),
        (open(RAW), OWN6, "::1", None, false),
    ];
    for ((protocol, is_opening), source, destination, receiver, expected) in rows {
        let owner = Owner {
            is_opening,
            ..owner(protocol, source, destination)
        };
        let packet = Packet {
            destination,
            is_local: true,
            // It is what a program writes into the header of a raw socket that counts.
            is_icmp: protocol == ICMP,
            owner: Some(owner),
            receiver,
            ..UNKNOWN
        };
        let leaves = may_leave(&policy, source, packet);
        assert_eq!(leaves, expected, "L8: {owner:?} to {destination}");
        if receiver.is_none() {
            let shared = may_leave(&both(), OWN4, packet);
            assert!(shared, "L3: {owner:?} to {destination}");
        }
    }
}

#[test]
fn multicast_comes_in() {
    for address in ["224.0.0.251", "255.255.255.255", "ff02::fb"] {
        assert!(enters(&both(), address), "G2: to {address}");
        assert!(!may_leave(&both(), address, UNKNOWN), "G1: from {address}");
    }
}

#[test]
fn the_broadcast_address_of_the_network_comes_in() {
    let policy = linked(both());
    assert!(enters(&policy, NETWORK), "M1");
    assert!(!may_leave(&policy, NETWORK, UNKNOWN), "G1");
    for address in ["192.0.3.255", "192.0.2.254", HOST4, HOST6] {
        assert!(!enters(&policy, address), "G2: to {address}");
    }
    assert!(!enters(&both(), NETWORK), "G2: it is not known");
}

/// Such a port does not open another address.
#[test]
fn exempt_and_multicast_ports() {
    let multicast = with_multicast(both(), 5353);
    let exempt = with_port(both(), 5353, 0, &[TCP, UDP]);
    for policy in [exempt, multicast] {
        for (protocol, local, peer, expected) in [
            (UDP, HOST4, PEER4, false),
            (UDP, OWN4, PEER4, true),
            // A connected socket's calls do not show its source.
            (UDP, "0.0.0.0", PEER4, false),
            // sendmsg has chosen the source.
            (UDP, "0.0.0.0", "0.0.0.0", true),
            (TCP, HOST4, PEER4, false),
            (TCP, "0.0.0.0", "0.0.0.0", false),
        ] {
            let owner = owner(protocol, local, peer);
            let packet = Packet {
                owner: Some(owner),
                ..UNKNOWN
            };
            let leaves = may_leave(&policy, HOST4, packet);
            assert_eq!(leaves, expected, "M3: {protocol} at {local} to {peer}");
        }
        assert!(!enters(&policy, HOST4), "M3");
        assert!(enters(&policy, OWN4), "M2");
    }
}

#[test]
fn without_a_policy_nothing_passes() {
    let nothing = Policy::default();
    let packet = Packet {
        owner: Some(owner(UDP, "0.0.0.0", "0.0.0.0")),
        is_local: true,
        ..UNKNOWN
    };
    for address in ["0.0.0.0", "127.0.0.1", "::", "::1", "224.0.0.251", PEER4] {
        assert!(!may_leave(&nothing, address, packet), "{address}");
        assert!(!enters(&nothing, address), "{address}");
    }
}
