//! What a container start pays: a warm `create-runtime` against `/bin/true`,
//! which is what it costs to start a process at all; the first one after boot;
//! and what `runc run` takes with the hook and without. In turn, in one run, so
//! that the ratio holds on a noisy machine.

mod engine;

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::bpf::full_types;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::foreign::{Foreign, Mode};
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::results::{Results, Target, at_percent};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const ROUNDS: usize = 500;
/// How many containers are removed at once.
const KEPT: usize = 50;
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
        for (side, policy) in [
            ("defaults", BOTH.loopback("auto").guarded()),
            ("IPv4 alone, all off", V4),
        ] {
            warm(&mut results, &hook, side, policy)?;
        }
        cold(&mut results, &hook)
    })?;
    first_of_namespaces(&mut results)?;
    if engine::is_there() {
        Net::isolated(|_| engine::measure(&mut results))?;
    } else {
        println!("skipped: runc or a static busybox is missing: run tests/setup.sh");
    }
    results.finish()
}

/// Keeps the thread and the processes it starts on one processor: whether one
/// starts on another, which sleeps, makes more of a difference than the hook.
fn one_processor() -> Result<()> {
    let all = sched_getaffinity(None).context("ask for the processors")?;
    let last = (0..CpuSet::MAX_CPU).rfind(|cpu| all.is_set(*cpu));
    let mut one = CpuSet::new();
    one.set(last.context("there is no processor")?);
    sched_setaffinity(None, &one).context("stay on one processor")
}

/// A cgroup with programs of somebody else. Where no cgroup has any, the kernel
/// patches its own code at the first attachment, which a host with containers
/// is past.
fn resident() -> Result<Cgroup> {
    let cgroup = Cgroup::new()?;
    for (_, attach_type) in full_types() {
        Foreign::permit(attach_type)?.attach(&cgroup, Mode::Multi)?;
    }
    Ok(cgroup)
}

fn warm(results: &mut Results, hook: &Hook, side: &str, policy: Policy) -> Result<()> {
    let (mut hooks, mut empty) = (Vec::new(), Vec::new());
    let mut containers = Vec::new();
    for round in 0..ROUNDS {
        // What the kernel does when one goes, it does later, and an attachment
        // waits for it.
        if round % KEPT == 0 {
            containers.clear();
        }
        containers.push(Container::new()?);
        let container = &containers[round % KEPT];
        let mut state = state(container, policy)?;
        empty.push(milliseconds(&mut Command::new("/bin/true"), &mut state)?);
        hooks.push(milliseconds(
            &mut hook.command("create-runtime"),
            &mut state,
        )?);
    }
    let target = Some(Target::AtMost(1.3));
    results.pairs(side, "warm, p50", "ms", [&empty, &hooks], target);
    let [empty, hooks] = [empty, hooks].map(|times| at_percent(&times, 99));
    results.pairs(side, "warm, p99", "ms", [&[empty], &[hooks]], target);
    Ok(())
}

fn cold(results: &mut Results, hook: &Hook) -> Result<()> {
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
    let target = Some(Target::AtMost(40.0));
    results.value(
        "defaults",
        "cold, p50",
        "ms",
        at_percent(&times, 50),
        target,
    );
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

fn state(container: &Container, policy: Policy) -> Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(container.state_with(policy).to_string().as_bytes())?;
    Ok(file)
}

/// How long a command takes with this on standard input.
fn milliseconds(command: &mut Command, input: &mut File) -> Result<f64> {
    input.rewind()?;
    command.stdin(Stdio::from(input.try_clone()?));
    let start = Instant::now();
    let status = command.status().context("start it")?;
    let time = start.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(time.as_secs_f64() * 1e3)
}
