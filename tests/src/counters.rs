//! What the programs have counted in a cgroup.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, ensure};
use oci_bind_hook_ebpf::abi::{Cause, Counters, Hook};

use crate::bpf;
use crate::cgroup::Cgroup;
use crate::harness::{attempted, eventually};
use crate::host;

/// How many packets the guard has dropped on their way out of, and into, the
/// cgroup's sockets.
pub fn dropped(cgroup: &Cgroup) -> Result<(u64, u64)> {
    let copies = read(cgroup)?;
    let sum = |hook: Hook| {
        let of = |copy: &Counters| copy.hooks[hook as usize].denied;
        copies.iter().map(of).sum()
    };
    Ok((sum(Hook::Egress), sum(Hook::Ingress)))
}

/// Waits until the guard has dropped what is expected, as [`dropped`] counts. A busy
/// kernel lets packets to its own addresses come in a moment later (ksoftirqd).
pub fn await_dropped(cgroup: &Cgroup, is_expected: impl Fn((u64, u64)) -> bool) -> Result<()> {
    eventually(|| {
        let counts = dropped(cgroup)?;
        attempted(is_expected(counts), || {
            format!("dropped {counts:?} out and in")
        })
    })
}

/// How many calls were refused for this cause.
pub fn refused(cgroup: &Cgroup, cause: Cause) -> Result<u64> {
    let copies = read(cgroup)?;
    Ok(copies.iter().map(|copy| copy.causes[cause as usize]).sum())
}

/// How many binds were isolated, of IPv4 and of IPv6 sockets.
pub fn isolated(cgroup: &Cgroup) -> Result<(u64, u64)> {
    let copies = read(cgroup)?;
    let sum = |hook: Hook| {
        let of = |copy: &Counters| copy.isolated[hook as usize];
        copies.iter().map(of).sum()
    };
    Ok((sum(Hook::Bind4), sum(Hook::Bind6)))
}

/// Each CPU's copy of the cgroup's counters.
fn read(cgroup: &Cgroup) -> Result<Vec<Counters>> {
    let pins = host::pins()?;
    ensure!(pins.len() == 1, "not one set of pins: {pins:?}");
    let map = bpf::open_pin(&pins[0].join("counters"))?;

    let key = File::open(cgroup.path())?.metadata()?.ino();
    let mut copies = vec![Counters::default(); possible_cpus()?];
    // The size of a copy is a multiple of eight already, to which the kernel
    // rounds it up.
    bpf::look_up(
        map.as_fd(),
        &raw const key as u64,
        copies.as_mut_ptr() as u64,
    )
    .context("read the counters")?;
    Ok(copies)
}

/// How many CPUs this machine could have: a list such as `0-3`, `0,2-5`.
fn possible_cpus() -> Result<usize> {
    let path = "/sys/devices/system/cpu/possible";
    let list = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    let last = list.trim().rsplit([',', '-']).next().unwrap_or_default();
    let last: usize = last
        .parse()
        .with_context(|| format!("understand {list:?} of {path}"))?;
    Ok(last + 1)
}
