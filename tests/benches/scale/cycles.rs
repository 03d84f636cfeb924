//! A policy put on and taken off ten thousand times: whether the last time
//! takes longer than the first, and what is left.

use std::fs::File;

use anyhow::Result;
use oci_bind_hook_tests::bench::{DEFAULTS, empty_process, milliseconds};
use oci_bind_hook_tests::bpf;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::Hook;
use oci_bind_hook_tests::results::{Results, Target};

use crate::memory;

const CYCLES: u32 = 10_000;
/// How many at each end are set against each other.
const END: u32 = 1_000;

/// Measures in the calling thread's network namespace.
pub fn measure(results: &mut Results) -> Result<()> {
    let (hook, cgroup) = (Hook::new()?, Cgroup::new()?);
    hook.attach(&cgroup, DEFAULTS)?;
    hook.detach(&cgroup)?;
    let (before, held) = (bpf::census()?, memory::held()?);
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for cycle in 0..CYCLES {
        let is_end = !(END..CYCLES - END).contains(&cycle);
        let empty = is_end.then(empty_process).transpose()?;
        let attach = &mut hook.command("attach");
        attach.arg("--cgroup").arg(cgroup.path());
        attach.args(DEFAULTS.options());
        let time = milliseconds(attach, &mut File::open("/dev/null")?)?;
        let detach = &mut hook.command("detach");
        detach.arg("--cgroup").arg(cgroup.path());
        milliseconds(detach, &mut File::open("/dev/null")?)?;
        if let Some(empty) = empty {
            let end = if cycle < END { &mut first } else { &mut last };
            end.push(time / empty);
        }
    }
    let side = "10000 cycles";
    let target = Some(Target::AtMost(1.2));
    let ends = [&first[..], &last];
    results.pairs(side, "attach, in empty processes", "x", ends, target);
    let grown = (memory::held()? - held) / f64::from(CYCLES);
    results.value(side, "kernel memory left of each", "B", grown, None);
    let left = bpf::census()?
        .iter()
        .zip(&before)
        .map(|(now, before)| now.difference(before).count())
        .sum::<usize>();
    let left = f64::from(u32::try_from(left)?);
    results.value(side, "programs, maps and links left", "", left, None);
    Ok(())
}
