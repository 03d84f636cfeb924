//! What cargo builds, and where it puts that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::program;

/// Where cargo puts what it builds.
pub fn target_directory() -> Result<PathBuf> {
    let arguments = [
        "metadata",
        "--format-version=1",
        "--no-deps",
        "--offline",
        "--quiet",
    ];
    let text = program::printed(Command::new("cargo").args(arguments))?;
    let metadata: Value = serde_json::from_str(&text).context("read cargo's metadata")?;
    let directory = metadata["target_directory"].as_str();
    Ok(directory.context("cargo names no target directory")?.into())
}

/// Builds the hook, as it is shipped, and the tests: `make build build-trials`, with
/// messages for programs. Returns the tests' binaries by their names.
pub fn build() -> Result<BTreeMap<String, PathBuf>> {
    program::run(Command::new("make").args(["--silent", "build"]))?;
    let arguments = [
        "test",
        "--workspace",
        "--locked",
        "--no-run",
        "--message-format=json-render-diagnostics",
    ];
    let messages = program::printed(Command::new("cargo").args(arguments))?;
    Ok(test_binaries(&messages))
}

/// The binaries of tests among what cargo has built: a message in each line.
fn test_binaries(messages: &str) -> BTreeMap<String, PathBuf> {
    let lines = messages.lines();
    lines.filter_map(test_binary).collect()
}

fn test_binary(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    if target["kind"][0] != "test" {
        return None;
    }
    let name = target["name"].as_str()?.to_owned();
    let binary = message["executable"].as_str()?.into();
    Some((name, binary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_binaries_of_tests() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"anyhow"},"profile":{"test":false},"executable":null,"fresh":true}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"socket-agent"},"profile":{"test":false},"executable":"/source/target/debug/socket-agent","fresh":true}
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"faults"},"profile":{"test":true},"executable":"/source/target/debug/deps/faults-0123","fresh":true}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"scenarios"},"profile":{"test":true},"executable":"/source/target/debug/deps/scenarios-58ba","fresh":true}
{"reason":"build-finished","success":true}
"#;
        let found: Vec<_> = test_binaries(messages).into_iter().collect();
        let scenarios = PathBuf::from("/source/target/debug/deps/scenarios-58ba");
        assert_eq!(found, [("scenarios".to_owned(), scenarios)]);
    }
}
