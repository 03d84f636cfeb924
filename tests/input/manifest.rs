//! The manifest of a pod that is shipped as an example, as CRI-O and containerd
//! hand its annotations on.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::Hook;
use oci_bind_hook_tests::net::{CIP4, CIP6, Net, OTHER4, OTHER6};
use oci_bind_hook_tests::process;
use serde_json::{Value, json};

const MANIFEST: &str = include_str!("../../config/kubernetes-pod.yaml");

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let engines = [
        ("CRI-O", "io.kubernetes.container.name"),
        ("containerd", "io.kubernetes.cri.container-name"),
    ];
    let containers = [
        ("web", [CIP4, CIP6], json!([])),
        ("admin", [OTHER4, OTHER6], json!(["80:8080/tcp"])),
    ];
    let mut trials = Vec::new();
    for (engine, key) in engines {
        for (name, [ipv4, ipv6], ports) in containers.clone() {
            trials.push(harness::trial(
                format!("container {name} of the example pod under {engine}"),
                move || {
                    let plan = plan(key, name)?;
                    ensure!(plan["ipv4"] == json!(ipv4), "{plan}");
                    ensure!(plan["ipv6"] == json!(ipv6), "{plan}");
                    ensure!(plan["ports"] == ports, "{plan}");
                    Ok(())
                },
            ));
        }
    }
    trials
}

/// What the hook would do with this container of the pod.
fn plan(key: &'static str, name: &'static str) -> Result<Value> {
    Net::isolated(move |_| {
        let mut annotations = annotations()?;
        annotations.push((key, name));
        let container = Container::new()?;
        let state = container.state(&annotations).to_string();
        let hook = Hook::new()?;
        let mut command = hook.command("create-runtime");
        let output = process::run(command.arg("--dry-run"), state.as_bytes())?;
        ensure!(output.status.success(), "{output:?}");
        let shown: Value = serde_json::from_str(&output.stdout)?;
        Ok(shown["plan"].clone())
    })
}

/// Our lines of the manifest, `KEY: VALUE` or `KEY: "VALUE"`.
fn annotations() -> Result<Vec<(&'static str, &'static str)>> {
    let lines = MANIFEST.lines().map(str::trim);
    lines
        .filter(|line| line.starts_with("io.oci-bind-hook."))
        .map(|line| {
            let (key, value) = line.split_once(": ").context("a key without a value")?;
            Ok((key, value.trim_matches('"')))
        })
        .collect()
}
