//! Datagrams of both families: what the hook has at network devices and in its maps,
//! when sockets, processes, containers and network namespaces have gone.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_ebpf::abi::Destination;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR, Policy};
use oci_bind_hook_tests::net::{ANY6, CIP6, Net, ip};
use oci_bind_hook_tests::process::{PATIENCE, Running, Signal};
use oci_bind_hook_tests::routes::Routes;
use oci_bind_hook_tests::socket::{Socket, UDP6, at};
use oci_bind_hook_tests::{bpf, harness, host, reach, tc};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::nothing_left::Before;
use crate::rounds;

const PORT: u16 = 8080;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    harness::unpinned_dual(
        "deliver",
        [
            ("nothing is left of servers that close at once", fleeting),
            ("nothing is left of a process that is killed", killed),
            ("nothing is left of containers", come_and_go),
            ("nothing is left of a network namespace", namespace),
        ],
    )
}

/// What the hook has made in the kernel that stays.
#[derive(Debug, PartialEq)]
struct Held {
    pins: BTreeSet<OsString>,
    /// The programs at each device.
    attached: BTreeMap<String, Vec<u32>>,
    qdiscs: BTreeSet<String>,
    /// How many elements the map of destinations has.
    destinations: usize,
}

impl Held {
    fn now() -> Result<Self> {
        let mut pins = BTreeSet::new();
        let mut destinations = 0;
        for directory in host::pins()? {
            let map = bpf::open_pin(&directory.join("destinations"))?;
            destinations += bpf::elements(map.as_fd(), size_of::<Destination>())?;
            for entry in fs::read_dir(directory)? {
                pins.insert(entry?.file_name());
            }
        }
        Ok(Self {
            pins,
            attached: tc::attached()?,
            qdiscs: tc::qdiscs()?,
            destinations,
        })
    }

    fn assert_same(&self) -> Result<()> {
        let now = Self::now()?;
        ensure!(now == *self, "{self:?} has become {now:?}");
        Ok(())
    }

    /// The same once somebody has looked, after the kernel has freed the cgroups of
    /// policies that are gone.
    fn assert_same_after_load(&self, hook: &Hook) -> Result<()> {
        harness::eventually(|| {
            hook.load()?;
            Ok(self.assert_same().map_err(|error| error.to_string()))
        })
    }
}

/// What there is after a policy, without its traces: the first in a network namespace
/// makes the link of TCP's servers there, which stays.
fn loaded(hook: &Hook, cgroup: &Cgroup) -> Result<Held> {
    hook.attach(cgroup, BOTH)?;
    hook.detach(cgroup)?;
    hook.load()?;
    Held::now()
}

/// A server of both families.
fn open(agent: &Agent, port: u16) -> Result<Socket> {
    let server = agent.socket(UDP6)?;
    server.bind(at(ANY6, port, 0))?;
    Ok(server)
}

fn assert_heard(server: &Socket, address: IpAddr) -> Result<()> {
    reach::assert_answers(server, at(address, server.local()?.port(), 0))
}

/// A cgroup with a policy, who makes servers there, and what there was before.
struct Target {
    before: Before,
    loaded: Held,
    cgroup: Cgroup,
    agent: Agent,
}

impl Target {
    fn new(hook: &Hook) -> Result<Self> {
        let before = Before::now()?;
        let cgroup = before.scope.child("target")?;
        let loaded = loaded(hook, &cgroup)?;
        hook.attach(&cgroup, BOTH)?;
        let agent = Agent::new(&cgroup)?;
        Ok(Self {
            before,
            loaded,
            cgroup,
            agent,
        })
    }

    /// Fails if anything is left, once the policy has gone.
    fn assert_nothing_left(self, hook: &Hook) -> Result<()> {
        self.loaded.assert_same_after_load(hook)?;
        drop(self.agent);
        self.cgroup.remove()?;
        hook.unload()?;
        self.before.assert_nothing_left()
    }
}

