//! What `attach` has found and an operator should know: the policy that it has replaced,
//! other policies that apply too, and the sockets that were bound before.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use log::Level;
use oci_bind_hook_ebpf::abi::Policy;
use rustix::process::Pid;

use crate::host::cgroup::{Cgroup, Population};
use crate::host::netns::{self, Namespace};
use crate::host::sockets::{self, Holder, Listener, Protocol};
use crate::kernel::attach::Attached;
use crate::kernel::former::Former;
use crate::kernel::nested::nested;
use crate::plan::kept::{Kept, kept};
use crate::plan::view::PolicyView;
use crate::report::notice;
use crate::text::{count, printable};

/// Says so on standard error and in syslog. The policy is in force already, so that a
/// failure is a notice too.
pub(super) fn tell(cgroup: &Cgroup, attached: &Attached) {
    if let Some(replaced) = replaced(attached) {
        let name = cgroup.name();
        notice(Level::Info, &format!("cgroup {name}: {replaced}"));
    }
    match beside(cgroup, &attached.policy) {
        Ok(lines) => warn_of(lines, |more| {
            let cgroups = count(more, "more cgroup");
            format!("and {cgroups} with a policy too: see status")
        }),
        Err(error) => warn(&format!(
            "the policy is in force, but those of cgroups above and below cannot be listed: \
             {error:#}: see status"
        )),
    }
    match sockets(cgroup, attached) {
        Ok(lines) => warn_of(lines, |more| {
            let sockets = count(more, "more socket");
            format!("and {sockets}, bound before the policy: restart the programs that have some")
        }),
        Err(error) => warn(&format!(
            "the policy is in force, but sockets that were bound before cannot be listed: \
             {error:#}: restart the programs that have some"
        )),
    }
}

fn warn(line: &str) {
    notice(Level::Warn, line);
}

/// Warns with some of the lines, and with one for the number of the others: a program may have
/// thousands of sockets.
fn warn_of(lines: impl IntoIterator<Item = String>, others: impl Fn(usize) -> String) {
    const SOME: usize = 20;
    let mut lines = lines.into_iter();
    for line in lines.by_ref().take(SOME) {
        warn(&line);
    }
    match lines.count() {
        0 => {}
        more => warn(&others(more)),
    }
}

/// Returns what is to be said of the former policy: nothing if it was the same.
fn replaced(attached: &Attached) -> Option<String> {
    match &attached.former {
        Former::Policy(former) => {
            let former = PolicyView::from(&**former);
            (former != PolicyView::from(&attached.policy))
                .then(|| format!("replaced the policy {former}"))
        }
        Former::Unreadable => {
            Some("replaced a policy of another version, whose addresses cannot be read".to_owned())
        }
        Former::Nothing | Former::Unwritten => None,
    }
}

/// Returns a line for each other policy that applies too, unless it is the same.
fn beside(cgroup: &Cgroup, policy: &Policy) -> Result<Vec<String>> {
    let own = PolicyView::from(policy);
    let mut lines = Vec::new();
    for nested in nested(cgroup)? {
        let shown = match nested.policy.as_ref().map(PolicyView::from) {
            Some(same) if same == own => continue,
            Some(other) => other.to_string(),
            None => "which cannot be read".to_owned(),
        };
        let is_below = nested.cgroup.len() > cgroup.name().len();
        let place = if is_below { "below" } else { "above" };
        let name = printable(&nested.cgroup);
        lines.push(format!(
            "cgroup {name} {place} has a policy too, {shown}: both apply, so servers may be out \
             of reach: detach one of them"
        ));
    }
    Ok(lines)
}

/// Returns a line for each socket that would be elsewhere if it were bound now.
fn sockets(cgroup: &Cgroup, attached: &Attached) -> Result<BTreeSet<String>> {
    let population = Population::of(cgroup)?;
    let listeners = listeners(&population.processes)?;
    let inodes = listeners.iter().map(|listener| listener.inode).collect();
    let holders = sockets::holders(&population.processes, &inodes);
    let former = match &attached.former {
        Former::Policy(former) => Some(&**former),
        _ => None,
    };
    let mut lines = BTreeSet::new();
    for listener in listeners {
        let is_inside = population.cgroups.contains(&listener.cgroup);
        let holder = holders.get(&listener.inode);
        if is_inside || holder.is_some() {
            lines.extend(line(&attached.policy, former, &listener, is_inside, holder));
        }
    }
    Ok(lines)
}

/// Lists the sockets of the network namespaces that the processes are in.
fn listeners(processes: &[Pid]) -> Result<Vec<Listener>> {
    let (mut known, mut all) = (BTreeSet::new(), Vec::new());
    for &pid in processes {
        // A process that has ended has no sockets any more. One that ends from here on
        // leaves others in its namespace, which stays open.
        let Ok(namespace) = Namespace::OfProcess(pid).open() else {
            continue;
        };
        if known.insert(netns::inode(&namespace)?) {
            let list = || sockets::listeners().context("list sockets over sock_diag");
            all.extend(netns::visit(&namespace, list)?);
        }
    }
    Ok(all)
}

fn line(
    policy: &Policy,
    former: Option<&Policy>,
    listener: &Listener,
    is_inside: bool,
    holder: Option<&Holder>,
) -> Option<String> {
    let kept = kept(policy, former, listener, is_inside)?;
    let protocol = match listener.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let holder = holder.map(|Holder { pid, command }| {
        let command = printable(command);
        format!(" of process {pid} ({command})")
    });
    let remedy = match kept {
        Kept::Outside => "restart the program in this cgroup",
        _ => "restart the program",
    };
    let (address, holder) = (listener.address, holder.unwrap_or_default());
    Some(format!("{protocol} {address}{holder} {kept}: {remedy}"))
}
