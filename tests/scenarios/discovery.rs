//! M1 and M2: sockets at a port for multicast.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use libc::{IPPROTO_IPV6, IPV6_MULTICAST_IF, SO_BROADCAST, SO_REUSEADDR, SOL_SOCKET};
use oci_bind_hook_tests::hook::{BOTH, Policy, V4, V6};
use oci_bind_hook_tests::net::{
    ANY4, ANY6, CIP4, CIP6, EVERYBODY, HOST4, HOST6, LOOP4, LOOP6, NETWORK, OTHER4, OTHER6, PEER4,
    PEER6, mapped,
};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6};
use oci_bind_hook_tests::sys::PacketInfo;
use rustix::io::Errno;

use crate::guard::join;
use crate::observe::{Peer, done};
use crate::row::{Row, Site, denied, row};
use crate::unhooked::lite;

/// Multicast DNS, SSDP, and the ends of a range.
const PORTS: &str = "1900,5353,6000-6010";
/// The port of multicast DNS.
pub const PORT: u16 = 5353;
const MULTICAST4: &[Policy] = &[
    V4.guarded().multicast(PORTS),
    BOTH.loopback("auto").guarded().multicast(PORTS),
    BOTH.loopback("private").guarded().multicast("5353"),
];
const MULTICAST6: &[Policy] = &[
    V6.guarded().multicast(PORTS),
    BOTH.loopback("auto").guarded().multicast(PORTS),
];
const ONLY4: &[Policy] = &[V4.guarded().multicast(PORTS)];
const BOTH_FAMILIES: &[Policy] = &[BOTH.guarded().multicast(PORTS)];

const GROUP4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251));
const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0xfb));
const MAPPED_ANY: IpAddr = mapped(ANY4);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = binds();
    rows.extend(hears());
    rows.extend(at_the_broadcast_address());
    rows.extend(unicast());
    rows
}

fn binds() -> Vec<Row> {
    let mut rows = Vec::new();
    // Policies, socket, requested address and port; the address under the policy.
    #[rustfmt::skip]
    let lines = [
        (MULTICAST4, UDP4, ANY4, PORT, ANY4),
        (MULTICAST4, UDP6, MAPPED_ANY, PORT, MAPPED_ANY),
        (ONLY4, UDP6, ANY6, PORT, MAPPED_ANY),
        (MULTICAST6, UDP6, ANY6, PORT, ANY6),
        (MULTICAST6, UDP6.v6only(), ANY6, PORT, ANY6),
        (BOTH_FAMILIES, UDP4, ANY4, 6000, ANY4),
        (BOTH_FAMILIES, UDP6, ANY6, 6010, ANY6),
        (BOTH_FAMILIES, UDP4, ANY4, 6011, CIP4),
        // These binds are not for multicast.
        (MULTICAST4, UDP4, OTHER4, PORT, CIP4),
        (MULTICAST6, UDP6, OTHER6, PORT, CIP6),
        (MULTICAST4, TCP4, ANY4, PORT, CIP4),
        (MULTICAST6, TCP6.v6only(), ANY6, PORT, CIP6),
    ];
    for (policies, kind, asked, port, inside) in lines {
        let what = format!("{kind:?} bind {asked} port {port}");
        let observe = move |site: &Site| -> Result<Outcome> {
            let server = site.socket(kind)?;
            done!(server.bind(site.at(asked, port)));
            Ok(Ok(server.local()?.ip()))
        };
        rows.extend(row("M1", &what, policies, observe, Ok(inside), Ok(asked)));
    }
    let observe = |site: &Site| -> Result<Outcome> {
        let server = lite(site, UDP4)?;
        done!(server.bind(site.at(ANY4, PORT)));
        Ok(Ok(server.local()?.ip()))
    };
    let what = "UDP-Lite bind 0.0.0.0";
    rows.extend(row("M1", what, MULTICAST4, observe, Ok(CIP4), Ok(ANY4)));
    rows
}

/// What arrives: groups that were joined, broadcasts, and of unicast only that for the
/// assigned address and loopback.
fn hears() -> Vec<Row> {
    let all4 = [GROUP4, HOST4, NETWORK, OTHER4, EVERYBODY, LOOP4, CIP4];
    let own4 = [GROUP4, NETWORK, EVERYBODY, LOOP4, CIP4];
    let all6 = [GROUP6, HOST6, OTHER6, LOOP6, CIP6];
    let own6 = [GROUP6, LOOP6, CIP6];
    let (all, own) = ([&all4[..], &all6].concat(), [&own4[..], &own6].concat());
    let mut rows = Vec::new();
    for (policies, kind, any, sent, inside) in [
        (MULTICAST4, UDP4, ANY4, &all4[..], &own4[..]),
        (MULTICAST4, UDP6, MAPPED_ANY, &all4, &own4),
        (MULTICAST6, UDP6.v6only(), ANY6, &all6, &own6),
        (BOTH_FAMILIES, UDP6, ANY6, &all, &own),
    ] {
        let sent = sent.to_vec();
        let plain = sent.clone();
        let what = format!("{kind:?} at {any} hears");
        let observe = move |site: &Site| hear(site, kind, any, &sent);
        rows.extend(row("M1", &what, policies, observe, inside.to_vec(), plain));
    }
    rows
}

