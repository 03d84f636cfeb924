//! The program that delivers datagrams: what is not to be left of it, nor taken from
//! those who need it still.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4, inside};
use oci_bind_hook_tests::net::Net;
use oci_bind_hook_tests::process::{PATIENCE, Running};
use oci_bind_hook_tests::socket::Socket;
use oci_bind_hook_tests::{harness, host};

use crate::deliver::{assert_at, assert_heard, everywhere, loopback, nowhere, open};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    harness::unpinned_dual(
        "deliver",
        [
            ("as long as a command runs", run),
            ("load in another network namespace", load_elsewhere),
            ("unload in another network namespace", unload_elsewhere),
        ],
    )
}

/// Its end is that of the cgroup.
fn run(hook: &Hook) -> Result<()> {
    let cgroup = Cgroup::new()?;
    let policies: [(Policy, _); 2] = [(BOTH, everywhere()?), (V4.loopback("auto"), loopback())];
    for (policy, expected) in policies {
        let mut run = hook.command("run");
        run.args(policy.options());
        run.args(["--", "sh", "-c", "echo started; read _; exit 0"]);
        let mut run = inside(&cgroup, &run);
        let mut run = Running::start(run.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut line = String::new();
        BufReader::new(run.stdout()?).read_line(&mut line)?;
        ensure!(line == "started\n", "it said {line:?}");
        assert_at(&expected).context("while it runs")?;
        drop(run.stdin()?);
        let status = run.wait(PATIENCE)?;
        ensure!(status.success(), "run ended with {status}");
        assert_at(&nowhere()).context("after its end")?;
    }
    Ok(())
}

/// A server of a policy that has gone since. The agent stays, or no process would be in
/// this network namespace.
fn left(hook: &Hook, cgroup: &Cgroup) -> Result<(Agent, Socket)> {
    hook.attach(cgroup, BOTH)?;
    let agent = Agent::new(cgroup)?;
    let server = open(&agent)?;
    hook.detach(cgroup)?;
    Ok((agent, server))
}

/// It does not see what sockets there are here.
fn load_elsewhere(hook: &Hook) -> Result<()> {
    let cgroup = Cgroup::new()?;
    let (_agent, server) = left(hook, &cgroup)?;
    Net::isolated(|_| hook.load())?;
    assert_at(&everywhere()?)?;
    assert_heard(&server)
}

/// Without its pin nobody finds the program at the devices here.
fn unload_elsewhere(hook: &Hook) -> Result<()> {
    let cgroup = Cgroup::new()?;
    let (_agent, server) = left(hook, &cgroup)?;
    Net::isolated(|_| hook.unload())?;
    assert_at(&everywhere()?)?;
    drop(server);
    hook.unload()?;
    ensure!(host::pins()?.is_empty(), "the pins are left");
    assert_at(&nowhere())
}
