//! A container that asks for no policy, and what the configuration says about it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::{Container, state};
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::{self, Output};
use oci_bind_hook_tests::syslog::Daemon;
use serde_json::{Value, json};

const REFUSE: &str = "without-policy = \"refuse\"\n";
const WARN: &str = "without-policy = \"warn\"\n";
const BROKEN: &str = "without-policy = \"no\"\n";

/// What a container is told that is on the host's network without a policy.
const SAID: &str = "on the host's network without a policy: annotate it with \
    io.oci-bind-hook.ipv4 or io.oci-bind-hook.ipv6, or give it a network of its own";

/// A container of a pod, as containerd describes it to hooks if it passes no annotations on.
const OF_A_POD: &str = include_str!("../states/containerd-without-pod-annotations.json");

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, config: &'static str, test: fn(&Hook) -> Result<()>| {
        harness::unpinned(format!("without a policy: {name}"), move |_| {
            test(&Hook::with_config(config)?)
        })
    };
    vec![
        trial("ignored by default", "", ignored),
        trial("warn", WARN, warned),
        trial("refuse", REFUSE, |hook| {
            let container = Container::new()?;
            assert_refused(&create(hook, &container.state(&[]))?, SAID)
        }),
        trial("refuse a misspelt key", REFUSE, |hook| {
            let container = Container::new()?;
            let other = ("io.container.manager", "libpod");
            for key in [
                "io.oci-bind-hok.ipv4",
                "oci-bind-hook.ipv4",
                "oci-bind-hook.io/ipv4",
            ] {
                let state = container.state(&[other, (key, "192.0.2.10")]);
                let said = format!("a policy, and \"{key}\" is not a key of this hook: annotate");
                assert_refused(&create(hook, &state)?, &said)?;
            }
            Ok(())
        }),
        trial("refuse, --dry-run", REFUSE, |hook| {
            let container = Container::new()?;
            let mut command = hook.command("create-runtime");
            let state = container.state(&[]).to_string();
            let output = process::run(command.arg("--dry-run"), state.as_bytes())?;
            assert_refused(&output, SAID)
        }),
        trial("refuse a container of a pod", REFUSE, of_a_pod),
        trial(
            "refuse where the keys are another container's",
            REFUSE,
            |hook| {
                let container = Container::new()?;
                let state = container.state(&[
                    ("io.kubernetes.cri.container-name", "web"),
                    ("io.oci-bind-hook.ipv4/container.admin", "192.0.2.10"),
                ]);
                assert_refused(&create(hook, &state)?, SAID)
            },
        ),
        trial(
            "refuse one that says it is a sandbox and is not",
            REFUSE,
            |hook| {
                let container = Container::new()?;
                let state = container.state(&[
                    ("io.kubernetes.cri-o.ContainerType", "container"),
                    ("io.kubernetes.cri.container-type", "sandbox"),
                ]);
                assert_refused(&create(hook, &state)?, SAID)
            },
        ),
        trial("a sandbox starts", REFUSE, |hook| {
            let container = Container::new()?;
            for key in [
                "io.kubernetes.cri-o.ContainerType",
                "io.kubernetes.cri.container-type",
            ] {
                assert_starts(&create(hook, &container.state(&[(key, "sandbox")]))?)?;
            }
            Ok(())
        }),
        trial("a network of its own", REFUSE, |hook| {
            let container = Container::new()?;
            assert_starts(&from_outside(hook, &container)?)
        }),
        trial("a policy on a cgroup above", REFUSE, |hook| {
            let service = Cgroup::new()?;
            hook.attach(&service, V4)?;
            let container = Container::below(&service)?;
            assert_starts(&create(hook, &container.state(&[]))?)
        }),
        trial(
            "the policy of an earlier container does not count",
            REFUSE,
            |hook| {
                let container = Container::new()?;
                hook.attach(&container.cgroup, V4)?;
                assert_refused(&create(hook, &container.state(&[]))?, SAID)?;
                container.cgroup.assert_bare()
            },
        ),
        trial(
            "a configuration with an error might refuse it",
            BROKEN,
            |hook| {
                let container = Container::new()?;
                let output = create(hook, &container.state(&[]))?;
                assert_refused(&output, ":1: key without-policy: ")
            },
        ),
        trial("a network of its own, and an error", BROKEN, |hook| {
            let container = Container::new()?;
            assert_starts(&from_outside(hook, &container)?)
        }),
        trial("ignored under a rootless engine", "", |hook| {
            assert_starts(&rootless(hook)?)
        }),
        trial("refuse under a rootless engine", REFUSE, |hook| {
            assert_refused(&rootless(hook)?, SAID)
        }),
    ]
}

