//! G5: somebody else's programs on the same cgroup, below it and above it.

use std::fs::File;

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bpf::{self, deny_errno};
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::counters::{await_dropped, dropped};
use oci_bind_hook_tests::foreign::{BIND4, CONNECT4, EGRESS, Foreign, Member, Mode, SENDMSG4};
use oci_bind_hook_tests::hook::{BOTH, Policy, V4, V6};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::{ANY4, CIP4, OTHER4, PEER4, peer4};
use oci_bind_hook_tests::socket::{Outcome, Socket, TCP4, UDP4, at};
use rustix::io::Errno;

use crate::observe::{PORT, Peer, dial, done};
use crate::row::{Row, Scene};

type Test = fn(&Scene) -> Result<()>;

/// All rows of this file.
#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let tests: [(_, Test); 8] = [
        ("an ancestor's program has the last word on a bind", last_bind),
        ("an ancestor's program has the last word on a connect", last_connect),
        ("an ancestor's program has the last word on a datagram", last_datagram),
        ("a descendant's program is overruled", descendant),
        ("an ancestor's program refuses", refusing),
        ("an ancestor's overridable program does not run below", overridden),
        ("somebody else's packet program in the same cgroup runs too", packets),
        ("somebody else's programs stay through attach, detach and unload", stay),
    ];
    tests.map(|(what, test)| Scene::row("G5", what, test)).into()
}

/// A policy on a cgroup below that of the scene, which is somebody else's.
struct Below<'a> {
    scene: &'a Scene,
    /// A process under the policy.
    process: Agent,
    cgroup: Cgroup,
}

impl<'a> Below<'a> {
    fn new(scene: &'a Scene, policy: Policy) -> Result<Self> {
        let cgroup = scene.cgroup.child("below")?;
        scene.hook.attach(&cgroup, policy)?;
        Ok(Self {
            scene,
            process: Agent::new(&cgroup)?,
            cgroup,
        })
    }

    /// Attaches a program to the ancestor.
    fn above(&self, program: &Foreign) -> Result<()> {
        program.attach(&self.scene.cgroup, Mode::Multi)
    }

    /// Detaches it.
    fn gone(&self, program: &Foreign) -> Result<()> {
        program.detach(&self.scene.cgroup)
    }

    /// Replaces the policy with another one.
    fn change(&self, policy: Policy) -> Result<()> {
        self.scene.hook.attach(&self.cgroup, policy)
    }
}

/// Where a server that binds to `address` ends up.
fn bound(process: &Agent, address: IpAddr) -> Result<Outcome> {
    let server = process.socket(TCP4)?;
    done!(server.bind(at(address, 0, 0)));
    Ok(Ok(server.local()?.ip()))
}

/// Connects and sends a datagram: the address that `peer` sees.
fn connected(process: &Agent, peer: &Peer) -> Result<Outcome> {
    dial(&process.socket(UDP4)?, peer)
}

/// Sends a datagram: the address that `peer` sees.
fn sent(process: &Agent, peer: &Peer) -> Result<Outcome> {
    let client = process.socket(UDP4)?;
    done!(client.send(Some(peer.address()), b"ping"));
    peer.reply(&client)
}

fn last_bind(scene: &Scene) -> Result<()> {
    let below = Below::new(scene, V4)?;
    // If it found what the program asked for, it would have run first.
    let first = Foreign::replace(BIND4, Member::UserIp4, ANY4, OTHER4)?;
    below.above(&first)?;
    expect("asked", bound(&below.process, ANY4)?, Ok(CIP4))?;
    below.gone(&first)?;

    let last = Foreign::replace(BIND4, Member::UserIp4, CIP4, OTHER4)?;
    below.above(&last)?;
    expect("decided", bound(&below.process, ANY4)?, Ok(OTHER4))?;
    // The guard goes by what was assigned.
    below.change(V4.guarded())?;
    let server = below.process.socket(UDP4)?;
    server.bind(at(ANY4, 0, 0))?;
    let name = server.local()?;
    ensure!(name.ip() == OTHER4, "the server is at {name}");
    Socket::new(UDP4)?.send(Some(name), b"ping")?;
    await_dropped(&below.cgroup, |counts| counts == (0, 1))
}

