//! The process that tries the programs: the hidden command `probe`.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::abi;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use super::Finding;
use super::calls::{self, Side, TRIES, Try};
use super::kernel::SUBJECT;
use super::network::{self, OWN4, OWN6};
use crate::host::cgroup::{self, Cgroup};
use crate::host::netns::Namespace;
use crate::input::config;
use crate::input::request::{Guard, Loopback, Request};
use crate::jobs::run;
use crate::kernel::bpffs::MOUNT_POINT;
use crate::kernel::programs::Programs;
use crate::kernel::{attach, deliver, loader, steer};
use crate::plan;

const OLD: &str = "oci-bind-hook needs Linux 5.10 or later, with CONFIG_CGROUP_BPF, and before 5.13 with \
     CONFIG_BPF_STREAM_PARSER";
const OTHERS: &str = "bpftool cgroup tree shows whose programs are on the cgroup and above it";

/// Tries the programs in an empty cgroup, which this process enters.
///
/// # Errors
///
/// If it fails before anything is tried.
pub(crate) fn probe(cgroup: &Path) -> Result<Vec<Finding>> {
    run::isolate().context("make namespaces of its own: needs CAP_SYS_ADMIN")?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .context("make the mounts its own: in a chroot, / has to be a mount point")?;
    mount("bpf", MOUNT_POINT, "bpf", MountFlags::empty(), None)
        .with_context(|| format!("mount a bpffs of its own at {MOUNT_POINT}"))?;
    let has_ipv6 = network::set_up().context("set up a network of its own")?;
    let sides = match sides(has_ipv6) {
        Ok(sides) => sides,
        Err(error) => {
            return Ok(vec![Finding::problem(
                SUBJECT,
                &format!("{error:#}"),
                OTHERS,
            )]);
        }
    };
    let cgroup = cgroup::of_path(cgroup)?;
    fs::write(cgroup.path().join("cgroup.procs"), "0").context("enter the cgroup")?;

    let mut findings = match Programs::open_or_load() {
        Err(error) => return Ok(refused(&error)),
        Ok(_) => vec![Finding::ok(SUBJECT, "all programs load")],
    };
    if let Err(error) = attach_for(&cgroup, Some(OWN4), has_ipv6.then_some(OWN6)) {
        findings.push(Finding::problem(SUBJECT, &format!("{error:#}"), OTHERS));
        return Ok(findings);
    }
    findings.extend(TRIES.iter().map(|attempt| tried(attempt, &sides)));
    if has_ipv6 {
        let is_possible = steer::is_possible();
        findings.push(judge_dual(is_possible, calls::dual(&sides)));
        if is_possible {
            findings.push(judge_datagrams(calls::dual_datagrams(&sides)));
        }
    } else {
        findings.push(Finding::note(
            SUBJECT,
            "not tried: there is no IPv6",
            "if there should be, see /proc/sys/net/ipv6/conf/all/disable_ipv6",
        ));
    }
    findings.extend(refusals(&cgroup, has_ipv6)?);
    Ok(findings)
}

fn sides(has_ipv6: bool) -> Result<Vec<Side>> {
    let mut sides = vec![Side::ipv4()?];
    if has_ipv6 {
        sides.push(Side::ipv6()?);
    }
    Ok(sides)
}

/// Reports which programs do not load, and why.
fn refused(error: &anyhow::Error) -> Vec<Finding> {
    let each = loader::load_each().unwrap_or_default();
    let findings: Vec<_> = each
        .into_iter()
        .filter_map(|(name, loaded)| Some((name, loaded.err()?)))
        .map(|(name, error)| Finding::problem(SUBJECT, &format!("program {name}: {error:#}"), OLD))
        .collect();
    if findings.is_empty() {
        return vec![Finding::problem(SUBJECT, &format!("{error:#}"), OLD)];
    }
    findings
}

fn attach_for(cgroup: &Cgroup, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>) -> Result<()> {
    let request = Request {
        ipv4,
        ipv6,
        loopback: Some(Loopback::Auto),
        guard: Some(Guard::On),
        ..Request::default()
    };
    let plan = plan::decide(&request, &config::parse("", "the probe's configuration")?)?;
    let policy = abi::Policy::from(&plan);
    attach::attach(cgroup, policy, Namespace::Own).map(drop)
}

