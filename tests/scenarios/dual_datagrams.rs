//! B10: dual-stack UDP servers at `::`.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, NEIGHBOUR};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::{
    ANY6, CIP4, CIP6, HOST4, HOST6, LOOP6, Net, OTHER4, OTHER6, PEER6, mapped,
};
use oci_bind_hook_tests::reach::{self, answered};
use oci_bind_hook_tests::socket::{Kind, Socket, UDP6, at, first_ready};
use oci_bind_hook_tests::tc;

use crate::dual_servers::{self, Test, in_group, plainly};
use crate::observe::{PORT, Peer};
use crate::row::{Row, Scene};

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let tests: [(_, Test); 6] = [
        ("what both ends are called", names),
        ("two containers and the host at one port", side_by_side),
        ("an SO_REUSEPORT group shares both families", group),
        ("a thousand servers", thousand),
        ("it calls the loopback of the host", loopback),
        ("in another network namespace", elsewhere),
    ];
    tests.map(|(what, test)| trial(what, test)).into()
}

/// A trial of such servers.
pub fn trial(what: &str, test: impl FnOnce(&Scene) -> Result<()> + Send + 'static) -> Row {
    dual_servers::trial(&format!("UDP: {what}"), test)
}

/// A server of the program in the cgroup, at `::`.
pub fn open(agent: &Agent, port: u16, set_up: impl Fn(&Socket) -> Result<()>) -> Result<Socket> {
    let server = agent.socket(UDP6)?;
    set_up(&server)?;
    server.bind(at(ANY6, port, 0))?;
    Ok(server)
}

/// Fails unless it answers at both addresses, and at no other.
pub fn whole(server: &Socket) -> Result<()> {
    let places = answered(server)?;
    ensure!(places == [CIP4, CIP6], "it answers at {places:?}");
    Ok(())
}

fn names(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.guarded())?;
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    let name = server.local()?;
    ensure!(name == at(mapped(CIP4), PORT, 0), "it is called {name}");
    for (to, from, peer) in [(CIP4, HOST4, mapped(HOST4)), (CIP6, HOST6, HOST6)] {
        let client = Socket::new(Kind::of(false, to))?;
        client.bind(at(from, 0, 0))?;
        // A connected client accepts an answer only from the address that it asked.
        client.connect(at(to, PORT, 0))?;
        client.send(None, b"ping")?;
        let (_, seen) = server.receive()?;
        ensure!(seen.ip() == peer, "the server sees {seen}");
        server.send(Some(seen), b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong from {to}");
        server.send_message(seen, b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong by sendmsg");
    }
    Ok(())
}

fn side_by_side(scene: &Scene) -> Result<()> {
    let second = Cgroup::new()?;
    scene.attach(BOTH)?;
    scene.hook.attach(&second, NEIGHBOUR)?;
    let one = open(&scene.agent, PORT, plainly)?;
    let two = open(&Agent::new(&second)?, PORT, plainly)?;
    let host = Socket::new(UDP6)?;
    host.bind(at(HOST6, PORT, 0))?;
    for (server, own) in [
        (&one, [CIP4, CIP6]),
        (&two, [OTHER4, OTHER6]),
        (&host, [HOST6, HOST6]),
    ] {
        own.into_iter()
            .try_for_each(|address| reach::assert_answers(server, at(address, PORT, 0)))?;
    }
    drop((two, host));
    whole(&one)
}

fn group(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let mut group = Vec::new();
    for _ in 0..4 {
        group.push(open(&scene.agent, PORT, in_group)?);
    }
    // The kernel delivers to members from Linux 6.6 on: before, they are at the IPv6
    // address alone.
    let places = if tc::has_tcx()? {
        &[CIP4, CIP6][..]
    } else {
        &[CIP6]
    };
    while !group.is_empty() {
        for to in places {
            assert_shared(&group, *to)?;
        }
        // The one that has been there longest.
        group.remove(0);
    }
    Ok(())
}

/// Fails unless each of these gets datagrams to this address: enough that one is left out
/// by chance only once in a million runs.
fn assert_shared(group: &[Socket], to: IpAddr) -> Result<()> {
    let mut shares = BTreeSet::new();
    for _ in 0..60 {
        let client = Socket::new(Kind::of(false, to))?;
        client.connect(at(to, PORT, 0))?;
        client.send(None, b"ping")?;
        let all: Vec<_> = group.iter().chain([&client]).collect();
        let member = first_ready(&all)?;
        group
            .get(member)
            .with_context(|| format!("nobody answers at {to}"))?
            .receive()?;
        shares.insert(member);
    }
    let (got, all) = (shares.len(), group.len());
    ensure!(got == all, "of {all} members, {got} serve {to}");
    Ok(())
}

fn thousand(scene: &Scene) -> Result<()> {
    const SERVERS: u16 = 1000;
    if host::raise_descriptors()? < u64::from(SERVERS) + 100 {
        return Err(harness::skip(format!(
            "{SERVERS} descriptors are not allowed"
        )));
    }
    scene.attach(BOTH)?;
    let mut servers = Vec::new();
    for number in 0..SERVERS {
        servers.push(open(&scene.agent, PORT + number, plainly)?);
    }
    for server in &servers {
        let port = server.local()?.port();
        for own in [CIP4, CIP6] {
            reach::assert_answers(server, at(own, port, 0))?;
        }
    }
    Ok(())
}

/// The kernel takes the calling socket for an IPv4 one.
fn loopback(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.loopback("auto"))?;
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    for to in [LOOP6, PEER6] {
        let theirs = Peer::new(false, to)?;
        server.send(Some(theirs.address()), b"ping")?;
        let from = theirs.receive()?;
        ensure!(from == at(CIP6, PORT, 0), "to {to} it comes from {from}");
    }
    // It is also found at localhost itself, by a client in the same container.
    let client = scene.agent.socket(UDP6)?;
    client.send(Some(at(LOOP6, PORT, 0)), b"ping")?;
    let (_, from) = server.receive()?;
    ensure!(from.ip() == LOOP6, "the client comes from {from}");
    server.send(Some(from), b"pong")?;
    let (_, from) = client.receive()?;
    ensure!(from == at(LOOP6, PORT, 0), "the answer comes from {from}");
    Ok(())
}

/// In a network namespace that was made after the programs were loaded.
fn elsewhere(scene: &Scene) -> Result<()> {
    let (hook, cgroup) = (&scene.hook, &scene.cgroup);
    Net::isolated(move |_| {
        hook.attach(cgroup, BOTH)?;
        let agent = Agent::new(cgroup)?;
        let server = open(&agent, PORT, plainly)?;
        whole(&server)
    })
}
