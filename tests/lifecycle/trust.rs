//! What other users may have made where the programs are pinned: bpffs lets
//! everybody make files in it unless it is mounted with another mode.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::{harness, host, process};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

const NOBODY: u32 = 65534;
const BPFFS: &str = "/sys/fs/bpf";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        harness::unpinned("pins: a directory that another user made first", |hook| {
            let mut mkdir = Command::new("mkdir");
            let output = process::run(mkdir.arg(host::PINS).uid(NOBODY).gid(NOBODY), b"")?;
            ensure!(output.status.success(), "{output:?}");
            refused(hook, &["uid 65534", "rm -r /sys/fs/bpf/oci-bind-hook"])
        }),
        harness::unpinned("pins: a directory that another user keeps locked", |hook| {
            fs::create_dir(host::PINS)?;
            chown(host::PINS, Some(NOBODY), Some(NOBODY))?;
            let directory = File::open(host::PINS)?;
            flock(&directory, FlockOperation::LockExclusive)?;
            refused(hook, &["uid 65534", "rm -r /sys/fs/bpf/oci-bind-hook"])
        }),
        harness::unpinned("pins: a directory that all may write", |hook| {
            hook.load()?;
            fs::set_permissions(host::PINS, Permissions::from_mode(0o777))?;
            refused(hook, &["mode 0777", "rm -r /sys/fs/bpf/oci-bind-hook"])
        }),
        harness::unpinned("pins: a version of another user", |hook| {
            hook.load()?;
            let pins = only(host::pins()?)?;
            chown(&pins, Some(NOBODY), Some(NOBODY))?;
            refused(hook, &["uid 65534", &format!("rm -r {}", pins.display())])
        }),
        harness::unpinned("pins: a link to somewhere else", |hook| {
            let elsewhere = tempfile::tempdir()?;
            mount("bpf", elsewhere.path(), "bpf", MountFlags::empty(), None)?;
            symlink(elsewhere.path(), host::PINS)?;
            let result = refused(hook, &[host::PINS, "not a directory"]);
            let loaded = fs::read_dir(elsewhere.path())?
                .flatten()
                .filter(|entry| entry.path().is_dir())
                .count();
            unmount(elsewhere.path(), UnmountFlags::DETACH)?;
            ensure!(loaded == 0, "it pinned there");
            result
        }),
        harness::unpinned("pins: a bpffs in which all may rename", |hook| {
            hook.load()?;
            fs::set_permissions(BPFFS, Permissions::from_mode(0o777))?;
            refused(hook, &["mode 0777", "chmod 0700 /sys/fs/bpf"])
        }),
        harness::unpinned("pins: closed to others whatever the umask", |hook| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "umask 0 && exec \"$@\"", "sh"]);
            let load = hook.command("load");
            shell.arg(load.get_program()).args(load.get_args());
            let output = process::run(&mut shell, b"")?;
            ensure!(output.status.success(), "{output:?}");
            for directory in [Path::new(host::PINS), &only(host::pins()?)?] {
                let mode = fs::metadata(directory)?.mode() & 0o7777;
                ensure!(mode == 0o700, "{}: {mode:o}", directory.display());
            }
            Ok(())
        }),
        harness::unpinned("pins: no bpffs, and its place kept locked", |hook| {
            loop {
                match unmount(BPFFS, UnmountFlags::DETACH) {
                    Err(Errno::INVAL) => break,
                    unmounted => unmounted.context("unmount bpffs")?,
                }
            }
            let place = File::open(BPFFS)?;
            flock(&place, FlockOperation::LockExclusive)?;
            refused(
                hook,
                &[
                    "holds the lock",
                    "mount -t bpf -o mode=0700 bpf /sys/fs/bpf",
                ],
            )?;
            drop(place);
            hook.load()
        }),
    ]
}

/// Nothing is attached, and the line says why: it waits for nobody's lock for ever.
fn refused(hook: &Hook, names: &[&str]) -> Result<()> {
    let cgroup = Cgroup::new()?;
    let mut attach = hook.command("attach");
    attach.arg("--cgroup").arg(cgroup.path()).args(V4.options());
    let output = process::run(&mut attach, b"")?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(output.stderr.lines().count() == 1, "{output:?}");
    for name in names {
        ensure!(output.stderr.contains(name), "no {name}: {output:?}");
    }
    cgroup.assert_bare()
}

fn only(pins: Vec<PathBuf>) -> Result<PathBuf> {
    let [directory] = <[PathBuf; 1]>::try_from(pins)
        .ok()
        .context("there is not one version")?;
    Ok(directory)
}
