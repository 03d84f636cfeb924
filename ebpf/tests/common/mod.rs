//! Policies and addresses for the tests of the decisions.
#![allow(dead_code, reason = "each test file uses some of these")]

use oci_bind_hook_ebpf::abi::{Policy, flag};
use oci_bind_hook_ebpf::address::{V4, V6};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The assigned IPv4 address.
pub const OWN4: &str = "192.0.2.10";
/// The assigned IPv6 address.
pub const OWN6: &str = "2001:db8::10";

/// An IPv4 address as the programs see it.
pub fn v4(address: &str) -> V4 {
    let address: Ipv4Addr = address.parse().expect("an IPv4 address");
    u32::from_ne_bytes(address.octets())
}

/// An IPv6 address as the programs see it.
pub fn v6(address: &str) -> V6 {
    let address: Ipv6Addr = address.parse().expect("an IPv6 address");
    words(address)
}

/// An IPv6 address as the programs see it.
pub fn words(address: Ipv6Addr) -> V6 {
    let octets = address.octets();
    std::array::from_fn(|word| {
        u32::from_ne_bytes(std::array::from_fn(|byte| octets[word * 4 + byte]))
    })
}

/// A policy with IPv4 alone.
pub fn only4() -> Policy {
    Policy {
        flags: flag::ACTIVE | flag::IPV4,
        ipv4: v4(OWN4),
        ..Policy::default()
    }
}

/// A policy with IPv6 alone.
pub fn only6() -> Policy {
    Policy {
        flags: flag::ACTIVE | flag::IPV6,
        ipv6: v6(OWN6),
        ..Policy::default()
    }
}

/// A policy with both families.
pub fn both() -> Policy {
    Policy {
        flags: flag::ACTIVE | flag::IPV4 | flag::IPV6,
        ipv4: v4(OWN4),
        ipv6: v6(OWN6),
    }
}
