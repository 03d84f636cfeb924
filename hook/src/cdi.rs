//! The device of the Container Device Interface that brings the hook along: pure.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Its class.
pub const KIND: &str = "oci-bind-hook.io/policy";
/// Its name.
pub const DEVICE: &str = "annotations";

/// A specification of the Container Device Interface, in the oldest version
/// that has hooks: every engine with CDI reads it. The device has no edits of
/// its own, which the schema takes for an error, so the hook belongs to it.
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
