//! `attach` and `detach`: the policy of a live cgroup.

mod notices;

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::abi;

use super::print;
use crate::cli::Target;
use crate::host::addresses::Unconfigured;
use crate::host::cgroup::{self, Cgroup, Population};
use crate::host::netns::Namespace;
use crate::input::config::Config;
use crate::input::request::Request;
use crate::kernel::attach;
use crate::report;
use crate::text::printable;

pub(super) fn attach(target: &Target, request: &Request, config: &Config) -> Result<()> {
    let container = target.container.as_deref().map(running).transpose()?;
    let namespace = match &container {
        Some((_, namespace)) => *namespace,
        None => target.pid.map_or(Namespace::Own, Namespace::OfProcess),
    };
    let plan = super::plan(request, config, namespace, Unconfigured::Refused)?;
    let cgroup = match container {
        Some((cgroup, _)) => cgroup,
        None => find(target)?,
    };
    let policy = abi::Policy::from(&plan);
    let attached = attach::attach(&cgroup, policy, namespace)?;
    log::info!("cgroup {} uses {plan}", cgroup.name());
    notices::tell(&cgroup, &attached);
    Ok(())
}

pub(super) fn detach(target: &Target) -> Result<()> {
    let cgroup = find(target)?;
    if attach::detach(&cgroup)? {
        log::info!("removed the policy from cgroup {}", cgroup.name());
        return Ok(());
    }
    let name = printable(cgroup.name());
    print(&format!("cgroup {name} is not under a policy"))
}

fn find(target: &Target) -> Result<Cgroup> {
    let cgroup = match target {
        Target { pid: Some(pid), .. } => cgroup::of_process(*pid),
        Target {
            container: Some(id),
            ..
        } => cgroup::of_running_container(id),
        Target { cgroup, .. } => cgroup::of_path(cgroup.as_deref().context("no cgroup is named")?),
    }?;
    report_about(&cgroup);
    Ok(cgroup)
}

/// Finds a container that runs, and its network namespace.
fn running(id: &str) -> Result<(Cgroup, Namespace)> {
    let cgroup = cgroup::of_running_container(id)?;
    report_about(&cgroup);
    let first = Population::of(&cgroup)?
        .oldest()
        .context("none of its processes can be seen: run in the host's PID namespace")?;
    Ok((cgroup, Namespace::OfProcess(first)))
}

fn report_about(cgroup: &Cgroup) {
    if let Some((_, container)) = cgroup::container(cgroup.name()) {
        report::about(container);
    }
}
