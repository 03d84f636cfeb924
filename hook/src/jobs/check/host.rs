//! What every container start needs of the host, engines aside.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use anyhow::{Error, Result};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

use super::Finding;
use crate::host::addresses::{self, State};
use crate::host::{cgroup, privileges};
use crate::input::config::{Config, PATH};
use crate::kernel::bpffs::{self, DIRECTORY, MOUNT, MOUNT_POINT};
use crate::kernel::catalogue::VERSION;
use crate::kernel::inventory::{self, Entry};
use crate::kernel::{deliver, pins};
use crate::plan::may_claim;
use crate::report;

pub(super) const AS_ROOT: &str = "run oci-bind-hook check as root, in the host's own namespaces";
/// How many addresses are named.
const SHOWN: usize = 8;

/// Whether this process can try what a hook does, which root can.
pub fn privileges() -> (Finding, bool) {
    const SUBJECT: &str = "privileges";
    if let Err(error) = privileges::check() {
        return (
            Finding::problem(SUBJECT, &format!("{error:#}"), AS_ROOT),
            false,
        );
    }
    // CAP_SYS_ADMIN is for the probe's own mounts.
    let needed = [
        (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN"),
        (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    ];
    let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    let missing: Vec<_> = needed
        .iter()
        .filter(|(capability, _)| !effective.contains(*capability))
        .map(|(_, name)| *name)
        .collect();
    if missing.is_empty() {
        return (
            Finding::ok(SUBJECT, "those of root, in the initial user namespace"),
            true,
        );
    }
    let message = format!(
        "{} missing: cannot tell what a hook that runs as root could do",
        missing.join(" and ")
    );
    (Finding::problem(SUBJECT, &message, AS_ROOT), false)
}

/// Where the hierarchy is that programs are attached in.
pub fn cgroup2() -> Finding {
    const SUBJECT: &str = "cgroup2";
    const UNIFIED: &str = "boot with the kernel parameter systemd.unified_cgroup_hierarchy=1";
    let found = cgroup::mount().and_then(|mount| Ok((mount, cgroup::has_v1()?)));
    let (mount, has_v1) = match found {
        Ok(found) => found,
        Err(error) => return Finding::problem(SUBJECT, &format!("{error:#}"), UNIFIED),
    };
    let point = mount.point.display();
    if mount.root != "/" {
        let message = format!("{point} shows {} and what is below alone", mount.root);
        return Finding::note(SUBJECT, &message, "run it in the host's cgroup namespace");
    }
    if has_v1 {
        let message = format!(
            "mounted at {point}, beside cgroup v1: a container is refused \
             if its runtime gives it no cgroup2 cgroup"
        );
        return Finding::note(SUBJECT, &message, UNIFIED);
    }
    Finding::ok(SUBJECT, &format!("mounted at {point}"))
}

/// Where programs are pinned.
pub fn bpffs() -> Finding {
    const SUBJECT: &str = "bpffs";
    // Others cannot look, and have been told so.
    if geteuid().is_root() {
        for directory in [MOUNT_POINT, DIRECTORY] {
            if let Err(error) = bpffs::check(Path::new(directory)) {
                return Finding::problem(SUBJECT, &format!("{error:#}"), MOUNT);
            }
        }
    }
    let is_pinned = pins::directory().exists();
    match bpffs::is_mounted() {
        Err(error) => Finding::problem(SUBJECT, &format!("{error:#}"), MOUNT),
        Ok(false) => {
            let message = format!("not mounted: the first container mounts it at {MOUNT_POINT}");
            Finding::note(SUBJECT, &message, MOUNT)
        }
        Ok(true) if !is_pinned && access(MOUNT_POINT, Access::WRITE_OK) == Err(Errno::ROFS) => {
            let message = format!("{MOUNT_POINT} is read-only: programs cannot be pinned");
            Finding::problem(
                SUBJECT,
                &message,
                "mount -o remount,rw /sys/fs/bpf, as root",
            )
        }
        Ok(true) if is_pinned => Finding::ok(
            SUBJECT,
            &format!("mounted at {MOUNT_POINT}; the programs are pinned"),
        ),
        Ok(true) => Finding::ok(
            SUBJECT,
            &format!("mounted at {MOUNT_POINT}; the first container loads the programs"),
        ),
    }
}

/// What is in force now.
pub fn policies(is_privileged: bool) -> Vec<Finding> {
    const SUBJECT: &str = "policies";
    if !is_privileged {
        return vec![Finding::problem(
            SUBJECT,
            "cannot tell which cgroups are under a policy without privileges",
            AS_ROOT,
        )];
    }
    let found = inventory::collect().and_then(|entries| {
        let names = pins::directories()?;
        let names = names.iter().filter_map(|path| path.file_name());
        let pinned: Vec<_> = names
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        Ok((entries, pinned))
    });
    match found {
        Ok((entries, pinned)) => {
            let mut findings = judge_policies(&entries, &pinned);
            findings.extend(entries.iter().filter(|entry| is_empty(entry)).map(left));
            findings
        }
        Err(error) => vec![Finding::problem(
            SUBJECT,
            &format!("{error:#}"),
            "see what is in /sys/fs/bpf/oci-bind-hook; oci-bind-hook unload removes unused programs",
        )],
    }
}

/// Whether nothing runs under the policy; not of a cgroup that was removed meanwhile.
fn is_empty(entry: &Entry) -> bool {
    let cgroup = cgroup::of_path(Path::new(&entry.cgroup));
    cgroup
        .and_then(|cgroup| cgroup.is_populated())
        .is_ok_and(|is_populated| !is_populated)
}

/// A policy that waits for whoever comes.
fn left(entry: &Entry) -> Finding {
    let cgroup = &entry.cgroup;
    Finding::note(
        "policies",
        &format!(
            "cgroup {cgroup} has a policy but no processes: it applies to the next ones that start there"
        ),
        &format!("if an ended container left it, oci-bind-hook detach --cgroup {cgroup}"),
    )
}

/// Network devices that came after the policies that need them.
pub fn devices(is_privileged: bool) -> Option<Finding> {
    const SUBJECT: &str = "devices";
    if !is_privileged {
        return None;
    }
    match deliver::missing() {
        Ok(missing) if missing.is_empty() => None,
        Ok(missing) => Some(Finding::problem(
            SUBJECT,
            &format!(
                "{}: a UDP socket bound to :: receives nothing over IPv6 on this device",
                missing.join(", ")
            ),
            "oci-bind-hook load",
        )),
        // What is wrong with the pins has been said.
        Err(_) => None,
    }
}

/// Cgroups that lost a program, and versions that are left from upgrades.
fn judge_policies(entries: &[Entry], pinned: &[String]) -> Vec<Finding> {
    const SUBJECT: &str = "policies";
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
    for version in pinned.iter().filter(|version| *version != VERSION) {
        let users = users.get(version.as_str()).copied().unwrap_or_default();
        let message = format!("programs of another version, {version}: {users} cgroup(s) use them");
        let remedy = "restart those containers when convenient; oci-bind-hook unload removes unused programs";
        findings.push(Finding::note(SUBJECT, &message, remedy));
    }
    if findings.is_empty() {
        let message = format!("{} cgroup(s) under a policy", entries.len());
        findings.push(Finding::ok(SUBJECT, &message));
    }
    findings
}

/// What the administrator decided.
pub fn config(config: Result<&Config, &Error>) -> Vec<Finding> {
    const SUBJECT: &str = "configuration";
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            return vec![Finding::problem(
                SUBJECT,
                &format!("{error:#}"),
                "correct the file: until then every annotated container fails to start",
            )];
        }
    };
    let origin = match config.is_built_in() {
        true => format!("built in, there is no {PATH}"),
        false => config.origin.clone(),
    };
    let mut findings = vec![Finding::ok(
        SUBJECT,
        &format!(
            "{origin}: {} allowed, {} network(s) denied, loopback {}, guard {}",
            match config.allow.len() {
                0 => "any address".to_owned(),
                networks => format!("{networks} network(s)"),
            },
            config.deny.len(),
            config.defaults.loopback,
            config.defaults.guard
        ),
    )];
    if config.allow.is_empty() {
        findings.push(Finding::note(
            SUBJECT,
            "allow is empty: anyone who can set annotations can claim any address of the host",
            "list the networks that containers may use in allow",
        ));
    }
    findings
}

