//! What the benches of processes share.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::bpf::full_types;
use crate::cgroup::Cgroup;
use crate::container::Container;
use crate::foreign::{Foreign, Mode};
use crate::hook::{BOTH, Policy};
use crate::sys;

/// What a container has that asks for both addresses and nothing else.
pub const DEFAULTS: Policy = BOTH.loopback("auto").guarded();

/// Does it on a thread with a network namespace of its own.
pub fn in_namespace<T: Send>(make: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let entered = || {
            sys::unshare_net().context("unshare the network namespace")?;
            make()
        };
        let made = scope.spawn(entered).join();
        made.ok().context("a thread panicked")?
    })
}

/// A cgroup with programs of somebody else. Where no cgroup has any, the kernel
/// patches its own code at the first attachment, which a host with containers
/// is past.
pub fn resident() -> Result<Cgroup> {
    let cgroup = Cgroup::new()?;
    for (_, attach_type) in full_types() {
        Foreign::permit(attach_type)?.attach(&cgroup, Mode::Multi)?;
    }
    Ok(cgroup)
}

/// Keeps the thread and the processes it starts on one processor: whether one
/// starts on another, which sleeps, makes more of a difference than the hook.
pub fn one_processor() -> Result<()> {
    let all = sched_getaffinity(None).context("ask for the processors")?;
    let last = (0..CpuSet::MAX_CPU).rfind(|cpu| all.is_set(*cpu));
    let mut one = CpuSet::new();
    one.set(last.context("there is no processor")?);
    sched_setaffinity(None, &one).context("stay on one processor")
}

/// A file with the state of a container under this policy.
pub fn state(container: &Container, policy: Policy) -> Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(container.state_with(policy).to_string().as_bytes())?;
    Ok(file)
}

/// How many milliseconds a command takes with this on standard input.
pub fn milliseconds(command: &mut Command, input: &mut File) -> Result<f64> {
    input.rewind()?;
    command.stdin(Stdio::from(input.try_clone()?));
    let start = Instant::now();
    let status = command.status().context("start it")?;
    let time = start.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(time.as_secs_f64() * 1e3)
}

/// How many milliseconds it takes to start a process that does nothing.
pub fn empty_process() -> Result<f64> {
    milliseconds(
        &mut Command::new("/bin/true"),
        &mut File::open("/dev/null")?,
    )
}
