//! The policies in force: cgroups that lost a program or are empty, versions that are left
//! from upgrades, and devices that lack a program.

use std::collections::BTreeMap;

use anyhow::{Error, Result};

use super::Finding;
use crate::kernel::catalogue::VERSION;
use crate::kernel::inventory::{Entry, UNPINNED};
use crate::kernel::{deliver, pins};
use crate::text::count;

const SUBJECT: &str = "policies";

/// Checks the policies that are in force; `None` if this process may not see them.
pub fn findings(entries: Option<&Result<Vec<Entry>>>) -> Vec<Finding> {
    let Some(entries) = entries else {
        let message = "cannot tell which cgroups are under a policy";
        return vec![Finding::unknown(SUBJECT, message)];
    };
    match (entries, pinned()) {
        (Ok(entries), Ok(pinned)) => {
            let mut findings = judge(entries, &pinned);
            let empty = entries.iter().filter(|entry| !entry.is_populated);
            findings.extend(empty.map(left));
            findings
        }
        (Err(error), _) => vec![unreadable(error)],
        (_, Err(error)) => vec![unreadable(&error)],
    }
}

/// Lists the versions that are pinned.
fn pinned() -> Result<Vec<String>> {
    let directories = pins::directories()?;
    let names = directories.iter().filter_map(|path| path.file_name());
    Ok(names
        .map(|name| name.to_string_lossy().into_owned())
        .collect())
}

fn unreadable(error: &Error) -> Finding {
    Finding::problem(
        SUBJECT,
        &format!("{error:#}"),
        "see what is in /sys/fs/bpf/oci-bind-hook; oci-bind-hook unload removes unused programs",
    )
}

/// Reports a policy that waits for the next process.
fn left(entry: &Entry) -> Finding {
    let cgroup = &entry.cgroup;
    Finding::note(
        SUBJECT,
        &format!(
            "cgroup {cgroup} has a policy but no processes: it applies to the next ones that start there"
        ),
        &format!("if an ended container left it, oci-bind-hook detach --cgroup {cgroup}"),
    )
}

/// Reports network devices that are newer than the policies that need them.
pub fn devices(is_privileged: bool) -> Option<Finding> {
    const SUBJECT: &str = "devices";
    if !is_privileged {
        let message = "cannot tell whether all network devices have the program that they need";
        return Some(Finding::unknown(SUBJECT, message));
    }
    match deliver::missing() {
        Ok(missing) if missing.is_empty() => None,
        Ok(missing) => Some(Finding::problem(
            SUBJECT,
            &format!(
                "{}: UDP sockets bound to :: receive nothing over IPv6 there",
                missing.join(", ")
            ),
            "oci-bind-hook load",
        )),
        // Another finding says what is wrong with the pins.
        Err(_) => None,
    }
}

/// Reports cgroups that lost a program, and versions that are left from upgrades.
fn judge(entries: &[Entry], pinned: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in entries {
        *users.entry(&entry.version).or_default() += 1;
        let cgroup = &entry.cgroup;
        if !entry.missing.is_empty() {
            let message = format!(
                "cgroup {cgroup} is not protected: {} is no longer attached",
                entry.missing.join(", ")
            );
            let remedy = "restart the container, or attach the policy again";
            findings.push(Finding::problem(SUBJECT, &message, remedy));
        } else if entry.policy.is_none() && entry.is_current {
            let message = format!("cgroup {cgroup} has programs but no policy, which refuses all");
            let remedy = format!("oci-bind-hook detach --cgroup {cgroup}, or attach a policy");
            findings.push(Finding::problem(SUBJECT, &message, &remedy));
        }
    }
    if let Some(users) = users.get(UNPINNED) {
        let users = count(*users, "cgroup");
        let message = format!("programs that are not pinned in this bpffs: in use by {users}");
        let remedy = "their policies hold; attach them again, or restart the containers, to pin the programs here";
        findings.push(Finding::note(SUBJECT, &message, remedy));
    }
    for version in pinned.iter().filter(|version| *version != VERSION) {
        let users = users.get(version.as_str()).copied().unwrap_or_default();
        let users = count(users, "cgroup");
        let message = format!("programs of another version, {version}: in use by {users}");
        let remedy = "restart those containers when convenient; oci-bind-hook unload removes unused programs";
        findings.push(Finding::note(SUBJECT, &message, remedy));
    }
    if findings.is_empty() {
        let populated = entries.iter().filter(|entry| entry.is_populated).count();
        let message = format!("{} under a policy", count(populated, "cgroup"));
        findings.push(Finding::ok(SUBJECT, &message));
    }
    findings
}
