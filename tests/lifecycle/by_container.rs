//! `attach` and `detach` by a container's id.

use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::{self, Container};
use oci_bind_hook_tests::harness::contained;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::net::{ANY4, CIP4};
use oci_bind_hook_tests::process::{self, Output};

use crate::policy::assert_bound;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        contained("attach and detach by a container's id", by_id),
        contained(
            "attach by a container's id, from another network",
            from_afar,
        ),
        contained("attach by an id that is not one container's", refused),
        contained("attach by the id of a container that has ended", ended),
    ]
}

/// By the whole id, and by as much of it as no other container has. The engine's monitor
/// beside it has the id in its name too.
fn by_id(hook: &Hook, _: &Container) -> Result<()> {
    let prefix = format!("{:08x}", std::process::id());
    let slice = Cgroup::new()?;
    let container = Container::with_id(format!("{prefix}{:056x}", 1), &slice)?;
    let monitor = slice.child(&format!("libpod-conmon-{}.scope", container.id()))?;
    let _monitor = Agent::new(&monitor)?;
    let below = container.cgroup.child("container")?;
    below.take_in(container.init.id())?;
    let result = by_prefix(hook, &container, &prefix).and_then(|()| monitor.assert_bare());
    container.cgroup.take_in(container.init.id())?;
    result
}

fn by_prefix(hook: &Hook, container: &Container, prefix: &str) -> Result<()> {
    for given in [container.id(), prefix] {
        let output = process::run(&mut attach(hook, given), b"")?;
        ensure!(output.status.success(), "{output:?}");
        container.cgroup.assert_attached(V4)?;
        assert_bound(&container.init, CIP4)?;
        let mut detach = hook.command("detach");
        let output = process::run(detach.args(["--container", given]), b"")?;
        ensure!(output.status.success(), "{output:?}");
        container.cgroup.assert_bare()?;
        assert_bound(&container.init, ANY4)?;
    }
    Ok(())
}

/// The address is one of the container's network namespace, and of no other.
fn from_afar(hook: &Hook, container: &Container) -> Result<()> {
    let attach = attach(hook, container.id());
    let mut afar = Command::new("unshare");
    afar.arg("--net").arg(attach.get_program());
    let output = process::run(afar.args(attach.get_args()), b"")?;
    ensure!(output.status.success(), "{output:?}");
    assert_bound(&container.init, CIP4)
}

fn refused(hook: &Hook, container: &Container) -> Result<()> {
    let (id, other) = (container.id(), Container::new()?);
    let pairs = id.bytes().zip(other.id().bytes());
    let common = pairs.take_while(|(one, other)| one == other).count();
    assert_refused(&mut attach(hook, &id[..common]), "give more of the id")?;
    assert_refused(
        &mut attach(hook, &container::fresh_id()),
        "no container that runs",
    )?;
    assert_refused(&mut attach(hook, ""), "is empty")?;
    container.cgroup.assert_bare()?;
    other.cgroup.assert_bare()
}

/// Some engines leave the cgroup of a container that has ended.
fn ended(hook: &Hook, _: &Container) -> Result<()> {
    let id = container::fresh_id();
    let cgroup = Cgroup::named(&format!("libpod-{id}.scope"))?;
    assert_refused(&mut attach(hook, &id), "no container that runs")?;
    cgroup.assert_bare()
}

fn attach(hook: &Hook, id: &str) -> Command {
    let mut attach = hook.command("attach");
    attach.args(["--container", id]).args(V4.options());
    attach
}

fn assert_refused(command: &mut Command, why: &str) -> Result<()> {
    let output: Output = process::run(command, b"")?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(output.stderr.contains(why), "{output:?}");
    Ok(())
}
