//! G1 to G3: packets of sockets that no address hook has moved.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};
use libc::{IPPROTO_IPV6, IPV6_FREEBIND, IPV6_MULTICAST_IF};
use oci_bind_hook_tests::bpf::{self, ATTACH_TYPES, NAME_TYPES, PACKET_TYPES};
use oci_bind_hook_tests::counters::dropped;
use oci_bind_hook_tests::hook::{BOTH, Policy, V4, V6};
use oci_bind_hook_tests::net::{
    CIP4, CIP6, HOST4, HOST6, LOOP4, LOOP6, OTHER4, OTHER6, PEER4, PEER6,
};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, UDP4, UDP6};
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

use crate::observe::{PORT, Peer, done, send_to};
use crate::row::{Row, Scene, Site, row};

/// Policies with an IPv4 address.
pub const GUARDED4: &[Policy] = &[V4.guarded(), BOTH.guarded()];
/// Policies with an IPv6 address.
pub const GUARDED6: &[Policy] = &[V6.guarded(), BOTH.guarded()];

/// A protocol for experiments (RFC 3692), which nothing else here uses.
const EXPERIMENT: u8 = 253;
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
    rows.extend(wildcard());
    rows.push(Scene::row("G1", "udp4 connected before attach", early));
    rows.push(Scene::row("G1", "tcp4 connected before attach", cut));
    rows.push(Scene::row("G1", "drops are counted", counted));
    rows.push(Scene::row("G3", "programs are attached as needed", needed));
    rows
}

/// Raw sockets, which the kernel lets have any address.
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
                let (client, server) = raw_pair(site, udp, EXPERIMENT.into(), peer)?;
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
                done!(client.send(Some(site.at(peer, 0)), &packet(source, peer)));
                Ok(Ok(server.receive()?.1.ip()))
            };
            rows.extend(row("G1", &what, policies, observe, inside, Ok(source)));
        }
    }
    rows
}

/// A raw socket of the program, and one outside at `peer` that receives.
fn raw_pair(site: &Site, kind: Kind, protocol: u32, peer: IpAddr) -> Result<(Socket, Socket)> {
    let client = site.open(kind, SocketType::RAW, protocol)?;
    let server = site
        .outside()
        .open(kind, SocketType::RAW, EXPERIMENT.into())?;
    if kind.v6 {
        server.set(IPPROTO_IPV6, IPV6_FREEBIND, 1)?;
    }
    server.bind(site.at(peer, 0))?;
    Ok((client, server))
}

/// An IP packet without contents (RFC 791, RFC 8200).
fn packet(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    const HOPS: u8 = 64;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut packet = vec![0x45, 0, 0, 20, 0, 0, 0, 0, HOPS, EXPERIMENT, 0, 0];
            packet.extend(source.octets());
            packet.extend(destination.octets());
            packet
        }
        _ => {
            let octets = |address| match address {
                IpAddr::V4(v4) => Ipv4Addr::to_ipv6_mapped(&v4).octets(),
                IpAddr::V6(v6) => Ipv6Addr::octets(&v6),
            };
            let mut packet = vec![0x60, 0, 0, 0, 0, 0, EXPERIMENT, HOPS];
            packet.extend(octets(source));
            packet.extend(octets(destination));
            packet
        }
    }
}

/// UDP-Lite, whose connect no hook sees.
fn udp_lite() -> Vec<Row> {
    type Call = fn(&Socket, SocketAddr) -> Outcome<()>;
    let calls: [(&str, Call, _); 2] = [
        ("sendto", send_to, Ok(CIP4)),
        (
            "connect, send",
            |client, to| {
                client.connect(to)?;
                client.send(None, b"ping")
            },
            DROPPED,
        ),
    ];
    let mut rows = Vec::new();
    for (name, call, inside) in calls {
        let what = format!("UDP-Lite {name}");
        let observe = move |site: &Site| -> Result<Outcome> {
            let server = site.outside().open(UDP4, SocketType::DGRAM, UDP_LITE)?;
            server.bind(site.at(PEER4, PORT))?;
            let client = site.open(UDP4, SocketType::DGRAM, UDP_LITE)?;
            done!(call(&client, site.at(PEER4, PORT)));
            Ok(Ok(server.receive()?.1.ip()))
        };
        rows.extend(row("G1", &what, GUARDED4, observe, inside, Ok(HOST4)));
    }
    rows
}

/// What reaches a socket that got its port by sending, at the wildcard.
fn wildcard() -> Vec<Row> {
    let mut rows = Vec::new();
    // The last one arrives in any case, and so tells that all others have, or
    // will not.
    for (policies, kind, peer, group, own, others) in [
        (GUARDED4, UDP4, PEER4, GROUP4, CIP4, [HOST4, OTHER4, LOOP4]),
        (GUARDED6, UDP6, PEER6, GROUP6, CIP6, [HOST6, OTHER6, LOOP6]),
    ] {
        let [host, other, loopback] = others;
        let probed = [host, group, other, loopback, own];
        let what = format!("{kind:?} socket at the wildcard receives");
        let observe = move |site: &Site| {
            let server = site.socket(kind)?;
            join(&server, group, site.net().link())?;
            server.send(Some(Peer::new(false, peer)?.address()), b"hello")?;
            let port = server.local()?.port();
            for address in probed {
                let client = Socket::new(kind)?;
                let from = if address == loopback { loopback } else { host };
                client.bind(site.at(from, 0))?;
                if kind.v6 && address == group {
                    client.set(
                        IPPROTO_IPV6,
                        IPV6_MULTICAST_IF,
                        site.net().link().try_into()?,
                    )?;
                }
                client.send(Some(site.at(address, port)), address.to_string().as_bytes())?;
            }
            let mut arrived = Vec::new();
            while arrived.last() != Some(&own) {
                arrived.push(String::from_utf8(server.receive()?.0)?.parse::<IpAddr>()?);
            }
            Ok(arrived)
        };
        let inside = vec![group, loopback, own];
        rows.extend(row("G2", &what, policies, observe, inside, probed.to_vec()));
    }
    rows
}

