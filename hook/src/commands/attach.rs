//! `attach` and `detach`: the policy of a live cgroup.

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::abi;

use super::print;
use crate::cli::Target;
use crate::host::addresses::Unconfigured;
use crate::host::cgroup::{self, Cgroup};
use crate::host::netns::Namespace;
use crate::input::config::Config;
use crate::input::request::Request;
use crate::kernel::attach;
use crate::report;
use crate::text::printable;

pub(super) fn attach(target: &Target, request: &Request, config: &Config) -> Result<()> {
    let namespace = target.pid.map_or(Namespace::Own, Namespace::OfProcess);
    let plan = super::plan(request, config, namespace, Unconfigured::Refused)?;
    let cgroup = find(target)?;
    let policy = abi::Policy::from(&plan);
    attach::attach(&cgroup, policy, namespace)?;
    log::info!("cgroup {} uses {plan}", cgroup.name());
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
    let cgroup = match (target.pid, target.cgroup.as_deref()) {
        (Some(pid), _) => cgroup::of_process(pid),
        (None, path) => cgroup::of_path(path.context("no cgroup is named")?),
    }?;
    if let Some((_, container)) = cgroup::container(cgroup.name()) {
        report::about(container);
    }
    Ok(cgroup)
}
