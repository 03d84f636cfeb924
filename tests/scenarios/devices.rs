//! G1: datagrams to loopback that the program sends through an interface of its choice,
//! for which the kernel chooses the source, and even a route off the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, ensure};
use libc::{
    ETH_P_IP, ETH_P_IPV6, IP_UNICAST_IF, IPPROTO_IP, IPPROTO_IPV6, IPV6_UNICAST_IF,
    SO_BINDTODEVICE, SOL_SOCKET,
};
use oci_bind_hook_tests::far::{Host, ROUTER4, ROUTER6};
use oci_bind_hook_tests::hook::BOTH;
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, LOOP4, LOOP6, ip, mapped};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, at, first_ready};
use oci_bind_hook_tests::sys::{self, PacketInfo};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

use crate::observe::{PORT, done};
use crate::row::{Row, Scene};
use crate::told::open;

const DEVICE: &str = "v0";
const MARKER: &[u8] = b"marker";

/// How a program chooses the interface.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// `IP_PKTINFO` or `IPV6_PKTINFO` without an address.
    PacketInfo,
    /// `IP_UNICAST_IF` or `IPV6_UNICAST_IF`
    UnicastInterface,
    /// `SO_BINDTODEVICE`
    BindToDevice,
    /// `SO_BINDTODEVICE`, and then connect(2).
    Connect,
}

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for to in [ANY4, LOOP4, mapped(ANY4), mapped(LOOP4), ANY6, LOOP6] {
        for way in [
            Way::PacketInfo,
            Way::UnicastInterface,
            Way::BindToDevice,
            Way::Connect,
        ] {
            let what = format!("datagram to {to} by {DEVICE}, {way:?}");
            rows.push(Scene::row("G1", &what, move |scene| by(scene, way, to)));
        }
    }
    rows
}

/// Without a policy, servers of the host and whoever is at the other end of the link see
/// the datagram come from the host's own address; with one they never do.
fn by(scene: &Scene, way: Way, to: IpAddr) -> Result<()> {
    let kind = Kind::of(false, to.to_canonical());
    let [router, _] = &Host::beyond()?;
    let (own, host, loopback) = if kind.v6 {
        // Without such a route, only loopback leads to `::1`.
        let gateway = ROUTER6.to_string();
        let source = HOST6.to_string();
        #[rustfmt::skip]
        ip(&["route", "add", "default", "via", &gateway, "dev", DEVICE, "src", &source], "")?;
        (CIP6, HOST6, LOOP6)
    } else {
        // No neighbour claims to be at a loopback address.
        let (mac, loopback) = ("02:00:00:00:00:02", LOOP4.to_string());
        #[rustfmt::skip]
        ip(&["neigh", "replace", &loopback, "lladdr", mac, "nud", "permanent", "dev", DEVICE], "")?;
        (CIP4, HOST4, LOOP4)
    };
    let observers = Observers::new(router, kind, [host, loopback])?;
    let link = scene.net.link();
    let send = || -> Result<Outcome<()>> {
        let client = scene.agent.socket(Kind::of(false, to))?;
        way.send(&client, link, to)
    };
    send()?.context("without a policy")?;
    let (_, seen) = observers.next()?;
    ensure!(seen == host, "without a policy a peer sees {seen}");

    for mode in ["host", "auto"] {
        scene.attach(BOTH.loopback(mode).guarded())?;
        let sent = send()?;
        for seen in observers.until_marked(kind, [host, loopback])? {
            ensure!(
                seen == own || seen == loopback,
                "{mode}: {sent:?}, a peer saw {seen}"
            );
        }
    }
    Ok(())
}

