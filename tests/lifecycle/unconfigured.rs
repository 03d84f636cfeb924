//! A container whose network namespace gets its addresses after the hooks have run, as from
//! Docker, and from podman with `--uidmap`.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, Net, ip, require_dual};
use oci_bind_hook_tests::process::{self, Output};
use oci_bind_hook_tests::reach;
use oci_bind_hook_tests::socket::{TCP4, TCP6, UDP4, UDP6, at};
use oci_bind_hook_tests::syslog::Daemon;
use oci_bind_hook_tests::{harness, tc};
use rustix::io::Errno;

use crate::policy::{assert_bound, create_runtime};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Hook, &Container) -> Result<()>| {
        harness::unpinned(format!("unconfigured: {name}"), move |hook| {
            Net::unconfigured(|| test(hook, &Container::new()?))
        })
    };
    vec![
        trial("the policy holds once the address is there", holds),
        trial("both families, once the addresses are there", both),
        trial("the log says that the address is missing", logged),
        trial("a loopback device that is up", |hook, container| {
            ip(&["link", "set", "lo", "up"], "")?;
            started(hook, container, V4)
        }),
        trial("a link-local address alone", |hook, container| {
            ip(&["-batch", "-"], LINK_LOCAL)?;
            started(hook, container, V4)
        }),
        trial("another address refuses", |hook, container| {
            ip(&["-batch", "-"], ANOTHER)?;
            refused(container, &from_outside(hook, container, V4)?)
        }),
        trial(
            "another address of the other family refuses",
            |hook, container| {
                ip(&["-batch", "-"], OTHER_FAMILY)?;
                refused(container, &from_outside(hook, container, V4)?)
            },
        ),
        trial("the hook's own namespace refuses", |hook, container| {
            refused(container, &create_runtime(hook, container, V4)?)
        }),
        trial("attach refuses", |hook, container| {
            let pid = container.init.id().to_string();
            let output = Net::isolated(|_| {
                let mut attach = hook.command("attach");
                process::run(attach.args(["--pid", &pid]).args(V4.options()), b"")
            })?;
            refused(container, &output)
        }),
    ]
}

/// The device that has the addresses once they are there.
const DEVICE: &str = "v0";

const LINK_LOCAL: &str = "\
link add v0 type veth peer name v1
addr add fe80::10/64 dev v0 nodad
";
const ANOTHER: &str = "\
link add v0 type veth peer name v1
addr add 192.0.2.20/24 dev v0
";
const OTHER_FAMILY: &str = "\
link add v0 type veth peer name v1
addr add 2001:db8::20/64 dev v0 nodad
";

/// Runs the hook in another namespace than the container's, as engines do.
fn from_outside(hook: &Hook, container: &Container, policy: Policy) -> Result<Output> {
    Net::isolated(|_| create_runtime(hook, container, policy))
}

fn started(hook: &Hook, container: &Container, policy: Policy) -> Result<()> {
    let output = from_outside(hook, container, policy)?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    container.cgroup.assert_attached(policy)
}

fn refused(container: &Container, output: &Output) -> Result<()> {
    ensure!(
        output.status.code() == Some(1) && output.stderr.contains("is not configured"),
        "{output:?}"
    );
    container.cgroup.assert_bare()
}

/// No bind succeeds before the address is there, and afterwards every one is at it. The
/// kernel takes any address for a local one until a first is configured
/// (`__inet_dev_addr_type`), so loopback has to be up.
fn holds(hook: &Hook, container: &Container) -> Result<()> {
    ip(&["link", "set", "lo", "up"], "")?;
    started(hook, container, V4.guarded())?;
    let early = container.init.socket(TCP4)?.bind(at(ANY4, 8080, 0));
    ensure!(early == Err(Errno::ADDRNOTAVAIL), "{early:?}");
    Net::configure()?;
    assert_bound(&container.init, CIP4)?;
    for kind in [TCP4, UDP4] {
        let server = container.init.socket(kind)?;
        server.bind(at(ANY4, 8080, 0))?;
        if kind.tcp {
            server.listen()?;
        }
        reach::assert_as_named(&server)?;
    }
    Ok(())
}

/// The network devices of Docker come after the hook too, so `load` has to look at them
/// for UDP over IPv6.
fn both(hook: &Hook, container: &Container) -> Result<()> {
    require_dual()?;
    started(hook, container, BOTH.guarded())?;
    Net::configure()?;
    ensure!(!tc::attached()?.contains_key(DEVICE), "before load");
    hook.load()?;
    ensure!(tc::attached()?.contains_key(DEVICE), "after load");
    for kind in [TCP6, UDP6] {
        let server = container.init.socket(kind)?;
        server.bind(at(ANY6, 8080, 0))?;
        if kind.tcp {
            server.listen()?;
        }
        let answered = reach::answered(&server)?;
        ensure!(answered == [CIP4, CIP6], "{kind:?} answers at {answered:?}");
    }
    Ok(())
}

fn logged(hook: &Hook, container: &Container) -> Result<()> {
    let daemon = Daemon::start()?;
    started(hook, container, V4)?;
    let lines = daemon.received()?;
    let said = format!(
        "container {}: goes on without 192.0.2.10: the network namespace has only loopback \
         and link-local addresses",
        container.id()
    );
    ensure!(
        lines.len() == 2 && lines[0].starts_with("<28>") && lines[0].contains(&said),
        "{lines:?}"
    );
    Ok(())
}
