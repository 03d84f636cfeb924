//! The kernel's replies to a request for its addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use oci_bind_hook::host::addresses::dump::Dump;

use crate::refusal;

const SEQUENCE: u32 = 7;
const WANTED4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const WANTED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// The input: a datagram, and then one message without its header, which is
/// put before it.
pub fn check(data: &[u8]) {
    hold(data);
    if let Some(([kind, flags], payload)) = data.split_first_chunk() {
        hold(&message(u16::from(*kind), u16::from(*flags), payload));
    }
}

fn hold(datagram: &[u8]) {
    let wanted = [IpAddr::V4(WANTED4), IpAddr::V6(WANTED6)];
    let mut dump = Dump::new(SEQUENCE, &wanted);
    match dump.read(datagram) {
        Err(error) => refusal::check(&error),
        Ok(()) => {
            let Some(found) = dump.result() else {
                return;
            };
            let has = |octets: &[u8]| datagram.windows(octets.len()).any(|part| part == octets);
            let is_there = has(&WANTED4.octets()) || has(&WANTED6.octets());
            assert!(found.is_empty() || is_there, "{found:?}");
        }
    }
}

/// `struct nlmsghdr`, netlink(7), and what follows it.
fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + payload.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(SEQUENCE.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
