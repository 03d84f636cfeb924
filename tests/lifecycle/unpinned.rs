//! Policies whose programs are not pinned where the command looks: in another bpffs, or
//! nowhere any more. They hold all the same.

use std::fs;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{Hook, NEIGHBOUR, V4};
use oci_bind_hook_tests::net::{ANY4, CIP4, OTHER4};
use oci_bind_hook_tests::{harness, host, process};
use serde_json::json;

use crate::policy::assert_bound;
use crate::status::{entry, status};

type Lose = fn() -> Result<()>;
type Test = fn(&Hook, &Container) -> Result<()>;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let ways: [(&str, Lose); 2] = [
        ("in another bpffs", host::private_bpffs),
        ("removed", || {
            fs::remove_dir_all(host::PINS).context("remove the pins")
        }),
    ];
    let tests: [(&str, Test); 4] = [
        ("status shows the policy", shown),
        ("detach takes it off", detached),
        ("attach replaces it", replaced),
        ("a start without keys takes it off", cleared),
    ];
    let mut trials = vec![harness::unpinned(
        "ip netns exec is told to use nsenter",
        hidden,
    )];
    for (way, lose) in ways {
        for (what, test) in tests {
            trials.push(harness::unpinned(
                format!("pins {way}: {what}"),
                move |hook| {
                    let container = Container::new()?;
                    hook.attach(&container.cgroup, V4)?;
                    lose()?;
                    ensure!(host::pins()?.is_empty(), "the pins are still there");
                    assert_bound(&container.init, CIP4)?;
                    test(hook, &container)
                },
            ));
        }
    }
    trials
}

fn shown(hook: &Hook, container: &Container) -> Result<()> {
    let entry = entry(hook, container)?.context("no entry")?;
    ensure!(entry["version"] == json!("unpinned"), "{entry}");
    ensure!(entry["is_current"] == json!(false), "{entry}");
    ensure!(entry["policy"]["ipv4"] == json!(CIP4), "{entry}");
    ensure!(entry["missing"] == json!([]), "{entry}");
    let bind4 = &entry["counters"]["calls"]["bind4"]["rewritten"];
    ensure!(*bind4 == json!(1), "{entry}");
    let table = status(hook, &[])?;
    ensure!(table.stdout.contains("not pinned"), "{table:?}");
    Ok(())
}

fn detached(hook: &Hook, container: &Container) -> Result<()> {
    hook.detach(&container.cgroup)?;
    container.cgroup.assert_bare()?;
    assert_bound(&container.init, ANY4)?;
    ensure!(entry(hook, container)?.is_none(), "it is still listed");
    Ok(())
}

/// One program of each type: another one on top would move what the first has moved.
fn replaced(hook: &Hook, container: &Container) -> Result<()> {
    hook.attach(&container.cgroup, NEIGHBOUR)?;
    container.cgroup.assert_attached(NEIGHBOUR)?;
    assert_bound(&container.init, OTHER4)?;
    let entry = entry(hook, container)?.context("no entry")?;
    ensure!(entry["is_current"] == json!(true), "{entry}");
    Ok(())
}

fn cleared(hook: &Hook, container: &Container) -> Result<()> {
    let state = container.state(&[]).to_string();
    let output = hook.create_runtime(state.as_bytes())?;
    ensure!(output.status.success(), "{output:?}");
    container.cgroup.assert_bare()
}

/// `ip netns exec` mounts a sysfs of its own, in which there is no cgroup2.
fn hidden(hook: &Hook) -> Result<()> {
    let name = format!("bind-test-{}", std::process::id());
    let ip = |arguments: &[&str]| process::run(Command::new("ip").args(arguments), b"");
    for arguments in [
        &["netns", "add", &name][..],
        &[
            "-netns",
            &name,
            "address",
            "add",
            "192.0.2.10/32",
            "dev",
            "lo",
        ],
    ] {
        let made = ip(arguments)?;
        ensure!(made.status.success(), "{made:?}");
    }
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).arg(hook.binary());
        command.args(["run", "--ipv4", "192.0.2.10", "--", "true"]);
        process::run(&mut command, b"")
    };
    let hidden = run("ip", &["netns", "exec", &name]);
    let seen = run("nsenter", &[&format!("--net=/run/netns/{name}")]);
    let removed = ip(&["netns", "del", &name])?;
    ensure!(removed.status.success(), "{removed:?}");
    let hidden = hidden?;
    ensure!(hidden.status.code() == Some(125), "{hidden:?}");
    let advice = "use nsenter --net=/run/netns/NAME";
    ensure!(hidden.stderr.contains(advice), "{hidden:?}");
    let seen = seen?;
    ensure!(seen.status.success(), "{seen:?}");
    Ok(())
}
