//! G8: what a neighbour sends to all of a link, and to whom.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use libc::{SO_BROADCAST, SOL_SOCKET};
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
    let what = "broadcast of the link to an exempt port, and to no other";
    rows.push(Scene::row("G8", what, directed));
    rows
}

/// A neighbour that takes another address to be at everybody's: what is for it
/// reaches nobody here.
fn unicast(scene: &Scene, mac: &str, v6: bool) -> Result<()> {
    let (kind, router, own, other) = if v6 {
        (UDP6, ROUTER6, CIP6, OTHER6)
    } else {
        (UDP4, ROUTER4, CIP4, OTHER4)
    };
    let [neighbour, _] = Host::beyond()?;
    scene.attach(POLICY)?;
    // At the wildcard, as it has sent without a bind.
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
    // Whichever comes first.
    let arrived = [server.receive()?.0, server.receive()?.0];
    ensure!(
        arrived.contains(&b"other".to_vec()),
        "no such frame arrives: {arrived:?}"
    );
    Ok(())
}

/// The kernel knows the network's broadcast address, the guard does not.
fn directed(scene: &Scene) -> Result<()> {
    let [neighbour, _] = Host::beyond()?;
    scene.attach(POLICY.exempt("8080/udp"))?;
    let exempt = scene.agent.socket(UDP4)?;
    exempt.bind(at(ANY4, PORT, 0))?;
    let wildcard = scene.agent.socket(UDP4)?;
    wildcard.send(Some(at(ROUTER4, PORT, 0)), b"hello")?;
    let client = neighbour.within(|| Socket::new(UDP4))?;
    client.set(SOL_SOCKET, SO_BROADCAST, 1)?;
    client.bind(at(ROUTER4, 0, 0))?;
    for server in [&exempt, &wildcard] {
        let port = server.local()?.port();
        client.send(Some(at(LINK, port, 0)), b"all")?;
        client.send(Some(at(CIP4, port, 0)), b"one")?;
    }
    let mut heard = [exempt.receive()?.0, exempt.receive()?.0];
    heard.sort_unstable();
    ensure!(heard == [b"all", b"one"], "the exempt port heard {heard:?}");
    ensure!(wildcard.receive()?.0 == b"one", "the other port heard it");
    Ok(())
}
