//! B15, L1 and L4: what containers are to each other.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, LOOP4, Net, OTHER4, OTHER6};
use oci_bind_hook_tests::reach;
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6, at};
use rustix::io::Errno;

use crate::observe::PORT;
use crate::row::{Row, Scene};
use crate::told::{serve, take};

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows: Vec<_> = [
        (TCP4, ANY4, [CIP4, OTHER4, HOST4]),
        (UDP4, ANY4, [CIP4, OTHER4, HOST4]),
        (TCP6.v6only(), ANY6, [CIP6, OTHER6, HOST6]),
        (UDP6.v6only(), ANY6, [CIP6, OTHER6, HOST6]),
    ]
    .map(|(kind, any, inside)| {
        let name = format!("B15 {kind:?} two containers and the host at one port");
        Row::alone("B15", name, move || {
            Net::isolated(|net| side_by_side(net, kind, any, inside))
        })
    })
    .into();
    // The first is the host's, which all programs there share.
    for (id, loopback, kind, seen) in [
        ("L1", "auto", TCP4, LOOP4),
        ("L1", "auto", UDP4, LOOP4),
        ("L4", "private", TCP4, NEIGHBOUR_LOOP),
        ("L4", "private", UDP4, NEIGHBOUR_LOOP),
    ] {
        let what = format!("{kind:?} bound to {LOOP4} calls another container, {loopback}");
        rows.push(Scene::row(id, &what, move |scene| {
            from_loopback(scene, loopback, kind, seen)
        }));
    }
    rows
}

/// The address in 127.128.0.0/9 that is derived from 192.0.2.20.
const NEIGHBOUR_LOOP: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 128, 2, 20));

/// The documented limit: within a host, a client that binds to loopback calls
/// every container's server from there.
fn from_loopback(scene: &Scene, loopback: &'static str, kind: Kind, seen: IpAddr) -> Result<()> {
    scene.attach(BOTH.loopback(loopback).guarded())?;
    let server = serve(&scene.inside(), kind, at(ANY4, PORT, 0))?;
    let name = server.local()?;
    ensure!(name.ip() == CIP4, "the server is at {name}");
    let other = Cgroup::new()?;
    scene
        .hook
        .attach(&other, NEIGHBOUR.loopback(loopback).guarded())?;
    let client = Agent::new(&other)?.socket(kind)?;
    client.bind(at(LOOP4, 0, 0))?;
    client.connect(name)?;
    let from = if kind.tcp {
        server.accept()?.peer()?
    } else {
        client.send(None, b"ping")?;
        take(&server)?
    };
    ensure!(from.ip() == seen, "it is seen from {from}");
    Ok(())
}

fn side_by_side(net: Net, kind: Kind, any: IpAddr, inside: [IpAddr; 3]) -> Result<()> {
    let (one, two) = (Cgroup::new()?, Cgroup::new()?);
    let (first, second) = (Agent::new(&one)?, Agent::new(&two)?);
    let hook = Hook::new()?;
    let [_, _, host] = inside;

    hook.attach(&one, BOTH)?;
    hook.attach(&two, NEIGHBOUR)?;
    let seen = serve_all(net, [first.socket(kind)?, second.socket(kind)?], any, host)?;
    ensure!(seen == inside.map(Ok), "in the cgroups: {seen:?}");

    // Without a policy the first wildcard socket takes the port from all others.
    let crowded = [Ok(any), Err(Errno::ADDRINUSE), Err(Errno::ADDRINUSE)];
    let seen = serve_all(net, [Socket::new(kind)?, Socket::new(kind)?], any, host)?;
    ensure!(seen == crowded, "outside: {seen:?}");

    hook.detach(&one)?;
    hook.detach(&two)?;
    let seen = serve_all(net, [first.socket(kind)?, second.socket(kind)?], any, host)?;
    ensure!(seen == crowded, "after detach: {seen:?}");
    Ok(())
}

/// Binds two containers' sockets to the wildcard address and then the host's own to its
/// address, all at one port and at once; each must answer where it says.
fn serve_all(net: Net, containers: [Socket; 2], any: IpAddr, host: IpAddr) -> Result<[Outcome; 3]> {
    let [one, two] = containers;
    let three = Socket::new(one.kind())?;
    let servers = [one, two, three];
    let mut outcomes = [Err(Errno::IO); 3];
    for ((server, asked), outcome) in servers.iter().zip([any, any, host]).zip(&mut outcomes) {
        *outcome = match server.bind(at(asked, PORT, net.link())) {
            Ok(()) => Ok(server.local()?.ip()),
            Err(errno) => Err(errno),
        };
        if outcome.is_ok() && server.kind().tcp {
            server.listen()?;
        }
    }
    for (server, outcome) in servers.iter().zip(outcomes) {
        match outcome {
            Ok(address) if address.is_unspecified() => reach::assert_as_named(server)?,
            Ok(_) => ensure!(reach::answers(server, server.local()?)?, "no answer"),
            Err(_) => {}
        }
    }
    Ok(outcomes)
}
