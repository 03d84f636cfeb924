//! Addresses in the form in which functions of the programs take them.

mod common;

use common::{v4, v6};
use oci_bind_hook_ebpf::net::{Port, V4, V6};
use std::net::{Ipv4Addr, Ipv6Addr};

#[test]
fn an_address_in_two_numbers() {
    for address in [
        "::",
        "::1",
        "2001:db8:1:2:3:4:5:6",
        "ff02::fb",
        "::ffff:192.0.2.10",
    ] {
        let (high, low) = v6(address).halves();
        assert_eq!(V6::from_halves(high, low), v6(address), "{address}");
    }
    assert_eq!(V6([1, 2, 3, 4]).halves(), (1 << 32 | 2, 3 << 32 | 4));
}

/// As the kernel has them: the first octet comes first in memory.
#[test]
fn addresses_and_ports_are_in_network_byte_order() {
    let address = Ipv4Addr::new(192, 0, 2, 10);
    assert_eq!(V4::from(address), v4("192.0.2.10"));
    assert_eq!(V4::from(address).octets(), [192, 0, 2, 10]);
    assert_eq!(Ipv4Addr::from(V4::from_octets([192, 0, 2, 10])), address);
    let address: Ipv6Addr = "2001:db8:1:2:3:4:5:6".parse().unwrap();
    let words = V6::from(address).0.map(u32::to_ne_bytes);
    assert_eq!(words.concat(), address.octets());
    assert_eq!(Ipv6Addr::from(V6::from(address)), address);
    assert_eq!(Port::new(80).0.to_ne_bytes(), [0, 80]);
    assert_eq!(Port::new(80).number(), 80);
}

/// Each word counts.
#[test]
fn addresses_are_the_same_if_all_words_are() {
    let address = V6([1, 2, 3, 4]);
    assert_eq!(address, V6([1, 2, 3, 4]));
    for word in 0..4 {
        let mut other = address;
        other.0[word] = 9;
        assert_ne!(address, other, "word {word}");
    }
}
