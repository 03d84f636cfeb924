//! Tries the programs: loads them, attaches them to a scratch cgroup, and makes calls in
//! it.
//!
//! A separate process does so, in namespaces of its own: with a bpffs that only it sees,
//! so that nothing new is pinned on the host, and a network with addresses for the
//! purpose. When it ends they are gone. The cgroup is removed like that of a `run`, even
//! if this process is killed in the meantime.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::Finding;
use crate::jobs::run;

pub(super) const SUBJECT: &str = "kernel";

/// Returns what the programs did.
pub fn findings(is_privileged: bool) -> Vec<Finding> {
    if !is_privileged {
        let message = "not tried: cannot tell what the programs do";
        return vec![Finding::unknown(SUBJECT, message)];
    }
    run::scratch(start).unwrap_or_else(|error| {
        vec![Finding::problem(
            SUBJECT,
            &format!("the programs could not be tried: {error:#}"),
            "run oci-bind-hook check on the host itself, in a cgroup that can have child cgroups",
        )]
    })
}

fn start(cgroup: &Path) -> Result<Vec<Finding>> {
    let output = Command::new("/proc/self/exe")
        .arg("probe")
        .arg(cgroup)
        .stdin(Stdio::null())
        .output()
        .context("start the process that tries them")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("that process ended with {}: {said}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("read what it says")
}