impl Way {
    fn send(self, client: &Socket, link: u32, to: IpAddr) -> Result<Outcome<()>> {
        let to = at(to, PORT, link);
        // The kernel treats an IPv4-mapped destination as the IPv4 one that it is.
        let is_v6 = to.ip().to_canonical().is_ipv6();
        match self {
            Self::PacketInfo => {
                let info = match to.ip() {
                    IpAddr::V4(_) => PacketInfo::V4(Ipv4Addr::UNSPECIFIED, link),
                    IpAddr::V6(_) if is_v6 => PacketInfo::V6(Ipv6Addr::UNSPECIFIED, link),
                    IpAddr::V6(_) => PacketInfo::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), link),
                };
                return Ok(client.send_from(info, Some(to), b"ping"));
            }
            Self::UnicastInterface => {
                let (level, option) = if is_v6 {
                    (IPPROTO_IPV6, IPV6_UNICAST_IF)
                } else {
                    (IPPROTO_IP, IP_UNICAST_IF)
                };
                // In network byte order.
                client.set(level, option, i32::try_from(link)?.to_be())?;
            }
            Self::BindToDevice | Self::Connect => {
                let device = DEVICE.as_bytes();
                sys::set_bytes(client.as_fd(), SOL_SOCKET, SO_BINDTODEVICE, device)
                    .context("set SO_BINDTODEVICE")?;
            }
        }
        if matches!(self, Self::Connect) {
            done!(client.connect(to));
            return Ok(client.send(None, b"ping"));
        }
        Ok(client.send(Some(to), b"ping"))
    }
}

/// Everybody who could see a datagram.
struct Observers {
    /// Servers of the host, each at an address.
    servers: [Socket; 2],
    /// What arrives at the other end of the link.
    wire: Socket,
}

impl Observers {
    fn new(router: &Host, kind: Kind, addresses: [IpAddr; 2]) -> Result<Self> {
        let [first, second] = addresses.map(|address| -> Result<Socket> {
            let server = Socket::new(kind)?;
            open(&server, at(address, PORT, 0))?;
            Ok(server)
        });
        let of = if kind.v6 { ETH_P_IPV6 } else { ETH_P_IP };
        let of = NonZero::new(u32::from(u16::try_from(of)?.to_be()));
        let wire = router.within(|| {
            let (family, flags) = (AddressFamily::PACKET, SocketFlags::CLOEXEC);
            let protocol = of.map(Protocol::from_raw);
            let wire = socket_with(family, SocketType::DGRAM, flags, protocol)?;
            Socket::unusual(wire, kind)
        })?;
        Ok(Self {
            servers: [first?, second?],
            wire,
        })
    }

    /// The next datagram for the port: its contents, and who sent it.
    fn next(&self) -> Result<(Vec<u8>, IpAddr)> {
        let [first, second] = &self.servers;
        let all = [first, second, &self.wire];
        loop {
            let ready = first_ready(&all)?;
            if let Some(server) = self.servers.get(ready) {
                let (payload, from) = server.receive()?;
                return Ok((payload, from.ip()));
            }
            let packet = self.wire.receive_connected()?;
            if let Some(seen) = datagram(&packet) {
                return Ok(seen);
            }
        }
    }

    /// Who sent what any of them has seen or will see: somebody else's marker datagrams
    /// come after it.
    fn until_marked(&self, kind: Kind, addresses: [IpAddr; 2]) -> Result<Vec<IpAddr>> {
        let router = if kind.v6 { ROUTER6 } else { ROUTER4 };
        let [first, second] = addresses;
        let all = [first, second, router];
        let marker = Socket::new(kind)?;
        for address in all {
            marker.send(Some(at(address, PORT, 0)), MARKER)?;
        }
        let (mut seen, mut left) = (Vec::new(), all.len());
        while left > 0 {
            match self.next()? {
                (payload, _) if payload == MARKER => left -= 1,
                (_, from) => seen.push(from),
            }
        }
        Ok(seen)
    }
}

/// The contents and the sender of a UDP datagram for the port, if the packet is one
/// (RFC 791, RFC 8200, RFC 768).
fn datagram(packet: &[u8]) -> Option<(Vec<u8>, IpAddr)> {
    const UDP: u8 = 17;
    let (next, source, header): (_, IpAddr, _) = if packet.first()? >> 4 == 4 {
        let source = <[u8; 4]>::try_from(packet.get(12..16)?).ok()?;
        (packet.get(9)?, source.into(), 20)
    } else {
        let source = <[u8; 16]>::try_from(packet.get(8..24)?).ok()?;
        (packet.get(6)?, source.into(), 40)
    };
    let (header, payload) = packet.get(header..)?.split_at_checked(8)?;
    let is_for_port = header.get(2..4)? == PORT.to_be_bytes();
    (*next == UDP && is_for_port).then(|| (payload.to_vec(), source))
}
