//! A rootless engine: its hooks run in a user namespace of its own.

use std::process::Command;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    // Before the programs are loaded, and after: there are other things to
    // stumble over.
    [false, true]
        .map(|is_loaded| {
            let name = format!("rootless engine, programs loaded: {is_loaded}");
            harness::trial(name, move || Net::isolated(move |_| refused(is_loaded)))
        })
        .into()
}

fn refused(is_loaded: bool) -> Result<()> {
    let container = Container::new()?;
    let hook = Hook::new()?;
    if is_loaded {
        hook.load()?;
    } else {
        hook.unload()?;
    }
    let create_runtime = hook.command("create-runtime");
    let mut rootless = Command::new("unshare");
    rootless
        .args(["-U", "-r"])
        .arg(create_runtime.get_program());
    rootless.args(create_runtime.get_args());
    let state = container.state_with(V4).to_string();
    let output = process::run(&mut rootless, state.as_bytes())?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(output.stderr.lines().count() == 1, "{output:?}");
    for wanted in ["rootless", "initial user namespace", container.id()] {
        ensure!(output.stderr.contains(wanted), "no {wanted}: {output:?}");
    }
    container.cgroup.assert_bare()
}
