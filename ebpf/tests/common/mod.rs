//! Policies and addresses for the tests of the decisions.
#![allow(dead_code, reason = "each test file uses some of these")]

use oci_bind_hook_ebpf::abi::{Cause, Policy, PortRule, flag};
use oci_bind_hook_ebpf::decide::address::Family;
use oci_bind_hook_ebpf::decide::bind::{Asked, Server};
use oci_bind_hook_ebpf::decide::connect::Local;
use oci_bind_hook_ebpf::decide::loopback::Found;
use oci_bind_hook_ebpf::decide::sendmsg::Datagram;
use oci_bind_hook_ebpf::decide::verdict::{Action, Verdict};
use oci_bind_hook_ebpf::net::{Port, V4, V6};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The assigned IPv4 address.
pub const OWN4: &str = "192.0.2.10";
/// The assigned IPv6 address.
pub const OWN6: &str = "2001:db8::10";
/// The policy's own loopback address.
pub const PRIVATE: &str = "127.128.2.10";

/// `IPPROTO_TCP`
pub const TCP: u32 = 6;
/// `IPPROTO_UDP`
pub const UDP: u32 = 17;
/// `IPPROTO_UDPLITE`
pub const UDP_LITE: u32 = 136;

/// A datagram to port 53, from a socket at `local`.
pub fn datagram(local: Local) -> Datagram {
    Datagram {
        local,
        protocol: UDP,
        port: Port::new(53),
        is_connected: false,
        is_peer_on_loopback: false,
        is_answer: false,
        is_at_home: true,
    }
}

/// A verdict that has only the fields of its action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<R> {
    /// The call goes on as it is.
    Pass,
    /// The call goes on with these addresses.
    Rewrite(R),
    /// The bind goes on at this loopback address.
    Isolate(R),
    /// The call is refused.
    Deny(Cause),
}

impl<R> Said<R> {
    /// The same with another type of address.
    pub fn map<S>(self, convert: impl FnOnce(R) -> S) -> Said<S> {
        match self {
            Self::Pass => Said::Pass,
            Self::Rewrite(address) => Said::Rewrite(convert(address)),
            Self::Isolate(address) => Said::Isolate(convert(address)),
            Self::Deny(cause) => Said::Deny(cause),
        }
    }
}

/// What a verdict says.
pub fn said<R>(verdict: Verdict<R>) -> Said<R> {
    match verdict.action {
        Action::Pass => Said::Pass,
        Action::Rewrite => Said::Rewrite(verdict.rewrite),
        Action::Isolate => Said::Isolate(verdict.rewrite),
        Action::Deny => Said::Deny(verdict.cause),
    }
}

/// An IPv4 address as the programs see it.
pub fn v4(address: &str) -> V4 {
    let address: Ipv4Addr = address.parse().expect("an IPv4 address");
    address.into()
}

/// An IPv6 address as the programs see it.
pub fn v6(address: &str) -> V6 {
    let address: Ipv6Addr = address.parse().expect("an IPv6 address");
    address.into()
}

/// An address of either family, an IPv4 one IPv4-mapped.
pub fn wide(address: &str) -> V6 {
    family(address).to_v6()
}

/// A socket with a port that is bound to an address, or to the unspecified one.
pub fn local(address: &str, port: u32) -> Local {
    match family(address) {
        Family::V4(address) => Local::of4(address, port),
        Family::V6(address) => Local::of6(address, port),
    }
}

/// A policy with only an IPv4 address.
pub fn only4() -> Policy {
    Policy {
        flags: flag::ACTIVE | flag::IPV4,
        ipv4: v4(OWN4),
        ..Policy::default()
    }
}

/// A policy with only an IPv6 address.
pub fn only6() -> Policy {
    Policy {
        flags: flag::ACTIVE | flag::IPV6,
        ipv6: v6(OWN6),
        ..Policy::default()
    }
}

/// A policy with addresses of both families.
pub fn both() -> Policy {
    Policy {
        flags: flag::ACTIVE | flag::IPV4 | flag::IPV6,
        ipv4: v4(OWN4),
        ipv6: v6(OWN6),
        ..Policy::default()
    }
}

