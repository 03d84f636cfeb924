//! File systems that are missing or cannot be written to, and a syslog daemon
//! that does not listen.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy};
use oci_bind_hook_tests::process::Output;
use oci_bind_hook_tests::syslog::{SOCKET, stuffed};
use oci_bind_hook_tests::{harness, host};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};

/// A policy that needs the calls alone.
const POLICY: Policy = BOTH;
const BPFFS: &str = "/sys/fs/bpf";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![
        harness::unpinned("no bpffs is mounted", without_bpffs),
        harness::unpinned("a bpffs that is read-only, with pins", |hook| {
            starts(hook)?;
            read_only(Path::new(BPFFS))?;
            starts(hook)
        }),
        harness::unpinned("a bpffs that is read-only, without pins", |hook| {
            read_only(Path::new(BPFFS))?;
            refused(hook, BPFFS)
        }),
        harness::unpinned("a bpffs unmounted under running containers", unmounted),
        harness::unpinned("nothing but the bpffs can be written to", |hook| {
            // In a thread of its own: the files of the trial are removed later.
            std::thread::scope(|scope| {
                let thread = scope.spawn(|| nothing_else(hook));
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
        }),
        harness::unpinned("no syslog", |hook| {
            host::own_dev()?;
            starts(hook)?;
            refused_for_an_address(hook)
        }),
        harness::unpinned("a syslog that does not read", |hook| {
            host::own_dev()?;
            let _daemon = stuffed()?;
            starts(hook)?;
            refused_for_an_address(hook)
        }),
        harness::unpinned("a syslog socket without a daemon", |hook| {
            host::own_dev()?;
            drop(UnixDatagram::bind(SOCKET)?);
            starts(hook)?;
            refused_for_an_address(hook)
        }),
    ]
}

fn create(hook: &Hook, container: &Container) -> Result<Output> {
    hook.create_runtime(container.state_with(POLICY).to_string().as_bytes())
}

fn starts(hook: &Hook) -> Result<()> {
    let container = Container::new()?;
    let output = create(hook, &container)?;
    ensure!(output.status.success(), "{output:?}");
    container.cgroup.assert_attached(POLICY)
}

/// Refused in one line that says this, with nothing attached.
fn refused(hook: &Hook, reason: &str) -> Result<()> {
    let container = Container::new()?;
    let output = create(hook, &container)?;
    assert_refused(&container, &output, reason)
}

fn refused_for_an_address(hook: &Hook) -> Result<()> {
    let container = Container::new()?;
    let state = container.state(&[("io.oci-bind-hook.ipv4", "203.0.113.9")]);
    let output = hook.create_runtime(state.to_string().as_bytes())?;
    assert_refused(&container, &output, "203.0.113.9")
}

fn assert_refused(container: &Container, output: &Output, reason: &str) -> Result<()> {
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(output.stderr.lines().count() == 1, "{output:?}");
    ensure!(output.stderr.contains(reason), "{output:?}");
    container.cgroup.assert_bare()
}

/// The hook mounts one.
fn without_bpffs(hook: &Hook) -> Result<()> {
    unmount_all(BPFFS)?;
    starts(hook)?;
    ensure!(host::pins()?.len() == 1, "no pins: {:?}", host::pins()?);
    // The programs of a cgroup need no pin.
    hook.load()
}

/// Containers keep their programs; the next one gets programs of its own.
fn unmounted(hook: &Hook) -> Result<()> {
    let first = Container::new()?;
    ensure!(create(hook, &first)?.status.success());
    unmount_all(BPFFS)?;
    first.cgroup.assert_attached(POLICY)?;
    starts(hook)?;
    first.cgroup.assert_attached(POLICY)
}

/// The hook writes to no disk: after a reset of the machine there is nothing
/// of it.
fn nothing_else(hook: &Hook) -> Result<()> {
    host::private_bpffs()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mut points: Vec<_> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| !point.starts_with("/proc") && !point.starts_with("/sys/fs"))
        .collect();
    points.sort_unstable();
    points.dedup();
    for point in points {
        match read_only(Path::new(point)) {
            // One that another hides, or that is gone.
            Err(error) if error.downcast_ref() == Some(&Errno::INVAL) => {}
            Err(error) if error.downcast_ref() == Some(&Errno::NOENT) => {}
            done => done?,
        }
    }
    let probe = fs::write("/run/bind-test", "");
    ensure!(probe.is_err(), "/run can be written to");
    starts(hook)
}

fn read_only(point: &Path) -> Result<()> {
    mount_remount(point, MountFlags::BIND | MountFlags::RDONLY, "")
        .with_context(|| format!("make {} read-only", point.display()))
}

fn unmount_all(point: &str) -> Result<()> {
    loop {
        match unmount(point, UnmountFlags::DETACH) {
            Ok(()) => {}
            Err(Errno::INVAL) => return Ok(()),
            Err(errno) => return Err(errno).with_context(|| format!("unmount {point}")),
        }
    }
}