const GROUP4: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 1, 2, 3));
const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 1, 3));

/// Makes `socket` a member of a group on the interface `link`.
pub fn join(socket: &Socket, group: IpAddr, link: u32) -> Result<()> {
    match group {
        IpAddr::V4(group) => {
            // The interface goes by an address of its own.
            let IpAddr::V4(own) = HOST4 else {
                anyhow::bail!("{HOST4} is not of IPv4");
            };
            Ok(sockopt::set_ip_add_membership(socket, &group, &own)?)
        }
        IpAddr::V6(group) => Ok(sockopt::set_ipv6_add_membership(socket, &group, link)?),
    }
}

/// A socket that is connected from another address when the policy comes.
fn early(scene: &Scene) -> Result<()> {
    let peer = Peer::new(false, PEER4)?;
    let client = scene.agent.socket(UDP4)?;
    client.connect(peer.address())?;
    client.send(None, b"ping")?;
    let old = peer.receive()?;
    ensure!(old.ip() == HOST4, "the peer saw {old}");
    scene.attach(V4.guarded())?;
    let sent = client.send(None, b"ping");
    ensure!(sent == Err(Errno::PERM), "{sent:?}");
    // Nor does anything come in: the last one here is for a socket that may.
    peer.send(old)?;
    ensure!(dropped(&scene.cgroup)? == (1, 1), "not one each way");
    scene.hook.detach(&scene.cgroup)?;
    client.send(None, b"ping")?;
    ensure!(peer.receive()? == old, "another socket sent");
    Ok(())
}

/// A connection from another address ends when the policy comes: its peer
/// hears no more of it, and is not heard.
fn cut(scene: &Scene) -> Result<()> {
    let server = Socket::new(TCP4)?;
    server.bind(scene.inside().at(PEER4, PORT))?;
    server.listen()?;
    let client = scene.agent.socket(TCP4)?;
    client.reset_on_close()?;
    client.connect(scene.inside().at(PEER4, PORT))?;
    let accepted = server.accept()?;
    scene.attach(V4.guarded())?;
    accepted.send(None, b"more")?;
    let (_, ingress) = dropped(&scene.cgroup)?;
    ensure!(ingress > 0, "the segment came in");
    scene.hook.detach(&scene.cgroup)?;
    // The peer sends it again.
    ensure!(client.receive_connected()? == b"more", "not all of it");
    Ok(())
}

fn counted(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.guarded())?;
    let site = scene.inside();
    let (client, _server) = raw_pair(&site, UDP4, EXPERIMENT.into(), PEER4)?;
    for number in 1..=3 {
        let sent = client.send(Some(site.at(PEER4, 0)), b"ping");
        ensure!(sent == Err(Errno::PERM), "{sent:?}");
        let counts = dropped(&scene.cgroup)?;
        ensure!(counts == (number, 0), "{number} out, counted {counts:?}");
    }
    for (kind, peer, host) in [(UDP4, PEER4, HOST4), (UDP6, PEER6, HOST6)] {
        let (_, before) = dropped(&scene.cgroup)?;
        let server = scene.agent.socket(kind)?;
        server.send(Some(Peer::new(false, peer)?.address()), b"hello")?;
        let client = Socket::new(kind)?;
        client.send(Some(site.at(host, server.local()?.port())), b"ping")?;
        let (_, after) = dropped(&scene.cgroup)?;
        ensure!(after == before + 1, "1 in, counted {}", after - before);
    }
    Ok(())
}

/// Only the programs that a policy needs are attached, and those that the
/// next one does not need go.
fn needed(scene: &Scene) -> Result<()> {
    let names = |of: &[(&'static str, u32)]| of.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let calls = names(&ATTACH_TYPES);
    let (redirects, packets) = (names(&NAME_TYPES), names(&PACKET_TYPES));
    for (policy, expected) in [
        (V4, vec![&calls]),
        (V4.loopback("auto"), vec![&calls, &redirects]),
        (
            V4.loopback("private").guarded(),
            vec![&calls, &redirects, &packets],
        ),
        (V4.guarded(), vec![&calls, &packets]),
        (
            V4.loopback("auto").guarded(),
            vec![&calls, &redirects, &packets],
        ),
        (V4, vec![&calls]),
    ] {
        scene.attach(policy)?;
        let found = bpf::attached(&File::open(scene.cgroup.path())?)?;
        let found: Vec<_> = found.into_iter().map(|(name, _)| name).collect();
        let expected: Vec<_> = expected.into_iter().flatten().copied().collect();
        ensure!(found == expected, "under {policy:?}: {found:?}");
    }
    scene.hook.detach(&scene.cgroup)?;
    scene.cgroup.assert_bare()
}
