//! At which network devices the program is that delivers datagrams.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::harness::HookTest;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR, V4, V6};
use oci_bind_hook_tests::net::{ANY6, CIP6, has_cookie, ip};
use oci_bind_hook_tests::socket::{Socket, UDP6, at};
use oci_bind_hook_tests::{harness, host, reach, tc};

/// Where servers are.
pub const PORT: u16 = 8080;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    harness::unpinned_dual(
        "deliver",
        [
            ("where a policy needs it", places),
            ("a bridge, and not its ports", bridge),
            ("once, however often it is asked for", again),
            ("once, by several at the same time", at_once),
            ("as long as one of two policies needs it", two),
            ("another policy in place of one", changed),
            ("as long as a socket is open, until load", |hook| {
                open_socket(hook, Hook::load)
            }),
            ("as long as a socket is open, until unload", |hook| {
                open_socket(hook, Hook::unload)
            }),
            ("load --device", one_device),
        ],
    )
}

/// Nowhere.
pub fn nowhere() -> BTreeSet<String> {
    BTreeSet::new()
}

/// At the loopback device alone.
pub fn loopback() -> BTreeSet<String> {
    // Without the cookie of a namespace nothing is delivered at loopback.
    let name = has_cookie().then(|| "lo".to_owned());
    name.into_iter().collect()
}

/// At all devices.
pub fn everywhere() -> Result<BTreeSet<String>> {
    let devices = tc::devices()?.into_iter();
    let hosts = devices.filter(|device| !device.is_port);
    Ok(hosts.map(|device| device.name).collect())
}

/// Fails unless one program is at each of these devices, and none at another; and, if
/// filters are what holds it, as many qdiscs.
pub fn assert_at(expected: &BTreeSet<String>) -> Result<()> {
    let attached = tc::attached()?;
    ensure!(
        attached.keys().eq(expected) && attached.values().all(|ids| ids.len() == 1),
        "not one program at each of {expected:?}: {attached:?}"
    );
    let qdiscs = tc::qdiscs()?;
    let is_right = if tc::has_tcx()? {
        qdiscs.is_empty()
    } else {
        qdiscs == *expected
    };
    ensure!(is_right, "qdiscs at {qdiscs:?}");
    Ok(())
}

/// A server at `::` of both families.
pub fn open(agent: &Agent) -> Result<Socket> {
    let server = agent.socket(UDP6)?;
    server.bind(at(ANY6, PORT, 0))?;
    assert_heard(&server)?;
    Ok(server)
}

/// Fails unless it is heard over IPv6.
pub fn assert_heard(server: &Socket) -> Result<()> {
    reach::assert_answers(server, at(CIP6, PORT, 0))
}

fn places(hook: &Hook) -> Result<()> {
    assert_at(&nowhere())?;
    let cgroup = Cgroup::new()?;
    for (policy, expected) in [
        (V4, nowhere()),
        (V4.guarded(), nowhere()),
        (V4.loopback("auto"), loopback()),
        (V4.loopback("private"), loopback()),
        (V6, nowhere()),
        (V6.loopback("auto"), nowhere()),
        (BOTH, everywhere()?),
        (BOTH.loopback("private").guarded(), everywhere()?),
    ] {
        hook.attach(&cgroup, policy)?;
        assert_at(&expected).with_context(|| format!("{policy:?}"))?;
        hook.detach(&cgroup)?;
        assert_at(&nowhere()).with_context(|| format!("{policy:?}, after detach"))?;
    }
    Ok(())
}

fn bridge(hook: &Hook) -> Result<()> {
    const BRIDGE: &str = "link add br0 type bridge\nlink set v1 master br0\n";
    if ip(&["-batch", "-"], BRIDGE).is_err() {
        return Err(harness::skip("this kernel has no bridges"));
    }
    let expected = everywhere()?;
    let is_right = expected.contains("br0") && !expected.contains("v1");
    ensure!(is_right, "not as it should be: {expected:?}");
    hook.attach(&Cgroup::new()?, BOTH)?;
    assert_at(&expected)
}

