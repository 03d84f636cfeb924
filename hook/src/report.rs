//! What the user reads: one line on standard error, and the same line in
//! syslog, since some runtimes throw a hook's standard error away.

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

/// Tag in syslog, and the name in front of a line on standard error.
pub const NAME: &str = "oci-bind-hook";

/// Where the C library looks for the daemon (`_PATH_LOG`).
pub(crate) const SOCKET: &str = "/dev/log";
/// A daemon that does not read may not keep a container waiting.
const PATIENCE: Duration = Duration::from_millis(500);

/// Reports a failure on standard error and in syslog.
pub fn error(error: &anyhow::Error, container: Option<&str>) {
    let message = one_line(&format!("{error:#}"), container);
    // Standard error may be closed; there is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "{NAME}: {message}");
    if let Some(mut logger) = logger() {
        let _ = logger.err(message);
    }
}

/// Records a decision in syslog.
pub fn info(message: &str, container: Option<&str>) {
    if let Some(mut logger) = logger() {
        let _ = logger.info(one_line(message, container));
    }
}

/// The message with the container's id in front, as one line whatever is in it.
fn one_line(message: &str, container: Option<&str>) -> String {
    let line = match container {
        Some(id) => format!("container {id}: {message}"),
        None => message.to_owned(),
    };
    line.split(char::is_control)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// No daemon is no error.
fn logger() -> Option<Logger<LoggerBackend, Formatter3164>> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_write_timeout(Some(PATIENCE)).ok()?;
    socket.connect(SOCKET).ok()?;
    let formatter = Formatter3164 {
        facility: Facility::LOG_DAEMON,
        hostname: None,
        process: NAME.to_owned(),
        pid: std::process::id(),
    };
    Some(Logger::new(LoggerBackend::Unix(socket), formatter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_lines() {
        assert_eq!(one_line("a\n  b\u{1b}[31m\tc\n", None), "a b [31m c");
    }

    #[test]
    fn names_the_container() {
        assert_eq!(one_line("a", Some("web")), "container web: a");
    }
}
