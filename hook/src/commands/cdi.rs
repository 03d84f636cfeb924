//! `cdi`: the specification of a device that brings the hook along.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::env;
use std::path::Path;

use super::print;

/// Prints the specification for the binary that runs.
pub(super) fn cdi() -> Result<()> {
    let path = env::current_exe().context("find the path of this program in /proc/self/exe")?;
    print(&format!("{:#}", specification(&path)?))
}

/// A specification of the Container Device Interface, in the oldest version
/// that has hooks: every engine with CDI reads it. The device has no edits of
/// its own, which the schema takes for an error, so the hook belongs to it.
fn specification(path: &Path) -> Result<Value> {
    let path = path.to_str().with_context(|| {
        format!(
            "{} is not UTF-8, as a CDI specification has to be: install the program elsewhere",
            path.display()
        )
    })?;
    Ok(json!({
        "cdiVersion": "0.3.0",
        "kind": "oci-bind-hook.io/policy",
        "devices": [{
            "name": "annotations",
            "containerEdits": {
                "hooks": [{
                    "hookName": "createRuntime",
                    "path": path,
                    "args": ["oci-bind-hook", "create-runtime"],
                    "timeout": 10,
                }],
            },
        }],
    }))
}
