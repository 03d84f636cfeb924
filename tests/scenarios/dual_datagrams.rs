//! B10: UDP servers at `::` of both families, which take a `serve` that runs.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libc::{AF_INET, IPPROTO_IPV6, IPV6_ADDRFORM, SO_BINDTOIFINDEX, SOL_SOCKET};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bpf::deny_errno;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, NEIGHBOUR};
use oci_bind_hook_tests::net::{
    ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, LOOP6, Net, OTHER4, OTHER6, PEER4, PEER6, mapped,
};
use oci_bind_hook_tests::process::Signal;
use oci_bind_hook_tests::reach::{self, answered};
use oci_bind_hook_tests::serve::Serve;
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, UDP4, UDP6, at, first_ready};
use oci_bind_hook_tests::{harness, host, process};
use rustix::io::Errno;

use crate::dual_servers::{Test, in_group, plainly, trial};
use crate::observe::{PORT, Peer};
use crate::row::{Row, Scene};

/// How long it may take until a server is found at its IPv6 address.
const PATIENCE: Duration = Duration::from_secs(30);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let tests: [(_, Test); 13] = [
        ("what both ends are called", names),
        ("two containers and the host at one port", side_by_side),
        ("an SO_REUSEPORT group shares both families", group),
        ("another server at one of its addresses", conflicts),
        ("one that goes, and one that comes", again),
        ("some that close at once", fleeting),
        ("one that would become an IPv4 socket", transformed),
        ("a thousand servers", thousand),
        ("one that is connected, or of a device", narrowed),
        ("it calls the loopback of the host", loopback),
        ("in another network namespace", elsewhere),
        ("serve ends, and another comes", restarted),
        ("detach, and pins that are made anew", reloaded),
    ];
    tests
        .map(|(what, test)| {
            trial(&format!("UDP: {what}"), move |scene| {
                // There is one `serve` for all pins.
                host::private_bpffs()?;
                test(scene)
            })
        })
        .into()
}

/// A server of the program in the cgroup, at `::`.
fn open(agent: &Agent, port: u16, set_up: impl Fn(&Socket) -> Result<()>) -> Result<Socket> {
    let server = agent.socket(UDP6)?;
    set_up(&server)?;
    server.bind(at(ANY6, port, 0))?;
    Ok(server)
}

/// Waits until it answers at both addresses; fails if it does elsewhere.
fn whole(server: &Socket) -> Result<()> {
    await_places(server, &[CIP4, CIP6])
}

fn await_places(server: &Socket, expected: &[IpAddr]) -> Result<()> {
    harness::eventually(PATIENCE, || {
        let places = answered(server)?;
        ensure!(
            places.iter().all(|place| expected.contains(place)),
            "it answers at {places:?}"
        );
        let is_whole = places == expected;
        Ok(is_whole
            .then_some(())
            .ok_or_else(|| format!("it answers at {places:?} alone")))
    })
}

/// Waits until this server, and nobody else, answers there.
fn await_place(server: &Socket, place: SocketAddr) -> Result<()> {
    harness::eventually(PATIENCE, || {
        let answers = reach::answers(server, place)?;
        Ok(answers
            .then_some(())
            .ok_or_else(|| format!("nobody answers at {place}")))
    })
}

/// A server that is found at its IPv4 address, and nowhere else.
fn assert_half(server: &Socket) -> Result<()> {
    let places = answered(server)?;
    ensure!(places == [CIP4], "it answers at {places:?}");
    Ok(())
}

/// One that `serve` does nothing for.
fn assert_unserved(agent: &Agent, port: u16) -> Result<()> {
    let server = open(agent, port, plainly)?;
    let (name, places) = (server.local()?.ip(), answered(&server)?);
    ensure!(
        (name, places.as_slice()) == (CIP6, &[CIP6]),
        "{name}: {places:?}"
    );
    Ok(())
}

fn names(scene: &Scene) -> Result<()> {
    let _serve = Serve::start(&scene.hook)?;
    scene.attach(BOTH.guarded())?;
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    let name = server.local()?;
    ensure!(name == at(mapped(CIP4), PORT, 0), "it is called {name}");
    for (to, from, peer) in [(CIP4, HOST4, mapped(HOST4)), (CIP6, HOST6, HOST6)] {
        let client = Socket::new(Kind::of(false, to))?;
        client.bind(at(from, 0, 0))?;
        // Connected, it takes an answer from the address alone that it asked.
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
    let _serve = Serve::start(&scene.hook)?;
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
            .try_for_each(|address| await_place(server, at(address, PORT, 0)))?;
    }
    drop((two, host));
    whole(&one)
}

