//! `status --watch`: the same over and over, with what was counted since.

use std::io::{IsTerminal as _, stdout};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::termios::tcgetwinsize;

use super::{Earlier, chosen, print, shown};
use crate::kernel::inventory;
use crate::text::count;

/// How often it is refreshed.
const INTERVAL: Duration = Duration::from_secs(2);
/// Home, and clear to the end of the screen (ECMA-48, CUP and ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows what is in force until interrupted, or until the container that was asked for is
/// gone.
///
/// # Errors
///
/// As for `status` without `--watch`, and if nobody reads the output any more.
pub(super) fn watch(which: Option<&str>) -> Result<()> {
    let start = Instant::now();
    let mut earlier = Earlier::default();
    loop {
        let entries = chosen(inventory::collect()?, which)?;
        let populated = entries.iter().filter(|entry| entry.is_populated).count();
        let text = format!(
            "{} under a policy, watched for {}{}\n\n{}",
            count(populated, "cgroup"),
            clock(start.elapsed()),
            legend(which),
            shown(&entries, which, &earlier),
        );
        match screen() {
            Some(size) => print(&format!("{CLEAR}{}", cut(text.trim_end(), size)))?,
            None => print(&text)?,
        }
        earlier = Earlier::of(&entries);
        sleep(INTERVAL);
    }
}

/// Only the table shows what has grown.
fn legend(which: Option<&str>) -> String {
    match which {
        Some(_) => String::new(),
        None => format!("; + is the increase in the last {} s", INTERVAL.as_secs()),
    }
}

/// Formats a time as hours, minutes and seconds.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Returns the rows and columns of the terminal; `None` if the output is not a terminal.
/// One that does not know its size, such as on a serial line, has no bounds.
fn screen() -> Option<[usize; 2]> {
    let size = tcgetwinsize(stdout().is_terminal().then(stdout)?).ok()?;
    let bound = |number| match usize::from(number) {
        0 => usize::MAX,
        number => number,
    };
    Some([bound(size.ws_row), bound(size.ws_col)])
}

/// Returns the part of a text that fits, with a line that says how much does not. The
/// last row is left for the cursor.
fn cut(text: &str, [rows, columns]: [usize; 2]) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| line.chars().take(columns).collect())
        .collect();
    let room = rows.saturating_sub(2);
    if lines.len() > room + 1 {
        let hidden = lines.split_off(room).len();
        lines.push(format!("... and {hidden} more lines"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_to_the_screen() {
        assert_eq!(cut("a\nb\nc", [4, 80]), "a\nb\nc");
        assert_eq!(cut("a\nb\nc\nd", [4, 80]), "a\nb\n... and 2 more lines");
        assert_eq!(cut("long\nd", [usize::MAX, 2]), "lo\nd");
    }

    #[test]
    fn tells_the_time() {
        assert_eq!(clock(Duration::from_secs(3600 + 65)), "1:01:05");
    }
}
