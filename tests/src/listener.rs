//! A process that listens by itself.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::cgroup::Cgroup;
use crate::hook::inside;
use crate::process::{self, PATIENCE, Running};
use crate::socket::{Kind, Socket};

/// A process called `raw-listener`, which listens at a TCP address until it is dropped.
#[derive(Debug)]
pub struct Listener(Running);

impl Listener {
    /// Starts it in a cgroup.
    pub fn start(cgroup: &Cgroup, address: SocketAddr) -> Result<Self> {
        let mut listen = Command::new(process::built("raw-listener")?);
        listen.arg("libc").arg(address.to_string());
        let listener = Self(Running::start(
            inside(cgroup, &listen).stdin(Stdio::null()),
        )?);
        let deadline = Instant::now() + PATIENCE;
        while Socket::new(Kind::of(true, address.ip()))?
            .connect(address)
            .is_err()
        {
            ensure!(Instant::now() < deadline, "nobody listens at {address}");
            std::thread::yield_now();
        }
        Ok(listener)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}
