//! What successful commands say on standard output, and should be heeded.

use std::fs;

use anyhow::Context;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::foreign::{BIND4, EGRESS, Foreign, Mode};
use oci_bind_hook_tests::hook::{BOTH, V4};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::ANY6;
use oci_bind_hook_tests::socket::{TCP6, at};

use crate::row::{Area, Row};

pub const AREA: Area = Area {
    title: "Notices",
    status: 0,
    rows: &[
        Row {
            cause: "`status`: nothing is under a policy.",
            message: "no cgroup is under a policy",
            remedy: "None is needed. If a container should be there, see the engine's hooks.d.",
            test: |scene| scene.say("status", &[]),
        },
        Row {
            cause: "`status`: a program was detached from the cgroup.",
            message: "/CGROUP: NOT PROTECTED: no longer attached: egress: restart the container, \
                or attach the policy again",
            remedy: "Find out who detached it: another tool that manages BPF programs, or an \
                attacker with root. What the program handled is now as on the host.",
            test: |scene| {
                let container = scene.container()?;
                scene.hook.attach(&container.cgroup, V4.guarded())?;
                let pins = host::pins()?.pop().context("no pins")?;
                Foreign::pinned(EGRESS, &pins.join("egress"))?.detach(&container.cgroup)?;
                scene.say("status", &[])
            },
        },
        Row {
            cause: "`status`: a command was killed while it was attaching a policy.",
            message: "/CGROUP: it has programs but no policy, so everything is refused: attach a \
                policy, or detach",
            remedy: "Attach again, or detach. If it was the hook that was killed, the container \
                has not started.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                scene.hook.load()?;
                let pins = host::pins()?.pop().context("no pins")?;
                Foreign::pinned(BIND4, &pins.join("bind4"))?.attach(&cgroup, Mode::Multi)?;
                scene.say("status", &[])
            },
        },
        Row {
            cause: "`status`: the cgroup was put under its policy before an upgrade.",
            message: "/CGROUP: it runs the programs of another version, VERSION, until it is \
                restarted",
            remedy: "None is needed: it keeps the programs that it started with.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                scene.hook.attach(&cgroup, V4)?;
                let pins = host::pins()?.pop().context("no pins")?;
                let older = pins.with_file_name("0123456789abcdef");
                fs::rename(&pins, &older)?;
                scene.say("status", &[])
            },
        },
        Row {
            cause: "`unload`: the programs are in use.",
            message: "kept /sys/fs/bpf/oci-bind-hook/VERSION: in use by 1 cgroup",
            remedy: "`status` shows which cgroups use them. A container that has ended may leave \
                an empty cgroup, which counts until the engine removes it.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                scene.hook.attach(&cgroup, V4)?;
                scene.say("unload", &[])
            },
        },
        Row {
            cause: "`unload`: a dual-stack server that was bound under a policy is still \
                listening.",
            message: "kept /sys/fs/bpf/oci-bind-hook/VERSION: sockets that are still open need it",
            remedy: "None is needed: once they are closed, `unload` removes it.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                scene.hook.attach(&cgroup, BOTH)?;
                let server = Agent::new(&cgroup)?.socket(TCP6)?;
                server.bind(at(ANY6, 8080, 0))?;
                server.listen()?;
                scene.hook.detach(&cgroup)?;
                let kept = scene.say("unload", &[]);
                drop(server);
                kept
            },
        },
        Row {
            cause: "`detach`: there was nothing to detach.",
            message: "cgroup /CGROUP is not under a policy",
            remedy: "None is needed.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                scene.say("detach", &["--cgroup", &cgroup.path().to_string_lossy()])
            },
        },
    ],
};
