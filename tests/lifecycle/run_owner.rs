//! `run` in a cgroup that belongs to another user, as a terminal's does below
//! user@.service: its owner may remove what is in it, and move processes.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, V4, inside};
use oci_bind_hook_tests::net::{CIP4, Net};
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

use crate::policy::assert_bound;

const OWNER: u32 = 1000;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Hook, &Cgroup) -> Result<()>| {
        harness::trial(name, move || {
            Net::isolated(move |_| {
                let cgroup = Cgroup::new()?;
                delegate(&cgroup)?;
                test(&Hook::new()?, &cgroup)
            })
        })
    };
    vec![
        trial("run, and the cgroup's owner moves the command", moved),
        trial("run, and the cgroup's owner replaces cgroups", replaced),
    ]
}

/// Gives a cgroup to its owner, as systemd does with `Delegate=yes`.
pub fn delegate(cgroup: &Cgroup) -> Result<()> {
    let path = cgroup.path();
    for file in [
        "",
        "cgroup.procs",
        "cgroup.threads",
        "cgroup.subtree_control",
    ] {
        chown(path.join(file), Some(OWNER), Some(OWNER))
            .with_context(|| format!("give {file:?} to {OWNER}"))?;
    }
    Ok(())
}

/// A helper that `run` has started, in a cgroup of another user.
fn under_run(hook: &Hook, cgroup: &Cgroup) -> Result<Agent> {
    Agent::through(|helper| {
        let mut run = hook.command("run");
        run.args(V4.options()).arg("--").arg(helper.get_program());
        Ok(inside(cgroup, &run))
    })
}

fn moved(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    let elsewhere = cgroup.child("elsewhere")?;
    delegate(&elsewhere)?;
    let agent = under_run(hook, cgroup)?;
    assert_bound(&agent, CIP4)?;
    let helper = helper(agent.id())?;
    let procs = elsewhere.path().join("cgroup.procs");
    let moved = as_owner(|| fs::write(&procs, helper.to_string()))?;
    assert_bound(&agent, CIP4)?;
    let refused = moved.map_err(|error| error.kind());
    ensure!(refused == Err(ErrorKind::PermissionDenied), "{refused:?}");
    Ok(())
}

/// The process of the command that `run` has started.
fn helper(run: u32) -> Result<u32> {
    let children = fs::read_to_string(format!("/proc/{run}/task/{run}/children"))?;
    let is_helper = |pid: &&str| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm"));
        name.is_ok_and(|name| name.trim() == "socket-agent")
    };
    let pid = children.split_whitespace().find(is_helper);
    Ok(pid.context("find the command")?.parse()?)
}

/// As fast as it can, the owner puts another cgroup of the same name in the
/// place of each that is not his.
fn replaced(hook: &Hook, cgroup: &Cgroup) -> Result<()> {
    const ROUNDS: usize = 20;
    hook.load()?;
    let is_done = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let owner = scope.spawn(|| {
            as_owner(|| {
                while !is_done.load(Ordering::Relaxed) {
                    for child in children(cgroup.path()) {
                        let _ = fs::remove_dir(&child).and_then(|()| fs::create_dir(&child));
                    }
                }
            })
        });
        let rounds = (0..ROUNDS).try_for_each(|_| assert_bound(&under_run(hook, cgroup)?, CIP4));
        is_done.store(true, Ordering::Relaxed);
        owner.join().ok().context("join the owner's thread")??;
        rounds
    });
    for child in children(cgroup.path()) {
        let _ = fs::remove_dir(child);
    }
    result
}

/// The cgroups directly below one.
fn children(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

/// Does something with the rights of the owner, on a thread that ends there.
pub fn as_owner<T: Send>(act: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let acting = scope.spawn(|| {
            let owner = Uid::from_raw(OWNER);
            set_thread_res_uid(owner, owner, owner).context("become the owner")?;
            Ok(act())
        });
        acting.join().ok().context("join the thread")?
    })
}
