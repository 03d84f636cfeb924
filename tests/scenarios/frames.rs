//! G8: what a neighbour sends to everybody on a link, and who receives it.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use oci_bind_hook_tests::counters::await_dropped;
use oci_bind_hook_tests::far::{Host, ROUTER4, ROUTER6};
use oci_bind_hook_tests::hook::{BOTH, Policy};
use oci_bind_hook_tests::net::{ANY4, CIP4, CIP6, OTHER4, OTHER6, ip};
use oci_bind_hook_tests::socket::{Socket, UDP4, UDP6, at};

use crate::observe::PORT;
use crate::row::{Row, Scene};

const POLICY: Policy = BOTH.guarded();
/// The broadcast address of the link's network.
const LINK: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 255));

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (frame, mac) in [
        ("broadcast", "ff:ff:ff:ff:ff:ff"),
        ("multicast", "33:33:00:00:00:fb"),
    ] {
        for v6 in [false, true] {
            let number = if v6 { 6 } else { 4 };
            let what = format!("IPv{number} packet for another address in a {frame} frame");
            rows.push(Scene::row("G8", &what, move |scene| {
                unicast(scene, mac, v6)
            }));
        }
    }
    let what = "broadcast of the network to sockets at the wildcard";
    rows.push(Scene::row("M1", what, directed));
    let what = "broadcast of the network is known by its address";
    rows.push(Scene::row("M1", what, known));
    rows
}

/// A neighbour that believes another address to be at the MAC address of everybody: what
/// it sends there reaches nobody here.
fn unicast(scene: &Scene, mac: &str, v6: bool) -> Result<()> {
    let (kind, router, own, other) = if v6 {
        (UDP6, ROUTER6, CIP6, OTHER6)
    } else {
        (UDP4, ROUTER4, CIP4, OTHER4)
    };
    let [neighbour, _] = Host::beyond()?;
    scene.attach(POLICY)?;
    // At the wildcard address, since it has sent without a bind.
    let server = scene.agent.socket(kind)?;
    server.send(Some(at(router, PORT, 0)), b"hello")?;
    let port = server.local()?.port();
    let send = || {
        neighbour.within(|| {
            let other = other.to_string();
            #[rustfmt::skip]
            ip(&["neigh", "replace", &other, "lladdr", mac, "nud", "permanent", "dev", "v1"], "")?;
            let client = Socket::new(kind)?;
            client.bind(at(router, 0, 0))?;
            client.send(Some(at(other.parse()?, port, 0)), b"other")?;
            client.send(Some(at(own, port, 0)), b"own")?;
            Ok(())
        })
    };
    send()?;
    let (payload, _) = server.receive()?;
    ensure!(payload == b"own", "what was for {other} arrived");
    await_dropped(&scene.cgroup, |counts| counts == (0, 1))?;
    scene.hook.detach(&scene.cgroup)?;
    send()?;
    // In either order.
    let arrived = [server.receive()?.0, server.receive()?.0];
    ensure!(
        arrived.contains(&b"other".to_vec()),
        "no such frame arrives: {arrived:?}"
    );
    Ok(())
}

/// The sockets that hear it, and one that does not, since it is at the assigned address.
fn directed(scene: &Scene) -> Result<()> {
    let [neighbour, _] = Host::beyond()?;
    scene.attach(POLICY.exempt("8080/udp").multicast("5353"))?;
    let server = |port| -> Result<Socket> {
        let server = scene.agent.socket(UDP4)?;
        server.bind(at(ANY4, port, 0))?;
        Ok(server)
    };
    let (exempt, multicast, moved) = (server(PORT)?, server(5353)?, server(PORT + 1)?);
    let wildcard = scene.agent.socket(UDP4)?;
    wildcard.send(Some(at(ROUTER4, PORT, 0)), b"hello")?;
    let client = neighbour.broadcaster()?;
    for server in [&exempt, &multicast, &wildcard, &moved] {
        let port = server.local()?.port();
        client.send(Some(at(LINK, port, 0)), b"all")?;
        client.send(Some(at(CIP4, port, 0)), b"one")?;
    }
    for server in [&exempt, &multicast, &wildcard] {
        let mut heard = [server.receive()?.0, server.receive()?.0];
        heard.sort_unstable();
        ensure!(heard == [b"all", b"one"], "{server:?} heard {heard:?}");
    }
    let heard = moved.receive()?.0;
    ensure!(heard == b"one", "the assigned address heard {heard:?}");
    Ok(())
}

/// The network's broadcast address is known from the assigned address: by its prefix, or
/// as it was configured. A single address (/32) has none.
fn known(scene: &Scene) -> Result<()> {
    const GIVEN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200));
    const WITH_GIVEN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 31));
    const ALONE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 32));
    let addresses = "\
addr add 192.0.2.31/24 broadcast 192.0.2.200 dev v0
addr add 192.0.2.32/32 dev v0
";
    ip(&["-batch", "-"], addresses)?;
    let [neighbour, _] = Host::beyond()?;
    neighbour.within(|| {
        let given = "192.0.2.200";
        #[rustfmt::skip]
        ip(&["route", "add", "broadcast", given, "dev", "v1", "table", "local"], "")?;
        Ok(())
    })?;
    let client = neighbour.broadcaster()?;
    for (own, heard) in [
        (CIP4, vec![LINK, CIP4]),
        (WITH_GIVEN, vec![GIVEN, WITH_GIVEN]),
        (ALONE, vec![ALONE]),
    ] {
        scene.attach(Policy::of(Some(own), None).guarded().multicast("5353"))?;
        let server = scene.agent.socket(UDP4)?;
        server.bind(at(ANY4, 5353, 0))?;
        for to in [LINK, GIVEN, own] {
            client.send(Some(at(to, 5353, 0)), to.to_string().as_bytes())?;
        }
        let mut arrived = Vec::new();
        while arrived.last() != Some(&own) {
            arrived.push(String::from_utf8(server.receive()?.0)?.parse()?);
        }
        ensure!(arrived == heard, "{own} heard {arrived:?}");
    }
    Ok(())
}