fn group(scene: &Scene) -> Result<()> {
    let _serve = Serve::start(&scene.hook)?;
    scene.attach(BOTH)?;
    let mut group = Vec::new();
    for _ in 0..4 {
        group.push(open(&scene.agent, PORT, in_group)?);
    }
    while !group.is_empty() {
        for to in [CIP4, CIP6] {
            // The last one may not be there yet.
            harness::eventually(PATIENCE, || shares(&group, to))?;
        }
        // The one that has been there longest.
        group.remove(0);
    }
    Ok(())
}

/// Whether each of these gets datagrams to this address: so many that none is
/// left out by chance, but once in a million of runs.
fn shares(group: &[Socket], to: IpAddr) -> Result<std::result::Result<(), String>> {
    let mut shares = BTreeSet::new();
    for _ in 0..60 {
        let client = Socket::new(Kind::of(false, to))?;
        client.connect(at(to, PORT, 0))?;
        client.send(None, b"ping")?;
        let all: Vec<_> = group.iter().chain([&client]).collect();
        let member = first_ready(&all)?;
        match group.get(member) {
            None => return Ok(Err(format!("nobody answers at {to}"))),
            Some(server) => server.receive()?,
        };
        shares.insert(member);
    }
    let (got, all) = (shares.len(), group.len());
    Ok((got == all)
        .then_some(())
        .ok_or_else(|| format!("of {all} members, {got} serve {to}")))
}

/// As on a host without policies, where all of these are at wildcards.
fn conflicts(scene: &Scene) -> Result<()> {
    let _serve = Serve::start(&scene.hook)?;
    scene.attach(BOTH)?;
    let denied = Err(deny_errno(Errno::ADDRINUSE));
    let refused: Outcome<()> = Err(Errno::ADDRINUSE);
    let only6 = UDP6.v6only();
    for ((first, one), (second, two), expected) in [
        ((UDP6, ANY6), (only6, ANY6), denied),
        ((only6, ANY6), (UDP6, ANY6), denied),
        ((UDP6, ANY6), (UDP6, CIP6), denied),
        ((UDP6, ANY6), (UDP4, ANY4), refused),
        ((UDP4, ANY4), (UDP6, ANY6), refused),
        ((UDP6, ANY6), (UDP6, ANY6), refused),
        ((UDP4, ANY4), (only6, ANY6), Ok(())),
    ] {
        let server = scene.agent.socket(first)?;
        server.bind(at(one, PORT, 0))?;
        if (first, one) == (UDP6, ANY6) {
            whole(&server)?;
        }
        let outcome = scene.agent.socket(second)?.bind(at(two, PORT, 0));
        ensure!(
            outcome == expected,
            "{first:?} at {one}, then {second:?} at {two}: {outcome:?}, not {expected:?}"
        );
    }
    Ok(())
}

fn again(scene: &Scene) -> Result<()> {
    let _serve = Serve::start(&scene.hook)?;
    scene.attach(BOTH)?;
    for _ in 0..3 {
        let server = open(&scene.agent, PORT, plainly)?;
        whole(&server)?;
    }
    // One for IPv4 alone, of a socket whose first bind failed.
    let first = open(&scene.agent, PORT, plainly)?;
    let server = scene.agent.socket(UDP6)?;
    let outcome = server.bind(at(ANY6, PORT, 0));
    ensure!(outcome == Err(Errno::ADDRINUSE), "{outcome:?}");
    server.bind(at(mapped(ANY4), PORT + 1, 0))?;
    whole(&first)?;
    assert_half(&server)
}

/// Whoever looks for a free port does so. None is left in the map, in whose slots
/// the next ones would not find room.
fn fleeting(scene: &Scene) -> Result<()> {
    const BINDS: usize = 10_000;
    let _serve = Serve::start(&scene.hook)?;
    scene.attach(BOTH)?;
    for _ in 0..BINDS {
        drop(open(&scene.agent, PORT, plainly)?);
    }
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    drop(server);
    scene.hook.detach(&scene.cgroup)?;
    // It keeps the pins for servers that are left.
    scene.hook.unload()?;
    ensure!(host::pins()?.is_empty(), "servers are left in the map");
    Ok(())
}

/// Which the kernel would not take out of the map.
fn transformed(scene: &Scene) -> Result<()> {
    let _serve = Serve::start(&scene.hook)?;
    scene.attach(BOTH)?;
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    server.connect(at(mapped(PEER4), 9, 0))?;
    let outcome = server.set(IPPROTO_IPV6, IPV6_ADDRFORM, AF_INET);
    let Err(error) = outcome else {
        anyhow::bail!("it has become one");
    };
    ensure!(
        error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::raw_os_error)
            == Some(libc::EPERM),
        "{error:#}"
    );
    Ok(())
}

