//! What `status` says, against what was done.

use std::fs::File;
use std::os::fd::AsFd;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::bpf;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::foreign::EGRESS;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::{ANY4, CIP4, Net};
use oci_bind_hook_tests::process::{self, Output};
use oci_bind_hook_tests::socket::{TCP4, at};
use serde_json::{Value, json};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Hook, &Container) -> Result<()>| {
        harness::trial(name, move || {
            Net::isolated(move |_| test(&Hook::new()?, &Container::new()?))
        })
    };
    vec![
        trial("status --json of a container", |hook, container| {
            hook.attach(&container.cgroup, V4.ports("80:8080/tcp").exempt("53"))?;
            let entry = entry(hook, container)?.context("no entry")?;
            ensure!(entry["container"] == json!(container.id()), "{entry}");
            ensure!(entry["engine"] == json!("podman"), "{entry}");
            ensure!(entry["is_current"] == json!(true), "{entry}");
            let policy = json!({
                "ipv4": CIP4, "ipv6": null, "loopback": "host", "guard": "off",
                "ports": ["80:8080/tcp"], "exempt": ["53"],
            });
            ensure!(entry["policy"] == policy, "{entry}");
            Ok(())
        }),
        trial("status counts calls", |hook, container| {
            hook.attach(&container.cgroup, V4)?;
            container.init.socket(TCP4)?.bind(at(ANY4, 0, 0))?;
            let entry = entry(hook, container)?.context("no entry")?;
            let bind4 = json!({ "rewritten": 1, "passed": 0, "denied": 0 });
            ensure!(entry["counters"]["calls"]["bind4"] == bind4, "{entry}");
            Ok(())
        }),
        trial("status after detach", |hook, container| {
            hook.attach(&container.cgroup, V4)?;
            hook.detach(&container.cgroup)?;
            let entry = entry(hook, container)?;
            ensure!(entry.is_none(), "{entry:?}");
            Ok(())
        }),
        trial("status where a program was taken off", |hook, container| {
            hook.attach(&container.cgroup, V4.guarded())?;
            let pins = host::pins()?;
            let egress = bpf::open_pin(&pins.first().context("no pins")?.join("egress"))?;
            let cgroup = File::open(container.cgroup.path())?;
            bpf::detach(egress.as_fd(), cgroup.as_fd(), EGRESS)?;
            let entry = entry(hook, container)?.context("no entry")?;
            ensure!(entry["missing"] == json!(["egress"]), "{entry}");
            let output = status(hook, &[])?;
            ensure!(output.stdout.contains("NOT PROTECTED"), "{output:?}");
            Ok(())
        }),
        trial("status of one container", |hook, container| {
            hook.attach(&container.cgroup, V4)?;
            let output = status(hook, &[container.id()])?;
            ensure!(output.status.success(), "{output:?}");
            for wanted in [container.id(), &CIP4.to_string(), "bind4"] {
                ensure!(output.stdout.contains(wanted), "no {wanted}: {output:?}");
            }
            Ok(())
        }),
        trial(
            "status of a container that has no policy",
            |hook, container| {
                let output = status(hook, &[container.id()])?;
                ensure!(output.status.code() == Some(1), "{output:?}");
                ensure!(output.stderr.contains(container.id()), "{output:?}");
                Ok(())
            },
        ),
    ]
}

fn status(hook: &Hook, arguments: &[&str]) -> Result<Output> {
    process::run(hook.command("status").args(arguments), b"")
}

/// What `status --json` says of the container, if anything.
pub fn entry(hook: &Hook, container: &Container) -> Result<Option<Value>> {
    let output = status(hook, &["--json"])?;
    ensure!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_str(&output.stdout)?;
    let entries = said["cgroups"].as_array().context("no list of cgroups")?;
    let is_meant = |entry: &&Value| entry["container"] == json!(container.id());
    Ok(entries.iter().find(is_meant).cloned())
}
