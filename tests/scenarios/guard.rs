//! G1 to G3: packets of sockets that no call has moved, and how they are counted.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use libc::{IPPROTO_IPV6, IPV6_MULTICAST_IF};
use oci_bind_hook_tests::bpf::{self, ATTACH_TYPES, NAME_TYPES, PACKET_TYPES, SERVER_TYPES};
use oci_bind_hook_tests::counters::{await_dropped, dropped};
use oci_bind_hook_tests::hook::{BOTH, Policy, V4, V6};
use oci_bind_hook_tests::net::{
    CIP4, CIP6, HOST4, HOST6, LOOP4, LOOP6, OTHER4, OTHER6, PEER4, PEER6, has_dual,
};
use oci_bind_hook_tests::socket::{Kind, Socket, TCP4, UDP4, UDP6};
use rustix::io::Errno;
use rustix::net::sockopt;

use crate::observe::{PORT, Peer};
use crate::row::{Row, Scene, Site, row};
use crate::unhooked::{EXPERIMENT, raw_pair};

/// Policies with an IPv4 address.
pub const GUARDED4: &[Policy] = &[V4.guarded(), BOTH.guarded()];
/// Policies with an IPv6 address.
pub const GUARDED6: &[Policy] = &[V6.guarded(), BOTH.guarded()];

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = wildcard();
    rows.push(Scene::row("G1", "udp4 connected before attach", early));
    for (kind, group, peer) in [(UDP4, GROUP4, PEER4), (UDP6, GROUP6, PEER6)] {
        let what = format!("{kind:?} bound to {group} and connected before attach");
        rows.push(Scene::row("G1", &what, move |scene| {
            early_member(scene, kind, group, peer)
        }));
    }
    rows.push(Scene::row("G1", "tcp4 connected before attach", cut));
    rows.push(Scene::row("G1", "drops are counted", counted));
    rows.push(Scene::row("G3", "programs are attached as needed", needed));
    rows
}

/// What reaches a socket at the wildcard address that got its port by sending.
fn wildcard() -> Vec<Row> {
    let mut rows = Vec::new();
    // The last one arrives in any case, and so shows that all others have arrived or never
    // will.
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
            // The interface is named by an address that it has.
            let IpAddr::V4(own) = HOST4 else {
                anyhow::bail!("{HOST4} is not of IPv4");
            };
            Ok(sockopt::set_ip_add_membership(socket, &group, &own)?)
        }
        IpAddr::V6(group) => Ok(sockopt::set_ipv6_add_membership(socket, &group, link)?),
    }
}

/// A socket that is already connected from another address when the policy is attached.
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
    await_dropped(&scene.cgroup, |counts| counts == (1, 1))?;
    scene.hook.detach(&scene.cgroup)?;
    client.send(None, b"ping")?;
    ensure!(peer.receive()? == old, "another socket sent");
    Ok(())
}

/// A socket bound to a group: connected before the policy is attached, so that the kernel
/// has chosen its source, or only afterwards.
fn early_member(scene: &Scene, kind: Kind, group: IpAddr, peer: IpAddr) -> Result<()> {
    let peer = Peer::new(false, peer)?;
    let member = || -> Result<Socket> {
        let client = scene.agent.socket(kind)?;
        sockopt::set_socket_reuseaddr(&client, true)?;
        client.bind(scene.inside().at(group, PORT))?;
        client.connect(peer.address())?;
        Ok(client)
    };
    let client = member()?;
    client.send(None, b"ping")?;
    let old = peer.receive()?;
    let own = if kind.v6 { CIP6 } else { CIP4 };
    ensure!(old.ip() != own, "the peer saw {old}");
    scene.attach(BOTH.guarded())?;
    let sent = client.send(None, b"ping");
    ensure!(sent == Err(Errno::PERM), "{sent:?}");
    ensure!(dropped(&scene.cgroup)? == (1, 0), "not counted");
    let later = member().and_then(|client| Ok(client.send(None, b"ping")?));
    ensure!(later.is_err(), "one that connects later has sent");
    scene.hook.detach(&scene.cgroup)?;
    client.send(None, b"ping")?;
    ensure!(peer.receive()? == old, "another socket sent");
    Ok(())
}

/// A connection from another address is cut when the policy is attached: its peer hears no
/// more of it, and is not heard.
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
    await_dropped(&scene.cgroup, |(_, ingress)| ingress > 0)?;
    scene.hook.detach(&scene.cgroup)?;
    // The peer sends it again after that.
    ensure!(client.receive_connected()? == b"more", "not all of it");
    Ok(())
}

fn counted(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.guarded())?;
    let site = scene.inside();
    let (client, _server) = raw_pair(&site, UDP4, EXPERIMENT, PEER4)?;
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
        await_dropped(&scene.cgroup, |(_, after)| after == before + 1)?;
    }
    Ok(())
}

/// Only the programs that a policy needs are attached, and those that the
/// next one does not need go.
fn needed(scene: &Scene) -> Result<()> {
    let names = |of: &[(&'static str, u32)]| of.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let calls = names(&ATTACH_TYPES);
    let (redirects, packets) = (names(&NAME_TYPES), names(&PACKET_TYPES));
    let servers = names(&SERVER_TYPES);
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
        (
            BOTH,
            if has_dual() {
                vec![&calls, &servers]
            } else {
                vec![&calls]
            },
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
