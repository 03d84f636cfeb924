//! `runc run` of a program that ends at once: without a hook, with an empty
//! process as its hook, and with the hook.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::bench::DEFAULTS;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::{annotations, fresh_id};
use oci_bind_hook_tests::hook::Hook;
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::results::{Results, Target};
use rustix::mount::{MountFlags, mount};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

const ROUNDS: usize = 150;
/// Statically linked: all that the container holds.
const PROGRAM: &str = "/bin/busybox";
/// Where runc looks for cgroup2.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Whether runc can be run here.
pub fn is_there() -> bool {
    let asked = Command::new("runc")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success()) && Path::new(PROGRAM).exists()
}

/// Measures in the calling thread's network namespace, in turn.
pub fn measure(results: &mut Results) -> Result<()> {
    host::private_bpffs()?;
    mount("none", CGROUPS, "cgroup2", MountFlags::empty(), None)
        .with_context(|| format!("mount cgroup2 at {CGROUPS}"))?;
    let name = format!("bind-bench-{}", std::process::id());
    let _parent = Cgroup::at(Path::new(CGROUPS).join(&name))?;
    let hook = Hook::new()?;
    hook.load()?;
    let binary = hook.binary().to_str().context("the path is no text")?;
    let config = hook.config().to_str().context("the path is no text")?;
    let ours = json!([{
        "path": binary,
        "args": [binary, "--config", config, "create-runtime"],
    }]);
    let empty = json!([{ "path": "/bin/true" }]);
    let bundles = [json!([]), empty, ours].map(|hooks| bundle(&name, hooks));
    let [bare, empty, ours] = bundles;
    let bundles = [bare?, empty?, ours?];
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (bundle, times) in bundles.iter().zip(&mut times) {
            times.push(run(bundle.path())?);
        }
    }
    let [bare, empty, ours] = &times;
    results.pairs("an empty hook", "runc run", "ms", [bare, empty], None);
    let target = Some(Target::AtMost(1.02));
    results.pairs("defaults", "runc run", "ms", [bare, ours], target);
    results.pairs(
        "against an empty hook",
        "runc run",
        "ms",
        [empty, ours],
        None,
    );
    Ok(())
}

/// A bundle in a cgroup below `parent`, with these hooks and both addresses.
fn bundle(parent: &str, hooks: Value) -> Result<TempDir> {
    let directory = tempfile::tempdir().context("make a bundle")?;
    let root = directory.path().join("rootfs");
    fs::create_dir(&root)?;
    fs::copy(PROGRAM, root.join("true")).with_context(|| format!("copy {PROGRAM}"))?;
    let made = Command::new("runc")
        .arg("spec")
        .current_dir(directory.path())
        .status();
    ensure!(made.context("run runc")?.success(), "runc made no bundle");
    let path = directory.path().join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path)?)?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/true"]);
    // Raising them is not allowed everywhere.
    spec["process"]["rlimits"] = json!([]);
    spec["linux"]["cgroupsPath"] = json!(format!("/{parent}/container"));
    let namespaces = spec["linux"]["namespaces"].as_array_mut();
    let namespaces = namespaces.context("the specification has no namespaces")?;
    namespaces.retain(|one| one["type"] != "network" && one["type"] != "cgroup");
    let pairs = annotations(DEFAULTS);
    let pairs = pairs.into_iter().map(|(key, value)| (key, json!(value)));
    spec["annotations"] = Value::Object(pairs.collect::<Map<_, _>>());
    spec["hooks"] = json!({ "createRuntime": hooks });
    fs::write(&path, spec.to_string())?;
    Ok(directory)
}

/// How many milliseconds a container of this bundle takes from start to end.
fn run(bundle: &Path) -> Result<f64> {
    let mut command = Command::new("runc");
    command
        .arg("--root")
        .arg(bundle.join("state"))
        .args(["run", "--bundle"])
        .arg(bundle)
        .arg(fresh_id())
        .stdin(Stdio::null());
    let start = Instant::now();
    let status = command.status().context("run runc")?;
    let time = start.elapsed();
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(time.as_secs_f64() * 1e3)
}
