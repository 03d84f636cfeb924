//! The program that steers calls to servers of both families, in each network
//! namespace that has some.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bpf::{self, SK_LOOKUP};
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::foreign::Foreign;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR, V4, V6};
use oci_bind_hook_tests::net::{ANY6, CIP4, CIP6, Net};
use oci_bind_hook_tests::process::PATIENCE;
use oci_bind_hook_tests::reach;
use oci_bind_hook_tests::socket::{TCP6, at};
use oci_bind_hook_tests::syslog::{Daemon, ONE_FAMILY};
use oci_bind_hook_tests::{harness, host};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    harness::unpinned_dual(
        "dual-stack",
        [
            ("a network namespace is steered once", once),
            ("one family alone steers nothing", one_family),
            ("unload ends it", unload),
            ("the pin of a namespace that is gone goes", sweep),
            ("programs of others stay, before it and after it", others),
            ("without type information there is none", untyped),
        ],
    )
}

/// The pins of such programs' links.
fn pins() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for directory in host::pins()? {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("steer-") {
                found.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// How many programs have a say in the lookups of this network namespace.
fn programs() -> Result<usize> {
    let namespace = File::open("/proc/thread-self/ns/net")?;
    bpf::query(&namespace, SK_LOOKUP).map(|ids| ids.len())
}

fn assert_steered(count: usize) -> Result<()> {
    assert_pins(count)?;
    assert_programs(count)
}

fn assert_pins(count: usize) -> Result<()> {
    let pins = pins()?;
    ensure!(pins.len() == count, "not {count}: {pins:?}");
    Ok(())
}

fn assert_programs(count: usize) -> Result<()> {
    let found = programs()?;
    ensure!(found == count, "{found} programs, not {count}");
    Ok(())
}

/// Waits until only that many are left of more: those of links that are gone go
/// a moment later.
fn await_programs(count: usize) -> Result<()> {
    harness::eventually(|| Ok(assert_programs(count).map_err(|error| error.to_string())))
}

fn once(hook: &Hook) -> Result<()> {
    let cgroups = [Cgroup::new()?, Cgroup::new()?];
    for (cgroup, policy) in cgroups.iter().zip([BOTH, NEIGHBOUR]) {
        hook.attach(cgroup, policy)?;
        hook.attach(cgroup, policy.guarded())?;
        assert_steered(1)?;
    }
    // Two at once, of which only one can pin its link.
    hook.detach(&cgroups[0])?;
    hook.detach(&cgroups[1])?;
    hook.unload()?;
    hook.load()?;
    hook.attach_at_once(&cgroups, BOTH)?;
    assert_pins(1)?;
    await_programs(1)
}

fn one_family(hook: &Hook) -> Result<()> {
    for policy in [V4, V6] {
        hook.attach(&Cgroup::new()?, policy)?;
        assert_steered(0)?;
    }
    Ok(())
}

fn unload(hook: &Hook) -> Result<()> {
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, BOTH)?;
    hook.unload()?;
    assert_steered(1).context("while a cgroup needs it")?;
    cgroup.remove()?;
    hook.unload()?;
    assert_pins(0)?;
    await_programs(0)
}

/// The kernel tears a namespace down when it has time.
fn sweep(hook: &Hook) -> Result<()> {
    let elsewhere = || {
        Net::isolated(|_| {
            let cgroup = Cgroup::new()?;
            hook.attach(&cgroup, BOTH)?;
            assert_programs(1)
        })
    };
    elsewhere()?;
    let old = pins()?.pop().context("no pin was made")?;
    let deadline = Instant::now() + PATIENCE;
    while old.exists() {
        ensure!(Instant::now() < deadline, "{} is left", old.display());
        elsewhere()?;
    }
    Ok(())
}

fn others(hook: &Hook) -> Result<()> {
    let first = Foreign::permit(SK_LOOKUP)?.link()?;
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, BOTH)?;
    let last = Foreign::permit(SK_LOOKUP)?.link()?;
    assert_served(&cgroup, &[CIP4, CIP6])?;
    assert_programs(3)?;
    cgroup.remove()?;
    hook.unload()?;
    await_programs(2).context("after unload")?;
    drop((first, last));
    assert_pins(0)?;
    await_programs(0)
}

/// A server of the cgroup at `::` answers there, and nowhere else.
fn assert_served(cgroup: &Cgroup, expected: &[IpAddr]) -> Result<()> {
    let server = Agent::new(cgroup)?.socket(TCP6)?;
    server.bind(at(ANY6, 8080, 0))?;
    server.listen()?;
    let places = reach::answered(&server)?;
    ensure!(places == expected, "it answers at {places:?}");
    Ok(())
}

/// The program could not tell a server that wants IPv6 alone.
fn untyped(hook: &Hook) -> Result<()> {
    let log = Daemon::start()?;
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, BOTH)?;
    let of_families = |lines: &[String]| {
        let about = |line: &&String| line.contains(ONE_FAMILY);
        lines.iter().filter(about).cloned().collect::<Vec<_>>()
    };
    let said = of_families(&log.received()?);
    ensure!(said.is_empty(), "before: {said:?}");
    host::hide_types()?;
    hook.attach(&cgroup, BOTH)?;
    let said = of_families(&log.received()?);
    let [line] = said.as_slice() else {
        anyhow::bail!("not one line: {said:?}");
    };
    ensure!(
        line.ends_with(
            "a server at :: answers at the IPv6 address alone: \
             dual-stack servers need a kernel with /sys/kernel/btf/vmlinux"
        ),
        "{line}"
    );
    assert_served(&cgroup, &[CIP6])
}
