//! B10: dual-stack UDP servers, and frames with a priority but no VLAN (IEEE 802.1Q: the
//! identifier 0), which the kernel treats as untagged.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail, ensure};
use oci_bind_hook_tests::hook::BOTH;
use oci_bind_hook_tests::net::{CIP4, CIP6, ip};
use oci_bind_hook_tests::socket::Socket;
use oci_bind_hook_tests::{sys, tc};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use serde_json::Value;

use crate::deliver_devices::heard_when;
use crate::dual_datagrams::{open, trial};
use crate::dual_servers::plainly;
use crate::links::Link;
use crate::observe::PORT;
use crate::row::{Row, Scene};

const UDP: u8 = 17;
/// A tag with priority 5.
const TAG: [u8; 4] = [0x81, 0x00, 5 << 5, 0];

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    vec![trial("in frames with a priority tag", prioritized)]
}

fn prioritized(scene: &Scene) -> Result<()> {
    let far = Link::Veth.set_up()?;
    scene.attach(BOTH)?;
    let server = open(&scene.agent, PORT, plainly)?;
    let shown: Value = serde_json::from_str(&ip(&["-json", "link", "show", "d0"], "")?)?;
    let address = shown[0]["address"].as_str().context("no address")?;
    let bytes = address.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let mac = bytes.collect::<Result<Vec<u8>, _>>()?;
    for tag in [&[][..], &TAG] {
        for to in [CIP4, CIP6] {
            let send = |client: &Socket| {
                let (kind, packet) = ping(client.local()?, client.peer()?)?;
                let frame = [&mac, &[2; 6][..], tag, &kind, &packet].concat();
                let (family, flags) = (AddressFamily::PACKET, SocketFlags::CLOEXEC);
                let socket = socket_with(family, SocketType::RAW, flags, None)?;
                Ok(sys::send_frame(socket.as_fd(), tc::index("e0")?, &frame)?)
            };
            let hears = heard_when(&[&server], &far, to, send)?;
            ensure!(hears.is_some(), "nobody is at {to}, with the tag {tag:?}");
        }
    }
    Ok(())
}

/// A datagram for a frame: the frame's protocol, and the packet (RFC 791, RFC 8200, RFC
/// 768).
fn ping(from: SocketAddr, to: SocketAddr) -> Result<([u8; 2], Vec<u8>)> {
    const LENGTH: u8 = 8 + 4;
    let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
    let datagram = |sum: u16| [&ports, &[0, LENGTH][..], &sum.to_be_bytes(), b"ping"].concat();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let addresses = [from.octets(), to.octets()].concat();
            let header = |sum: u16| {
                let start = [0x45, 0, 0, 20 + LENGTH, 0, 0, 0, 0, 64, UDP];
                [&start, &sum.to_be_bytes()[..], &addresses].concat()
            };
            // Over IPv4 a datagram needs no checksum.
            let packet = [header(checksum(&header(0))), datagram(0)].concat();
            Ok(([0x08, 0x00], packet))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let addresses = [from.octets(), to.octets()].concat();
            let summed = [&addresses, &[0, LENGTH, 0, UDP][..], &datagram(0)].concat();
            let header = [&[0x60, 0, 0, 0, 0, LENGTH, UDP, 64], &addresses[..]].concat();
            let packet = [header, datagram(checksum(&summed))].concat();
            Ok(([0x86, 0xdd], packet))
        }
        (from, to) => bail!("{from} and {to} are of two families"),
    }
}

/// RFC 1071, for whole words.
fn checksum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks();
    let sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    let [low, high] = [sum & 0xffff, sum >> 16];
    !u16::try_from((low + high) % 0xffff).expect("less than 16 bits")
}