/// The same with dual-stack servers.
pub fn dual(policy: Policy) -> Policy {
    Policy {
        flags: policy.flags | flag::DUAL | flag::DUAL_UDP,
        namespace: 7,
        ..policy
    }
}

/// The same under the loopback policy `auto`.
pub fn auto(policy: Policy) -> Policy {
    Policy {
        flags: policy.flags | flag::LOOPBACK_AUTO,
        ..policy
    }
}

/// The same with delivery of datagrams to the policy's own loopback address.
pub fn delivered(policy: Policy) -> Policy {
    Policy {
        flags: policy.flags | flag::LOOPBACK_UDP,
        loopback: v4(PRIVATE),
        ..policy
    }
}

/// The same under the loopback policy `private`.
pub fn private(policy: Policy) -> Policy {
    Policy {
        flags: policy.flags | flag::LOOPBACK_PRIVATE,
        loopback: v4(PRIVATE),
        ..policy
    }
}

/// The broadcast address of the network in [`linked`].
pub const NETWORK: &str = "192.0.2.255";

/// The same with a broadcast address for the network of its IPv4 address.
pub fn linked(policy: Policy) -> Policy {
    Policy {
        broadcast: v4(NETWORK),
        ..policy
    }
}

/// The same with one port moved for these protocols; 0 makes it exempt.
pub fn with_port(policy: Policy, asked: u16, actual: u16, protocols: &[u32]) -> Policy {
    let of = |protocol| match protocols.contains(&protocol) {
        true => actual,
        false => asked,
    };
    let rule = PortRule {
        tcp: of(TCP),
        udp: of(UDP),
        ..PortRule::unchanged(asked, asked)
    };
    with_rule(policy, rule)
}

/// The same with one port for multicast.
pub fn with_multicast(policy: Policy, port: u16) -> Policy {
    let rule = PortRule {
        multicast: 1,
        ..PortRule::unchanged(port, port)
    };
    with_rule(policy, rule)
}

/// The same with one port rule.
pub fn with_rule(policy: Policy, rule: PortRule) -> Policy {
    let mut policy = policy;
    assert!(policy.set_rules(&[rule]));
    policy
}

/// A network in which nobody may be looked up.
pub fn no_lookup(address: Family, port: Port, _: Port) -> Found {
    panic!("looked up {address:?} port {}", port.number());
}

/// A network with one server at this address and port; `found` is what a
/// lookup says of it.
pub fn server(at: &str, port: u16, found: Found) -> impl Fn(Family, Port, Port) -> Found + use<> {
    let at = family(at);
    move |address, looked_up, _| {
        if address == at && looked_up == Port::new(port) {
            found
        } else {
            Found::Nobody
        }
    }
}

/// An address of either family; an IPv4-mapped one is an IPv4 one.
pub fn family(address: &str) -> Family {
    match address.parse() {
        Ok(std::net::IpAddr::V4(_)) => Family::V4(v4(address)),
        Ok(std::net::IpAddr::V6(address)) => Family::of(address.into()),
        Err(error) => panic!("{address}: {error}"),
    }
}

/// `AF_INET6`
pub const INET6: u32 = 10;

/// A bind of a TCP socket to port 80.
pub fn asked(family: u32) -> Asked {
    Asked {
        family,
        protocol: TCP,
        port: Port::new(80),
        is_repeated: false,
    }
}

/// A socket that is about to be bound, in a network.
pub struct Socket<F> {
    pub v6only: bool,
    pub can_be_dual: bool,
    pub find: F,
}

impl<F: Fn(Family, Port, Port) -> Found> Server for Socket<F> {
    fn v6only(&self) -> bool {
        self.v6only
    }

    fn can_be_dual(&self) -> bool {
        self.can_be_dual
    }

    fn find(&self, address: V6, port: Port, asked: Port) -> Found {
        (self.find)(Family::V6(address), port, asked)
    }

    fn find_unshared(&self, address: V6, port: Port) -> Found {
        self.find(address, port, port)
    }
}
