//! B24: a dual-stack `::` server where the host already serves the port at IPv6.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use libc::{SO_REUSEADDR, SO_REUSEPORT, SOL_SOCKET};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bpf::deny_errno;
use oci_bind_hook_tests::hook::BOTH;
use oci_bind_hook_tests::net::{ANY6, CIP4, CIP6, require_dual};
use oci_bind_hook_tests::reach;
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP6, UDP6, at};
use rustix::fs::fchown;
use rustix::io::Errno;
use rustix::process::Uid;

use crate::observe::PORT;
use crate::row::{Row, Scene};
use crate::{dual_datagrams, dual_servers};

/// An option that both sockets have, or none.
type Shared = Option<i32>;

const IN_USE: Outcome<()> = Err(Errno::ADDRINUSE);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    vec![
        Scene::row("B24", "UDP: somebody binds its address later", |scene| {
            require_dual()?;
            later(scene)
        }),
        Scene::row("B24", "TCP: the host's server was there first", |scene| {
            require_dual()?;
            streams(scene)
        }),
        Scene::row("B24", "UDP: the host's server was there first", |scene| {
            require_dual()?;
            datagrams(scene)
        }),
    ]
}

fn streams(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let only6 = TCP6.v6only();
    for (first, owner, shared, expected) in [
        ((only6, ANY6), None, None, IN_USE),
        ((TCP6, CIP6), None, None, IN_USE),
        ((only6, ANY6), None, Some(SO_REUSEADDR), IN_USE),
        ((only6, ANY6), None, Some(SO_REUSEPORT), Ok(())),
        ((only6, ANY6), Some(1000), Some(SO_REUSEPORT), IN_USE),
    ] {
        let there = Server::first(first, owner, shared)?;
        if let Some(server) = there.compare(&scene.agent, TCP6, shared, expected)? {
            server.listen()?;
            let is_called = reach::answers(&server, at(CIP4, PORT, 0))?;
            ensure!(is_called, "it is not called at {CIP4}");
        }
        drop(there);
        dual_servers::whole(&dual_servers::open(&scene.agent, dual_servers::plainly)?)?;
    }
    Ok(())
}

/// The kernel allows that, since it sees no conflict between the addresses.
fn later(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let server = dual_datagrams::open(&scene.agent, PORT, dual_servers::plainly)?;
    let stranger = Socket::new(UDP6.v6only())?;
    stranger.bind(at(CIP6, PORT, 0))?;
    dual_datagrams::whole(&server)?;
    // If the kernel chose the port, nobody could know who else has it.
    drop((server, stranger));
    let first = Socket::new(UDP6.v6only())?;
    first.bind(at(CIP6, 0, 0))?;
    let server = scene.agent.socket(UDP6)?;
    let port = first.local()?.port();
    scene.net.only_port(port)?;
    server.bind(at(ANY6, 0, 0))?;
    ensure!(server.local()?.port() == port, "it is elsewhere");
    // The caller needs a port too.
    scene.net.squeeze_ports(1000)?;
    let is_called = reach::answers(&first, at(CIP6, port, 0))?;
    ensure!(is_called, "it is not called any more");
    Ok(())
}

fn datagrams(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let only6 = UDP6.v6only();
    for (first, owner, shared, expected) in [
        ((only6, ANY6), None, None, IN_USE),
        ((UDP6, CIP6), None, None, IN_USE),
        ((only6, ANY6), None, Some(SO_REUSEADDR), Ok(())),
        ((only6, ANY6), None, Some(SO_REUSEPORT), Ok(())),
        ((only6, ANY6), Some(1000), Some(SO_REUSEPORT), IN_USE),
        ((only6, ANY6), Some(1000), Some(SO_REUSEADDR), Ok(())),
    ] {
        let there = Server::first(first, owner, shared)?;
        there.compare(&scene.agent, UDP6, shared, expected)?;
        drop(there);
        let plainly = dual_servers::plainly;
        dual_datagrams::whole(&dual_datagrams::open(&scene.agent, PORT, plainly)?)?;
    }
    Ok(())
}

/// A server of the host.
struct Server {
    socket: Socket,
    what: String,
}

impl Server {
    /// One that is there first. Its socket belongs to `owner`, if given, otherwise to us.
    fn first((kind, place): (Kind, IpAddr), owner: Option<u32>, shared: Shared) -> Result<Self> {
        let socket = Socket::new(kind)?;
        share(&socket, shared)?;
        if let Some(owner) = owner {
            fchown(&socket, Some(Uid::from_raw(owner)), None).context("give the socket away")?;
        }
        socket.bind(at(place, PORT, 0))?;
        if kind.tcp {
            socket.listen()?;
        }
        let what = format!("{kind:?} at {place} of {owner:?}, option {shared:?}");
        Ok(Self { socket, what })
    }

    /// Binds to `::` without a policy, and from the program in the cgroup: both have the
    /// expected outcome, and if that is an error, this server is called as before.
    fn compare(
        &self,
        agent: &Agent,
        kind: Kind,
        shared: Shared,
        expected: Outcome<()>,
    ) -> Result<Option<Socket>> {
        let what = &self.what;
        let outside = Socket::new(kind)?;
        share(&outside, shared)?;
        let plain = outside.bind(at(ANY6, PORT, 0));
        ensure!(plain == expected, "{what}: without a policy {plain:?}");
        drop(outside);
        let inside = agent.socket(kind)?;
        share(&inside, shared)?;
        let bound = inside.bind(at(ANY6, PORT, 0));
        // The kernel itself may refuse it, too.
        let is_expected = bound == expected || bound == expected.map_err(deny_errno);
        ensure!(is_expected, "{what}: {bound:?}");
        if expected.is_ok() {
            return Ok(Some(inside));
        }
        let is_called = reach::answers(&self.socket, at(CIP6, PORT, 0))?;
        ensure!(is_called, "{what}: it is not called any more");
        Ok(None)
    }
}

fn share(socket: &Socket, shared: Shared) -> Result<()> {
    match shared {
        Some(option) => socket.set(SOL_SOCKET, option, 1),
        None => Ok(()),
    }
}