fn last_connect(scene: &Scene) -> Result<()> {
    let below = Below::new(scene, V4)?;
    let peer = Peer::new(false, PEER4)?;
    let called = at(peer4(7), peer.address().port(), 0);
    let elsewhere = Foreign::replace(CONNECT4, Member::UserIp4, called.ip(), PEER4)?;
    below.above(&elsewhere)?;
    // The destination is what the ancestor's program wrote, the source is the assigned
    // address.
    let client = below.process.socket(UDP4)?;
    client.connect(called)?;
    expect("to another peer", peer.meet(&client)?, Ok(CIP4))?;
    below.gone(&elsewhere)?;

    below.above(&Foreign::bind_to(OTHER4)?)?;
    let seen = connected(&below.process, &peer)?;
    expect("from another address", seen, Ok(OTHER4))?;
    below.change(V4.guarded())?;
    let seen = connected(&below.process, &peer)?;
    expect("under the guard", seen, Err(Errno::PERM))
}

fn last_datagram(scene: &Scene) -> Result<()> {
    let below = Below::new(scene, V4)?;
    let peer = Peer::new(false, PEER4)?;
    let source = Foreign::replace(SENDMSG4, Member::MsgSrcIp4, CIP4, OTHER4)?;
    below.above(&source)?;
    let seen = sent(&below.process, &peer)?;
    expect("from another address", seen, Ok(OTHER4))?;
    below.change(V4.guarded())?;
    // To the guard it looks like a packet that the host has rewritten.
    let client = below.process.socket(UDP4)?;
    client.send(Some(peer.address()), b"ping")?;
    let seen = peer.receive()?.ip();
    expect("under the guard", Ok(seen), Ok(OTHER4))
}

/// The other way round: the policy is the ancestor's.
fn descendant(scene: &Scene) -> Result<()> {
    let child = scene.cgroup.child("child")?;
    let process = Agent::new(&child)?;
    Foreign::replace(BIND4, Member::UserIp4, ANY4, OTHER4)?.attach(&child, Mode::Multi)?;
    expect("without a policy", bound(&process, ANY4)?, Ok(OTHER4))?;
    scene.attach(V4)?;
    expect("under a policy", bound(&process, ANY4)?, Ok(CIP4))?;
    // It has run before the decision.
    Foreign::replace(BIND4, Member::UserIp4, CIP4, OTHER4)?.attach(&child, Mode::Multi)?;
    expect("decided", bound(&process, ANY4)?, Ok(CIP4))
}

fn refusing(scene: &Scene) -> Result<()> {
    let below = Below::new(scene, V4)?;
    let peer = Peer::new(false, PEER4)?;
    let call = |attach_type| match attach_type {
        BIND4 => bound(&below.process, ANY4),
        CONNECT4 => connected(&below.process, &peer),
        _ => sent(&below.process, &peer),
    };
    for attach_type in [BIND4, CONNECT4, SENDMSG4] {
        let what = format!("attach type {attach_type}");
        expect(&what, call(attach_type)?, Ok(CIP4))?;
        let program = Foreign::refuse(attach_type)?;
        below.above(&program)?;
        expect(&what, call(attach_type)?, Err(Errno::PERM))?;
        below.gone(&program)?;
        expect(&what, call(attach_type)?, Ok(CIP4))?;
    }
    // A refusal of ours keeps its errno, whatever an ancestor's program decides.
    below.change(V6)?;
    let refused = Err(deny_errno(Errno::ADDRNOTAVAIL));
    expect("alone", bound(&below.process, CIP4)?, refused)?;
    for program in [Foreign::permit(BIND4)?, Foreign::refuse(BIND4)?] {
        below.above(&program)?;
        expect("with an ancestor's", bound(&below.process, CIP4)?, refused)?;
        below.gone(&program)?;
    }
    Ok(())
}

/// This is the kernel's rule for this mode. Such a program is in force again once the
/// policy has gone.
fn overridden(scene: &Scene) -> Result<()> {
    let inner = scene.cgroup.child("inner")?;
    let process = Agent::new(&inner)?;
    Foreign::refuse(BIND4)?.attach(&scene.cgroup, Mode::Overridable)?;
    expect("without a policy", bound(&process, ANY4)?, Err(Errno::PERM))?;
    scene.hook.attach(&inner, V4)?;
    expect("under a policy", bound(&process, ANY4)?, Ok(CIP4))?;
    expect(
        "in the ancestor",
        bound(&scene.agent, ANY4)?,
        Err(Errno::PERM),
    )?;
    scene.hook.detach(&inner)?;
    expect("after detach", bound(&process, ANY4)?, Err(Errno::PERM))
}

