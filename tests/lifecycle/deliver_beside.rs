//! The program that delivers datagrams, beside programs of others at the same devices,
//! and what becomes of it when devices and network namespaces go.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, Hook};
use oci_bind_hook_tests::net::{CIP4, CIP6, Net, ip};
use oci_bind_hook_tests::socket::at;
use oci_bind_hook_tests::tc::{self, Foreign, Place, Verdict};
use oci_bind_hook_tests::{bpf, harness, host, reach};

use crate::deliver::{PORT, assert_at, everywhere, nowhere, open};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    harness::unpinned_dual(
        "deliver",
        [
            ("beside programs of others", others),
            ("after a program that lets all pass", passed_over),
            ("at a device that goes", gone),
            ("in a network namespace that goes", gone_namespace),
        ],
    )
}

/// Of one that was there before it, and of two that come later.
fn others(hook: &Hook) -> Result<()> {
    let _counted = bpf::count_runs()?;
    let lo = tc::index("lo")?;
    let add = |verdict, place| {
        let program = Foreign::new(verdict)?;
        program.attach(lo, place).map(|()| program)
    };
    let early = add(Verdict::Next, Place::First)?;
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, BOTH)?;
    let theirs = [
        early,
        add(Verdict::Next, Place::First)?,
        add(Verdict::Pass, Place::Last)?,
    ];
    let server = open(&Agent::new(&cgroup)?)?;
    theirs.iter().try_for_each(Foreign::assert_ran)?;
    drop(server);

    let mut expected = tc::attached()?.remove("lo").unwrap_or_default();
    ensure!(expected.len() == 4, "not four programs: {expected:?}");
    let theirs = theirs.iter().map(Foreign::id).collect::<Result<Vec<_>>>()?;
    expected.retain(|id| theirs.contains(id));
    hook.detach(&cgroup)?;
    let left = tc::attached()?;
    ensure!(
        left == BTreeMap::from([("lo".to_owned(), expected)]),
        "after detach: {left:?}, theirs are {theirs:?}"
    );
    Ok(())
}

/// It is not asked then, whatever its place was at first.
fn passed_over(hook: &Hook) -> Result<()> {
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, BOTH)?;
    let server = open(&Agent::new(&cgroup)?)?;
    Foreign::new(Verdict::Pass)?.attach(tc::index("lo")?, Place::First)?;
    for (to, expected) in [(CIP4, true), (CIP6, false)] {
        let answers = reach::answers(&server, at(to, PORT, 0))?;
        ensure!(answers == expected, "an answer at {to}: {answers}");
    }
    Ok(())
}

fn gone(hook: &Hook) -> Result<()> {
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, BOTH)?;
    for _ in 0..2 {
        ip(&["-batch", "-"], "link add d0 type veth peer name d1\n")?;
        hook.load()?;
        assert_at(&everywhere()?)?;
        ip(&["link", "delete", "d0"], "")?;
        hook.load_device("d0")?;
        assert_at(&everywhere()?)?;
    }
    hook.detach(&cgroup)?;
    assert_at(&nowhere())
}

/// Nobody enters it any more.
fn gone_namespace(hook: &Hook) -> Result<()> {
    let cgroup = Cgroup::new()?;
    Net::isolated(|_| {
        hook.attach(&cgroup, BOTH)?;
        open(&Agent::new(&cgroup)?)?;
        assert_at(&everywhere()?)
    })?;
    assert_at(&nowhere())?;
    hook.load()?;
    hook.detach(&cgroup)?;
    hook.unload()?;
    let pins = host::pins()?;
    ensure!(pins.is_empty(), "pins are left: {pins:?}");
    Ok(())
}
