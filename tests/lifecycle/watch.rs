//! `status --watch` as somebody at a terminal sees it.

use std::os::fd::OwnedFd;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, V4, at_root};
use oci_bind_hook_tests::net::{ANY4, Net};
use oci_bind_hook_tests::process::{PATIENCE, Running};
use oci_bind_hook_tests::socket::{TCP4, at};

use crate::screen::Screen;

/// What it writes before each look, at a terminal.
const CLEAR: &str = "\x1b[H\x1b[J";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Hook, &Container) -> Result<()>| {
        harness::trial(name, move || {
            Net::isolated(move |_| {
                let (hook, container) = (Hook::new()?, Container::new()?);
                hook.attach(&container.cgroup, V4)?;
                test(&hook, &container)
            })
        })
    };
    vec![
        trial("status --watch says what came meanwhile", meanwhile),
        trial("status --watch says what has changed", changes),
        trial("status --watch cuts what a terminal cannot show", low),
        trial("status --watch cuts no line", narrow),
        trial("status --watch into a pipe", piped),
        trial("status --watch of a container that ends", ending),
    ]
}

fn meanwhile(hook: &Hook, container: &Container) -> Result<()> {
    let (mut screen, _watch) = watch(hook, &[], 40)?;
    screen.read_until(CLEAR)?;
    screen.read_until(&container.id()[..12])?;
    container.init.socket(TCP4)?.bind(at(ANY4, 0, 0))?;
    screen.read_until("+1  1")
}

fn changes(hook: &Hook, _: &Container) -> Result<()> {
    let root = Cgroup::new()?;
    let container = Container::below(&root)?;
    hook.attach(&container.cgroup, V4)?;
    let mut command = hook.command("status");
    let mut command = at_root(&root, command.arg("--watch"))?;
    let (mut screen, _watch) = Screen::show(&mut command, 40, 300)?;
    screen.read_until(&container.id()[..12])?;
    let service = root.child("web.service")?;
    hook.attach(&service, V4)?;
    screen.read_until(" web.service: now under a policy")?;
    hook.attach(&service, V4.guarded())?;
    screen.read_until(" web.service: guard changed from off to on")?;
    hook.detach(&service)?;
    screen.read_until(" web.service: no longer under a policy")?;
    ensure!(
        !screen.seen.contains("2 cgroups"),
        "counted: {:?}",
        screen.seen
    );
    Ok(())
}

fn low(hook: &Hook, _: &Container) -> Result<()> {
    let (mut screen, _watch) = watch(hook, &[], 4)?;
    screen.read_until("... and ")
}

fn narrow(hook: &Hook, _: &Container) -> Result<()> {
    let mut command = hook.command("status");
    let (mut screen, _watch) = Screen::show(command.arg("--watch"), 200, 40)?;
    screen.read_until("DROPPED")
}

fn piped(hook: &Hook, container: &Container) -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = hook.command("status");
    let _watch = Running::start(command.arg("--watch").stdout(writer))?;
    drop(command);
    let mut screen = Screen::of(OwnedFd::from(reader).into());
    for _ in 0..2 {
        screen.read_until(&container.id()[..12])?;
    }
    ensure!(!screen.seen.contains('\x1b'), "escapes: {:?}", screen.seen);
    Ok(())
}

fn ending(hook: &Hook, container: &Container) -> Result<()> {
    let (mut screen, mut watch) = watch(hook, &[container.id()], 40)?;
    screen.read_until("bind4")?;
    hook.detach(&container.cgroup)?;
    let status = watch.wait(PATIENCE)?;
    ensure!(status.code() == Some(1), "ended with {status}");
    Ok(())
}

/// The command at a terminal of that many rows.
fn watch(hook: &Hook, arguments: &[&str], rows: u16) -> Result<(Screen, Running)> {
    let mut command = hook.command("status");
    Screen::show(command.arg("--watch").args(arguments), rows, 300)
}