/// Which addresses a container could be given.
pub fn addresses(config: Option<&Config>) -> Vec<Finding> {
    const SUBJECT: &str = "addresses";
    let (found, config) = match (addresses::list(), config) {
        (Err(error), _) => {
            let remedy = "see whether ip address shows them";
            return vec![Finding::problem(SUBJECT, &format!("{error:#}"), remedy)];
        }
        // What is wrong with the configuration has been said.
        (Ok(_), None) => return Vec::new(),
        (Ok(found), Some(config)) => (found, config),
    };
    let mut findings = Vec::new();
    for (address, state) in &found {
        let (what, remedy) = match state {
            State::Usable => continue,
            State::Tentative => (
                "is tentative: duplicate address detection has not finished",
                "wait a second, or add the address with nodad",
            ),
            State::Duplicate => (
                "failed duplicate address detection: another host has it",
                "free the address there, or remove it here",
            ),
        };
        findings.push(Finding::note(SUBJECT, &format!("{address} {what}"), remedy));
    }
    let usable: Vec<_> = found
        .iter()
        .filter(|(_, state)| *state == State::Usable)
        .map(|(address, _)| *address)
        .collect();
    let claimable: Vec<_> = usable
        .iter()
        .filter(|address| may_claim(**address, config).is_ok())
        .map(ToString::to_string)
        .collect();
    let summary = match (claimable.len(), usable.len()) {
        (0, 0) => Finding::note(
            SUBJECT,
            "only loopback and link-local addresses: there is nothing to assign",
            "ip address add ADDRESS/PREFIX dev DEVICE",
        ),
        (0, usable) => Finding::note(
            SUBJECT,
            &format!("the configuration does not allow any of this host's {usable} addresses"),
            "change allow or deny, or add the addresses that they list",
        ),
        (count, _) => {
            let more = match count.saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let shown = &claimable[..count.min(SHOWN)];
            Finding::ok(
                SUBJECT,
                &format!("{}{more} can be assigned", shown.join(", ")),
            )
        }
    };
    findings.insert(0, summary);
    findings
}

/// Whether somebody records what the hook says.
pub fn syslog(has_crun: bool) -> Finding {
    const SUBJECT: &str = "syslog";
    let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(report::SOCKET));
    match connected {
        Ok(()) => Finding::ok(SUBJECT, &format!("a daemon listens at {}", report::SOCKET)),
        Err(error) => {
            let lost = match has_crun {
                true => "crun throws away what the hook says, so that nobody learns why it refuses",
                false => "decisions are not recorded",
            };
            Finding::note(
                SUBJECT,
                &format!("{}: {error}: {lost}", report::SOCKET),
                "start journald or a syslog daemon",
            )
        }
    }
}
