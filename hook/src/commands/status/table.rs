//! The table of `status`: pure.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::layout::{self, COLUMNS};
use super::{NO_PROCESSES, remarks};
use crate::host::cgroup;
use crate::kernel::inventory::Entry;
use crate::text::printable;

pub(super) const HEAD: [&str; COLUMNS] = [
    "CONTAINER",
    "IPV4",
    "IPV6",
    "LOOPBACK",
    "GUARD",
    "REWRITTEN",
    "PASSED",
    "DENIED",
    "DROPPED",
    "CGROUP",
];

/// What had been counted at the previous look, by cgroup and version.
#[derive(Debug, Default)]
pub(super) struct Earlier(HashMap<(String, String), [u64; 4]>);

impl Earlier {
    /// Remembers what the entries have counted.
    pub(super) fn of(entries: &[Entry]) -> Self {
        Self(
            entries
                .iter()
                .map(|entry| (key(entry), sums(entry)))
                .collect(),
        )
    }

    fn sums(&self, entry: &Entry) -> Option<&[u64; 4]> {
        self.0.get(&key(entry))
    }
}

fn key(entry: &Entry) -> (String, String) {
    (entry.cgroup.clone(), entry.version.clone())
}

/// Marks a cgroup without processes in the first column.
const EMPTY: &str = "*";

/// Returns the calls rewritten, passed and denied, and the packets dropped.
fn sums(entry: &Entry) -> [u64; 4] {
    let calls = entry.counters.sum();
    let dropped = entry.counters.dropped.values().sum();
    [calls.rewritten, calls.passed, calls.denied, dropped]
}

/// Formats a table, and what an operator should know. Numbers that have grown since
/// `earlier` show by how much. On a terminal of that many columns, a cgroup takes two lines
/// if one is too short; without a width, nothing is shortened.
pub(super) fn list(entries: &[Entry], earlier: &Earlier, width: Option<usize>) -> String {
    if entries.is_empty() {
        return "no cgroup is under a policy\n".to_owned();
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(entries.iter().map(|entry| row(entry, earlier)));
    let mut text = layout::lines(&rows, width);
    if entries.iter().any(|entry| !entry.is_populated) {
        let _ = writeln!(text, "{EMPTY} no processes: {NO_PROCESSES}");
    }
    for entry in entries {
        // On a terminal, a long path would push the remark out of sight.
        let short = width.and_then(|_| name(entry));
        let subject = short.unwrap_or_else(|| printable(&entry.cgroup));
        for remark in remarks(entry) {
            let _ = writeln!(text, "{subject}: {remark}");
        }
    }
    text
}

/// Returns the short id of the container, or the name of the unit, whose cgroup it is.
pub(super) fn name(entry: &Entry) -> Option<String> {
    match &entry.container {
        Some(id) => Some(cgroup::short_id(id).to_owned()),
        None => cgroup::unit(&entry.cgroup).map(printable),
    }
}

fn row(entry: &Entry, earlier: &Earlier) -> [String; COLUMNS] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let policy = entry.policy.as_ref();
    let now = sums(entry);
    let before = earlier.sums(entry).unwrap_or(&now);
    let number = |index: usize| match now[index].saturating_sub(before[index]) {
        0 => now[index].to_string(),
        more => format!("+{more}  {}", now[index]),
    };
    let mut first = or_dash(name(entry));
    if !entry.is_populated {
        first.push_str(EMPTY);
    }
    [
        first,
        or_dash(policy.and_then(|policy| Some(policy.ipv4?.to_string()))),
        or_dash(policy.and_then(|policy| Some(policy.ipv6?.to_string()))),
        or_dash(policy.map(|policy| policy.loopback.clone())),
        or_dash(policy.map(|policy| policy.guard.to_owned())),
        number(0),
        number(1),
        number(2),
        number(3),
        printable(&entry.cgroup),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::inventory::{Calls, Counters};

    fn entry(cgroup: &str, rewritten: u64) -> Entry {
        let mut counters = Counters::default();
        let calls = Calls {
            rewritten,
            ..Calls::default()
        };
        counters.calls.insert("bind4", calls);
        Entry {
            cgroup: cgroup.to_owned(),
            container: None,
            engine: None,
            is_populated: true,
            version: "one".to_owned(),
            is_current: true,
            policy: None,
            missing: Vec::new(),
            counters,
        }
    }

    #[test]
    fn says_by_how_much_a_number_has_grown() {
        let earlier = Earlier::of(&[entry("/a", 3), entry("/b", 3)]);
        let cells = |entry| row(&entry, &earlier)[5].clone();
        assert_eq!(cells(entry("/a", 5)), "+2  5");
        assert_eq!(cells(entry("/b", 3)), "3");
        assert_eq!(cells(entry("/new", 7)), "7");
    }

    #[test]
    fn the_manual_explains_every_column() {
        let manual = include_str!("../../../../packaging/man/oci-bind-hook-status.8");
        let headings: Vec<_> = manual
            .lines()
            .filter_map(|line| line.strip_prefix(".B "))
            .flat_map(|heading| heading.split(", "))
            .collect();
        assert_eq!(headings, HEAD);
    }

    #[test]
    fn counts_anew_under_another_version() {
        let earlier = Earlier::of(&[entry("/a", 3)]);
        let mut other = entry("/a", 1);
        other.version = "two".to_owned();
        assert_eq!(row(&other, &earlier)[5], "1");
    }
}
