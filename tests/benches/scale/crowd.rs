//! A thousand cgroups under a policy. What they could slow down is measured
//! without them before and after, and with them between.

use std::fs::File;
use std::net::IpAddr;
use std::time::Instant;

use anyhow::Result;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bench::{DEFAULTS, empty_process, milliseconds, state};
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::Hook;
use oci_bind_hook_tests::net::{ANY4, CIP4, Net};
use oci_bind_hook_tests::results::{Results, Target, at_percent};
use oci_bind_hook_tests::socket::{TCP4, at};

use crate::memory;

const CROWD: usize = 1_000;
/// How many of them are attached between two looks at the memory.
const PART: usize = 100;
const STARTS: usize = 100;
const LISTS: usize = 20;
const BATCHES: usize = 100;
const SOCKETS: u32 = 100;

/// Measures in the calling thread's network namespace.
pub fn measure(results: &mut Results, net: &Net) -> Result<()> {
    let hook = Hook::new()?;
    hook.load()?;
    let shared = memory::shared()?;
    let (inside, outside) = (Cgroup::new()?, Cgroup::new()?);
    let callers = [Agent::new(&inside)?, Agent::new(&outside)?];
    hook.attach(&inside, DEFAULTS)?;

    let mut few = Samples::default();
    few.take(&hook, &callers, net)?;
    let crowd = (0..CROWD)
        .map(|_| Cgroup::new())
        .collect::<Result<Vec<_>>>()?;
    let mut sizes = Vec::new();
    for part in crowd.chunks(PART) {
        let before = memory::held()?;
        for cgroup in part {
            hook.attach(cgroup, DEFAULTS)?;
        }
        let grown = memory::held()? - before;
        sizes.push(grown / 1024.0 / f64::from(u32::try_from(part.len())?));
    }
    let mut many = Samples::default();
    many.take(&hook, &callers, net)?;
    many.take(&hook, &callers, net)?;
    drop(crowd);
    few.take(&hook, &callers, net)?;

    let side = "1000 containers";
    let target = Some(Target::AtMost(1.2));
    let starts = [&few.starts[..], &many.starts];
    results.pairs(side, "warm hook, in empty processes", "x", starts, target);
    let calls = [&few.calls[..], &many.calls];
    results.pairs(side, "TCP bind 0.0.0.0, in plain ones", "x", calls, None);
    let list = at_percent(&many.lists, 50);
    results.value(side, "status", "ms", list, Some(Target::AtMost(100.0)));
    let list = at_percent(&few.lists, 50);
    results.value("1 container", "status", "ms", list, None);
    let size = at_percent(&sizes, 50);
    let target = Some(Target::AtMost(32.0));
    results.value(side, "kernel memory of each", "KiB", size, target);
    results.value("no container", "programs and maps", "KiB", shared, None);
    Ok(())
}

#[derive(Default)]
struct Samples {
    /// How many times as long as an empty process a hook takes.
    starts: Vec<f64>,
    /// How many times as long as a plain bind one takes that is moved.
    calls: Vec<f64>,
    /// Milliseconds that `status` takes.
    lists: Vec<f64>,
}

impl Samples {
    fn take(&mut self, hook: &Hook, callers: &[Agent; 2], net: &Net) -> Result<()> {
        let containers = (0..STARTS)
            .map(|_| Container::new())
            .collect::<Result<Vec<_>>>()?;
        for container in &containers {
            let empty = empty_process()?;
            let state = &mut state(container, DEFAULTS)?;
            let start = milliseconds(&mut hook.command("create-runtime"), state)?;
            self.starts.push(start / empty);
        }
        drop(containers);
        for _ in 0..LISTS {
            let status = &mut hook.command("status");
            status.stdout(File::create("/dev/null")?);
            self.lists
                .push(milliseconds(status, &mut File::open("/dev/null")?)?);
        }
        for _ in 0..BATCHES {
            let moved = binds(&callers[0], ANY4, net)?;
            self.calls.push(moved / binds(&callers[1], CIP4, net)?);
        }
        Ok(())
    }
}

/// How many seconds many binds take.
fn binds(caller: &Agent, address: IpAddr, net: &Net) -> Result<f64> {
    let sockets = (0..SOCKETS)
        .map(|_| caller.socket(TCP4))
        .collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    for socket in &sockets {
        socket.bind(at(address, 0, net.link()))?;
    }
    Ok(start.elapsed().as_secs_f64())
}