fn create(hook: &Hook, state: &Value) -> Result<Output> {
    hook.create_runtime(state.to_string().as_bytes())
}

/// Runs the hook in another network namespace than the container's.
fn from_outside(hook: &Hook, container: &Container) -> Result<Output> {
    Net::isolated(|_| create(hook, &container.state(&[])))
}

/// Runs the hook as an engine of user 1000 does, in whose namespace root has no id. The shell
/// that starts it is the container's process.
fn rootless(hook: &Hook) -> Result<Output> {
    let place = tempfile::tempdir()?;
    let readable = fs::Permissions::from_mode(0o755);
    let binary = place.path().join("oci-bind-hook");
    fs::copy(hook.binary(), &binary)?;
    for path in [place.path(), &binary, hook.config()] {
        fs::set_permissions(path, readable.clone())?;
    }
    let mut command = Command::new("unshare");
    command
        .uid(1000)
        .gid(1000)
        .args(["-U", "-r"])
        .args(["sh", "-c", r#"sed "s/31337/$$/" | "$@""#, "sh"])
        .arg(binary)
        .args(["create-runtime", "--config"])
        .arg(hook.config());
    let state = state("rootless", 31337, &[]).to_string();
    process::run(&mut command, state.as_bytes())
}

fn assert_starts(output: &Output) -> Result<()> {
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    Ok(())
}

fn assert_refused(output: &Output, said: &str) -> Result<()> {
    ensure!(
        output.status.code() == Some(1) && output.stderr.contains(said),
        "not {said:?}: {output:?}"
    );
    Ok(())
}

fn ignored(hook: &Hook) -> Result<()> {
    let daemon = Daemon::start()?;
    let container = Container::new()?;
    assert_starts(&create(hook, &container.state(&[]))?)?;
    let lines = daemon.received()?;
    ensure!(lines.is_empty(), "{lines:?}");
    Ok(())
}

fn warned(hook: &Hook) -> Result<()> {
    let daemon = Daemon::start()?;
    let container = Container::new()?;
    assert_starts(&create(hook, &container.state(&[]))?)?;
    container.cgroup.assert_bare()?;
    let lines = daemon.received()?;
    let said = format!("container {}: {SAID}", container.id());
    ensure!(
        lines.len() == 1 && lines[0].starts_with("<28>") && lines[0].contains(&said),
        "{lines:?}"
    );
    // Nothing is said of a container with a policy, or with a network of its own.
    assert_starts(&create(hook, &container.state_with(V4))?)?;
    assert_starts(&from_outside(hook, &Container::new()?)?)?;
    let lines = daemon.received()?;
    ensure!(lines.iter().all(|line| !line.contains(SAID)), "{lines:?}");
    Ok(())
}

fn of_a_pod(hook: &Hook) -> Result<()> {
    let recorded: Value = serde_json::from_str(OF_A_POD)?;
    let annotations = recorded["annotations"].as_object().context("annotations")?;
    let container = Container::new()?;
    let mut state = state(container.id(), container.init.id(), &[]);
    state["annotations"] = json!(annotations);
    assert_refused(&create(hook, &state)?, SAID)
}
