//! B10: dual-stack `::` servers when something comes in between.

use anyhow::{Context, Result, ensure};
use libc::{SO_BINDTOIFINDEX, SOL_SOCKET};
use oci_bind_hook_ebpf::decide::dual::SLOTS;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bpf::deny_errno;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, NEIGHBOUR, Policy};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, OTHER4, mapped};
use oci_bind_hook_tests::reach::{answered, assert_refused};
use oci_bind_hook_tests::socket::{Kind, Socket, TCP4, TCP6, at};
use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::dual_servers::{Test, assert_shared, in_group, open, plainly, trial, whole};
use crate::observe::PORT;
use crate::row::{Row, Scene};

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let tests: [(_, Test); 7] = [
        ("a member of a group that pauses", pause),
        ("a member that takes no more than one slot", turns),
        ("another server at one of its addresses", conflicts),
        ("a bind that fails leaves nothing", failed),
        ("an address that has moved on", moved_on),
        ("a server that is bound to a device later", of_device),
        ("a member that pauses under no policy", unseen),
    ];
    tests.map(|(what, test)| trial(what, test)).into()
}

/// Like proxies that hand over to others: a socket that was shut down does not listen, but
/// can do so again.
fn pause(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let (one, two) = (open(&scene.agent, in_group)?, open(&scene.agent, in_group)?);
    // The kernel refuses this, after the program has seen it.
    let again = one.bind(at(ANY6, PORT + 1, 0));
    ensure!(again == Err(Errno::INVAL), "bound twice: {again:?}");
    shutdown(&one, Shutdown::Read)?;
    assert_shared(&[&two]).context("the first is shut down")?;
    one.listen()?;
    assert_shared(&[&one, &two]).context("it is back")?;
    shutdown(&two, Shutdown::Read)?;
    assert_shared(&[&one]).context("the second is shut down")
}

/// However often it listens. A socket that was shut down before it listens stays marked as
/// shut down.
fn turns(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let one = open(&scene.agent, in_group)?;
    for _ in 0..SLOTS {
        one.disconnect()?;
        let before = shutdown(&one, Shutdown::Write);
        ensure!(before == Err(Errno::NOTCONN), "shut down: {before:?}");
        one.listen()?;
    }
    let two = open(&scene.agent, in_group)?;
    assert_shared(&[&one, &two])?;
    drop(one);
    assert_shared(&[&two]).context("the first is closed")
}

fn conflicts(scene: &Scene) -> Result<()> {
    refuse(scene, [TCP6, TCP4], |server, _| Ok(server.listen()?))
}

/// As on a host without policies, where all of these are at wildcard addresses. `ready` is
/// called after the first bind, and is told whether that made a dual-stack server.
pub fn refuse(
    scene: &Scene,
    [six, four]: [Kind; 2],
    ready: impl Fn(&Socket, bool) -> Result<()>,
) -> Result<()> {
    scene.attach(BOTH)?;
    let in_use = |own: bool| {
        Err(if own {
            deny_errno(Errno::ADDRINUSE)
        } else {
            Errno::ADDRINUSE
        })
    };
    let only6 = six.v6only();
    // First, second, the outcome of the second, and whether it is our program that refuses
    // it.
    for ((first, one), (second, two), expected) in [
        ((six, ANY6), (only6, ANY6), in_use(true)),
        ((only6, ANY6), (six, ANY6), in_use(true)),
        ((six, ANY6), (six, CIP6), in_use(true)),
        ((six, ANY6), (four, ANY4), in_use(false)),
        ((four, ANY4), (six, ANY6), in_use(false)),
        ((six, ANY6), (six, ANY6), in_use(false)),
        ((four, ANY4), (only6, ANY6), Ok(())),
    ] {
        let server = scene.agent.socket(first)?;
        server.bind(at(one, PORT, 0))?;
        ready(&server, (first, one) == (six, ANY6))?;
        let outcome = scene.agent.socket(second)?.bind(at(two, PORT, 0));
        ensure!(
            outcome == expected,
            "{first:?} at {one}, then {second:?} at {two}: {outcome:?}, not {expected:?}"
        );
    }
    Ok(())
}

/// The next bind of the same socket is for IPv4 alone.
fn failed(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let first = open(&scene.agent, plainly)?;
    let server = scene.agent.socket(TCP6)?;
    let outcome = server.bind(at(ANY6, PORT, 0));
    ensure!(outcome == Err(Errno::ADDRINUSE), "{outcome:?}");
    server.bind(at(mapped(ANY4), PORT + 1, 0))?;
    server.listen()?;
    let places = answered(&server)?;
    ensure!(places == [CIP4], "it answers at {places:?}");
    drop(first);
    Ok(())
}

/// Its server keeps serving there, and nobody else gets the address meanwhile.
fn moved_on(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let server = open(&scene.agent, plainly)?;
    scene.attach(NEIGHBOUR)?;
    whole(&server)?;
    let other = Cgroup::new()?;
    scene
        .hook
        .attach(&other, Policy::of(Some(OTHER4), Some(CIP6)))?;
    for kind in [TCP6, TCP6.v6only()] {
        let next = Agent::new(&other)?.socket(kind)?.bind(at(ANY6, PORT, 0));
        let in_use = Err(deny_errno(Errno::ADDRINUSE));
        ensure!(next == in_use, "{kind:?}: {next:?}");
    }
    Ok(())
}

/// Nothing would check whether a call comes from that device.
fn of_device(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let server = open(&scene.agent, plainly)?;
    whole(&server)?;
    let device = scene.net.link().cast_signed();
    server.set(SOL_SOCKET, SO_BINDTOIFINDEX, device)?;
    assert_refused(&[CIP6], PORT)
}

/// No program is called when it pauses.
fn unseen(scene: &Scene) -> Result<()> {
    scene.attach(BOTH)?;
    let (one, two) = (open(&scene.agent, in_group)?, open(&scene.agent, in_group)?);
    scene.hook.detach(&scene.cgroup)?;
    shutdown(&one, Shutdown::Read)?;
    assert_shared(&[&two])?;
    scene.attach(BOTH)?;
    one.listen()?;
    assert_shared(&[&one, &two])?;
    drop(two);
    assert_shared(&[&one])
}
