//! Many first containers at once.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{BOTH, Hook};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, Net, has_dual, mapped};
use oci_bind_hook_tests::process::{PATIENCE, Running};
use oci_bind_hook_tests::socket::{Kind, TCP4, TCP6, at};
use oci_bind_hook_tests::{harness, host};

const CONTAINERS: usize = 50;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    vec![harness::trial(
        format!("{CONTAINERS} create-runtime at once from a cold start"),
        || Net::isolated(stampede),
    )]
}

fn stampede(net: Net) -> Result<()> {
    host::private_bpffs()?;
    ensure!(host::pins()?.is_empty(), "a fresh bpffs holds pins");
    let hook = Hook::new()?;
    let containers = (0..CONTAINERS)
        .map(|_| Container::new())
        .collect::<Result<Vec<_>>>()?;

    // All are started and wait for their state; then all get it at once.
    let mut hooks = Vec::new();
    for _ in &containers {
        let mut command = hook.command("create-runtime");
        hooks.push(Running::start(command.stdin(Stdio::piped()))?);
    }
    for (hook, container) in hooks.iter_mut().zip(&containers) {
        let state = container.state_with(BOTH).to_string();
        hook.stdin()?.write_all(state.as_bytes())?;
    }
    for hook in &mut hooks {
        let status = hook.wait(PATIENCE)?;
        ensure!(status.success(), "one ended with {status}");
    }

    let pins = host::pins()?;
    ensure!(pins.len() == 1, "not one set of pins: {pins:?}");
    let dual = if has_dual() { mapped(CIP4) } else { CIP6 };
    for container in &containers {
        container.cgroup.assert_attached(BOTH)?;
        for (kind, any, own) in [(TCP4, ANY4, CIP4), (TCP6, ANY6, dual)] {
            let name = bound(container, kind, at(any, 0, net.link()))?;
            ensure!(name.ip() == own, "{} is at {name}", container.id());
        }
    }
    Ok(())
}

fn bound(
    container: &Container,
    kind: Kind,
    asked: std::net::SocketAddr,
) -> Result<std::net::SocketAddr> {
    let server = container.init.socket(kind)?;
    server.bind(asked).context("bind in a container")?;
    server.local()
}