/// In either order of attachment, and also for a packet that the other program drops.
fn packets(scene: &Scene) -> Result<()> {
    const LIMIT: u16 = 200;
    const LONG: &[u8] = &[0; LIMIT as usize];
    let peer = Peer::new(false, PEER4)?;
    let program = Foreign::drop_longer(LIMIT)?;
    for is_first in [true, false] {
        if is_first {
            program.attach(&scene.cgroup, Mode::Multi)?;
        }
        let early = scene.agent.socket(UDP4)?;
        early.bind(at(OTHER4, 0, 0))?;
        early.connect(peer.address())?;
        scene.attach(BOTH.guarded())?;
        if !is_first {
            program.attach(&scene.cgroup, Mode::Multi)?;
        }
        expect("short", sent(&scene.agent, &peer)?, Ok(CIP4))?;
        let client = scene.agent.socket(UDP4)?;
        let mut expected = dropped(&scene.cgroup)?;
        let long = client.send(Some(peer.address()), LONG);
        ensure!(long == Err(Errno::PERM), "long: {long:?}");
        let counts = dropped(&scene.cgroup)?;
        ensure!(counts == expected, "the guard dropped {counts:?}");
        // What leaves from another address is counted, long or short.
        for payload in [b"ping", LONG] {
            let sent = early.send(None, payload);
            ensure!(sent == Err(Errno::PERM), "foreign: {sent:?}");
            expected.0 += 1;
            let counts = dropped(&scene.cgroup)?;
            ensure!(counts == expected, "counted {counts:?}, not {expected:?}");
        }
        scene.hook.detach(&scene.cgroup)?;
        let long = scene.agent.socket(UDP4)?.send(Some(peer.address()), LONG);
        ensure!(long == Err(Errno::PERM), "after detach: {long:?}");
        program.detach(&scene.cgroup)?;
    }
    Ok(())
}

/// Nor does a policy depend on such programs.
fn stay(scene: &Scene) -> Result<()> {
    // In a bpffs in which nobody else's pins come and go.
    host::private_bpffs()?;
    let programs = [
        Foreign::refuse_port(BIND4, PORT)?,
        Foreign::permit(CONNECT4)?,
        Foreign::permit(EGRESS)?,
    ];
    for program in &programs {
        program.attach(&scene.cgroup, Mode::Multi)?;
    }
    let found = || bpf::attached(File::open(scene.cgroup.path())?);
    let at_port = || -> Result<Outcome<()>> {
        let server = scene.agent.socket(TCP4)?;
        Ok(server.bind(at(ANY4, PORT, 0)))
    };
    let foreign = found()?;
    ensure!(foreign.len() == programs.len(), "{foreign:?}");
    let refused = Err(Errno::PERM);
    for policy in [V4, BOTH.loopback("auto").guarded()] {
        scene.attach(policy)?;
        scene.hook.unload()?;
        ensure!(at_port()? == refused, "it no longer refuses the port");
        expect("under a policy", bound(&scene.agent, ANY4)?, Ok(CIP4))?;
        for (name, ids) in &foreign {
            let beside = found()?.into_iter().find(|(other, _)| other == name);
            let beside = beside.with_context(|| format!("{name} has gone"))?.1;
            let is_beside = ids.iter().all(|id| beside.contains(id));
            ensure!(is_beside, "{name} has {beside:?}, had {ids:?}");
        }
    }
    scene.hook.detach(&scene.cgroup)?;
    scene.hook.unload()?;
    let after = found()?;
    ensure!(after == foreign, "after unload {after:?}, had {foreign:?}");
    ensure!(at_port()? == refused, "it no longer refuses the port");
    expect("without a policy", bound(&scene.agent, ANY4)?, Ok(ANY4))?;

    scene.attach(V4.guarded())?;
    for program in &programs {
        program.detach(&scene.cgroup)?;
    }
    expect("alone", bound(&scene.agent, ANY4)?, Ok(CIP4))?;
    let peer = Peer::new(false, PEER4)?;
    expect("alone", connected(&scene.agent, &peer)?, Ok(CIP4))?;
    ensure!(at_port()? == Ok(()), "the port is still refused");
    Ok(())
}

fn expect(what: &str, seen: Outcome, expected: Outcome) -> Result<()> {
    ensure!(seen == expected, "{what}: {seen:?}, not {expected:?}");
    Ok(())
}
