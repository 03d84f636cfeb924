//! What the kernel refuses: programs, and their attachment.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use oci_bind_hook_tests::bpf::{ATTACH_TYPES, SK_LOOKUP};
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::foreign::{BIND4, Foreign, Mode};
use oci_bind_hook_tests::hook::{BOTH, V4, at_root};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::process;

use crate::row::{Area, Row};
use crate::scene::Scene;
use crate::surroundings::{FILES, short_of_descriptors, unshared, without};

/// What to do about a capability that is missing.
pub const ROOT: &str = "Run the engine, or the command, as root with all capabilities.";
/// One of these is needed to ask what is attached.
const ASKING: &str = "-net_admin,-sys_admin";
/// `BPF_CGROUP_MAX_PROGS`, kernel/bpf/cgroup.c
const MAX_PROGRAMS: usize = 64;

pub const AREA: Area = Area {
    title: "Programs and kernel",
    status: 1,
    rows: &[
        Row {
            cause: "The engine is rootless.",
            message: "container ID: a rootless engine, or another user namespace: attaching eBPF \
                programs needs CAP_BPF and CAP_NET_ADMIN in the initial user namespace: run the \
                engine, or this command, as root",
            remedy: "Rootless containers are not supported: only the host's root can attach such \
                programs. A systemd service that root puts under a policy can run as any user.",
            test: |scene| {
                let container = scene.container()?;
                let state = container.state_with(V4).to_string();
                let hook = scene.command("create-runtime", &[]);
                process::run(&mut unshared("-Ur", &hook), state.as_bytes())
            },
        },
        Row {
            cause: "The command lacks the capability to load programs.",
            message: "probe the kernel for bpf_set_retval: needs CAP_BPF and CAP_NET_ADMIN in the \
                initial user namespace: run the engine, or this command, as root: `bpf_prog_load` \
                failed: Operation not permitted (os error 1)",
            remedy: ROOT,
            test: |scene| process::run(&mut without("-bpf,-sys_admin", &load(scene)), b""),
        },
        Row {
            cause: "The command is not permitted to open the loaded programs.",
            message: "open /sys/fs/bpf/oci-bind-hook/VERSION/policy: needs CAP_BPF and CAP_NET_ADMIN \
                in the initial user namespace: run the engine, or this command, as root: \
                Permission denied (os error 13)",
            remedy: ROOT,
            test: |scene| {
                let pins = version(scene)?;
                fs::set_permissions(&pins, fs::Permissions::from_mode(0o000))?;
                process::run(&mut without(FILES, &load(scene)), b"")
            },
        },
        Row {
            cause: "The command lacks the capability to list what is attached.",
            message: "list the bind4 programs: needs CAP_BPF and CAP_NET_ADMIN in the initial user \
                namespace: run the engine, or this command, as root: Operation not permitted (os \
                error 1)",
            remedy: ROOT,
            test: |scene| {
                scene.hook.load()?;
                let cgroup = scene.cgroup()?;
                process::run(&mut without(ASKING, &scene.attach(&cgroup)), b"")
            },
        },
        Row {
            cause: "Another tool has attached an exclusive program to the cgroup or to one above \
                it.",
            message: "attach bind4 to cgroup /CGROUP: needs CAP_NET_ADMIN and CAP_BPF in the initial \
                user namespace, and no exclusive program of this type in the cgroup or an ancestor \
                (bpftool cgroup tree shows them): Operation not permitted (os error 1)",
            remedy: "Detach that program, or have it attached with `BPF_F_ALLOW_MULTI`, as \
                systemd does.",
            test: |scene| {
                let parent = Cgroup::new()?;
                let cgroup = parent.child("below")?;
                scene.name_cgroup(&cgroup, "CGROUP")?;
                Foreign::permit(BIND4)?.attach(&parent, Mode::Exclusive)?;
                process::run(&mut scene.attach(&cgroup), b"")
            },
        },
        Row {
            cause: "The cgroup has no room for another program.",
            message: "attach bind4 to cgroup /CGROUP: the cgroup has 64 programs of this type, the \
                kernel's limit: Argument list too long (os error 7)",
            remedy: "`bpftool cgroup show` lists what is attached; detach what is not needed.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let (_, attach_type) = ATTACH_TYPES[0];
                for _ in 0..MAX_PROGRAMS {
                    Foreign::permit(attach_type)?.attach(&cgroup, Mode::Multi)?;
                }
                process::run(&mut scene.attach(&cgroup), b"")
            },
        },
        Row {
            cause: "A container has both families, and its network namespace has no room for \
                another program.",
            message: "steer calls to dual-stack servers: attach program steer to the network \
                namespace: needs CAP_NET_ADMIN and CAP_BPF, and fewer than 64 such programs there \
                (bpftool net shows them): Argument list too long (os error 7)",
            remedy: "Detach what is not needed.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let mut full = Vec::new();
                for _ in 0..MAX_PROGRAMS {
                    full.push(Foreign::permit(SK_LOOKUP)?.link()?);
                }
                process::run(&mut scene.attach_policy(&cgroup, BOTH), b"")
            },
        },
        Row {
            cause: "The pin of a map that containers with both families need is missing.",
            message: "steer calls to dual-stack servers: open \
                /sys/fs/bpf/oci-bind-hook/VERSION/dual: no such pin: remove its directory, then \
                run oci-bind-hook load to recreate it",
            remedy: "Running containers keep their programs, but their dual-stack servers are \
                reached over IPv4 alone until they are restarted.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                fs::remove_file(version(scene)?.join("dual"))?;
                process::run(&mut scene.attach_policy(&cgroup, BOTH), b"")
            },
        },
        Row {
            cause: "`unload` lacks the capability to list what is attached.",
            message: "look at cgroup /sys/fs/cgroup/web.service: list the bind4 programs: needs \
                CAP_BPF and CAP_NET_ADMIN in the initial user namespace: run the engine, or this \
                command, as root: Operation not permitted (os error 1)",
            remedy: ROOT,
            test: |scene| {
                scene.hook.load()?;
                let cgroup = scene.cgroup()?;
                let _below = cgroup.child("web.service")?;
                // So that no other cgroup of the host comes first.
                let unload = without(ASKING, &scene.command("unload", &[]));
                process::run(&mut at_root(&cgroup, &unload)?, b"")
            },
        },
        Row {
            cause: "The command lacks the capability that the verifier requires.",
            message: "load program bind4 into the kernel: needs Linux 5.10 or later, CAP_BPF, \
                CAP_NET_ADMIN and CAP_PERFMON: the verifier says \"...\": Permission denied (os \
                error 13)",
            remedy: ROOT,
            test: |scene| process::run(&mut without("-perfmon,-sys_admin", &load(scene)), b""),
        },
        Row {
            cause: "The limit on open files leaves no room for the maps.",
            message: "load the eBPF object: needs Linux 5.10 or later, CAP_BPF and CAP_NET_ADMIN: \
                map error: failed to create map `MAP`: failed to create map `MAP`: Too many open \
                files (os error 24)",
            remedy: "Raise the limit on open files (`LimitNOFILE=` in a unit).",
            test: |scene| {
                short_of_descriptors(&load(scene), "`: Too many open files", |load| {
                    process::run(load, b"")
                })
            },
        },
        Row {
            cause: "The limit on open files leaves no room for the programs.",
            message: "load program bind4 into the kernel: needs Linux 5.10 or later, CAP_BPF, \
                CAP_NET_ADMIN and CAP_PERFMON: Too many open files (os error 24)",
            remedy: "Raise the limit on open files (`LimitNOFILE=` in a unit).",
            test: |scene| {
                short_of_descriptors(&load(scene), "into the kernel", |load| {
                    process::run(load, b"")
                })
            },
        },
    ],
};

/// `load`
pub fn load(scene: &Scene) -> Command {
    scene.command("load", &[])
}

/// The directory with this version's pins.
pub fn version(scene: &Scene) -> Result<PathBuf> {
    scene.hook.load()?;
    host::pins()?.pop().context("no pins")
}
