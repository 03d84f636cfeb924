//! Processes whose cgroup must not be touched.

use std::fs::File;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::{self, Container};
use oci_bind_hook_tests::hook::{Hook, V4, inside};
use oci_bind_hook_tests::net::{ANY4, Net};
use oci_bind_hook_tests::socket::{TCP4, at};
use oci_bind_hook_tests::{bpf, harness, host, process};
use serde_json::json;

use crate::refusal::assert_refused;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        harness::trial("cgroup with a foreign process", foreign_process),
        harness::trial("cgroup with a foreign process below", foreign_process_below),
        harness::trial("cgroup of another container", other_container),
        harness::trial("cgroup root", root),
        harness::trial("cgroup of the caller", own),
        harness::trial("cgroup above, of the container's name", name_above),
    ]
}

fn foreign_process() -> Result<()> {
    Net::isolated(|_| {
        let container = Container::new()?;
        let stranger = Agent::new(&container.cgroup)?;
        let pid = stranger.id().to_string();
        refuse(&container, &["process", &pid, container.id()])
    })
}

fn foreign_process_below() -> Result<()> {
    Net::isolated(|_| {
        let container = Container::new()?;
        let below = container.cgroup.child("below")?;
        let stranger = Agent::new(&below)?;
        let pid = stranger.id().to_string();
        refuse(&container, &["process", &pid, container.id()])?;
        below.assert_bare()
    })
}

fn other_container() -> Result<()> {
    Net::isolated(|_| {
        let container = Container::new()?;
        let mut state = container.state_with(V4);
        let other = "0123456789abcdef".repeat(4);
        state["id"] = json!(other);
        let output = Hook::new()?.create_runtime(state.to_string().as_bytes())?;
        assert_refused(&output, &["belongs to container", container.id(), &other])?;
        container.cgroup.assert_bare()
    })
}

fn root() -> Result<()> {
    Net::isolated(|_| {
        let root = File::open(host::cgroup_root()?)?;
        let before = bpf::attached(&root)?;
        let process = Agent::in_root()?;
        let id = container::fresh_id();
        let annotations = container::annotations(V4);
        let state = container::state(&id, process.id(), &container::borrowed(&annotations));
        let output = Hook::new()?.create_runtime(state.to_string().as_bytes())?;
        assert_refused(&output, &["root", &id])?;
        ensure!(bpf::attached(&root)? == before, "the root has changed");
        Ok(())
    })
}

/// The hook itself is in the container's cgroup, as with `--cgroups=disabled`.
fn own() -> Result<()> {
    Net::isolated(|_| {
        let container = Container::new()?;
        let state = container.state_with(V4).to_string();
        let hook = Hook::new()?;
        let mut command = inside(&container.cgroup, &hook.command("create-runtime"));
        let output = process::run(&mut command, state.as_bytes())?;
        assert_refused(&output, &["oci-bind-hook itself", container.id()])?;
        container.cgroup.assert_bare()
    })
}

/// `ctr run IMAGE default` makes /default/default: above are all containers of
/// the namespace.
fn name_above() -> Result<()> {
    Net::isolated(|_| {
        let name = format!("default-{}", std::process::id());
        let above = Cgroup::named(&name)?;
        let cgroup = above.child(&name)?;
        let init = Agent::new(&cgroup)?;
        let annotations = container::annotations(V4);
        let state = container::state(&name, init.id(), &container::borrowed(&annotations));
        let output = Hook::new()?.create_runtime(state.to_string().as_bytes())?;
        ensure!(output.status.success(), "{output:?}");
        cgroup.assert_attached(V4)?;
        above.assert_bare()?;
        let neighbour = Agent::new(&above.child("web")?)?.socket(TCP4)?;
        neighbour.bind(at(ANY4, 0, 0))?;
        ensure!(neighbour.local()?.ip() == ANY4, "{}", neighbour.local()?);
        Ok(())
    })
}

fn refuse(container: &Container, names: &[&str]) -> Result<()> {
    let state = container.state_with(V4).to_string();
    let output = Hook::new()?.create_runtime(state.as_bytes())?;
    assert_refused(&output, names)?;
    container.cgroup.assert_bare()
}
