//! Limits that the hook runs into.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::bpf::{self, ATTACH_TYPES, NAME_TYPES, PACKET_TYPES};
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::foreign::{Foreign, Mode};
use oci_bind_hook_tests::hook::{Hook, Policy, V4, inside};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::{harness, host, process};

/// A policy that needs every program.
const FULL: Policy = V4.loopback("auto").guarded();
/// `BPF_CGROUP_MAX_PROGS`, kernel/bpf/cgroup.c
const MAX_PROGRAMS: usize = 64;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = [ATTACH_TYPES[0], NAME_TYPES[0], PACKET_TYPES[1]]
        .into_iter()
        .map(|(name, attach_type)| {
            harness::trial(format!("attach where {name} is full"), move || {
                Net::isolated(move |_| full(attach_type))
            })
        })
        .collect();
    trials.push(harness::unpinned(
        "create-runtime short of memory",
        short_of_memory,
    ));
    trials.push(harness::unpinned("load short of threads", short_of_threads));
    trials
}

/// One program less than the limit is no problem; at the limit the cgroup
/// stays as it was, and the message says why.
fn full(attach_type: u32) -> Result<()> {
    let hook = Hook::new()?;
    let cgroup = Cgroup::new()?;
    for _ in 1..MAX_PROGRAMS {
        Foreign::permit(attach_type)?.attach(&cgroup, Mode::Multi)?;
    }
    hook.attach(&cgroup, FULL)?;
    hook.detach(&cgroup)?;
    Foreign::permit(attach_type)?.attach(&cgroup, Mode::Multi)?;

    let found = || bpf::attached(File::open(cgroup.path())?);
    let before = found()?;
    let mut attach = hook.command("attach");
    attach.arg("--cgroup").arg(cgroup.path());
    let output = process::run(attach.args(FULL.options()), b"")?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(output.stderr.lines().count() == 1, "{output:?}");
    ensure!(output.stderr.contains("64 programs"), "{output:?}");
    let after = found()?;
    ensure!(after == before, "{before:?} came to {after:?}");
    Ok(())
}

/// From a cold start in a cgroup with less and less memory: the hook attaches
/// everything, or it fails or is killed and the next one succeeds.
fn short_of_memory(hook: &Hook) -> Result<()> {
    const KIB: u64 = 1 << 10;
    let Some(caller) = limited_cgroup()? else {
        return Err(harness::skip(
            "cgroup2 has no memory controller here: make test-kernels has",
        ));
    };
    let (mut done, mut failed) = (0, 0);
    for shift in (0..9).rev() {
        let limit = (192 * KIB) << shift;
        let target = Cgroup::new()?;
        fs::write(caller.path().join("memory.max"), limit.to_string())?;
        let mut attach = hook.command("attach");
        attach.arg("--cgroup").arg(target.path());
        attach.args(FULL.options());
        let output = process::run(&mut inside(&caller, &attach), b"")?;
        let found = bpf::attached(File::open(target.path())?)?;
        if output.status.success() {
            done += 1;
            let all = ATTACH_TYPES.len() + NAME_TYPES.len() + PACKET_TYPES.len();
            ensure!(found.len() == all, "with {limit} bytes: {found:?}");
        } else {
            failed += 1;
            // One that was killed could not clean up.
            let could = output.status.code().is_some();
            ensure!(
                found.is_empty() || !could,
                "with {limit} bytes: {output:?}, {found:?}"
            );
        }
        hook.attach(&target, FULL)?;
        hook.detach(&target)?;
        hook.unload()?;
    }
    ensure!(
        done > 0,
        "48 MiB are not enough, which is what the manual says"
    );
    ensure!(
        failed > 0,
        "192 KiB are enough: nothing was short of memory"
    );
    Ok(())
}

/// Where no other thread can be started, one loads all the programs. The limit
/// does not hold for root, nor for who may exceed limits.
fn short_of_threads(hook: &Hook) -> Result<()> {
    const NEEDED: &str = "-all,+bpf,+net_admin,+perfmon,+dac_override";
    let short = |program: &Path| {
        let mut command = Command::new("prlimit");
        command.args(["--nproc=1", "setpriv", "--reuid=65534", "--clear-groups"]);
        for set in ["bounding-set", "inh-caps", "ambient-caps"] {
            command.arg(format!("--{set}={NEEDED}"));
        }
        command.arg(program);
        command
    };
    // Busybox has a setpriv that can do less.
    if !Path::new("/usr/bin/setpriv").exists() || !Path::new("/usr/bin/prlimit").exists() {
        return Err(harness::skip("there is no setpriv, or no prlimit"));
    }
    let mut fork = short(Path::new("/bin/sh"));
    let forked = process::run(fork.args(["-c", "(:)"]), b"")?;
    ensure!(!forked.status.success(), "the limit is none: {forked:?}");

    let mut load = short(hook.binary());
    let loaded = process::run(load.arg("load"), b"")?;
    ensure!(loaded.status.success(), "{loaded:?}");
    let alone = pinned()?;
    // The hook trusts no pins of others.
    fs::remove_dir_all("/sys/fs/bpf/oci-bind-hook")?;
    hook.load()?;
    let together = pinned()?;
    ensure!(alone == together, "{alone:?} is not {together:?}");
    Ok(())
}

/// The names of the pins, in order.
fn pinned() -> Result<Vec<OsString>> {
    let directory = host::pins()?.pop().context("nothing is pinned")?;
    let names = fs::read_dir(directory)?.map(|pin| Ok(pin?.file_name()));
    let mut names: Vec<_> = names.collect::<io::Result<_>>()?;
    names.sort();
    Ok(names)
}

/// A cgroup whose memory can be limited: it has to be directly below the root,
/// since the test's own has processes.
fn limited_cgroup() -> Result<Option<Cgroup>> {
    let root = host::cgroup_root()?;
    if !has_memory(&root.join("cgroup.controllers"))? {
        return Ok(None);
    }
    let enabled = root.join("cgroup.subtree_control");
    if !has_memory(&enabled)? {
        fs::write(&enabled, "+memory").context("enable the memory controller")?;
    }
    let name = format!("bind-test-memory-{}", std::process::id());
    Cgroup::at(root.join(name)).map(Some)
}

fn has_memory(list: &Path) -> Result<bool> {
    let text = fs::read_to_string(list).with_context(|| format!("read {}", list.display()))?;
    Ok(text.split_whitespace().any(|name| name == "memory"))
}
