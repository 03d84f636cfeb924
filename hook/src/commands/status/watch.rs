//! `status --watch`: the same over and over, with what has changed since.

use std::collections::VecDeque;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::changes::changes;
use super::{Earlier, Screen, look, print, shown};
use crate::kernel::inventory::Entry;
use crate::text::count;

/// How often it is refreshed.
const INTERVAL: Duration = Duration::from_secs(2);
/// How many of the latest changes are shown.
const REMEMBERED: usize = 5;
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
    let mut before: Option<Vec<Entry>> = None;
    let mut changed = VecDeque::new();
    loop {
        let (entries, exposed) = look(which)?;
        let elapsed = clock(start.elapsed());
        if let Some(before) = &before {
            let lines = changes(before, &entries).into_iter();
            changed.extend(lines.map(|line| format!("{elapsed} {line}\n")));
            changed.drain(..changed.len().saturating_sub(REMEMBERED));
        }
        let earlier = before.as_deref().map(Earlier::of).unwrap_or_default();
        let populated = entries.iter().filter(|entry| entry.is_populated).count();
        let screen = Screen::find();
        let width = screen.map(|screen| screen.columns);
        let text = format!(
            "{} under a policy, watched for {elapsed}{}\n{}\n{}",
            count(populated, "cgroup"),
            legend(which),
            changed.iter().map(String::as_str).collect::<String>(),
            shown(&entries, &exposed, which, &earlier, width),
        );
        match screen {
            Some(screen) => print(&format!("{CLEAR}{}", screen.cut(text.trim_end())))?,
            None => print(&text)?,
        }
        before = Some(entries);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_time() {
        assert_eq!(clock(Duration::from_secs(3600 + 65)), "1:01:05");
    }
}