fn tried(attempt: &Try, sides: &[Side]) -> Finding {
    let Try {
        name,
        promise,
        since,
        run,
    } = attempt;
    match sides.iter().try_for_each(run) {
        Ok(()) => Finding::ok(SUBJECT, &format!("{name}: {promise}")),
        Err(error) => Finding::problem(
            SUBJECT,
            &format!("{name}: {error:#}"),
            &format!("{OTHERS}; these hooks need {since}"),
        ),
    }
}

/// Reports whether one server can answer at both addresses.
fn judge_dual(is_possible: bool, outcome: Result<()>) -> Finding {
    match outcome {
        Ok(()) => Finding::ok(
            SUBJECT,
            "dual-stack: a TCP server at :: answers at both assigned addresses",
        ),
        Err(_) if !is_possible => Finding::note(
            SUBJECT,
            "dual-stack: a server at :: answers at the assigned IPv6 address alone",
            steer::NEEDS,
        ),
        Err(error) => Finding::problem(
            SUBJECT,
            &format!("dual-stack: a server at :: does not answer at both addresses: {error:#}"),
            OTHERS,
        ),
    }
}

fn judge_datagrams(outcome: Result<()>) -> Finding {
    match outcome {
        Ok(()) => Finding::ok(SUBJECT, "dual-stack: so does a UDP server"),
        Err(error) => Finding::note(
            SUBJECT,
            &format!("dual-stack: a UDP server at :: does not: {error:#}"),
            deliver::NEEDS,
        ),
    }
}

/// Reports the errno with which calls are refused.
fn refusals(cgroup: &Cgroup, has_ipv6: bool) -> Result<Vec<Finding>> {
    attach_for(cgroup, None, Some(OWN6))?;
    let mut findings = vec![judge_refusal(calls::refused_bind())];
    if has_ipv6 {
        attach_for(cgroup, Some(OWN4), None)?;
        if calls::refused_v6only_bind()? == Some(Errno::INVAL) {
            findings.push(Finding::note(
                SUBJECT,
                "no type information: a bind of a socket for IPv6 alone fails with EINVAL \
                 where only IPv4 is assigned",
                "a kernel with CONFIG_DEBUG_INFO_BTF has /sys/kernel/btf/vmlinux",
            ));
        }
    }
    Ok(findings)
}

fn judge_refusal(errno: Option<Errno>) -> Finding {
    match errno {
        Some(Errno::ADDRNOTAVAIL) => Finding::ok(
            SUBJECT,
            "refusal: binding to an address of a family that is not assigned fails with EADDRNOTAVAIL",
        ),
        Some(Errno::PERM) => Finding::note(
            SUBJECT,
            "refusal: binding to an address of a family that is not assigned fails with EPERM, not the errno that \
             programs expect",
            "bpf_set_retval needs Linux 5.18; policies work without it",
        ),
        Some(other) => Finding::problem(
            SUBJECT,
            &format!(
                "refusal: binding to an address of a family that is not assigned fails with {other}"
            ),
            OTHERS,
        ),
        None => Finding::problem(
            SUBJECT,
            "refusal: binding to an address of a family that is not assigned succeeds",
            OTHERS,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::check::Level;

    #[test]
    fn servers_of_both_families() {
        let failed = || anyhow::anyhow!("connect to 192.0.2.10: refused");
        for (is_possible, outcome, level) in [
            (true, Ok(()), Level::Ok),
            (false, Err(failed()), Level::Note),
            (true, Err(failed()), Level::Problem),
        ] {
            let said = format!("{outcome:?}");
            assert_eq!(judge_dual(is_possible, outcome).level, level, "{said}");
        }
    }

    #[test]
    fn the_errno_of_a_refusal() {
        for (errno, level) in [
            (Some(Errno::ADDRNOTAVAIL), Level::Ok),
            (Some(Errno::PERM), Level::Note),
            (Some(Errno::INVAL), Level::Problem),
            (None, Level::Problem),
        ] {
            assert_eq!(judge_refusal(errno).level, level, "{errno:?}");
        }
    }
}
