//! `create-runtime`: the hook itself.

mod without_policy;

use anyhow::Result;
use oci_bind_hook_ebpf::abi;
use serde::Serialize;
use std::path::Path;

use super::{json, print};
use crate::host::addresses::Unconfigured;
use crate::host::netns::Namespace;
use crate::host::{cgroup, privileges};
use crate::input::annotations;
use crate::input::config::Config;
use crate::input::state::{self, Container, Timed};
use crate::kernel::catalogue::PROGRAMS;
use crate::kernel::{attach, steer};
use crate::plan::Plan;
use crate::report;
use crate::text::quote;

/// What `--dry-run` prints.
#[derive(Serialize)]
struct DryRun<'a> {
    container: &'a str,
    cgroup: &'a Path,
    plan: &'a Plan,
    programs: Vec<&'static str>,
}

/// Configuration errors concern only containers that ask for something, and those that the
/// configuration might refuse for asking for nothing.
pub(super) fn create_runtime(config: Result<Config>, dry_run: bool) -> Result<()> {
    let container = state::read(Timed::new(std::io::stdin()))?;
    report::about(&container.id);
    log_annotations(&container);
    let Some(request) = annotations::parse(&container.annotations)? else {
        log::debug!("nothing to do: no annotation assigns this container an address");
        if !dry_run {
            clear(&container)?;
        }
        return without_policy::judge(&container, config);
    };
    if !dry_run {
        privileges::check()?;
    }
    let namespace = Namespace::OfProcess(container.pid);
    let config = config?;
    annotations::permit(&request, &config)?;
    let plan = super::plan(&request, &config, namespace, Unconfigured::Accepted)?;
    let cgroup = cgroup::of_container(&container.id, container.pid)?;
    let mut policy = abi::Policy::from(&plan);
    if dry_run {
        steer::allow_dual(&mut policy);
        let needed = PROGRAMS.iter().filter(|program| program.is_needed(&policy));
        let dry_run = DryRun {
            container: &container.id,
            cgroup: cgroup.path(),
            plan: &plan,
            programs: needed.map(|program| program.name).collect(),
        };
        return print(&json(&dry_run)?);
    }
    attach::attach(&cgroup, policy, namespace)?;
    log::info!("uses {plan} in cgroup {}", cgroup.name());
    Ok(())
}

/// Removes the policy that an earlier container of the same name left on the cgroup. A
/// cgroup of another name may have been given its policy by hand.
fn clear(container: &Container) -> Result<()> {
    // A container that asks for nothing need not have a cgroup fit for a policy.
    if let Ok(cgroup) = cgroup::of_container(&container.id, container.pid)
        && cgroup.is_named_after(&container.id)
        && attach::clear(&cgroup)?
    {
        let name = cgroup.name();
        log::info!("removed the policy of an earlier container from cgroup {name}");
    }
    Ok(())
}

fn log_annotations(container: &Container) {
    for (key, value) in &container.annotations {
        if key.starts_with(annotations::PREFIX) {
            log::debug!("annotation {} is {}", quote(key), quote(value));
        }
    }
}
