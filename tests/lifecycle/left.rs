//! Cgroups that a container left behind, since nobody was there to remove them
//! when it ended, and that a new one of the same name starts in.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::{self, Container};
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR, Policy, V4};
use oci_bind_hook_tests::net::{ANY4, CIP4, OTHER4};
use oci_bind_hook_tests::process;

use crate::policy::{assert_bound, create_runtime};
use crate::upgrade::age;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Hook, Container) -> Result<()>| {
        harness::unpinned(name, move |hook| test(hook, left(hook, V4)?))
    };
    vec![
        trial("a left cgroup, for another address", another),
        trial("a left cgroup, for the same address", |hook, container| {
            assert_starts(hook, &container, V4)?;
            assert_bound(&container.init, CIP4)
        }),
        trial("a left cgroup of an older version", |hook, container| {
            age(&[])?;
            assert_starts(hook, &container, V4)?;
            assert_bound(&container.init, CIP4)
        }),
        trial("a left cgroup, without annotations", without_keys),
        trial(
            "a left cgroup of an older version, without annotations",
            |hook, container| {
                age(&[])?;
                without_keys(hook, container)
            },
        ),
        trial("a left cgroup, without annotations, --dry-run", dry_run),
        harness::unpinned("a cgroup of another name, without annotations", by_hand),
        trial("a left cgroup that has filled again", filled),
    ]
}

/// A new container in the cgroup of an earlier one, with its policy.
fn left(hook: &Hook, policy: Policy) -> Result<Container> {
    let mut container = Container::new()?;
    assert_starts(hook, &container, policy)?;
    container.init = Agent::new(&container.cgroup)?;
    Ok(container)
}

/// The hook gives the container this policy, and no other program is left.
fn assert_starts(hook: &Hook, container: &Container, policy: Policy) -> Result<()> {
    let output = create_runtime(hook, container, policy)?;
    ensure!(output.status.success(), "{output:?}");
    container.cgroup.assert_attached(policy)
}

fn another(hook: &Hook, container: Container) -> Result<()> {
    for (policy, own) in [(NEIGHBOUR, OTHER4), (BOTH, CIP4), (V4, CIP4)] {
        assert_starts(hook, &container, policy)?;
        assert_bound(&container.init, own)?;
    }
    Ok(())
}

fn without_keys(hook: &Hook, container: Container) -> Result<()> {
    let output = hook.create_runtime(container.state(&[]).to_string().as_bytes())?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    container.cgroup.assert_bare()?;
    assert_bound(&container.init, ANY4)
}

fn dry_run(hook: &Hook, container: Container) -> Result<()> {
    let mut command = hook.command("create-runtime");
    let state = container.state(&[]).to_string();
    let output = process::run(command.arg("--dry-run"), state.as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    container.cgroup.assert_attached(V4)
}

/// Nobody says that a container left that: it may be meant.
fn by_hand(hook: &Hook) -> Result<()> {
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, V4)?;
    let init = Agent::new(&cgroup)?;
    let state = container::state("web", init.id(), &[]);
    let output = hook.create_runtime(state.to_string().as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    cgroup.assert_attached(V4)?;
    assert_bound(&init, CIP4)
}

/// Somebody else lives there: the policy is theirs, and stays.
fn filled(hook: &Hook, container: Container) -> Result<()> {
    let stranger = Agent::new(&container.cgroup)?;
    let output = create_runtime(hook, &container, NEIGHBOUR)?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let output = hook.create_runtime(container.state(&[]).to_string().as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    container.cgroup.assert_attached(V4)?;
    assert_bound(&stranger, CIP4)
}