/// What a member of the groups hears of what is sent to these addresses; it hears the last
/// one in any case.
fn hear(site: &Site, kind: Kind, any: IpAddr, sent: &[IpAddr]) -> Result<Vec<IpAddr>> {
    let link = site.net().link();
    let server = site.socket(kind)?;
    server.set(SOL_SOCKET, SO_REUSEADDR, 1)?;
    server.bind(site.at(any, PORT))?;
    for group in [GROUP4, GROUP6] {
        if sent.contains(&group) {
            join(&server, group, link)?;
        }
    }
    for &to in sent {
        let client = Socket::new(Kind::of(false, to))?;
        client.set(SOL_SOCKET, SO_BROADCAST, 1)?;
        if client.kind().v6 {
            client.set(IPPROTO_IPV6, IPV6_MULTICAST_IF, link.try_into()?)?;
        } else if to == EVERYBODY {
            // There is no route to it.
            client.bind(site.at(HOST4, 0))?;
        }
        client.send(Some(site.at(to, PORT)), to.to_string().as_bytes())?;
    }
    let mut heard = Vec::new();
    while heard.last() != sent.last() {
        heard.push(String::from_utf8(server.receive()?.0)?.parse()?);
    }
    Ok(heard)
}

/// A socket at the network's broadcast address hears broadcasts, after another one has
/// been moved from the wildcard address to the assigned one, like those of nmbd.
fn at_the_broadcast_address() -> Vec<Row> {
    let mut rows = Vec::new();
    let policies = &[V4, V4.guarded(), BOTH.loopback("auto").guarded()];
    let listener = |site: &Site, kind, at| -> Result<Socket> {
        let listener = site.socket(kind)?;
        listener.set(SOL_SOCKET, SO_REUSEADDR, 1)?;
        listener.bind(site.at(at, PORT))?;
        Ok(listener)
    };
    for (kind, any, at) in [(UDP4, ANY4, NETWORK), (UDP6, MAPPED_ANY, mapped(NETWORK))] {
        let observe = move |site: &Site| -> Result<(IpAddr, IpAddr)> {
            let _first = listener(site, kind, any)?;
            let listener = listener(site, kind, at)?;
            let client = Socket::new(UDP4)?;
            client.set(SOL_SOCKET, SO_BROADCAST, 1)?;
            for to in [OTHER4, CIP4, NETWORK] {
                client.send(Some(site.at(to, PORT)), to.to_string().as_bytes())?;
            }
            let heard = String::from_utf8(listener.receive()?.0)?;
            Ok((heard.parse()?, listener.local()?.ip()))
        };
        let what = format!("{kind:?} at {at} hears");
        rows.extend(row(
            "B7",
            &what,
            policies,
            observe,
            (NETWORK, at),
            (NETWORK, at),
        ));
    }
    let observe = move |site: &Site| -> Result<Outcome> {
        let listener = listener(site, UDP4, NETWORK)?;
        let peer = Peer::new(false, PEER4)?;
        done!(listener.send(Some(peer.address()), b"ping"));
        Ok(Ok(peer.receive()?.ip()))
    };
    let what = "udp4 at the broadcast address sends";
    rows.extend(row("U6", what, policies, observe, Ok(CIP4), Ok(HOST4)));
    rows
}

/// Where its unicast comes from, and that it cannot connect, since that would be from
/// another address.
fn unicast() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, kind, any, peer, own, host) in [
        (MULTICAST4, UDP4, ANY4, PEER4, CIP4, HOST4),
        (MULTICAST4, UDP6, MAPPED_ANY, mapped(PEER4), CIP4, HOST4),
        (MULTICAST6, UDP6, ANY6, PEER6, CIP6, HOST6),
        (MULTICAST6, UDP6.v6only(), ANY6, PEER6, CIP6, HOST6),
    ] {
        let at = format!("{kind:?} at {any}");
        let member = move |site: &Site| -> Result<(Socket, Peer)> {
            let member = site.socket(kind)?;
            member.bind(site.at(any, PORT))?;
            Ok((member, Peer::new(false, peer)?))
        };
        let observe = move |site: &Site| -> Result<Outcome> {
            let (member, peer) = member(site)?;
            done!(member.send(Some(peer.address()), b"ping"));
            peer.reply(&member)
        };
        let what = format!("{at} sends");
        rows.extend(row("M2", &what, policies, observe, Ok(own), Ok(host)));

        // Like a server that answers from the address at which it was called.
        let other = if host.is_ipv4() { OTHER4 } else { OTHER6 };
        let observe = move |site: &Site| -> Result<Outcome> {
            let (member, peer) = member(site)?;
            let source = match (kind.v6, other) {
                (false, IpAddr::V4(other)) => PacketInfo::V4(other, 0),
                (_, IpAddr::V4(other)) => PacketInfo::V6(other.to_ipv6_mapped(), 0),
                (_, IpAddr::V6(other)) => PacketInfo::V6(other, 0),
            };
            done!(member.send_from(source, Some(peer.address()), b"ping"));
            peer.reply(&member)
        };
        let what = format!("{at} sends and names {other}");
        rows.extend(row("M2", &what, policies, observe, Ok(own), Ok(other)));

        let observe = move |site: &Site| -> Result<Outcome> {
            let (member, peer) = member(site)?;
            done!(member.connect(peer.address()));
            peer.meet(&member)
        };
        let refused = denied(Errno::ADDRNOTAVAIL);
        let what = format!("{at} connects");
        rows.extend(row("M2", &what, policies, observe, refused, Ok(host)));
    }
    rows
}
