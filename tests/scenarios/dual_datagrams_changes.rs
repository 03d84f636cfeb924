//! B10: UDP servers at `::` of both families when something comes in between.

use anyhow::{Context, Result, ensure};
use libc::{AF_INET, IPPROTO_IPV6, IPV6_ADDRFORM, SO_BINDTOIFINDEX, SOL_SOCKET};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::harness::{attempted, eventually};
use oci_bind_hook_tests::hook::BOTH;
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, PEER4, mapped};
use oci_bind_hook_tests::process::Signal;
use oci_bind_hook_tests::reach::{self, answered};
use oci_bind_hook_tests::serve::Serve;
use oci_bind_hook_tests::socket::{Socket, UDP4, UDP6, at};
use oci_bind_hook_tests::{host, process};
use rustix::io::Errno;

use crate::dual_changes::refuse;
use crate::dual_datagrams::{open, trial, whole};
use crate::dual_servers::{Test, in_group, plainly};
use crate::observe::PORT;
use crate::row::{Row, Scene};

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let tests: [(_, Test); 7] = [
        ("another server at one of its addresses", conflicts),
        ("one that goes, and one that comes", again),
        ("some that close at once", fleeting),
        ("one that would become an IPv4 socket", transformed),
        ("one that is connected, or of a device", narrowed),
        ("serve ends, and another comes", restarted),
        ("detach, and pins that are made anew", reloaded),
    ];
    tests.map(|(what, test)| trial(what, test)).into()
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

fn conflicts(scene: &Scene) -> Result<()> {
    let _serve = Serve::start(&scene.hook)?;
    refuse(scene, [UDP6, UDP4], |server, is_dual| {
        if is_dual { whole(server) } else { Ok(()) }
    })
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
    eventually(|| {
        let server = open(&scene.agent, PORT, plainly)?;
        let is_served = server.local()?.ip() == mapped(CIP4);
        attempted(is_served, || "the new pins are not served".to_owned())
    })?;
    whole(&open(&scene.agent, PORT, plainly)?)
}
