//! What every container start needs from the host, engines aside.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use anyhow::{Error, Result};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capabilities};

use super::Finding;
use crate::host::{cgroup, privileges};
use crate::input::config::{Config, PATH};
use crate::kernel::bpffs::{self, DIRECTORY, MOUNT, MOUNT_POINT};
use crate::kernel::pins;
use crate::report;
use crate::text::count;

/// Whether this process can try what a hook does, as root can.
pub fn privileges() -> (Finding, bool) {
    const SUBJECT: &str = "privileges";
    if let Err(error) = privileges::check() {
        return (Finding::unknown(SUBJECT, &format!("{error:#}")), false);
    }
    // The probe needs CAP_SYS_ADMIN for its own mounts.
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
    (Finding::unknown(SUBJECT, &message), false)
}

/// Checks the mount of the hierarchy in which programs are attached.
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

/// Checks the file system in which programs are pinned.
pub fn bpffs(is_privileged: bool) -> Finding {
    const SUBJECT: &str = "bpffs";
    if !is_privileged {
        let message = format!("cannot tell what is pinned at {MOUNT_POINT}");
        return Finding::unknown(SUBJECT, &message);
    }
    for directory in [MOUNT_POINT, DIRECTORY] {
        if let Err(error) = bpffs::check(Path::new(directory)) {
            return Finding::problem(SUBJECT, &format!("{error:#}"), MOUNT);
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

/// Checks the configuration.
pub fn config(config: Result<&Config, &Error>) -> Vec<Finding> {
    const SUBJECT: &str = "configuration";
    let config = match config {
        Ok(config) => config,
        Err(error) if is_denied(error) => {
            return vec![Finding::unknown(SUBJECT, &format!("{error:#}"))];
        }
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
            "{origin}: {} allowed, {} denied, loopback {}, guard {}",
            match config.allow.len() {
                0 => "any address".to_owned(),
                networks => count(networks, "network"),
            },
            count(config.deny.len(), "network"),
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

/// Whether a file exists, but this user may not read it.
fn is_denied(error: &Error) -> bool {
    error.root_cause().downcast_ref() == Some(&Errno::ACCESS)
}

/// Checks whether somebody records the hook's messages.
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
