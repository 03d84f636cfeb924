//! B10: what happens to dual-stack `::` servers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use libc::{SO_REUSEADDR, SO_REUSEPORT, SOL_SOCKET};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::harness::skip;
use oci_bind_hook_tests::hook::{BOTH, NEIGHBOUR};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::{
    ANY6, CIP4, CIP6, HOST4, HOST6, Net, OTHER4, OTHER6, mapped, require_dual,
};
use oci_bind_hook_tests::reach::{self, answered, assert_refused};
use oci_bind_hook_tests::socket::{Kind, Socket, TCP6, at, first_ready};
use rustix::net::{Shutdown, shutdown};

use crate::observe::PORT;
use crate::row::{Row, Scene};

const MAPPED_CIP: IpAddr = mapped(CIP4);

pub type Test = fn(&Scene) -> Result<()>;

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let tests: [(_, Test); 7] = [
        ("what both ends of a connection are called", names),
        ("two containers and the host at one port", side_by_side),
        ("an SO_REUSEPORT group shares both families", group),
        ("a server that goes, and one that comes", again),
        ("detach leaves what there is", detached),
        ("a thousand servers", thousand),
        ("a server in another network namespace", elsewhere),
    ];
    tests.map(|(what, test)| trial(what, test)).into()
}

/// A trial of this row, on kernels that have such servers.
pub fn trial(what: &str, test: impl FnOnce(&Scene) -> Result<()> + Send + 'static) -> Row {
    Scene::row("B10", what, move |scene| {
        require_dual()?;
        test(scene)
    })
}

/// A server of the program in the cgroup, at `::`.
pub fn open(agent: &Agent, set_up: impl Fn(&Socket) -> Result<()>) -> Result<Socket> {
    let server = agent.socket(TCP6)?;
    set_up(&server)?;
    server.bind(at(ANY6, PORT, 0))?;
    server.listen()?;
    Ok(server)
}

/// Fails unless it answers at both addresses, and nowhere else.
pub fn whole(server: &Socket) -> Result<()> {
    let places = answered(server)?;
    ensure!(places == [CIP4, CIP6], "it answers at {places:?}");
    Ok(())
}

pub fn plainly(_: &Socket) -> Result<()> {
    Ok(())
}

pub fn in_group(socket: &Socket) -> Result<()> {
    socket.set(SOL_SOCKET, SO_REUSEPORT, 1)
}

fn names(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.guarded())?;
    let server = open(&scene.agent, plainly)?;
    for (to, from, local, peer) in [
        (CIP4, HOST4, MAPPED_CIP, mapped(HOST4)),
        (CIP6, HOST6, CIP6, HOST6),
    ] {
        let client = Socket::new(Kind::of(true, to))?;
        client.bind(at(from, 0, 0))?;
        client.connect(at(to, PORT, 0))?;
        let accepted = server.accept()?;
        let seen = (accepted.local()?, accepted.peer()?.ip());
        ensure!(
            seen == (at(local, PORT, 0), peer),
            "the server sees {seen:?}"
        );
        let name = client.peer()?;
        ensure!(name == at(to, PORT, 0), "the client sees {name}");
        accepted.send(None, b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong from {to}");
    }
    Ok(())
}

fn side_by_side(scene: &Scene) -> Result<()> {
    let second = Cgroup::new()?;
    scene.attach(BOTH)?;
    scene.hook.attach(&second, NEIGHBOUR)?;
    let one = open(&scene.agent, plainly)?;
    let two = open(&Agent::new(&second)?, plainly)?;
    let host = Socket::new(TCP6)?;
    host.bind(at(HOST6, PORT, 0))?;
    host.listen()?;
    // If a neighbour got the connection, somebody else would answer: an error.
    for (server, own) in [(&one, [CIP4, CIP6]), (&two, [OTHER4, OTHER6])] {
        for address in own {
            let place = at(address, PORT, 0);
            ensure!(reach::answers(server, place)?, "nobody answers at {place}");
        }
    }
    ensure!(
        reach::answers(&host, at(HOST6, PORT, 0))?,
        "the host does not answer"
    );
    drop((two, host));
    whole(&one)
}

/// Fails unless each of these, and nobody else, gets connections to both addresses: enough
/// that one is left out by chance only once in a million runs.
pub fn assert_shared(group: &[&Socket]) -> Result<()> {
    for to in [CIP4, CIP6] {
        let mut shares = BTreeSet::new();
        for _ in 0..60 {
            let client = Socket::new(Kind::of(true, to))?;
            client.reset_on_close()?;
            client.connect(at(to, PORT, 0))?;
            let member = first_ready(group)?;
            group[member].accept()?;
            shares.insert(member);
        }
        let (got, all) = (shares.len(), group.len());
        ensure!(got == all, "of {all} members, {got} serve {to}");
    }
    Ok(())
}

fn group(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let mut group = Vec::new();
    for _ in 0..4 {
        group.push(open(&scene.agent, in_group)?);
    }
    while !group.is_empty() {
        assert_shared(&group.iter().collect::<Vec<_>>())?;
        // The one that has been there longest.
        group.remove(0);
    }
    assert_refused(&[CIP4, CIP6], PORT)
}

fn again(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let reusing = |socket: &Socket| socket.set(SOL_SOCKET, SO_REUSEADDR, 1);
    for _ in 0..3 {
        let server = open(&scene.agent, reusing)?;
        whole(&server)?;
        server.listen()?;
        whole(&server).context("with another backlog")?;
        // The kernel lets a server that was shut down listen again.
        shutdown(&server, Shutdown::Read)?;
        assert_refused(&[CIP4, CIP6], PORT)?;
        server.listen()?;
        whole(&server).context("listening again")?;
        drop(server);
        assert_refused(&[CIP4, CIP6], PORT)?;
    }
    Ok(())
}

fn detached(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.guarded())?;
    let server = open(&scene.agent, plainly)?;
    let mut pairs = Vec::new();
    for to in [CIP4, CIP6] {
        let client = Socket::new(Kind::of(true, to))?;
        client.connect(at(to, PORT, 0))?;
        pairs.push((server.accept()?, client));
    }
    scene.hook.detach(&scene.cgroup)?;
    scene.hook.unload()?;
    for (accepted, client) in &pairs {
        accepted.send(None, b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong");
    }
    whole(&server)
}

fn thousand(scene: &Scene) -> Result<()> {
    const SERVERS: u16 = 1000;
    if host::raise_descriptors()? < u64::from(SERVERS) + 100 {
        return Err(skip(format!("{SERVERS} descriptors are not allowed")));
    }
    scene.attach(BOTH)?;
    let mut servers = Vec::new();
    for number in 0..SERVERS {
        let server = scene.agent.socket(TCP6)?;
        server.bind(at(ANY6, PORT + number, 0))?;
        server.listen()?;
        servers.push(server);
    }
    for server in &servers {
        let port = server.local()?.port();
        for own in [CIP4, CIP6] {
            let place = at(own, port, 0);
            ensure!(reach::answers(server, place)?, "nobody answers at {place}");
        }
    }
    Ok(())
}

/// Calls are steered only in the namespace that the policy was made in.
fn elsewhere(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let cgroup = &scene.cgroup;
    Net::isolated(move |_| {
        let server = open(&Agent::new(cgroup)?, plainly)?;
        let name = server.local()?.ip();
        ensure!(name == CIP6, "it is at {name}");
        let places = answered(&server)?;
        ensure!(places == [CIP6], "it answers at {places:?}");
        Ok(())
    })
}
