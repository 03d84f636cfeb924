//! `create-runtime`: the hook itself.

use anyhow::Result;
use oci_bind_hook_ebpf::abi;
use serde::Serialize;
use std::path::Path;

use super::{decide, print};
use crate::Failure;
use crate::addresses::Namespace;
use crate::annotations;
use crate::attach::{self, Existing};
use crate::cgroup;
use crate::policy::Plan;
use crate::privileges;
use crate::programs::PROGRAMS;
use crate::report;
use crate::state::{self, Container};

/// What `--dry-run` prints.
#[derive(Serialize)]
struct DryRun<'a> {
    container: &'a str,
    cgroup: &'a Path,
    plan: &'a Plan,
    programs: Vec<&'static str>,
}

pub(super) fn create_runtime(config: Option<&Path>, dry_run: bool) -> Result<(), Failure> {
    let container = state::read(std::io::stdin().lock())?;
    protect(&container, config, dry_run).map_err(|error| Failure {
        container: Some(container.id.clone()),
        ..error.into()
    })
}

fn protect(container: &Container, config: Option<&Path>, dry_run: bool) -> Result<()> {
    let Some(request) = annotations::parse(&container.annotations)? else {
        return Ok(());
    };
    if !dry_run {
        privileges::check()?;
    }
    let plan = decide(&request, config, Namespace::OfProcess(container.pid))?;
    let cgroup = cgroup::of_container(&container.id, container.pid)?;
    let policy = abi::Policy::from(&plan);
    if dry_run {
        let needed = PROGRAMS.iter().filter(|program| program.is_needed(&policy));
        let dry_run = DryRun {
            container: &container.id,
            cgroup: cgroup.path(),
            plan: &plan,
            programs: needed.map(|program| program.name).collect(),
        };
        return print(&serde_json::to_string_pretty(&dry_run)?);
    }
    attach::attach(&cgroup, &policy, Existing::Refuse)?;
    report::info(
        &format!("uses {plan} in cgroup {}", cgroup.name()),
        Some(&container.id),
    );
    Ok(())
}
