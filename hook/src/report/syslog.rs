//! The connection to the system log.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use log::Level;
use syslog::{Facility, Formatter3164, LogFormat as _, Severity};

/// Where the C library looks for the daemon (`_PATH_LOG`).
pub(crate) const SOCKET: &str = "/dev/log";
/// How long a daemon that is slow to read, or does not read at all, may delay a
/// container, for all messages of this process together. After that it gets no more.
const PATIENCE: Duration = Duration::from_millis(500);

/// The socket and what is left of [`PATIENCE`]; `None` without a daemon, which is not an
/// error, or once the daemon has used that up.
pub(super) struct Syslog(Option<(UnixDatagram, Duration)>);

impl Syslog {
    pub(super) fn connect() -> Self {
        let connect = || {
            let socket = UnixDatagram::unbound()?;
            socket.connect(SOCKET)?;
            Ok::<_, std::io::Error>(socket)
        };
        Self(connect().ok().map(|socket| (socket, PATIENCE)))
    }

    /// Sends one datagram in the format of syslog(3): for a daemon on this host, without
    /// a host name. The time is UTC; daemons add their own or replace it.
    pub(super) fn send(&mut self, level: Level, line: &str) {
        self.0 = self.0.take().and_then(|(socket, patience)| {
            let start = Instant::now();
            socket.set_write_timeout(Some(patience)).ok()?;
            socket.send(&datagram(level, line)?).ok()?;
            let left = patience.saturating_sub(start.elapsed());
            (!left.is_zero()).then_some((socket, left))
        });
    }
}

fn datagram(level: Level, line: &str) -> Option<Vec<u8>> {
    let formatter = Formatter3164 {
        facility: Facility::LOG_DAEMON,
        hostname: None,
        process: super::NAME.to_owned(),
        pid: std::process::id(),
    };
    let severity = match level {
        Level::Error => Severity::LOG_ERR,
        Level::Warn => Severity::LOG_WARNING,
        Level::Info => Severity::LOG_INFO,
        Level::Debug | Level::Trace => Severity::LOG_DEBUG,
    };
    let mut datagram = Vec::new();
    formatter.format(&mut datagram, severity, line).ok()?;
    Some(datagram)
}
