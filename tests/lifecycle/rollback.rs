//! A failure half-way leaves the cgroup as it was.

use std::fs::File;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bpf::{self, ATTACH_TYPES};
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::net::{ANY4, Net};
use oci_bind_hook_tests::socket::{TCP4, at};
use oci_bind_hook_tests::{harness, process};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    ATTACH_TYPES
        .iter()
        .map(|&(name, attach_type)| {
            harness::trial(
                format!("attach where {name} belongs to an ancestor"),
                move || Net::isolated(move |_| half_way(attach_type)),
            )
        })
        .collect()
}

/// An ancestor's exclusive program keeps the kernel from attaching one of ours.
fn half_way(attach_type: u32) -> Result<()> {
    let parent = Cgroup::new()?;
    let cgroup = parent.child("below")?;
    let process = Agent::new(&cgroup)?;
    bpf::attach_exclusively(&File::open(parent.path())?, attach_type)?;

    let hook = Hook::new()?;
    let mut attach = hook.command("attach");
    attach.arg("--cgroup").arg(cgroup.path()).args(V4.options());
    let output = process::run(&mut attach, b"")?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(output.stderr.lines().count() == 1, "{output:?}");
    ensure!(output.stderr.contains("ancestor"), "{output:?}");
    cgroup.assert_bare()?;
    let server = process.socket(TCP4)?;
    server.bind(at(ANY4, 0, 0))?;
    ensure!(server.local()?.ip() == ANY4, "moved to {}", server.local()?);
    Ok(())
}
