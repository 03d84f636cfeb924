//! G1 and L8: sockets whose calls the address hooks do not see, or not all of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use libc::{IPPROTO_IPV6, IPV6_FREEBIND};
use oci_bind_hook_tests::net::{
    ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, LOOP4, OTHER4, OTHER6, PEER4, PEER6,
};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, UDP4, UDP6};
use rustix::io::Errno;
use rustix::net::SocketType;

use crate::guard::{GUARDED4, GUARDED6};
use crate::observe::{PORT, done, send_to};
use crate::private::PRIVATE;
use crate::row::{Row, Site, row};

/// A protocol for experiments (RFC 3692), which nothing else here uses.
pub const EXPERIMENT: u32 = 253;
/// `IPPROTO_RAW`: the program writes the header.
const HEADER_INCLUDED: u32 = 255;
/// `IPPROTO_UDPLITE`
const UDP_LITE: u32 = 136;
/// Dropped on its way out.
const DROPPED: Outcome = Err(Errno::PERM);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = raw();
    rows.extend(udp_lite());
    rows
}

/// Raw sockets, which the kernel lets use any address.
fn raw() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, udp, host, own, other, peer) in [
        (GUARDED4, UDP4, HOST4, CIP4, OTHER4, PEER4),
        (GUARDED6, UDP6, HOST6, CIP6, OTHER6, PEER6),
    ] {
        let family = if udp.v6 { 6 } else { 4 };
        for (bound, inside, plain) in [
            (None, DROPPED, Ok(host)),
            (Some(other), DROPPED, Ok(other)),
            (Some(own), Ok(own), Ok(own)),
        ] {
            let at = bound.map_or("unbound".to_owned(), |address| {
                format!("bound to {address}")
            });
            let what = format!("RAW socket of IPv{family}, {at}");
            let observe = move |site: &Site| -> Result<Outcome> {
                let (client, server) = raw_pair(site, udp, EXPERIMENT, peer)?;
                if let Some(address) = bound {
                    done!(client.bind(site.at(address, 0)));
                }
                done!(client.send(Some(site.at(peer, 0)), b"ping"));
                Ok(Ok(server.receive()?.1.ip()))
            };
            rows.extend(row("G1", &what, policies, observe, inside, plain));
        }
        for (source, inside) in [(other, DROPPED), (own, Ok(own))] {
            let what = format!("RAW socket of IPv{family}, header with source {source}");
            let observe = move |site: &Site| -> Result<Outcome> {
                let (client, server) = raw_pair(site, udp, HEADER_INCLUDED, peer)?;
                done!(client.send(Some(site.at(peer, 0)), &packet(EXPERIMENT, source, peer)));
                Ok(Ok(server.receive()?.1.ip()))
            };
            rows.extend(row("G1", &what, policies, observe, inside, Ok(source)));
        }
    }
    rows
}

/// A raw socket of the program, and one outside at `peer` that receives.
pub fn raw_pair(site: &Site, kind: Kind, protocol: u32, peer: IpAddr) -> Result<(Socket, Socket)> {
    let client = site.open(kind, SocketType::RAW, protocol)?;
    let server = site.outside().open(kind, SocketType::RAW, EXPERIMENT)?;
    if kind.v6 {
        server.set(IPPROTO_IPV6, IPV6_FREEBIND, 1)?;
    }
    server.bind(site.at(peer, 0))?;
    Ok((client, server))
}

/// An IP packet without contents (RFC 791, RFC 8200).
pub fn packet(protocol: u32, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    const HOPS: u8 = 64;
    let [protocol, ..] = protocol.to_le_bytes();
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut packet = vec![0x45, 0, 0, 20, 0, 0, 0, 0, HOPS, protocol, 0, 0];
            packet.extend(source.octets());
            packet.extend(destination.octets());
            packet
        }
        _ => {
            let octets = |address| match address {
                IpAddr::V4(v4) => Ipv4Addr::to_ipv6_mapped(&v4).octets(),
                IpAddr::V6(v6) => Ipv6Addr::octets(&v6),
            };
            let mut packet = vec![0x60, 0, 0, 0, 0, 0, protocol, HOPS];
            packet.extend(octets(source));
            packet.extend(octets(destination));
            packet
        }
    }
}

/// UDP-Lite: hooks see its bind and its datagrams, but not its connect.
fn udp_lite() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, kind, any, peer, own, host) in [
        (GUARDED4, UDP4, ANY4, PEER4, CIP4, HOST4),
        (GUARDED6, UDP6, ANY6, PEER6, CIP6, HOST6),
    ] {
        let family = if kind.v6 { 6 } else { 4 };
        let mut add = |what: &str, calls: LiteCalls, inside| {
            let what = format!("UDP-Lite over IPv{family}, {what}");
            let observe = move |site: &Site| -> Result<Outcome> {
                let server = lite(&site.outside(), kind)?;
                server.bind(site.at(peer, PORT))?;
                let client = lite(site, kind)?;
                done!(calls(&client, site.at(any, 0), site.at(peer, PORT)));
                Ok(Ok(server.receive()?.1.ip()))
            };
            rows.extend(row("G1", &what, policies, observe, inside, Ok(host)));
        };
        add("sendto", |client, _, to| send_to(client, to), Ok(own));
        let connect: LiteCalls = |client, _, to| {
            client.connect(to)?;
            client.send(None, b"ping")
        };
        add("connect, send", connect, DROPPED);
        let bound: LiteCalls = |client, any, to| {
            client.bind(any)?;
            client.connect(to)?;
            client.send(None, b"ping")
        };
        add("bind to the wildcard, connect, send", bound, Ok(own));
    }
    // No hook sees the connect, so it is not redirected.
    let what = format!("UDP-Lite connect {LOOP4}, the host's server there");
    let observe = move |site: &Site| -> Result<Outcome> {
        let server = lite(&site.outside(), UDP4)?;
        server.bind(site.at(LOOP4, PORT))?;
        let client = lite(site, UDP4)?;
        done!(client.connect(site.at(LOOP4, PORT)));
        done!(client.send(None, b"ping"));
        Ok(Ok(server.receive()?.1.ip()))
    };
    rows.extend(row("L8", &what, PRIVATE, observe, DROPPED, Ok(LOOP4)));
    rows
}

/// The calls of a client, given the wildcard address and its peer's address.
type LiteCalls = fn(&Socket, SocketAddr, SocketAddr) -> Outcome<()>;

/// A UDP-Lite socket of the program. Skips the trial if the kernel has no such thing.
pub fn lite(site: &Site, kind: Kind) -> Result<Socket> {
    let socket = site.open(kind, SocketType::DGRAM, UDP_LITE)?;
    if kind.v6 {
        socket.set(IPPROTO_IPV6, IPV6_FREEBIND, 1)?;
    }
    Ok(socket)
}
