//! The hook as `cdi` has engines run it.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, Hook};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process;
use serde_json::{Value, json};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![harness::trial("hook of the CDI specification", || {
        Net::isolated(|_| {
            let container = Container::new()?;
            let mut hook = hook_of(&specification()?)?;
            let mut state = container.state_with(BOTH);
            state["annotations"]["io.oci-bind-hook.guard"] = json!("off");
            let output = process::run(&mut hook, state.to_string().as_bytes())?;
            ensure!(output.status.success(), "{output:?}");
            container.cgroup.assert_attached(BOTH)
        })
    })]
}

fn specification() -> Result<Value> {
    let output = process::run(&mut Hook::new()?.command("cdi"), b"")?;
    ensure!(output.status.success(), "{output:?}");
    Ok(serde_json::from_str(&output.stdout)?)
}

/// The command of the one hook, as a runtime starts it.
fn hook_of(specification: &Value) -> Result<Command> {
    let text = |pointer: &str| {
        let value = specification.pointer(pointer).and_then(Value::as_str);
        value.with_context(|| format!("no string {pointer} in {specification}"))
    };
    let hook = "/devices/0/containerEdits/hooks/0";
    ensure!(text("/kind")? == "oci-bind-hook.io/policy");
    ensure!(text("/devices/0/name")? == "annotations");
    ensure!(text(&format!("{hook}/hookName"))? == "createRuntime");
    let arguments = specification
        .pointer(&format!("{hook}/args"))
        .and_then(Value::as_array)
        .context("a hook without arguments")?;
    let mut arguments = arguments.iter().filter_map(Value::as_str);
    let mut command = Command::new(text(&format!("{hook}/path"))?);
    command
        .arg0(arguments.next().context("a hook without a name")?)
        .args(arguments)
        .env_clear();
    Ok(command)
}
