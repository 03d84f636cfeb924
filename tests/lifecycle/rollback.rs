//! A failure half-way leaves the cgroup as it was.

use std::fs::File;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bpf;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::foreign::{Foreign, Mode};
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy};
use oci_bind_hook_tests::net::{ANY4, Net};
use oci_bind_hook_tests::socket::{TCP4, at};
use oci_bind_hook_tests::{harness, process};

/// A policy that needs every program.
const POLICY: Policy = BOTH.loopback("auto").guarded();

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let all = bpf::full_types();
    let mut trials: Vec<_> = all
        .iter()
        .map(|&(name, attach_type)| {
            harness::trial(
                format!("attach where {name} belongs to an ancestor"),
                move || Net::isolated(move |_| below(attach_type)),
            )
        })
        .collect();
    trials.extend(all.iter().map(|&(name, attach_type)| {
        harness::trial(
            format!("attach where {name} belongs to somebody else"),
            move || Net::isolated(move |_| beside(attach_type)),
        )
    }));
    trials
}

/// An ancestor's exclusive program keeps the kernel from attaching one of ours.
fn below(attach_type: u32) -> Result<()> {
    let parent = Cgroup::new()?;
    let cgroup = parent.child("below")?;
    let process = Agent::new(&cgroup)?;
    Foreign::permit(attach_type)?.attach(&parent, Mode::Exclusive)?;
    assert_refused(&cgroup, &process)?;
    cgroup.assert_bare()
}

/// So does one of the cgroup itself, which stays.
fn beside(attach_type: u32) -> Result<()> {
    let cgroup = Cgroup::new()?;
    let process = Agent::new(&cgroup)?;
    Foreign::permit(attach_type)?.attach(&cgroup, Mode::Exclusive)?;
    let found = || bpf::attached(File::open(cgroup.path())?);
    let before = found()?;
    assert_refused(&cgroup, &process)?;
    let after = found()?;
    ensure!(after == before, "{before:?} came to {after:?}");
    Ok(())
}

/// Attaching fails and says why, and the process is under no policy.
fn assert_refused(cgroup: &Cgroup, process: &Agent) -> Result<()> {
    let hook = Hook::new()?;
    let mut attach = hook.command("attach");
    attach.arg("--cgroup").arg(cgroup.path());
    attach.args(POLICY.options());
    let output = process::run(&mut attach, b"")?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(output.stderr.lines().count() == 1, "{output:?}");
    ensure!(output.stderr.contains("ancestor"), "{output:?}");
    ensure!(output.stderr.contains("exclusive program"), "{output:?}");
    let server = process.socket(TCP4)?;
    server.bind(at(ANY4, 0, 0))?;
    ensure!(server.local()?.ip() == ANY4, "moved to {}", server.local()?);
    Ok(())
}
