//! Cgroups and processes that clean up after themselves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::host::cgroup::mount;

/// A cgroup that is removed, with those below it, when dropped.
pub struct Scratch {
    pub path: PathBuf,
    pub name: String,
}

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes cgroups: run it as root"
        );
        let name = format!(
            "/oci-bind-hook-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let point = mount().expect("these tests need a cgroup2 mount").point;
        let scratch = Self {
            path: point.join(&name[1..]),
            name,
        };
        fs::create_dir(&scratch.path).expect("making a scratch cgroup");
        scratch
    }

    pub fn child(&self, below: &str) -> PathBuf {
        let path = self.path.join(below);
        fs::create_dir_all(&path).expect("making a cgroup below the scratch one");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes a cgroup and those below it, once their last process is gone.
pub fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    until("the cgroup is empty", || {
        !path.exists() || fs::remove_dir(path).is_ok()
    });
}

pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::yield_now();
    }
}

/// A process of ours, killed and reaped when dropped.
pub struct Process(pub Child);

impl Process {
    /// Sleeps in a cgroup.
    pub fn sleeping(cgroup: &Path) -> Self {
        Self::start(cgroup, Command::new("sleep").arg("30"))
    }

    pub fn start(cgroup: &Path, command: &mut Command) -> Self {
        let process = Self(command.spawn().expect("starting a process"));
        enter(cgroup, process.0.id());
        process
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().expect("killing our child");
        self.0.wait().expect("reaping our child");
    }
}

/// A grandchild, killed when dropped.
pub struct Grandchild(pub Pid);

impl Grandchild {
    /// Parses a pid in decimal.
    pub fn new(pid: &str) -> Self {
        Self(Pid::from_raw(pid.trim().parse().unwrap()).unwrap())
    }
}

impl Drop for Grandchild {
    fn drop(&mut self) {
        rustix::process::kill_process(self.0, rustix::process::Signal::KILL)
            .expect("killing our grandchild");
    }
}

pub fn enter(cgroup: &Path, pid: impl std::fmt::Display) {
    fs::write(cgroup.join("cgroup.procs"), pid.to_string()).expect("moving a process");
}
