//! What the user reads: one line on standard error when something fails, and all
//! decisions and failures in syslog, since some runtimes discard a hook's standard error.
//!
//! The macros of the crate `log` write to syslog: `error` for failures, `info` for each
//! decision, `debug` for the steps to it, if the configuration asks for them.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::text::printable;

mod syslog;

pub(crate) use syslog::SOCKET;
use syslog::Syslog;

/// The tag in syslog, and the name in front of a line on standard error.
pub const NAME: &str = "oci-bind-hook";

/// The longest message in bytes: together with the header, a datagram has at most the
/// 1024 bytes that RFC 3164 (section 4.1) allows.
const LONGEST: usize = 960;
/// How much of the end of a longer message is kept, since the remedy is there.
const END: usize = 320;
const ELLIPSIS: &str = " ... ";

/// The container that this process is about.
static CONTAINER: OnceLock<String> = OnceLock::new();
static REPORT: Report = Report(Mutex::new(None));

/// Makes the macros of `log` write to syslog, without debug messages.
pub fn start() {
    // A process has one logger, and this function is called once.
    let _ = log::set_logger(&REPORT);
    log::set_max_level(LevelFilter::Info);
}

/// Writes debug messages too, from now on.
pub fn debug() {
    log::set_max_level(LevelFilter::Debug);
}

/// Puts the id of a container in front of every line from now on.
pub fn about(container: &str) {
    // A process is about one container.
    let _ = CONTAINER.set(container.to_owned());
}

/// Reports a failure on standard error and in syslog.
pub fn error(error: &anyhow::Error) {
    notice(Level::Error, &format!("{error:#}"));
}

/// Tells on standard error and in syslog what the user should know of a success.
pub fn notice(level: Level, message: &str) {
    // Standard error may be closed, and there is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "{NAME}: {}", about_container(message));
    log::log!(level, "{message}");
}

fn about_container(message: &str) -> String {
    line(message, CONTAINER.get().map(String::as_str))
}

/// Returns the message with the container's id in front, as one line of bounded length
/// whatever it contains.
fn line(message: &str, container: Option<&str>) -> String {
    let text = match container {
        Some(id) => Cow::Owned(format!("container {id}: {message}")),
        None => Cow::Borrowed(message),
    };
    let line = text
        .split(char::is_control)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    shorten(printable(&line))
}

/// Cuts out the middle of a line that is too long.
fn shorten(line: String) -> String {
    if line.len() <= LONGEST {
        return line;
    }
    let mut start = LONGEST - ELLIPSIS.len() - END;
    while !line.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = line.len() - END;
    while !line.is_char_boundary(end) {
        end += 1;
    }
    [&line[..start], ELLIPSIS, &line[end..]].concat()
}

/// Messages of this program go to syslog, those of its libraries nowhere.
struct Report(Mutex<Option<Syslog>>);

impl Log for Report {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = about_container(&record.args().to_string());
            let mut syslog = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let syslog = syslog.get_or_insert_with(Syslog::connect);
            syslog.send(record.level(), &line);
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_lines() {
        assert_eq!(line("a\n  b\u{1b}[31m\tc\n", None), "a b [31m c");
        assert_eq!(line("a\u{202e}b ü \\", None), "a\\u{202e}b ü \\");
    }

    #[test]
    fn names_the_container() {
        assert_eq!(line("a", Some("web")), "container web: a");
    }

    #[test]
    fn keeps_what_fits() {
        let longest = "a".repeat(LONGEST);
        assert_eq!(line(&longest, None), longest);
    }

    #[test]
    fn keeps_the_ends_of_what_does_not() {
        for filler in ["b", "ü", "語", "🦀"] {
            let cut = line(&format!("a{}c", filler.repeat(LONGEST)), None);
            assert!(cut.len() <= LONGEST, "{cut}");
            assert!(cut.len() > LONGEST - 2 * filler.len(), "{cut}");
            assert!(cut.starts_with('a') && cut.ends_with('c'), "{cut}");
            assert!(cut.contains(&format!("{filler} ... {filler}")), "{cut}");
        }
    }
}
