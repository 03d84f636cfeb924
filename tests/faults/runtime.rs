//! The runtime is killed while it makes a container.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::{Cgroup, wait_empty};
use oci_bind_hook_tests::container::{annotations, fresh_id};
use oci_bind_hook_tests::hook::{BOTH, Hook, inside};
use oci_bind_hook_tests::process::{self, PATIENCE};
use oci_bind_hook_tests::{harness, host};
use serde_json::{Map, Value, json};

use crate::kills::{Moments, time};
use crate::nothing_left::Before;
use crate::rounds;

/// Starts runc where it wants the hierarchy to be, which on hybrid hosts is
/// elsewhere, and becomes it.
const RUNC: &str = "[ -e /sys/fs/cgroup/cgroup.procs ] || mount -t cgroup2 none /sys/fs/cgroup
    exec runc \"$@\"";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![harness::unpinned("runc killed while it creates", |hook| {
        if process::run(Command::new("runc").arg("--version"), b"").is_err() {
            return Err(harness::skip("runc is not installed"));
        }
        killed(hook)
    })]
}

/// Whenever runc dies, the hook ends too, and has not touched the cgroup that
/// runc was in. The container's goes with the container.
fn killed(hook: &Hook) -> Result<()> {
    // All programs, that for this network namespace too.
    hook.attach(&Cgroup::new()?, BOTH)?;
    let before = Before::now()?;
    let caller = before.scope.child("caller")?;
    let directory = tempfile::tempdir()?;
    let create = |id: &str| create(hook, &caller, directory.path(), id);

    let took = time(|| {
        let id = fresh_id();
        let output = process::run(&mut create(&id)?, b"")?;
        ensure!(output.status.success(), "{output:?}");
        delete(&caller, directory.path(), &id)
    })?;
    let mut moments = Moments::within(took);
    for round in 0..rounds(30, 300) {
        let id = fresh_id();
        let mut command = create(&id)?;
        command.stdout(Stdio::null()).stderr(Stdio::null());
        moments.cut_short(&mut command, b"")?;
        delete(&caller, directory.path(), &id).with_context(|| format!("round {round}"))?;
        caller.assert_bare()?;
    }
    moments.assert_both()?;
    caller.remove()?;
    before.assert_nothing_left()
}

/// `runc create`, from the caller's cgroup.
fn create(hook: &Hook, caller: &Cgroup, directory: &Path, id: &str) -> Result<Command> {
    let bundle = directory.join(id);
    fs::create_dir_all(bundle.join("rootfs/bin"))?;
    let program = bundle.join("rootfs/bin/sh");
    fs::write(&program, "")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    fs::write(bundle.join("config.json"), config(hook, caller, id)?)?;
    let mut runc = runc(directory);
    runc.args(["create", "--bundle"]).arg(&bundle).arg(id);
    Ok(inside(caller, &runc))
}

fn runc(directory: &Path) -> Command {
    let mut runc = Command::new("unshare");
    runc.args(["--mount", "sh", "-c", RUNC, "runc", "--root"])
        .arg(directory.join("state"));
    runc
}

/// Ends what there is of the container, as an engine does: the runtime may not
/// know of it.
fn delete(caller: &Cgroup, directory: &Path, id: &str) -> Result<()> {
    let mut runc = runc(directory);
    process::run(runc.args(["delete", "--force", id]), b"")?;
    let cgroup = cgroup_of(caller, id)?;
    if cgroup.exists() {
        fs::write(cgroup.join("cgroup.kill"), "1")?;
        wait_empty(&cgroup, PATIENCE)?;
        fs::remove_dir(&cgroup)?;
    }
    // The hook is not in the container's.
    wait_empty(caller.path(), PATIENCE)?;
    fs::remove_dir_all(directory.join(id))?;
    Ok(())
}

/// The cgroup that a container is made in, beside the caller's.
fn cgroup_of(caller: &Cgroup, id: &str) -> Result<PathBuf> {
    let scope = caller.path().parent().context("find the scope")?;
    Ok(scope.join(id))
}

fn config(hook: &Hook, caller: &Cgroup, id: &str) -> Result<String> {
    let cgroup = cgroup_of(caller, id)?;
    let cgroup = Path::new("/").join(cgroup.strip_prefix(host::cgroup_root()?)?);
    let annotations: Map<String, Value> = annotations(BOTH)
        .into_iter()
        .map(|(key, value)| (key, json!(value)))
        .collect();
    let arguments = [
        "oci-bind-hook",
        "--config",
        path(hook.config())?,
        "create-runtime",
    ];
    let hook = json!({ "path": path(hook.binary())?, "args": arguments, "timeout": 10 });
    let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| json!({ "type": kind }));
    Ok(json!({
        "ociVersion": "1.0.2",
        "root": { "path": "rootfs" },
        "process": { "user": { "uid": 0, "gid": 0 }, "cwd": "/", "args": ["/bin/sh"] },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "annotations": annotations,
        "hooks": { "createRuntime": [hook] },
        "linux": { "cgroupsPath": path(&cgroup)?, "namespaces": namespaces },
    })
    .to_string())
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}
