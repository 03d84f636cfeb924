//! G4 to G6: whose sockets a policy governs.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::counters::dropped;
use oci_bind_hook_tests::hook::{BOTH, NEIGHBOUR, V4};
use oci_bind_hook_tests::net::{ANY4, CIP4, HOST4, OTHER4, has_dual};
use oci_bind_hook_tests::socket::{Socket, TCP4, UDP4, at};

use crate::dual_servers::{self, plainly, whole};
use crate::observe::PORT;
use crate::row::{Row, Scene};
use crate::told::open;

type Test = fn(&Scene) -> Result<()>;

/// All rows of this file.
#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let tests: [(_, _, Test); 9] = [
        ("G4", "a socket made outside and passed in is not governed", passed_in),
        ("G4", "a socket made inside and passed out is", passed_out),
        ("G4", "an unbound socket made inside before attach is", early),
        ("G4", "a listening socket made outside accepts inside as before", inherited),
        ("G5", "a process in a child cgroup", |scene| below(scene, false)),
        ("G5", "a process that is moved to a child cgroup", |scene| below(scene, true)),
        ("G5", "a process that joins later, as exec does", joined),
        ("G5", "a container in the container: the outer address wins", nested),
        ("G6", "a process that leaves, and those outside", outside),
    ];
    tests.map(|(id, what, test)| Scene::row(id, what, test)).into()
}

/// To the kernel, a socket belongs to its creator's cgroup for good.
fn passed_in(scene: &Scene) -> Result<()> {
    scene.attach(V4.loopback("auto").guarded())?;
    let socket = Socket::new(TCP4)?;
    scene.agent.bind_passed(&socket, 0)??;
    let name = socket.local()?.ip();
    ensure!(name == ANY4, "it was moved to {name}");
    let made = scene.agent.socket(TCP4)?;
    scene.agent.bind_passed(&made, 0)??;
    let name = made.local()?.ip();
    ensure!(name == CIP4, "its own is at {name}");
    ensure!(dropped(&scene.cgroup)? == (0, 0), "packets were dropped");
    Ok(())
}

fn passed_out(scene: &Scene) -> Result<()> {
    scene.attach(V4.guarded())?;
    let elsewhere = Cgroup::new()?;
    let stranger = Agent::new(&elsewhere)?;
    let socket = scene.agent.socket(TCP4)?;
    stranger.bind_passed(&socket, 0)??;
    let name = socket.local()?.ip();
    ensure!(name == CIP4, "it is at {name}");
    Ok(())
}

fn early(scene: &Scene) -> Result<()> {
    let socket = scene.agent.socket(TCP4)?;
    scene.attach(V4)?;
    socket.bind(at(ANY4, PORT, 0))?;
    let name = socket.local()?.ip();
    ensure!(name == CIP4, "it is at {name}");
    Ok(())
}

/// Like those that systemd passes. What such a socket accepts is its creator's too.
fn inherited(scene: &Scene) -> Result<()> {
    let listener = Socket::new(TCP4)?;
    open(&listener, at(HOST4, PORT, 0))?;
    scene.attach(V4.loopback("auto").guarded())?;
    let client = Socket::new(TCP4)?;
    client.reset_on_close()?;
    client.connect(at(HOST4, PORT, 0))?;
    let accepted = scene.agent.accept_passed(&listener)?;
    accepted.send(None, b"pong")?;
    ensure!(client.receive_connected()? == b"pong", "no pong");
    ensure!(dropped(&scene.cgroup)? == (0, 0), "packets were dropped");
    Ok(())
}

fn below(scene: &Scene, is_moved: bool) -> Result<()> {
    let child = scene.cgroup.child("child")?;
    let process = if is_moved {
        let process = Agent::new(&scene.cgroup)?;
        scene.attach(V4.guarded())?;
        assert_bound(&process, CIP4)?;
        child.take_in(process.id())?;
        process
    } else {
        scene.attach(V4.guarded())?;
        Agent::new(&child)?
    };
    assert_bound(&process, CIP4)?;
    assert_guarded(&process)
}

fn joined(scene: &Scene) -> Result<()> {
    scene.attach(V4.guarded())?;
    let process = Agent::in_root()?;
    assert_bound(&process, ANY4)?;
    scene.cgroup.take_in(process.id())?;
    assert_bound(&process, CIP4)?;
    assert_guarded(&process)
}

/// Programs of ancestors run last, and the last write wins.
fn nested(scene: &Scene) -> Result<()> {
    let inner = scene.cgroup.child("inner")?;
    let process = Agent::new(&inner)?;
    scene.hook.attach(&inner, NEIGHBOUR)?;
    assert_bound(&process, OTHER4)?;
    scene.attach(BOTH)?;
    assert_bound(&process, CIP4)?;
    if has_dual() {
        whole(&dual_servers::open(&process, plainly)?).context("a server of both families")?;
    }
    scene.hook.detach(&scene.cgroup)?;
    assert_bound(&process, OTHER4)?;
    scene.hook.detach(&inner)
}

fn outside(scene: &Scene) -> Result<()> {
    scene.attach(V4.loopback("private").guarded())?;
    let sibling = Cgroup::new()?;
    let stranger = Agent::new(&sibling)?;
    assert_bound(&stranger, ANY4)?;
    let made = scene.agent.socket(TCP4)?;
    sibling.take_in(scene.agent.id())?;
    assert_bound(&scene.agent, ANY4)?;
    // A socket that it made inside stays under the policy.
    made.bind(at(ANY4, 0, 0))?;
    let name = made.local()?.ip();
    ensure!(name == CIP4, "it is at {name}");
    scene.cgroup.take_in(scene.agent.id())?;
    assert_bound(&scene.agent, CIP4)
}

/// Fails unless a server of the process that binds to 0.0.0.0 ends up there.
fn assert_bound(process: &Agent, expected: IpAddr) -> Result<()> {
    let server = process.socket(TCP4)?;
    server.bind(at(ANY4, 0, 0)).context("bind to 0.0.0.0")?;
    let name = server.local()?.ip();
    ensure!(name == expected, "a server is at {name}, not {expected}");
    Ok(())
}

/// Fails unless what the host sends to a wildcard socket of the process is dropped.
fn assert_guarded(process: &Agent) -> Result<()> {
    let server = process.socket(UDP4)?;
    server.send(Some(at(HOST4, PORT, 0)), b"hello")?;
    let port = server.local()?.port();
    let client = Socket::new(UDP4)?;
    for (address, text) in [(HOST4, b"host"), (CIP4, b"own!")] {
        client.send(Some(at(address, port, 0)), text)?;
    }
    let (first, _) = server.receive()?;
    ensure!(first == b"own!", "{:?} was first", String::from_utf8(first));
    Ok(())
}
