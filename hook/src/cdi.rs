//! The Container Device Interface (CDI) device that brings the hook along: pure.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// The device's vendor and class.
pub const KIND: &str = "oci-bind-hook.io/policy";
/// The device's name.
pub const DEVICE: &str = "annotations";

/// Returns a CDI specification, in the oldest version that has hooks, which every engine
/// with CDI reads. The hook belongs to the device, because the schema refuses one without
/// edits.
///
/// # Errors
///
/// If the path is not UTF-8.
pub fn specification(path: &Path) -> Result<Value> {
    let path = path.to_str().with_context(|| {
        format!(
            "{} is not UTF-8, but a CDI specification must be: install the program elsewhere",
            path.display()
        )
    })?;
    Ok(json!({
        "cdiVersion": "0.3.0",
        "kind": KIND,
        "devices": [{
            "name": DEVICE,
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
