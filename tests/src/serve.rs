//! `serve`, without which no UDP server answers at both addresses.

use std::os::unix::net::UnixDatagram;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::hook::Hook;
use crate::process::{PATIENCE, Running, Signal};

/// A running `serve`; killed when dropped.
#[derive(Debug)]
pub struct Serve(Running);

impl Serve {
    /// Starts it, and waits until it says that it is ready (`sd_notify`).
    pub fn start(hook: &Hook) -> Result<Self> {
        let directory = TempDir::new().context("make a directory")?;
        let path = directory.path().join("notify");
        let notify = UnixDatagram::bind(&path).context("bind the socket of systemd")?;
        notify.set_read_timeout(Some(PATIENCE))?;
        let serve = Running::start(hook.command("serve").env("NOTIFY_SOCKET", &path))?;
        let mut said = [0; 64];
        let length = notify.recv(&mut said).context("wait until it is ready")?;
        let said = String::from_utf8_lossy(&said[..length]);
        ensure!(said.trim_end() == "READY=1", "it said {said:?}");
        Ok(Self(serve))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.0.signal(signal)
    }

    /// Ends it, by any signal that does.
    pub fn end(mut self, signal: Signal) -> Result<()> {
        self.0.signal(signal)?;
        self.0.wait(PATIENCE)?;
        Ok(())
    }
}
