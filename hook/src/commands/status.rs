//! `status`: what is in force on this host.

mod changes;
mod choice;
mod layout;
mod screen;
mod table;
mod watch;

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::json;

use super::{json, print};
use crate::kernel::catalogue::VERSION;
use crate::kernel::exposed::{self, Exposed};
use crate::kernel::inventory::{self, Entry, UNPINNED};
use crate::plan::view::PolicyView;
use crate::text::printable;
use screen::Screen;
use table::Earlier;

/// What it means that a cgroup has no processes.
const NO_PROCESSES: &str = "the policy applies to the next ones that start there";

pub(super) fn status(which: Option<&str>, as_json: bool, watch: bool) -> Result<()> {
    if watch {
        return watch::watch(which);
    }
    let (entries, exposed) = look(which)?;
    let text = if as_json {
        json(&json!({ "version": VERSION, "cgroups": entries, "without_policy": exposed }))?
    } else {
        let width = Screen::find().map(|screen| screen.columns);
        shown(&entries, &exposed, which, &Earlier::default(), width)
    };
    print(text.trim_end())
}

/// Looks at one container or cgroup, or at all, and then also for containers on the host's
/// network without a policy.
fn look(which: Option<&str>) -> Result<(Vec<Entry>, Vec<Exposed>)> {
    let all = inventory::collect()?;
    Ok(match which {
        Some(which) => (choice::chosen(all, which)?, Vec::new()),
        None => {
            let exposed = exposed::collect(&all)?;
            (all, exposed)
        }
    })
}

/// Formats one container in detail, or all in a table, followed by those without a policy.
fn shown(
    entries: &[Entry],
    exposed: &[Exposed],
    which: Option<&str>,
    earlier: &Earlier,
    width: Option<usize>,
) -> String {
    match which {
        Some(_) => entries.iter().map(details).collect::<Vec<_>>().join("\n"),
        None => table::list(entries, earlier, width) + &without_policy(exposed),
    }
}

/// Formats the containers on the host's network that have no policy, if there are any.
fn without_policy(exposed: &[Exposed]) -> String {
    if exposed.is_empty() {
        return String::new();
    }
    let mut text = "\non the host's network without a policy:\n".to_owned();
    for container in exposed {
        let _ = writeln!(text, "{container}");
    }
    text
}

/// Formats everything about one cgroup.
fn details(entry: &Entry) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{name:<10} {value}");
        }
    };
    line("container", entry.container.as_deref().unwrap_or_default());
    line("engine", entry.engine.unwrap_or_default());
    line("cgroup", &printable(&entry.cgroup));
    for (name, value) in settings(entry) {
        line(name, &value);
    }
    if !entry.is_populated {
        line("processes", &format!("none: {NO_PROCESSES}"));
    }
    for remark in remarks(entry) {
        line("note", &remark);
    }
    let _ = writeln!(
        text,
        "\n{:<14} {:>10} {:>10} {:>10}",
        "call", "rewritten", "passed", "denied"
    );
    for (name, calls) in &entry.counters.calls {
        let (rewritten, passed, denied) = (calls.rewritten, calls.passed, calls.denied);
        let _ = writeln!(text, "{name:<14} {rewritten:>10} {passed:>10} {denied:>10}");
    }
    for (title, counts) in [
        ("dropped packets", &entry.counters.dropped),
        ("denied calls", &entry.counters.denied),
        ("isolated binds", &entry.counters.isolated),
    ] {
        let counts = counts.iter().filter(|(_, count)| **count > 0);
        let counts: Vec<_> = counts
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        if !counts.is_empty() {
            let _ = writeln!(text, "{title}: {}", counts.join(", "));
        }
    }
    text
}

/// Returns the policy of a cgroup, with the names of annotations, and the version of its
/// programs. What is not set is empty.
fn settings(entry: &Entry) -> [(&'static str, String); 8] {
    let policy = entry.policy.as_ref();
    let text =
        |value: fn(&PolicyView) -> Option<String>| policy.and_then(value).unwrap_or_default();
    [
        ("ipv4", text(|policy| Some(policy.ipv4?.to_string()))),
        ("ipv6", text(|policy| Some(policy.ipv6?.to_string()))),
        ("loopback", text(|policy| Some(policy.loopback.clone()))),
        ("guard", text(|policy| Some(policy.guard.to_owned()))),
        ("ports", text(|policy| Some(policy.ports.join(",")))),
        ("exempt", text(|policy| Some(policy.exempt.join(",")))),
        ("multicast", text(|policy| Some(policy.multicast.join(",")))),
        ("programs", entry.version.clone()),
    ]
}

/// Returns what an operator should know.
fn remarks(entry: &Entry) -> Vec<String> {
    let mut remarks = Vec::new();
    if !entry.missing.is_empty() {
        remarks.push(format!(
            "NOT PROTECTED: no longer attached: {}: \
             restart the container, or attach the policy again",
            entry.missing.join(", ")
        ));
    }
    if entry.policy.is_none() && entry.is_current {
        remarks.push(
            "it has programs but no policy, so everything is refused: attach a policy, or detach"
                .to_owned(),
        );
    }
    if entry.version == UNPINNED {
        remarks.push(
            "its programs are not pinned in this bpffs: the policy holds, until detach or until \
             the cgroup is removed; attach it again to pin them here"
                .to_owned(),
        );
        if entry.policy.is_none() {
            remarks.push("its policy cannot be read: it is of another version".to_owned());
        }
    } else if !entry.is_current {
        remarks.push(format!(
            "it runs the programs of another version, {}, until it is restarted",
            entry.version
        ));
    }
    remarks
}