fn again(hook: &Hook) -> Result<()> {
    let cgroups = [Cgroup::new()?, Cgroup::new()?];
    hook.attach(&cgroups[0], BOTH)?;
    assert_at(&everywhere()?)?;
    let first = tc::attached()?;
    hook.attach(&cgroups[0], BOTH)?;
    hook.attach(&cgroups[1], NEIGHBOUR.guarded())?;
    hook.load()?;
    hook.load_device("v0")?;
    let now = tc::attached()?;
    ensure!(now == first, "{first:?} has become {now:?}");
    assert_at(&everywhere()?)
}

fn at_once(hook: &Hook) -> Result<()> {
    const ROUNDS: usize = 5;
    let cgroups = [Cgroup::new()?, Cgroup::new()?, Cgroup::new()?];
    for _ in 0..ROUNDS {
        hook.attach_at_once(&cgroups, BOTH)?;
        assert_at(&everywhere()?)?;
        cgroups.iter().try_for_each(|cgroup| hook.detach(cgroup))?;
        assert_at(&nowhere())?;
    }
    Ok(())
}

fn two(hook: &Hook) -> Result<()> {
    let [first, second] = [Cgroup::new()?, Cgroup::new()?];
    hook.attach(&first, V4.loopback("auto"))?;
    hook.attach(&second, NEIGHBOUR)?;
    assert_at(&everywhere()?)?;
    hook.detach(&second)?;
    assert_at(&loopback()).context("V4 alone")?;
    hook.attach(&second, NEIGHBOUR)?;
    hook.detach(&first)?;
    assert_at(&everywhere()?).context("NEIGHBOUR alone")?;
    // Whoever removes a container's cgroup need not say so. The kernel frees it a
    // moment later.
    second.remove()?;
    harness::eventually(|| {
        hook.load()?;
        Ok(assert_at(&nowhere()).map_err(|error| error.to_string()))
    })
}

/// A policy that needs less leaves it where it is, for the next who looks.
fn changed(hook: &Hook) -> Result<()> {
    let cgroup = Cgroup::new()?;
    for (policy, expected) in [
        (V4.loopback("auto"), loopback()),
        (BOTH, everywhere()?),
        (V4.loopback("auto"), loopback()),
        (V4, nowhere()),
    ] {
        hook.attach(&cgroup, policy)?;
        hook.load()?;
        assert_at(&expected).with_context(|| format!("{policy:?}"))?;
    }
    Ok(())
}

fn open_socket(hook: &Hook, refresh: HookTest) -> Result<()> {
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, BOTH)?;
    let server = open(&Agent::new(&cgroup)?)?;
    hook.detach(&cgroup)?;
    for what in ["detach", "the next"] {
        assert_at(&everywhere()?).with_context(|| format!("after {what}"))?;
        assert_heard(&server).with_context(|| format!("after {what}"))?;
        refresh(hook)?;
    }
    drop(server);
    refresh(hook)?;
    assert_at(&nowhere())
}

/// What a rule of udev calls for each device of the host.
fn one_device(hook: &Hook) -> Result<()> {
    hook.load_device("v0")?;
    ensure!(host::pins()?.is_empty(), "it has pinned something");
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, V4.loopback("auto"))?;
    for name in ["v0", "lo", "no-such-device", ""] {
        hook.load_device(name)?;
        assert_at(&loopback()).with_context(|| format!("{name:?}"))?;
    }
    hook.attach(&cgroup, BOTH)?;
    let before = everywhere()?;
    ip(&["-batch", "-"], "link add d0 type veth peer name d1\n")?;
    for name in ["no-such-device", "v0"] {
        hook.load_device(name)?;
        assert_at(&before).with_context(|| format!("{name:?}"))?;
    }
    hook.load_device("d0")?;
    let with_it = before.into_iter().chain(["d0".to_owned()]).collect();
    assert_at(&with_it)?;
    hook.load_device("d1")?;
    assert_at(&everywhere()?)
}
