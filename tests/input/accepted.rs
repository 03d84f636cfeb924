//! Input and surroundings that are unusual but fine.

use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::{self, Output};
use serde_json::json;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        harness::trial("container without our keys", || {
            Net::isolated(|_| {
                let container = Container::new()?;
                let state = container.state(&[("io.kubernetes.cri-o.TTY", "false")]);
                let output = Hook::new()?.create_runtime(state.to_string().as_bytes())?;
                assert_silent(&output)?;
                container.cgroup.assert_bare()
            })
        }),
        harness::trial("container without annotations", || {
            Net::isolated(|_| {
                let container = Container::new()?;
                let mut state = container.state(&[]);
                state
                    .as_object_mut()
                    .and_then(|state| state.remove("annotations"));
                let output = Hook::new()?.create_runtime(state.to_string().as_bytes())?;
                assert_silent(&output)?;
                container.cgroup.assert_bare()
            })
        }),
        attached("state as runc writes it", BOTH, |container| {
            Ok(container.state_with(BOTH).to_string())
        }),
        attached("state as crun writes it", V4, |container| {
            let mut state = container.state_with(V4);
            state["ociVersion"] = json!("1.0");
            state["status"] = json!("created");
            state["root"] = json!("/run/bundle/rootfs");
            Ok(state.to_string().replace('/', "\\/"))
        }),
        attached("state with blanks around a value", V4, |container| {
            Ok(container
                .state(&[
                    ("io.oci-bind-hook.ipv4", " 192.0.2.10\n"),
                    ("io.oci-bind-hook.loopback", "host"),
                ])
                .to_string())
        }),
        with_surroundings("empty environment", |hook| {
            let mut command = hook.command("create-runtime");
            command.env_clear();
            command
        }),
        with_surroundings("closed standard output and error", |hook| {
            closed(&hook.command("create-runtime"), ">&- 2>&-")
        }),
        with_surroundings("working directory that is gone", |hook| {
            let create_runtime = hook.command("create-runtime");
            process::shell(
                &create_runtime,
                "directory=$(mktemp -d) && cd \"$directory\" && rmdir \"$directory\" && exec \"$0\" \"$@\"",
            )
        }),
        harness::trial("everything closed", || {
            Net::isolated(|_| {
                let create_runtime = Hook::new()?;
                let mut command = closed(&create_runtime.command("create-runtime"), "<&- >&- 2>&-");
                let output = process::run(&mut command, b"")?;
                ensure!(
                    output.status.code() == Some(1),
                    "ended with {}",
                    output.status
                );
                Ok(())
            })
        }),
    ]
}

/// A state that the hook acts on.
fn attached(
    name: &str,
    policy: Policy,
    state: impl FnOnce(&Container) -> Result<String> + Send + 'static,
) -> Trial {
    harness::trial(name, move || {
        Net::isolated(move |_| {
            let container = Container::new()?;
            let output = Hook::new()?.create_runtime(state(&container)?.as_bytes())?;
            assert_silent(&output)?;
            container.cgroup.assert_attached(policy)
        })
    })
}

/// A way to start the hook in which it works.
fn with_surroundings(name: &str, command: impl FnOnce(&Hook) -> Command + Send + 'static) -> Trial {
    harness::trial(name, move || {
        Net::isolated(move |_| {
            let container = Container::new()?;
            let hook = Hook::new()?;
            let state = container.state_with(V4).to_string();
            let output = process::run(&mut command(&hook), state.as_bytes())?;
            assert_silent(&output)?;
            container.cgroup.assert_attached(V4)
        })
    })
}

fn assert_silent(output: &Output) -> Result<()> {
    ensure!(
        output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
        "not a silent success: {output:?}"
    );
    Ok(())
}

/// `command` with descriptors closed as the shell's `redirections` say.
fn closed(command: &Command, redirections: &str) -> Command {
    process::shell(command, &format!("exec \"$0\" \"$@\" {redirections}"))
}
