//! Containers that are named by their ids.

use std::process::Command;

use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::V4;
use oci_bind_hook_tests::process;

use crate::row::{Area, Row};

/// Two ids that begin alike.
const ONE: &str = "5f2a7c1e9b3d4f60a8c2e4b6d8f0a1c3e5b7d9f1a3c5e7092b4d6f8091a3c5e7";
const OTHER: &str = "5f2a7c1e9b3d4f60a8c2e4b6d8f0a1c3e5b7d9f1a3c5e7092b4d6f8091a3c5e8";

pub const AREA: Area = Area {
    title: "Containers by id",
    status: 1,
    rows: &[
        Row {
            cause: "`--container` has no value.",
            message: "the container's id is empty: give an id, or its first characters",
            remedy: "A variable in a script may be empty.",
            test: |scene| scene.say("detach", &["--container", ""]),
        },
        Row {
            cause: "No container with that id runs, or its engine does not name its cgroup \
                after the id.",
            message: "no container that runs has an id that begins with \"web\": give the id that \
                the engine shows, or its first characters, or use --pid or --cgroup",
            remedy: "`podman ps`, `docker ps` and `crictl ps` list the ids. For a name: \
                `--container $(podman inspect --format {{.Id}} web)`.",
            test: |scene| scene.say("detach", &["--container", "web"]),
        },
        Row {
            cause: "The ids of several containers begin like that.",
            message: "more than one container that runs is meant by \"ONE\", such as ID and \
                OTHER: give more of the id",
            remedy: "Give as many characters as it takes to tell them apart.",
            test: |scene| {
                let slice = scene.cgroup()?;
                let _one = Container::with_id(ONE.to_owned(), &slice)?;
                let _other = Container::with_id(OTHER.to_owned(), &slice)?;
                scene.name(ONE, "ID");
                scene.name(OTHER, "OTHER");
                scene.name(&format!("{:?}", &ONE[..60]), "\"ONE\"");
                let detach = scene.command("detach", &["--container", &ONE[..60]]);
                process::run(&mut scene.alone(&detach)?, b"")
            },
        },
        Row {
            cause: "Two cgroups are named after the container.",
            message: "container ID has more than one cgroup, /CGROUP/one/libpod-ID.scope and \
                /CGROUP/other/libpod-ID.scope: use --cgroup PATH",
            remedy: "Find out which one is the container's, such as by `systemd-cgls`.",
            test: |scene| {
                let slice = scene.cgroup()?;
                let (one, other) = (slice.child("one")?, slice.child("other")?);
                let _one = Container::with_id(ONE.to_owned(), &one)?;
                let _other = Container::with_id(ONE.to_owned(), &other)?;
                scene.name(ONE, "ID");
                let detach = scene.command("detach", &["--container", ONE]);
                process::run(&mut scene.alone(&detach)?, b"")
            },
        },
        Row {
            cause: "`attach --container` runs in a PID namespace of its own.",
            message: "container ID: none of its processes can be seen: run in the host's PID \
                namespace",
            remedy: "Run it on the host, or in a container that shares its PID namespace \
                (podman: `--pid host`).",
            test: |scene| {
                let container = scene.container()?;
                let mut attach = scene.command("attach", &["--container", container.id()]);
                attach.args(V4.options());
                let mut apart = Command::new("unshare");
                apart.args(["--pid", "--fork"]).arg(attach.get_program());
                process::run(apart.args(attach.get_args()), b"")
            },
        },
    ],
};
