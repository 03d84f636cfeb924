//! Many containers, one after the other.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4, inside};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, has_dual, mapped};
use oci_bind_hook_tests::socket::{TCP4, TCP6, UDP6, at};
use oci_bind_hook_tests::{harness, process};

use crate::nothing_left::Before;
use crate::rounds;

/// A policy that needs every program.
const FULL: Policy = BOTH.loopback("auto").guarded();
/// The kernel's memory, by its names in /proc/meminfo, and by how much each may
/// have grown at the end, in KiB.
///
/// For each CPU: cgroup storage and counters. The counters of one container
/// alone are more than 300 bytes a CPU.
///
/// Slabs that cannot be reclaimed: everything small. The rest of the machine
/// allocates there too, some MiB up and down, so this is for what is left of
/// many: 1.6 KiB of each of 10,000 containers, where a cgroup and its storage
/// are more than ten.
const TOLERANCES: [(&str, u64); 2] = [("Percpu", 512), ("SUnreclaim", 16 * 1024)];

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: String, test: fn(&Hook, usize) -> Result<()>, count| {
        harness::unpinned(name, move |hook| {
            // All programs, that for this network namespace too.
            hook.attach(&Cgroup::new()?, FULL)?;
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
        let dual = if has_dual() { mapped(CIP4) } else { CIP6 };
        for (kind, any, own) in [(TCP4, ANY4, CIP4), (UDP6, ANY6, dual), (TCP6, ANY6, dual)] {
            let server = container.init.socket(kind)?;
            server.bind(at(any, 8080, 0))?;
            if kind.tcp {
                server.listen()?;
            }
            let name = server.local()?.ip();
            ensure!(name == own, "it is at {name}");
        }
        Ok(())
    };
    // The first ones fill the kernel's caches.
    (0..count / 10).try_for_each(|_| cycle())?;
    before.assert_nothing_left()?;
    let before_all = memory()?;
    for round in 0..count {
        cycle().with_context(|| format!("container {round}"))?;
    }
    before.assert_nothing_left()?;
    // What others take they give back; what is left of a container stays.
    harness::eventually(|| {
        let grown = TOLERANCES.into_iter().zip(before_all.iter().zip(memory()?));
        let mut grown = grown.filter(|((_, tolerance), (was, now))| *now > *was + tolerance);
        Ok(match grown.next() {
            None => Ok(()),
            Some(((name, _), (was, now))) => Err(format!(
                "the kernel's memory {name} has grown from {was} to {now} KiB"
            )),
        })
    })
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

/// What /proc/meminfo says of each of [`TOLERANCES`], in KiB.
fn memory() -> Result<Vec<u64>> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let amount = |name: &str| -> Result<u64> {
        let mut lines = text.lines();
        let rest = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let number = rest.and_then(|rest| rest.trim().strip_suffix(" kB"));
        let number = number.with_context(|| format!("find {name} in /proc/meminfo"))?;
        Ok(number.parse()?)
    };
    TOLERANCES.iter().map(|(name, _)| amount(name)).collect()
}