/// Whoever looks for a free port does so.
fn fleeting(hook: &Hook) -> Result<()> {
    let target = Target::new(hook)?;
    let held = Held::now()?;
    let attached = Before::now()?;
    for _ in 0..rounds(10_000, 100_000) {
        drop(open(&target.agent, PORT)?);
    }
    held.assert_same()?;
    attached.assert_nothing_left()?;
    assert_heard(&open(&target.agent, PORT)?, CIP6)?;
    hook.detach(&target.cgroup)?;
    target.assert_nothing_left(hook)
}

/// It has no time to close anything.
fn killed(hook: &Hook) -> Result<()> {
    const SOCKETS: u16 = 100;
    let target = Target::new(hook)?;
    let mut servers = Vec::new();
    for number in 0..SOCKETS {
        let server = open(&target.agent, PORT + number)?;
        assert_heard(&server, CIP6)?;
        fcntl_setfd(server.as_fd(), FdFlags::empty())?;
        servers.push(server);
    }
    let mut holder = Running::start(Command::new("sleep").arg("1000").stdin(Stdio::null()))?;
    drop(servers);
    hook.detach(&target.cgroup)?;
    let now = Held::now()?;
    ensure!(
        now.attached != target.loaded.attached,
        "no socket keeps it: {now:?}"
    );
    holder.signal(Signal::KILL)?;
    holder.wait(PATIENCE)?;
    target.assert_nothing_left(hook)
}

/// Each with addresses of its own, and beside one that stays.
fn come_and_go(hook: &Hook) -> Result<()> {
    const CONTAINERS: u8 = 100;
    let stays = Cgroup::new()?;
    hook.attach(&stays, NEIGHBOUR)?;
    let before = Before::now()?;
    let held = Held::now()?;
    let all: Vec<_> = (0..CONTAINERS).map(addresses).collect();
    let lines = all.iter().map(|(ipv4, ipv6)| {
        format!("addr add {ipv4}/24 dev v0\naddr add {ipv6}/64 dev v0 nodad\n")
    });
    let routes = Routes::watch()?;
    ip(&["-batch", "-"], &lines.collect::<String>())?;
    let ipv6: Vec<_> = all.iter().map(|(_, ipv6)| *ipv6).collect();
    routes.wait_for(&ipv6)?;
    for (ipv4, ipv6) in all {
        let container = Container::below(&before.scope)?;
        let state = container.state_with(Policy::of(Some(ipv4), Some(ipv6)));
        let output = hook.create_runtime(state.to_string().as_bytes())?;
        ensure!(output.status.success(), "{output:?}");
        assert_heard(&open(&container.init, PORT)?, ipv6)?;
    }
    let destinations = Held::now()?.destinations;
    let expected = held.destinations + usize::from(CONTAINERS);
    ensure!(destinations == expected, "{destinations} destinations");
    held.assert_same_after_load(hook)?;
    before.assert_nothing_left()
}

/// The addresses of a container.
fn addresses(number: u8) -> (IpAddr, IpAddr) {
    let last = 100 + number;
    let ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 1, last.into());
    (Ipv4Addr::new(192, 0, 2, last).into(), ipv6.into())
}

/// Nobody takes the program off its devices.
fn namespace(hook: &Hook) -> Result<()> {
    let before = Before::now()?;
    hook.load()?;
    let held = Held::now()?;
    let cgroup = before.scope.child("target")?;
    Net::isolated(|_| {
        hook.attach(&cgroup, BOTH)?;
        let agent = Agent::new(&cgroup)?;
        assert_heard(&open(&agent, PORT)?, CIP6)?;
        let (attached, devices) = (tc::attached()?.len(), tc::devices()?.len());
        ensure!(attached == devices, "at {attached} of {devices} devices");
        Ok(())
    })?;
    cgroup.remove()?;
    harness::eventually(|| {
        hook.load()?;
        let destinations = Held::now()?.destinations;
        harness::attempted(destinations == held.destinations, || {
            format!("{destinations} destinations, not {}", held.destinations)
        })
    })?;
    hook.unload()?;
    let pins = host::pins()?;
    ensure!(pins.is_empty(), "pins are left: {pins:?}");
    before.assert_nothing_left()
}
