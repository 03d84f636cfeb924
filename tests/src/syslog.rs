//! The system log: a daemon at /dev/log, for the calling thread, which has a
//! mount namespace of its own, and the processes that it starts.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;

use anyhow::{Context as _, Result};

use crate::host;
use crate::net::has_dual;

/// Where programs look for the daemon.
pub const SOCKET: &str = "/dev/log";

/// What the log says where a server of both families has one address.
pub const ONE_FAMILY: &str = "a server at :: answers at the IPv6 address alone";

/// A daemon's socket whose queue is full.
pub fn stuffed() -> Result<UnixDatagram> {
    let daemon = UnixDatagram::bind(SOCKET).context("bind /dev/log")?;
    let writer = UnixDatagram::unbound()?;
    writer.set_nonblocking(true)?;
    writer.connect(SOCKET)?;
    while writer.send(b"<30>bind-test: filler").is_ok() {}
    Ok(daemon)
}

/// A daemon with room for all that a test says.
#[derive(Debug)]
pub struct Daemon(UnixDatagram);

impl Daemon {
    /// Starts it in a /dev of its own. The network namespace, which has the
    /// limit of the queue, is the test's own too.
    pub fn start() -> Result<Self> {
        host::own_dev()?;
        fs::write("/proc/sys/net/unix/max_dgram_qlen", "1000").context("make room in the queue")?;
        let socket = UnixDatagram::bind(SOCKET).context("bind /dev/log")?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// The datagrams since the last time, of programs that have ended; without
    /// what kernels without type information add for each policy of both families.
    pub fn received(&self) -> Result<Vec<String>> {
        let mut received = self.all_received()?;
        if !has_dual() {
            received.retain(|line| !line.contains(ONE_FAMILY));
        }
        Ok(received)
    }

    fn all_received(&self) -> Result<Vec<String>> {
        let mut received = Vec::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match self.0.recv(&mut buffer) {
                Ok(length) => received.push(String::from_utf8(buffer[..length].to_vec())?),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(received),
                Err(error) => return Err(error).context("read /dev/log"),
            }
        }
    }
}
