//! B10: dual-stack UDP servers at `::` when something comes in between.

use anyhow::{Context, Result, ensure};
use libc::{AF_INET, IPPROTO_IPV6, IPV6_ADDRFORM, SO_BINDTOIFINDEX, SOL_SOCKET};
use oci_bind_hook_tests::hook::BOTH;
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, Net, PEER4, mapped};
use oci_bind_hook_tests::reach::{self, answered};
use oci_bind_hook_tests::socket::{Socket, UDP4, UDP6, at};
use oci_bind_hook_tests::{host, tc};
use rustix::io::Errno;

use crate::dual_changes::refuse;
use crate::dual_datagrams::{open, trial, whole};
use crate::dual_servers::{Test, in_group, plainly};
use crate::observe::PORT;
use crate::row::{Row, Scene};

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let tests: [(_, Test); 6] = [
        ("another server at one of its addresses", conflicts),
        ("one that goes, and one that comes", again),
        ("some that close at once", fleeting),
        ("one that would become an IPv4 socket", transformed),
        ("one that is connected, or of a device", narrowed),
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

fn conflicts(scene: &Scene) -> Result<()> {
    refuse(scene, [UDP6, UDP4], |server, is_dual| {
        if is_dual { whole(server) } else { Ok(()) }
    })
}

fn again(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    for _ in 0..3 {
        let server = open(&scene.agent, PORT, plainly)?;
        whole(&server)?;
    }
    // A server for IPv4 alone, on a socket whose first bind failed.
    let first = open(&scene.agent, PORT, plainly)?;
    let server = scene.agent.socket(UDP6)?;
    let outcome = server.bind(at(ANY6, PORT, 0));
    ensure!(outcome == Err(Errno::ADDRINUSE), "{outcome:?}");
    server.bind(at(mapped(ANY4), PORT + 1, 0))?;
    whole(&first)?;
    assert_half(&server)
}

/// As programs that look for a free port do. Nothing is left behind.
fn fleeting(scene: &Scene) -> Result<()> {
    const BINDS: usize = 10_000;
    host::private_bpffs()?;
    scene.attach(BOTH)?;
    for _ in 0..BINDS {
        drop(open(&scene.agent, PORT, plainly)?);
    }
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    drop(server);
    scene.hook.detach(&scene.cgroup)?;
    scene.hook.unload()?;
    ensure!(host::pins()?.is_empty(), "something keeps the pins");
    Ok(())
}

/// It still hears IPv4, but no IPv6, as on a host without policies.
fn transformed(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    server.connect(at(mapped(PEER4), 9, 0))?;
    server.set(IPPROTO_IPV6, IPV6_ADDRFORM, AF_INET)?;
    server.disconnect()?;
    let client = Socket::new(UDP4)?;
    client.connect(at(CIP4, PORT, 0))?;
    client.send(None, b"ping")?;
    ensure!(server.receive()?.0 == b"ping", "it does not hear {CIP4}");
    let answers = reach::answers(&server, at(CIP6, PORT, 0))?;
    ensure!(!answers, "an IPv4 socket answers at {CIP6}");
    Ok(())
}

/// The kernel gives such a socket only some of the datagrams to its port.
fn narrowed(scene: &Scene) -> Result<()> {
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
    // In a group it leaves the others' datagrams to them, where the kernel delivers to
    // members.
    if !tc::has_tcx()? {
        return Ok(());
    }
    let first = open(&scene.agent, PORT, in_group)?;
    whole(&first)?;
    let second = open(&scene.agent, PORT, in_group)?;
    first.connect(at(mapped(PEER4), 9, 0))?;
    whole(&second)
}

fn reloaded(scene: &Scene) -> Result<()> {
    host::private_bpffs()?;
    scene.attach(BOTH)?;
    let server = open(&scene.agent, PORT, plainly)?;
    whole(&server)?;
    scene.hook.detach(&scene.cgroup)?;
    whole(&server).context("after detach")?;
    scene.hook.unload()?;
    whole(&server).context("after unload")?;
    ensure!(!host::pins()?.is_empty(), "its pins are gone");
    drop(server);
    // Now nothing needs them, not even a socket at the same address in another network
    // namespace, where no device has the programs.
    let hook = &scene.hook;
    Net::isolated(|_| {
        let other = Socket::new(UDP6)?;
        other.bind(at(mapped(CIP4), PORT, 0))?;
        hook.unload()
    })?;
    ensure!(host::pins()?.is_empty(), "pins are left");
    scene.attach(BOTH)?;
    whole(&open(&scene.agent, PORT, plainly)?)
}
