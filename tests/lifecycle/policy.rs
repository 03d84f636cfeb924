//! A policy given twice, replaced, taken off, and inherited.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness::contained;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR, Policy, V4};
use oci_bind_hook_tests::net::{ANY4, CIP4, OTHER4};
use oci_bind_hook_tests::process::{self, Output};
use oci_bind_hook_tests::socket::{TCP4, at};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        contained("create-runtime twice with one policy", twice),
        contained("create-runtime --dry-run", dry_run),
        contained("attach replaces a policy", replace),
        contained("attach and detach by pid", by_pid),
        contained("attach by pid covers the container", container_by_pid),
        contained("detach without a policy", |hook, container| {
            hook.detach(&container.cgroup)?;
            container.cgroup.assert_bare()
        }),
        contained("a process moved to a child cgroup", child_cgroup),
        contained("a cgroup that is called deleted, by pid", |hook, _| {
            let cgroup = Cgroup::named(&format!("web-{} (deleted)", std::process::id()))?;
            by_process(hook, &cgroup, &Agent::new(&cgroup)?)
        }),
    ]
}

fn twice(hook: &Hook, container: &Container) -> Result<()> {
    for _ in 0..2 {
        let output = create_runtime(hook, container, BOTH)?;
        ensure!(output.status.success(), "{output:?}");
        container.cgroup.assert_attached(BOTH)?;
    }
    assert_bound(&container.init, CIP4)
}

fn dry_run(hook: &Hook, container: &Container) -> Result<()> {
    let state = container.state_with(BOTH).to_string();
    let mut command = hook.command("create-runtime");
    let output = process::run(command.arg("--dry-run"), state.as_bytes())?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let shown: serde_json::Value = serde_json::from_str(&output.stdout)?;
    ensure!(shown["container"] == container.id(), "{shown}");
    ensure!(shown["plan"]["ipv4"] == CIP4.to_string(), "{shown}");
    let cgroup = container.cgroup.path().to_str();
    ensure!(shown["cgroup"].as_str() == cgroup, "{shown}");
    container.cgroup.assert_bare()
}

fn replace(hook: &Hook, container: &Container) -> Result<()> {
    for (policy, own) in [(V4, CIP4), (NEIGHBOUR, OTHER4), (BOTH, CIP4)] {
        hook.attach(&container.cgroup, policy)?;
        container.cgroup.assert_attached(policy)?;
        assert_bound(&container.init, own)?;
    }
    Ok(())
}

fn by_pid(hook: &Hook, container: &Container) -> Result<()> {
    by_process(hook, &container.cgroup, &container.init)
}

/// `attach` and `detach` name the process, and change this cgroup.
fn by_process(hook: &Hook, cgroup: &Cgroup, process: &Agent) -> Result<()> {
    let pid = process.id().to_string();
    let mut attach = hook.command("attach");
    let output = process::run(attach.args(["--pid", &pid]).args(V4.options()), b"")?;
    ensure!(output.status.success(), "{output:?}");
    cgroup.assert_attached(V4)?;
    assert_bound(process, CIP4)?;

    let mut detach = hook.command("detach");
    let output = process::run(detach.args(["--pid", &pid]), b"")?;
    ensure!(output.status.success(), "{output:?}");
    cgroup.assert_bare()?;
    assert_bound(process, ANY4)
}

/// crun puts the first process into a cgroup below the container's; what comes
/// later may be beside it.
fn container_by_pid(hook: &Hook, container: &Container) -> Result<()> {
    let below = container.cgroup.child("container")?;
    below.take_in(container.init.id())?;
    let beside = container.cgroup.child("beside")?;
    let result = by_process(hook, &container.cgroup, &container.init).and_then(|()| {
        let pid = container.init.id().to_string();
        let mut attach = hook.command("attach");
        process::run(attach.args(["--pid", &pid]).args(V4.options()), b"")?;
        below.assert_bare()?;
        assert_bound(&Agent::new(&beside)?, CIP4)
    });
    container.cgroup.take_in(container.init.id())?;
    result
}

fn child_cgroup(hook: &Hook, container: &Container) -> Result<()> {
    hook.attach(&container.cgroup, V4)?;
    let child = container.cgroup.child("below")?;
    let process = Agent::new(&child)?;
    assert_bound(&process, CIP4)
}

/// Runs the hook for a container.
pub fn create_runtime(hook: &Hook, container: &Container, policy: Policy) -> Result<Output> {
    hook.create_runtime(container.state_with(policy).to_string().as_bytes())
}

/// Fails unless a server that binds to 0.0.0.0 is at `expected`.
pub fn assert_bound(process: &Agent, expected: IpAddr) -> Result<()> {
    let address = bound(process)?;
    ensure!(
        address == expected,
        "a server is at {address}, not {expected}"
    );
    Ok(())
}

/// Where a server ends up that binds to 0.0.0.0.
pub fn bound(process: &Agent) -> Result<IpAddr> {
    let server = process.socket(TCP4)?;
    server.bind(at(ANY4, 0, 0)).context("bind to 0.0.0.0")?;
    Ok(server.local()?.ip())
}
