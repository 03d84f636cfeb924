//! A terminal, and what a program writes to it.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::process::{PATIENCE, Running};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// What a program writes.
pub struct Screen {
    output: File,
    /// All of it so far.
    pub seen: String,
    /// How much of that was waited for.
    read: usize,
}

impl Screen {
    /// Starts a command at a terminal of that size.
    pub fn show(command: &mut Command, rows: u16, columns: u16) -> Result<(Self, Running)> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let Ok(terminal) = openpt(flags) else {
            return Err(harness::skip("there are no pseudo terminals"));
        };
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&terminal, size)?;
        command.stdout(ioctl_tiocgptpeer(&terminal, flags)?);
        let running = Running::start(command.stderr(Stdio::null()))?;
        // The last writer is to be the command.
        command.stdout(Stdio::null());
        Ok((Self::of(terminal.into()), running))
    }

    /// What is read from a descriptor.
    pub fn of(output: File) -> Self {
        Self {
            output,
            seen: String::new(),
            read: 0,
        }
    }

    /// Reads on until this comes.
    pub fn read_until(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen[self.read..].find(text) {
                self.read += at + text.len();
                return Ok(());
            }
            self.read_more(deadline)
                .with_context(|| format!("no {text:?} in {:?}", self.seen))?;
        }
    }

    /// Reads on until nothing has the terminal open any more: all that was written.
    pub fn read_to_end(&mut self) -> Result<&str> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.read_more(deadline) {
                Ok(()) => {}
                Err(error) if is_hangup(&error) => return Ok(&self.seen),
                Err(error) => return Err(error),
            }
        }
    }

    fn read_more(&mut self, deadline: Instant) -> Result<()> {
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(left > Duration::ZERO, "nothing more comes");
        let mut fds = [PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::try_from(left)?))?;
        let mut bytes = [0; 4096];
        let count = self.output.read(&mut bytes).context("read the screen")?;
        self.seen
            .push_str(&String::from_utf8_lossy(&bytes[..count]));
        Ok(())
    }
}

/// Whether reading failed since nothing has the terminal open any more: see the function
/// `n_tty_read`.
fn is_hangup(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.raw_os_error() == Some(libc::EIO))
}
