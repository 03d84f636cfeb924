//! What a successful `attach` says of what it has found.

use std::fs;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context, Result};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bpf;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{NEIGHBOUR, Policy, V4};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::listener::Listener;
use oci_bind_hook_tests::net::{ANY4, HOST4, LOOP4};
use oci_bind_hook_tests::process::{self, Output};
use oci_bind_hook_tests::socket::{Socket, TCP4, at};

use crate::row::{Area, Row};
use crate::scene::Scene;

const RESTART: &str = "Restart it when it suits: it then gets the assigned address.";

pub const AREA: Area = Area {
    title: "Notices of attach",
    status: 0,
    rows: &[
        Row {
            cause: "The cgroup was under another policy.",
            message: "cgroup /CGROUP: replaced the policy 192.0.2.20 and 2001:db8::20 (loopback \
                host, guard off)",
            remedy: "None is needed.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                scene.hook.attach(&cgroup, NEIGHBOUR)?;
                process::run(&mut scene.attach(&cgroup), b"")
            },
        },
        Row {
            cause: "The cgroup was under a policy that another version of the program has put \
                there, and whose layout differs.",
            message: "cgroup /CGROUP: replaced a policy of another version, whose addresses \
                cannot be read",
            remedy: "None is needed.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                scene.hook.attach(&cgroup, NEIGHBOUR)?;
                let pins = host::pins()?.pop().context("no pins")?;
                let map = bpf::open_pin(&pins.join("policy"))?;
                let id = fs::metadata(cgroup.path())?.ino();
                bpf::age_policy(map.as_fd(), id)?;
                fs::rename(&pins, pins.with_file_name("0123456789abcdef"))?;
                process::run(&mut scene.attach(&cgroup), b"")
            },
        },
        Row {
            cause: "A cgroup above has another policy, such as that of the container's pod, or \
                one below.",
            message: "cgroup /CGROUP above has a policy too, 192.0.2.20 and 2001:db8::20 \
                (loopback host, guard off): both apply, so servers may be out of reach: detach \
                one of them",
            remedy: "Put the policy on the pod, or on its containers. The one above has the last \
                word on an address, and the guard of the other drops what is sent there.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                scene.hook.attach(&cgroup, NEIGHBOUR)?;
                process::run(&mut scene.attach(&cgroup.child("below")?), b"")
            },
        },
        Row {
            cause: "A socket is bound to another address, and the guard is on.",
            message: "tcp 192.0.2.1:8080 keeps its address, and the guard drops what is sent \
                there, so callers wait in vain: restart the program",
            remedy: RESTART,
            test: |scene| bound(scene, HOST4, V4.guarded()),
        },
        Row {
            cause: "A socket is bound to another address, and the guard is off.",
            message: "tcp 192.0.2.1:8080 keeps its address, and is still reached there: restart \
                the program",
            remedy: RESTART,
            test: |scene| bound(scene, HOST4, V4),
        },
        Row {
            cause: "A socket is bound to the wildcard address, and the guard is on.",
            message: "tcp 0.0.0.0:8080 keeps the wildcard address: it is reached at 192.0.2.10, \
                and callers of the host's other addresses wait in vain: restart the program",
            remedy: "Restart it when it suits: until then nobody else can have its port, and \
                callers of other addresses hang instead of being refused.",
            test: |scene| bound(scene, ANY4, V4.guarded()),
        },
        Row {
            cause: "A socket is bound to the wildcard address, and the guard is off.",
            message: "tcp 0.0.0.0:8080 keeps the wildcard address, and is still reached at every \
                address: restart the program",
            remedy: RESTART,
            test: |scene| bound(scene, ANY4, V4),
        },
        Row {
            cause: "A socket is bound to loopback, which is now the container's own or was until \
                now.",
            message: "tcp 127.0.0.1:8080 keeps its loopback address, where calls from within the \
                cgroup do not go any more: restart the program",
            remedy: RESTART,
            test: |scene| bound(scene, LOOP4, V4.loopback("private")),
        },
        Row {
            cause: "A process in the cgroup has a socket from before it came there, or one that \
                it was passed.",
            message: "tcp 192.0.2.1:8080 of process OTHER (COMMAND) was created in another cgroup, \
                so the policy does not apply to it: restart the program in this cgroup",
            remedy: "A process must be in the cgroup before it creates its sockets. Of a unit \
                with socket activation, systemd creates them: write the address into the socket \
                unit.",
            test: outside,
        },
        Row {
            cause: "More than 20 cgroups above and below have another policy.",
            message: "and 1 more cgroup with a policy too: see status",
            remedy: "`status` lists all. Put the policy on the slice, or on what is below it.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let below = (0..21).map(|number| cgroup.child(&format!("below{number}")));
                let below = below.collect::<Result<Vec<_>>>()?;
                for child in &below {
                    scene.hook.attach(child, NEIGHBOUR)?;
                }
                process::run(&mut scene.attach(&cgroup), b"")
            },
        },
        Row {
            cause: "More than 20 sockets are not where a bind would put them now.",
            message: "and 1 more socket, bound before the policy: restart the programs that have \
                some",
            remedy: "`ss -lntup` lists all, in the network namespace of the programs.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let process = Agent::new(&cgroup)?;
                let sockets = (8080..8101).map(|port| listening(&process, HOST4, port));
                let _sockets = sockets.collect::<Result<Vec<_>>>()?;
                process::run(&mut scene.attach(&cgroup), b"")
            },
        },
        Row {
            cause: "The cgroup is a threaded one, or the kernel lacks the modules \
                `tcp_diag` and `udp_diag`.",
            message: "the policy is in force, but sockets that were bound before cannot be \
                listed: read cgroup.procs of cgroup /CGROUP/threads: Operation not supported (os \
                error 95): restart the programs that have some",
            remedy: "Restart the programs, or look with `ss -lntup`.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let threads = cgroup.child("threads")?;
                fs::write(threads.path().join("cgroup.type"), "threaded")?;
                process::run(&mut scene.attach(&threads), b"")
            },
        },
    ],
};

/// `attach` to a cgroup with a server at this address.
fn bound(scene: &Scene, address: IpAddr, policy: Policy) -> Result<Output> {
    let cgroup = scene.cgroup()?;
    let process = Agent::new(&cgroup)?;
    let _server = listening(&process, address, 8080)?;
    process::run(&mut scene.attach_policy(&cgroup, policy), b"")
}

fn listening(process: &Agent, address: IpAddr, port: u16) -> Result<Socket> {
    let server = process.socket(TCP4)?;
    server.bind(at(address, port, 0))?;
    server.listen()?;
    Ok(server)
}

/// `attach` to a cgroup with a process that has come from another one.
fn outside(scene: &Scene) -> Result<Output> {
    let (first, cgroup) = (Cgroup::new()?, scene.cgroup()?);
    let listener = Listener::start(&first, at(HOST4, 8080, 0))?;
    scene.name_process(listener.id(), "OTHER");
    scene.name("(raw-listener)", "(COMMAND)");
    cgroup.take_in(listener.id())?;
    process::run(&mut scene.attach(&cgroup), b"")
}