fn thousand(scene: &Scene) -> Result<()> {
    const SERVERS: u16 = 1000;
    if host::raise_descriptors()? < u64::from(SERVERS) + 100 {
        return Err(harness::skip(format!(
            "{SERVERS} descriptors are not allowed"
        )));
    }
    let _serve = Serve::start(&scene.hook)?;
    scene.attach(BOTH)?;
    let mut servers = Vec::new();
    for number in 0..SERVERS {
        servers.push(open(&scene.agent, PORT + number, plainly)?);
    }
    for server in &servers {
        let port = server.local()?.port();
        for own in [CIP4, CIP6] {
            await_place(server, at(own, port, 0))?;
        }
    }
    Ok(())
}

/// The kernel gives such a socket less than all datagrams to its port.
fn narrowed(scene: &Scene) -> Result<()> {
    let _serve = Serve::start(&scene.hook)?;
    scene.attach(BOTH)?;
    let nobody = |server: &Socket, what: &str| -> Result<()> {
        let answers = reach::answers(server, at(CIP6, PORT, 0))?;
        ensure!(!answers, "it answers at {CIP6}, {what}");
        Ok(())
    };
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    server.connect(at(mapped(PEER4), 9, 0))?;
    nobody(&server, "connected")?;
    server.disconnect()?;
    whole(&server)?;
    let device = scene.net.link().cast_signed();
    server.set(SOL_SOCKET, SO_BINDTOIFINDEX, device)?;
    nobody(&server, "of a device")?;
    drop(server);
    // In a group it leaves the others theirs.
    let first = open(&scene.agent, PORT, in_group)?;
    whole(&first)?;
    let second = open(&scene.agent, PORT, in_group)?;
    first.connect(at(mapped(PEER4), 9, 0))?;
    whole(&second)
}

/// From a socket that the kernel takes for one of IPv4.
fn loopback(scene: &Scene) -> Result<()> {
    let _serve = Serve::start(&scene.hook)?;
    scene.attach(BOTH.loopback("auto"))?;
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    for to in [LOOP6, PEER6] {
        let theirs = Peer::new(false, to)?;
        server.send(Some(theirs.address()), b"ping")?;
        let from = theirs.receive()?;
        ensure!(from == at(CIP6, PORT, 0), "to {to} it comes from {from}");
    }
    // And is found at localhost itself, by a client of the same container.
    let client = scene.agent.socket(UDP6)?;
    client.send(Some(at(LOOP6, PORT, 0)), b"ping")?;
    let (_, from) = server.receive()?;
    ensure!(from.ip() == LOOP6, "the client comes from {from}");
    server.send(Some(from), b"pong")?;
    let (_, from) = client.receive()?;
    ensure!(from == at(LOOP6, PORT, 0), "the answer comes from {from}");
    Ok(())
}

/// `serve` is in the first one.
fn elsewhere(scene: &Scene) -> Result<()> {
    let _serve = Serve::start(&scene.hook)?;
    let (hook, cgroup) = (&scene.hook, &scene.cgroup);
    Net::isolated(move |_| {
        hook.attach(cgroup, BOTH)?;
        let agent = Agent::new(cgroup)?;
        // By the process itself, which is all in this namespace.
        let server = agent.socket(UDP6)?;
        agent.bind_passed(&server, PORT)??;
        whole(&server)
    })
}

fn restarted(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    assert_unserved(&scene.agent, PORT)?;
    for signal in [Signal::TERM, Signal::KILL] {
        let serve = Serve::start(&scene.hook)?;
        let second = process::run(&mut scene.hook.command("serve"), b"")?;
        ensure!(
            second.status.code() == Some(1)
                && second.stderr.contains("another process serves UDP already"),
            "{second:?}"
        );
        let server = open(&scene.agent, PORT, plainly)?;
        whole(&server).context("served")?;
        serve.end(signal)?;
        whole(&server).context("when serve has ended")?;
        assert_unserved(&scene.agent, PORT + 1)?;
    }
    Ok(())
}

fn reloaded(scene: &Scene) -> Result<()> {
    let serve = Serve::start(&scene.hook)?;
    scene.attach(BOTH)?;
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    scene.hook.detach(&scene.cgroup)?;
    scene.hook.unload()?;
    whole(&server).context("after detach and unload")?;
    drop(server);
    // Now nobody needs them. It sees what has come of it all.
    serve.signal(Signal::STOP)?;
    scene.hook.unload()?;
    ensure!(host::pins()?.is_empty(), "pins are left");
    scene.attach(BOTH)?;
    serve.signal(Signal::CONT)?;
    harness::eventually(PATIENCE, || {
        let server = open(&scene.agent, PORT, plainly)?;
        Ok((server.local()?.ip() == mapped(CIP4))
            .then_some(())
            .ok_or_else(|| "the new pins are not served".to_owned()))
    })?;
    whole(&open(&scene.agent, PORT, plainly)?)
}
