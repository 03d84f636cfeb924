//! What has changed between two looks, apart from the counts: pure.

use super::table::name;
use super::{remarks, settings};
use crate::kernel::inventory::Entry;
use crate::text::printable;

/// Returns a line for each cgroup that came under a policy or is under none any more, and
/// for each thing that is different at the others.
pub(super) fn changes(before: &[Entry], now: &[Entry]) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in now {
        let changed = match find(before, entry) {
            Some(old) => different(old, entry),
            None => vec!["now under a policy".to_owned()],
        };
        let subject = subject(entry);
        lines.extend(changed.into_iter().map(|what| format!("{subject}: {what}")));
    }
    let gone = before.iter().filter(|old| find(now, old).is_none());
    lines.extend(gone.map(|old| format!("{}: no longer under a policy", subject(old))));
    lines
}

/// Finds a cgroup. One whose programs are of two versions is there twice.
fn find<'a>(entries: &'a [Entry], wanted: &Entry) -> Option<&'a Entry> {
    let same = entries.iter().filter(|entry| entry.cgroup == wanted.cgroup);
    same.max_by_key(|entry| entry.version == wanted.version)
}

fn subject(entry: &Entry) -> String {
    name(entry).unwrap_or_else(|| printable(&entry.cgroup))
}

fn different(old: &Entry, new: &Entry) -> Vec<String> {
    let mut lines = Vec::new();
    for ((name, old), (_, new)) in settings(old).into_iter().zip(settings(new)) {
        if old != new {
            let (old, new) = (or_none(&old), or_none(&new));
            lines.push(format!("{name} changed from {old} to {new}"));
        }
    }
    match (old.is_populated, new.is_populated) {
        (true, false) => lines.push("no longer has processes".to_owned()),
        (false, true) => lines.push("now has processes".to_owned()),
        _ => {}
    }
    let known = remarks(old);
    lines.extend(
        remarks(new)
            .into_iter()
            .filter(|remark| !known.contains(remark)),
    );
    lines
}

fn or_none(value: &str) -> &str {
    if value.is_empty() { "none" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::inventory::Counters;
    use crate::plan::view::PolicyView;

    fn entry(unit: &str) -> Entry {
        Entry {
            cgroup: format!("/system.slice/{unit}"),
            container: None,
            engine: None,
            is_populated: true,
            version: "one".to_owned(),
            is_current: true,
            policy: Some(PolicyView {
                ipv4: Some([192, 0, 2, 10].into()),
                ipv6: None,
                loopback: "auto".to_owned(),
                guard: "on",
                ports: Vec::new(),
                exempt: Vec::new(),
                multicast: Vec::new(),
            }),
            missing: Vec::new(),
            counters: Counters::default(),
        }
    }

    #[test]
    fn says_what_came_and_went() {
        let (web, db) = ([entry("web.service")], [entry("db.service")]);
        assert_eq!(
            changes(&web, &db),
            [
                "db.service: now under a policy",
                "web.service: no longer under a policy"
            ]
        );
        assert!(changes(&web, &web).is_empty());
    }

    #[test]
    fn says_what_is_different() {
        let before = entry("web.service");
        let mut now = before.clone();
        now.is_populated = false;
        now.missing.push("egress");
        let policy = now.policy.as_mut().unwrap();
        policy.guard = "off";
        policy.exempt.push("53".to_owned());
        let lines = changes(&[before], &[now]);
        assert_eq!(
            lines[..3],
            [
                "web.service: guard changed from on to off",
                "web.service: exempt changed from none to 53",
                "web.service: no longer has processes",
            ]
        );
        assert!(
            lines[3].starts_with("web.service: NOT PROTECTED: "),
            "{lines:?}"
        );
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn another_version_is_no_other_cgroup() {
        let mut both = [entry("web.service"), entry("web.service")];
        both[1].version = "two".to_owned();
        assert_eq!(
            changes(&both[..1], &both[1..]),
            ["web.service: programs changed from one to two"]
        );
        assert!(changes(&both, &both).is_empty());
    }
}
