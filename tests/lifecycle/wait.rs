//! `wait-for-address`: a start that waits for its address.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::harness::{self, attempted, eventually};
use oci_bind_hook_tests::hook::{Hook, Policy};
use oci_bind_hook_tests::net::ip;
use oci_bind_hook_tests::process::{PATIENCE, Running};
use oci_bind_hook_tests::syslog::Daemon;

/// Nobody has them at first.
const LATE: Policy = Policy::of(Some(LATE4), Some(LATE6));
const LATE4: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 40));
const LATE6: std::net::IpAddr =
    std::net::IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x40));

/// Duplicate address detection takes its time for the second.
const ADD: &str = "\
addr add 192.0.2.40/24 dev v0
addr add 2001:db8::40/64 dev v0
";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Hook) -> Result<()>| {
        harness::unpinned(format!("wait-for-address: {name}"), move |_| {
            test(&Hook::with_config(
                "wait-for-address = 8\n[defaults]\nloopback = \"host\"\nguard = \"off\"\n",
            )?)
        })
    };
    vec![
        trial("a container", |hook| {
            let container = Container::new()?;
            let state = container.state_with(LATE).to_string();
            comes(&mut hook.command("create-runtime"), state.as_bytes())?;
            container.cgroup.assert_attached(LATE)
        }),
        trial("attach", |hook| {
            let cgroup = Cgroup::new()?;
            let mut attach = hook.command("attach");
            attach
                .arg("--cgroup")
                .arg(cgroup.path())
                .args(LATE.options());
            comes(&mut attach, b"")?;
            cgroup.assert_attached(LATE)
        }),
    ]
}

/// Starts a command, adds the addresses once it waits for them, and fails unless it
/// succeeds.
fn comes(command: &mut Command, input: &[u8]) -> Result<()> {
    let daemon = Daemon::start()?;
    let mut running = Running::start(command.stdin(Stdio::piped()))?;
    running.stdin()?.write_all(input)?;
    eventually(|| {
        let lines = daemon.received()?;
        let waits = |line: &String| line.contains("waits up to 8 s for 192.0.2.40");
        attempted(lines.iter().any(waits), || format!("{lines:?}"))
    })?;
    ip(&["-batch", "-"], ADD)?;
    let status = running.wait(PATIENCE)?;
    ensure!(status.success(), "it ended with {status}");
    Ok(())
}
