//! Addresses that the container's network namespace does not have, or not yet.

use std::net::IpAddr;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use oci_bind_hook_tests::hook::{Policy, V4};
use oci_bind_hook_tests::net::{NOBODY4, Net, add_vrf};
use oci_bind_hook_tests::process::{self, Output, PATIENCE, Running};
use serde_json::json;

use crate::row::{Area, Row};
use crate::scene::Scene;
use crate::surroundings::{short_of_descriptors, without, without_proc};

pub const AREA: Area = Area {
    title: "Addresses of the host",
    status: 1,
    rows: &[
        Row {
            cause: "The host, or the container's own network namespace, does not have the address.",
            message: "container ID: ipv4 address 203.0.113.9 is not configured in the network \
                namespace: add it (ip address add 203.0.113.9 dev DEV), or set \
                require-local-address = false in the configuration",
            remedy: "Add it to any device. If it comes a few seconds later, as after a boot, set \
                `wait-for-address`. An address that comes and goes, as with keepalived, needs \
                `require-local-address = false`.",
            test: |scene| with(scene, Policy::of(Some(NOBODY4), None)),
        },
        Row {
            cause: "The address is on a device in a VRF (virtual routing and forwarding).",
            message: "container ID: ipv4 address 203.0.113.10 belongs to a VRF: only sockets that \
                are bound to the VRF can use it: assign an address outside of it",
            remedy: "`ip vrf show` lists the VRFs, `ip address show vrf NAME` their addresses.",
            test: |scene| {
                let address: IpAddr = "203.0.113.10".parse()?;
                add_vrf(&[address])?;
                with(scene, Policy::of(Some(address), None))
            },
        },
        Row {
            cause: "The address was added a moment ago.",
            message: "container ID: ipv6 address 2001:db8::30 is still tentative: duplicate address \
                detection has not finished: retry in a second, or add it with nodad",
            remedy: "Wait a second, set `wait-for-address` in the configuration, or add it with \
                `nodad`.",
            test: |scene| {
                let address: IpAddr = "2001:db8::30".parse()?;
                scene.net.add_tentative(address)?;
                with(scene, Policy::of(None, Some(address)))
            },
        },
        Row {
            cause: "Another host has the address too.",
            message: "container ID: ipv6 address 2001:db8::30 failed duplicate address detection: \
                another host answered for it: free the address there, or assign another one",
            remedy: "`ip -6 address show dadfailed` lists such addresses. Remove the address from \
                the other host, then remove it here and add it again; or assign another one.",
            test: |scene| {
                let container = scene.container()?;
                let state = container.state_with(Policy::of(None, Some("2001:db8::30".parse()?)));
                taken("2001:db8::30")?;
                scene.hook.create_runtime(state.to_string().as_bytes())
            },
        },
        Row {
            cause: "The container ended before the hook checked its addresses.",
            message: "container ID: pid PID: no such process: it ended before its addresses could \
                be checked",
            remedy: "See the engine's log for why it ended.",
            test: |scene| {
                let container = scene.container()?;
                let mut state = container.state_with(V4);
                state["pid"] = json!(ended(scene)?);
                scene.hook.create_runtime(state.to_string().as_bytes())
            },
        },
        Row {
            cause: "The hook lacks the capability to inspect the container's processes.",
            message: "container ID: open /proc/PID/ns/net: needs CAP_SYS_PTRACE: Permission denied \
                (os error 13)",
            remedy: "Run the engine as root with all capabilities. A unit with \
                `CapabilityBoundingSet=` needs CAP_SYS_PTRACE in it.",
            test: |scene| elsewhere(scene, |hook| Ok(without("-sys_ptrace", hook))),
        },
        Row {
            cause: "The hook lacks the capability to enter the container's network namespace.",
            message: "container ID: network namespace of pid PID: enter it: setns(2) needs \
                CAP_SYS_ADMIN: Operation not permitted (os error 1)",
            remedy: "Run the engine as root with all capabilities.",
            test: |scene| elsewhere(scene, |hook| Ok(without("-sys_admin", hook))),
        },
        Row {
            cause: "/proc is not mounted.",
            message: "look at /proc/self/ns/net: is proc mounted at /proc?: No such file or \
                directory (os error 2)",
            remedy: "Mount it: `mount -t proc proc /proc`.",
            test: |scene| {
                let container = scene.container()?;
                let pid = container.init.id();
                let script = format!("mkdir -p /proc/{pid}/ns && : >/proc/{pid}/ns/net");
                let attach = scene.command(
                    "attach",
                    &["--pid", &pid.to_string(), "--ipv4", "192.0.2.10"],
                );
                process::run(&mut without_proc(&script, &attach), b"")
            },
        },
        Row {
            cause: "The limit on open files leaves no room for a netlink socket.",
            message: "container ID: network namespace of pid PID: open a netlink socket: Too many \
                open files (os error 24)",
            remedy: "Raise the engine's limit on open files (`LimitNOFILE=` in its unit).",
            test: |scene| {
                let container = scene.container()?;
                let state = container.state_with(V4).to_string();
                let hook = scene.command("create-runtime", &[]);
                Net::isolated(|_| {
                    short_of_descriptors(&hook, "netlink", |hook| {
                        process::run(hook, state.as_bytes())
                    })
                })
            },
        },
    ],
};

fn with(scene: &Scene, policy: Policy) -> Result<Output> {
    let container = scene.container()?;
    scene
        .hook
        .create_runtime(container.state_with(policy).to_string().as_bytes())
}

/// `create-runtime`, started as told, in another network namespace than the
/// container's.
fn elsewhere(
    scene: &Scene,
    start: impl FnOnce(&Command) -> Result<Command> + Send,
) -> Result<Output> {
    let container = scene.container()?;
    let state = container.state_with(V4).to_string();
    let hook = scene.command("create-runtime", &[]);
    Net::isolated(move |_| process::run(&mut start(&hook)?, state.as_bytes()))
}

/// The id of a process that has ended, `PID`.
pub fn ended(scene: &Scene) -> Result<u32> {
    let mut process = Running::start(&mut Command::new("true"))?;
    process.wait(PATIENCE)?;
    scene.name_process(process.id(), "PID");
    Ok(process.id())
}

/// Adds an address to one end of a link while the other one has it, and waits
/// until that is noticed.
fn taken(address: &str) -> Result<()> {
    let ip = |arguments: &str| -> Result<String> {
        let ip = process::run(Command::new("ip").args(arguments.split(' ')), b"")?;
        ensure!(ip.status.success(), "ip {arguments}: {ip:?}");
        Ok(ip.stdout)
    };
    ip(&format!("address add {address}/64 dev v1 nodad"))?;
    ip(&format!("address add {address}/64 dev v0"))?;
    let start = Instant::now();
    while !ip("-6 address show dev v0 dadfailed")?.contains(address) {
        ensure!(
            start.elapsed() < PATIENCE,
            "nobody noticed that there are two"
        );
        std::thread::yield_now();
    }
    ip(&format!("address del {address}/64 dev v1")).map(drop)
}
