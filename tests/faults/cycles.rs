//! Many containers, one after the other.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4, inside};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6};
use oci_bind_hook_tests::socket::{TCP4, UDP6, at};
use oci_bind_hook_tests::{harness, process};

use crate::nothing_left::Before;
use crate::rounds;

/// A policy that needs every program.
const FULL: Policy = BOTH.loopback("auto").guarded();
/// By how much the kernel's memory for each CPU may have grown at the end, in
/// KiB. The counters of one container alone are more than 300 bytes a CPU.
const TOLERANCE: u64 = 512;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: String, test: fn(&Hook, usize) -> Result<()>, count| {
        harness::unpinned(name, move |hook| {
            hook.load()?;
            test(hook, count)
        })
    };
    let (containers, changes, runs) = (rounds(500, 10_000), rounds(200, 4000), rounds(50, 1000));
    vec![
        trial(format!("{containers} containers"), come_and_go, containers),
        trial(format!("{changes} policies on one cgroup"), change, changes),
        trial(format!("{runs} commands under run"), run, runs),
    ]
}

/// Each has sockets that the programs have worked on.
fn come_and_go(hook: &Hook, count: usize) -> Result<()> {
    let before = Before::now()?;
    let cycle = || -> Result<()> {
        let container = Container::below(&before.scope)?;
        let output = hook.create_runtime(container.state_with(FULL).to_string().as_bytes())?;
        ensure!(output.status.success(), "{output:?}");
        for (kind, any, own) in [(TCP4, ANY4, CIP4), (UDP6, ANY6, CIP6)] {
            let server = container.init.socket(kind)?;
            server.bind(at(any, 0, 0))?;
            let name = server.local()?.ip();
            ensure!(name == own, "it is at {name}");
        }
        Ok(())
    };
    // The first ones fill the kernel's caches.
    (0..count / 10).try_for_each(|_| cycle())?;
    before.assert_nothing_left()?;
    let memory = per_cpu()?;
    for round in 0..count {
        cycle().with_context(|| format!("container {round}"))?;
    }
    before.assert_nothing_left()?;
    let now = per_cpu()?;
    ensure!(
        now <= memory + TOLERANCE,
        "the kernel's memory for each CPU has grown from {memory} to {now} KiB"
    );
    Ok(())
}

fn change(hook: &Hook, count: usize) -> Result<()> {
    let before = Before::now()?;
    let cgroup = before.scope.child("target")?;
    for round in 0..count {
        hook.attach(&cgroup, [V4, FULL, BOTH][round % 3])?;
        if round % 5 == 0 {
            hook.detach(&cgroup)?;
            cgroup.assert_bare()?;
        }
    }
    cgroup.remove()?;
    before.assert_nothing_left()
}

fn run(hook: &Hook, count: usize) -> Result<()> {
    let before = Before::now()?;
    let cgroup = before.scope.child("caller")?;
    for _ in 0..count {
        let mut run = hook.command("run");
        run.args(FULL.options()).args(["--", "true"]);
        let output = process::run(&mut inside(&cgroup, &run), b"")?;
        ensure!(output.status.success(), "{output:?}");
    }
    let left = cgroup.children()?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    cgroup.remove()?;
    before.assert_nothing_left()
}

/// `Percpu` of /proc/meminfo, in KiB: it has cgroup storage and counters.
fn per_cpu() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Percpu:"));
    let number = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    Ok(number.context("find Percpu in /proc/meminfo")?.parse()?)
}
