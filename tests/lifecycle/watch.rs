//! `status --watch` as somebody at a terminal sees it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::net::{ANY4, Net};
use oci_bind_hook_tests::process::{PATIENCE, Running};
use oci_bind_hook_tests::socket::{TCP4, at};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

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
        trial("status --watch cuts what a terminal cannot show", low),
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

fn low(hook: &Hook, _: &Container) -> Result<()> {
    let (mut screen, _watch) = watch(hook, &[], 4)?;
    screen.read_until("... and ")
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
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let Ok(terminal) = openpt(flags) else {
        return Err(harness::skip("there are no pseudo terminals"));
    };
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let size = Winsize {
        ws_row: rows,
        ws_col: 300,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size)?;
    let inner = ioctl_tiocgptpeer(&terminal, flags)?;
    let mut command = hook.command("status");
    command.arg("--watch").args(arguments).stdout(inner);
    let running = Running::start(command.stderr(Stdio::null()))?;
    Ok((Screen::of(terminal.into()), running))
}

/// What a program writes.
struct Screen {
    output: File,
    /// All of it so far.
    seen: String,
    /// How much of that was waited for.
    read: usize,
}

impl Screen {
    fn of(output: File) -> Self {
        Self {
            output,
            seen: String::new(),
            read: 0,
        }
    }

    /// Reads on until this comes.
    fn read_until(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen[self.read..].find(text) {
                self.read += at + text.len();
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(left > Duration::ZERO, "no {text:?} in {:?}", self.seen);
            let mut fds = [PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN)];
            poll(&mut fds, Some(&Timespec::try_from(left)?))?;
            let mut bytes = [0; 4096];
            let count = self.output.read(&mut bytes).context("read the screen")?;
            self.seen
                .push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    }
}
