//! B10: dual-stack UDP servers at `::`, and callers on other hosts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail, ensure};
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::far::{FAR4, FAR6};
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR};
use oci_bind_hook_tests::net::{CIP4, CIP6, mapped};
use oci_bind_hook_tests::socket::{Kind, Socket, at, first_ready};
use oci_bind_hook_tests::{host, tc};
use rustix::io::Errno;

use crate::dual_datagrams::{open, trial};
use crate::dual_options::hear_answer;
use crate::dual_servers::{in_group, plainly};
use crate::links::{Far, LINKS, Link};
use crate::observe::PORT;
use crate::row::{Row, Scene};

/// How `deliver` gets to a device that was added later.
type Refresh = fn(&Hook) -> Result<()>;

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows: Vec<_> = LINKS
        .map(|link| trial(&format!("over {link:?}"), move |scene| over(scene, link)))
        .into();
    let refreshes: [(_, Refresh); 3] = [
        ("load", Hook::load),
        ("load --device", |hook| hook.load_device("d0")),
        ("another start", |hook| {
            hook.attach(&Cgroup::new()?, NEIGHBOUR)
        }),
    ];
    for (what, refresh) in refreshes {
        let what = format!("over a device that came later, after {what}");
        rows.push(trial(&what, move |scene| later(scene, refresh)));
    }
    rows
}

/// First a single server, and then a group.
fn over(scene: &Scene, link: Link) -> Result<()> {
    let far = link.set_up()?;
    scene.attach(BOTH.guarded())?;
    let open = |set_up: fn(&Socket) -> Result<()>| open(&scene.agent, PORT, set_up);
    let server = open(plainly)?;
    for to in [CIP4, CIP6] {
        assert_shared(&[&server], &far, to).context("alone")?;
    }
    drop(server);
    // `bpf_sk_assign` accepts members of groups from that version on.
    if tc::has_tcx()? {
        let group = [open(in_group)?, open(in_group)?];
        for to in [CIP4, CIP6] {
            assert_shared(&group.each_ref(), &far, to).context("in a group")?;
        }
    }
    Ok(())
}

/// The kernel cannot be told to attach programs to future devices.
fn later(scene: &Scene, refresh: Refresh) -> Result<()> {
    host::private_bpffs()?;
    scene.attach(BOTH)?;
    let server = open(&scene.agent, PORT, plainly)?;
    let far = Link::Veth.set_up()?;
    assert_shared(&[&server], &far, CIP4)?;
    let hears = heard(&[&server], &far, CIP6)?;
    ensure!(hears.is_none(), "a new device has the program");
    refresh(&scene.hook)?;
    for to in [CIP4, CIP6] {
        assert_shared(&[&server], &far, to)?;
    }
    Ok(())
}

/// Fails unless each of these gets datagrams from the other host to this address: enough
/// that one is left out by chance only once in a million runs.
fn assert_shared(group: &[&Socket], far: &Far, to: IpAddr) -> Result<()> {
    let mut shares = BTreeSet::new();
    for _ in 0..20 {
        match heard(group, far, to)? {
            Some(member) => shares.insert(member),
            None => bail!("nobody is at {to}"),
        };
        if shares.len() == group.len() {
            return Ok(());
        }
    }
    bail!("of {} members, {} serve {to}", group.len(), shares.len())
}

/// Which of these servers hears the other host when it calls this address; `None` if the
/// caller is told that nobody is there.
fn heard(servers: &[&Socket], far: &Far, to: IpAddr) -> Result<Option<usize>> {
    heard_when(servers, far, to, |client| Ok(client.send(None, b"ping")?))
}

/// The same with another way to send `ping` on the other host. Whoever hears it answers,
/// and the caller accepts an answer only from the address that it has called.
pub fn heard_when(
    servers: &[&Socket],
    far: &Far,
    to: IpAddr,
    send: impl FnOnce(&Socket) -> Result<()> + Send,
) -> Result<Option<usize>> {
    let (own, seen) = match to {
        IpAddr::V4(_) => (FAR4, mapped(FAR4)),
        IpAddr::V6(_) => (FAR6, FAR6),
    };
    let client = far.host.within(|| {
        let client = Socket::new(Kind::of(false, to))?;
        client.bind(at(own, 0, 0))?;
        client.connect(at(to, PORT, 0))?;
        send(&client)?;
        Ok(client)
    })?;
    let all: Vec<_> = servers.iter().copied().chain([&client]).collect();
    let first = first_ready(&all)?;
    let Some(server) = servers.get(first) else {
        let outcome = client.receive_connected();
        ensure!(outcome == Err(Errno::CONNREFUSED), "{to}: {outcome:?}");
        return Ok(None);
    };
    let (payload, from) = server.receive()?;
    let expected = at(seen, client.local()?.port(), 0);
    ensure!(from == expected, "{to} hears {from}, not {expected}");
    ensure!(payload == b"ping", "{to} hears {payload:?}");
    server.send(Some(from), b"pong")?;
    hear_answer(&client, b"pong").with_context(|| to.to_string())?;
    Ok(Some(first))
}
