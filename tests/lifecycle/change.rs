//! A policy that is replaced while programs are at work.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::counters::{await_dropped, dropped};
use oci_bind_hook_tests::harness::contained;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR, Policy, V4};
use oci_bind_hook_tests::net::{ANY4, CIP4, OTHER4, PEER4};
use oci_bind_hook_tests::reach;
use oci_bind_hook_tests::socket::{Socket, TCP4, UDP4, at};

use crate::policy::bound;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        contained("attach replaces a policy without a gap", without_gap),
        contained("a policy that changes leaves servers where they are", stay),
        contained(
            "a policy that changes leaves connections alone",
            established,
        ),
    ]
}

/// Two addresses in turn, each time with other programs to attach and detach.
const POLICIES: [Policy; 8] = [
    V4,
    NEIGHBOUR.loopback("auto").guarded(),
    BOTH.loopback("private"),
    NEIGHBOUR,
    BOTH.guarded(),
    NEIGHBOUR.loopback("private").guarded().multicast("5353"),
    V4.loopback("auto"),
    NEIGHBOUR
        .loopback("127.5.6.7")
        .ports("80:8080")
        .exempt("5353"),
];
const CHANGES: usize = 200;

/// While the policy changes all the time, every bind meets one or another.
fn without_gap(hook: &Hook, container: &Container) -> Result<()> {
    hook.attach(&container.cgroup, V4)?;
    let is_done = AtomicBool::new(false);
    let mut seen = [false; 2];
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            let mut all = POLICIES.into_iter().cycle().take(CHANGES);
            let result = all.try_for_each(|policy| hook.attach(&container.cgroup, policy));
            is_done.store(true, Ordering::Relaxed);
            result
        });
        while !is_done.load(Ordering::Relaxed) {
            match bound(&container.init)? {
                CIP4 => seen[0] = true,
                OTHER4 => seen[1] = true,
                elsewhere => anyhow::bail!("a server got to {elsewhere}"),
            }
        }
        changes
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    ensure!(seen == [true; 2], "not both addresses were seen: {seen:?}");
    Ok(())
}

/// A socket keeps the address that it is bound to. Without the guard it goes
/// on as before; with the guard it is cut off.
fn stay(hook: &Hook, container: &Container) -> Result<()> {
    hook.attach(&container.cgroup, V4)?;
    let servers = [container.init.socket(TCP4)?, container.init.socket(UDP4)?];
    for server in &servers {
        server.bind(at(ANY4, 8080, 0))?;
    }
    servers[0].listen()?;
    for policy in [NEIGHBOUR, NEIGHBOUR.loopback("auto"), BOTH] {
        hook.attach(&container.cgroup, policy)?;
        for server in &servers {
            let name = server.local()?;
            ensure!(name.ip() == CIP4, "under {policy:?} it is at {name}");
            ensure!(reach::answers(server, name)?, "no answer under {policy:?}");
        }
    }
    hook.attach(&container.cgroup, NEIGHBOUR.guarded())?;
    let (_, before) = dropped(&container.cgroup)?;
    let client = Socket::new(UDP4)?;
    client.send(Some(servers[1].local()?), b"ping")?;
    await_dropped(&container.cgroup, |(_, after)| after > before)?;
    ensure!(!servers[1].has_input()?, "the guard let a datagram in");
    hook.attach(&container.cgroup, V4.guarded())?;
    client.send(Some(servers[1].local()?), b"pong")?;
    ensure!(
        servers[1].receive()?.0 == b"pong",
        "the guard let a datagram in"
    );
    Ok(())
}

/// Connections in both directions go on without the guard, are cut off by it,
/// and go on again under a policy with their address: TCP sends once more what
/// was dropped.
fn established(hook: &Hook, container: &Container) -> Result<()> {
    hook.attach(&container.cgroup, V4)?;
    let server = container.init.socket(TCP4)?;
    server.bind(at(ANY4, 8080, 0))?;
    server.listen()?;
    let caller = Socket::new(TCP4)?;
    caller.reset_on_close()?;
    caller.connect(at(CIP4, 8080, 0))?;
    let incoming = (server.accept()?, caller);

    let peer = Socket::new(TCP4)?;
    peer.bind(at(PEER4, 8080, 0))?;
    peer.listen()?;
    let client = container.init.socket(TCP4)?;
    client.reset_on_close()?;
    client.connect(at(PEER4, 8080, 0))?;
    let outgoing = (client, peer.accept()?);

    for (inside, outside) in [incoming, outgoing] {
        for policy in [NEIGHBOUR, NEIGHBOUR.loopback("auto"), BOTH.guarded()] {
            hook.attach(&container.cgroup, policy)?;
            let names = (inside.local()?.ip(), outside.peer()?.ip());
            ensure!(names == (CIP4, CIP4), "under {policy:?} {names:?}");
            for (from, to) in [(&inside, &outside), (&outside, &inside)] {
                from.send(None, b"hello")?;
                let got = to.receive_connected()?;
                ensure!(got == b"hello", "under {policy:?} {got:?} arrived");
            }
        }
        hook.attach(&container.cgroup, NEIGHBOUR.guarded())?;
        let (before, _) = dropped(&container.cgroup)?;
        inside.send(None, b"late")?;
        await_dropped(&container.cgroup, |(after, _)| after > before)?;
        ensure!(!outside.has_input()?, "the segment arrived");
        hook.attach(&container.cgroup, V4.guarded())?;
        let got = outside.receive_connected()?;
        ensure!(got == b"late", "{got:?} arrived");
    }
    Ok(())
}
