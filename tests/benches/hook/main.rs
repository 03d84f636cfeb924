//! What a container start pays: a warm `create-runtime` against `/bin/true`,
//! which is what it costs to start a process at all; the first one after boot;
//! and what `runc run` takes with the hook and without. In turn, in one run, so
//! that the ratio holds on a noisy machine.

mod engine;

use anyhow::{Result, ensure};
use oci_bind_hook_tests::bench::{
    DEFAULTS, empty_process, milliseconds, one_processor, resident, state,
};
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::results::{Results, Target, at_percent};

const ROUNDS: usize = 500;
/// How many containers there are at once.
const AT_ONCE: usize = 50;
const COLD_ROUNDS: usize = 20;

fn main() -> Result<()> {
    host::set_up()?;
    let mut results = Results::new(
        "hook",
        "A warm create-runtime against /bin/true, in turn; the first one after boot; runc run",
    );
    let _resident = resident()?;
    Net::isolated(|_| {
        one_processor()?;
        let hook = Hook::new()?;
        hook.load()?;
        for (side, policy) in [("defaults", DEFAULTS), ("IPv4 alone, all off", V4)] {
            warm(&mut results, &hook, side, policy)?;
        }
        cold(&mut results, &hook, "cold on one processor, p50", None)
    })?;
    let target = Some(Target::AtMost(40.0));
    Net::isolated(|_| cold(&mut results, &Hook::new()?, "cold, p50", target))?;
    first_of_namespaces(&mut results)?;
    if engine::is_there() {
        Net::isolated(|_| engine::measure(&mut results))?;
    } else {
        println!("skipped: runc or a static busybox is missing: run tests/setup.sh");
    }
    results.finish()
}

fn warm(results: &mut Results, hook: &Hook, side: &str, policy: Policy) -> Result<()> {
    let (mut hooks, mut empty) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS / AT_ONCE {
        // They start, and the kernel takes the last ones away, before anything
        // is timed: both would go on at the expense of what comes first.
        let containers = (0..AT_ONCE)
            .map(|_| Container::new())
            .collect::<Result<Vec<_>>>()?;
        for _ in 0..AT_ONCE {
            empty_process()?;
        }
        for container in &containers {
            let mut state = state(container, policy)?;
            empty.push(empty_process()?);
            hooks.push(milliseconds(
                &mut hook.command("create-runtime"),
                &mut state,
            )?);
        }
    }
    let target = Some(Target::AtMost(1.3));
    results.pairs(side, "warm, p50", "ms", [&empty, &hooks], target);
    let [empty, hooks] = [empty, hooks].map(|times| at_percent(&times, 99));
    results.pairs(side, "warm, p99", "ms", [&[empty], &[hooks]], target);
    Ok(())
}

fn cold(results: &mut Results, hook: &Hook, what: &str, target: Option<Target>) -> Result<()> {
    let mut times = Vec::new();
    for _ in 0..COLD_ROUNDS {
        let container = Container::new()?;
        hook.unload()?;
        ensure!(host::pins()?.is_empty(), "unload has left pins");
        let mut state = state(&container, V4)?;
        times.push(milliseconds(
            &mut hook.command("create-runtime"),
            &mut state,
        )?);
        hook.detach(&container.cgroup)?;
    }
    let time = at_percent(&times, 50);
    results.value("defaults", what, "ms", time, target);
    Ok(())
}

/// The first container with both addresses in a network namespace, which has one
/// more program loaded: the programs are pinned before.
fn first_of_namespaces(results: &mut Results) -> Result<()> {
    Hook::new()?.load()?;
    let mut times = Vec::new();
    for _ in 0..COLD_ROUNDS {
        times.push(Net::isolated(|_| {
            let container = Container::new()?;
            let mut state = state(&container, BOTH)?;
            milliseconds(&mut Hook::new()?.command("create-runtime"), &mut state)
        })?);
    }
    let time = at_percent(&times, 50);
    results.value(
        "defaults",
        "first of a network namespace, p50",
        "ms",
        time,
        None,
    );
    Ok(())
}
