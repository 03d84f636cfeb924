//! A policy on the cgroup of a pod, the parent of its containers' cgroups.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::counters::{await_dropped, dropped};
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, NEIGHBOUR, V4};
use oci_bind_hook_tests::net::{ANY4, CIP4, Net};
use oci_bind_hook_tests::reach;
use oci_bind_hook_tests::socket::{Socket, TCP4, UDP4, at};

use crate::kept::assert_says;
use crate::policy::assert_bound;

/// The pod's cgroup as podman and the kubelet name it.
const PODS: [&str; 2] = [
    "machine-libpod_pod_5f2a7c1e9b3d4f60a8c2e4b6d8f0a1c3e5b7d9f1a3c5e7092b4d6f8091a3c5e7.slice",
    "kubepods-burstable-pod0b7c2f1e_3d4a_4b5c_8d6e_7f8091a2b3c4.slice",
];

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(&Hook, &Cgroup) -> Result<()>| {
        harness::trial(name, move || {
            Net::isolated(move |_| {
                let root = Cgroup::new()?;
                let hook = Hook::new()?;
                PODS.iter()
                    .try_for_each(|pod| test(&hook, &root.child(pod)?))
            })
        })
    };
    vec![
        trial("a policy on a pod holds for its containers", holds),
        trial("a container with its pod's policy", same),
        trial("a container with another policy than its pod's", other),
    ]
}

/// Those that run, and those that start later.
fn holds(hook: &Hook, pod: &Cgroup) -> Result<()> {
    let one = Container::below(pod)?;
    hook.attach(pod, V4.guarded())?;
    let two = Container::below(pod)?;
    for container in [&one, &two] {
        assert_bound(&container.init, CIP4)?;
        container.cgroup.assert_bare()?;
    }
    hook.detach(pod)?;
    assert_bound(&one.init, ANY4)
}

/// Both apply, and want the same.
fn same(hook: &Hook, pod: &Cgroup) -> Result<()> {
    let container = Container::below(pod)?;
    let policy = V4.guarded().loopback("auto");
    hook.attach(pod, policy)?;
    assert_says(hook, &container.cgroup, policy, &[])?;
    let server = server(&container)?;
    ensure!(server.local()?.ip() == CIP4, "it is at {}", server.local()?);
    reach::assert_answers(&server, at(CIP4, 8080, 0))
}

/// Both apply: the pod's has the last word on the address, and the container's guard drops
/// what is sent there.
fn other(hook: &Hook, pod: &Cgroup) -> Result<()> {
    let container = Container::below(pod)?;
    assert_says(hook, pod, V4.guarded(), &[])?;
    let above = "above has a policy too, 192.0.2.10 (loopback host, guard on): both apply, so \
        servers may be out of reach: detach one of them";
    assert_says(hook, &container.cgroup, NEIGHBOUR.guarded(), &[above])?;
    let below = "below has a policy too, 192.0.2.20 and 2001:db8::20 (loopback host, guard on): \
        both apply, so servers may be out of reach: detach one of them";
    assert_says(hook, pod, V4.guarded(), &[below])?;
    let server = container.init.socket(UDP4)?;
    server.bind(at(ANY4, 8080, 0))?;
    ensure!(server.local()?.ip() == CIP4, "it is at {}", server.local()?);
    let (_, before) = dropped(&container.cgroup)?;
    Socket::new(UDP4)?.send(Some(at(CIP4, 8080, 0)), b"ping")?;
    await_dropped(&container.cgroup, |(_, after)| after > before)?;
    ensure!(!server.has_input()?, "the guard let a datagram in");
    Ok(())
}

/// A server in the container that binds to 0.0.0.0.
fn server(container: &Container) -> Result<Socket> {
    let server = container.init.socket(TCP4)?;
    server.bind(at(ANY4, 8080, 0)).context("bind to 0.0.0.0")?;
    server.listen()?;
    Ok(server)
}
