//! Cgroups that are not there, or not safe to attach to.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use anyhow::Result;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::{self, Container};
use oci_bind_hook_tests::hook::{V4, inside};
use oci_bind_hook_tests::process::{self, Output, Running, Signal};
use serde_json::json;

use crate::addresses::ended;
use crate::row::{Area, Row};
use crate::scene::Scene;
use crate::surroundings::file;

const OWN_CGROUP: &str = "Let the engine create a cgroup for each container, as it does by \
    default.";

pub const AREA: Area = Area {
    title: "Cgroup",
    status: 1,
    rows: &[
        Row {
            cause: "The path is relative.",
            message: "cgroup system.slice/web.service: not an absolute path, or one with .. in \
                it: write a path such as /system.slice/web.service",
            remedy: "Write the path within the hierarchy, as /proc/PID/cgroup shows it, or within \
                the file system.",
            test: |scene| scene.say("detach", &["--cgroup", "system.slice/web.service"]),
        },
        Row {
            cause: "The path is not UTF-8.",
            message: "cgroup /web�: name is not UTF-8: use a cgroup with a UTF-8 name",
            remedy: "A cgroup cannot be renamed: create another one.",
            test: |scene| {
                let mut detach = scene.command("detach", &["--cgroup"]);
                process::run(detach.arg(OsStr::from_bytes(b"/web\xff")), b"")
            },
        },
        Row {
            cause: "The cgroup does not exist.",
            message: "cgroup /no-such.slice: no such cgroup: it was removed, or never created",
            remedy: "`systemd-cgls` lists all cgroups. A service has its cgroup only while it \
                runs.",
            test: |scene| scene.say("detach", &["--cgroup", "/no-such.slice"]),
        },
        Row {
            cause: "The path is that of a file in a cgroup.",
            message: "open cgroup /CGROUP/cgroup.procs: Not a directory (os error 20)",
            remedy: "Name the cgroup's directory.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let path = cgroup.path().join("cgroup.procs");
                scene.say("detach", &["--cgroup", &path.to_string_lossy()])
            },
        },
        Row {
            cause: "The root cgroup is named.",
            message: "cgroup / is the root, which holds every process of the host: name one below it",
            remedy: "A policy there would apply to the whole host. Name the cgroup of a service \
                or a slice.",
            test: |scene| scene.say("detach", &["--cgroup", "/"]),
        },
        Row {
            cause: "The container is in the root cgroup.",
            message: "container ID: pid PID: the process is in the root cgroup, which holds every \
                process of the host: give it a cgroup of its own (podman: without \
                --cgroups=disabled)",
            remedy: OWN_CGROUP,
            test: |scene| {
                let process = Agent::in_root()?;
                scene.name_process(process.id(), "PID");
                let id = container::fresh_id();
                scene.name(&id, "ID");
                let annotations = container::annotations(V4);
                let state = container::state(&id, process.id(), &container::borrowed(&annotations));
                scene.hook.create_runtime(state.to_string().as_bytes())
            },
        },
        Row {
            cause: "The container shares the hook's cgroup, as with `--cgroups=disabled`.",
            message: "container ID: pid PID: cgroup /CGROUP also holds oci-bind-hook itself: give \
                the container a cgroup of its own (podman: without --cgroups=disabled)",
            remedy: OWN_CGROUP,
            test: |scene| {
                let container = scene.container()?;
                let state = container.state_with(V4).to_string();
                let hook = scene.command("create-runtime", &[]);
                process::run(&mut inside(&container.cgroup, &hook), state.as_bytes())
            },
        },
        Row {
            cause: "The cgroup holds a process that is not the container's.",
            message: "container ID: cgroup /CGROUP holds process OTHER (COMMAND), which does \
                not descend from pid PID: give the container a cgroup of its own (podman: without \
                --cgroups=disabled)",
            remedy: OWN_CGROUP,
            test: |scene| {
                let container = scene.container()?;
                let stranger = Agent::new(&container.cgroup)?;
                scene.name_process(stranger.id(), "OTHER");
                create(scene, &container)
            },
        },
        Row {
            cause: "`--pid` names a process whose cgroup also holds unrelated processes.",
            message: "cgroup /CGROUP holds process OTHER (COMMAND), which does not descend from \
                pid PID: to select all processes in it, use --cgroup PATH",
            remedy: "If you mean all of them, name the cgroup.",
            test: |scene| {
                let container = scene.container()?;
                let stranger = Agent::new(&container.cgroup)?;
                scene.name_process(stranger.id(), "OTHER");
                detach(scene, container.init.id())
            },
        },
        Row {
            cause: "The cgroup holds a process that the command cannot see from its own PID \
                namespace.",
            message: "cgroup /CGROUP holds a process of another PID namespace: to select all \
                processes in it, use --cgroup PATH",
            remedy: "Run it in the host's PID namespace.",
            test: |scene| {
                let container = scene.container()?;
                let procs = container.cgroup.path().join("cgroup.procs");
                let script = format!(
                    "sleep 60 & echo $! >{} && \"$0\" \"$@\" --pid $!",
                    procs.display()
                );
                let detach = process::shell(&scene.command("detach", &[]), &script);
                let mut alone = Command::new("unshare");
                alone.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
                process::run(alone.arg(detach.get_program()).args(detach.get_args()), b"")
            },
        },
        Row {
            cause: "The state has the id of one container and the process of another.",
            message: "container OTHER: pid PID: cgroup /CGROUP belongs to container ID, but the \
                state is of OTHER: the runtime must give the pid of that container's init",
            remedy: "Report it to the developers of the runtime.",
            test: |scene| {
                let container = scene.container()?;
                let mut state = container.state_with(V4);
                state["id"] = json!("0123456789abcdef".repeat(4));
                scene.name(&"0123456789abcdef".repeat(4), "OTHER");
                scene.hook.create_runtime(state.to_string().as_bytes())
            },
        },
        Row {
            cause: "The cgroup is threaded.",
            message: "cgroup /CGROUP/threads is threaded, so its processes cannot be listed: use \
                a cgroup of type domain",
            remedy: "Attach to the parent of type `domain threaded`, with `--cgroup`.",
            test: |scene| {
                let container = scene.container()?;
                let threads = container.cgroup.child("threads")?;
                fs::write(threads.path().join("cgroup.type"), "threaded")?;
                threads.take_in(container.init.id())?;
                let output = detach(scene, container.init.id());
                container.cgroup.take_in(container.init.id())?;
                output
            },
        },
        Row {
            cause: "The process has ended.",
            message: "pid PID: no such process: it has ended",
            remedy: "`ps` lists the running processes.",
            test: |scene| detach(scene, ended(scene)?),
        },
        Row {
            cause: "The container ended before the hook ran, and addresses need not be local.",
            message: "container ID: pid PID: no such process: the container ended before the hook \
                ran",
            remedy: "See the engine's log for why it ended.",
            test: |scene| {
                let container = scene.container()?;
                let mut state = container.state_with(V4);
                state["pid"] = json!(ended(scene)?);
                let config = file("require-local-address = false")?;
                let mut hook = Command::new(scene.hook.binary());
                hook.arg("--config").arg(&config).arg("create-runtime");
                process::run(&mut hook, state.to_string().as_bytes())
            },
        },
        Row {
            cause: "The process is a zombie.",
            message: "pid PID is not in cgroup /CGROUP: it ended or moved in the meantime",
            remedy: "It goes away when its parent waits for it; there is nothing to attach to.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let zombie = zombie(scene, &cgroup)?;
                detach(scene, zombie.id())
            },
        },
        Row {
            cause: "The process is a zombie, and its cgroup is gone.",
            message: "cgroup /CGROUP is deleted: the container has ended",
            remedy: "It goes away when its parent waits for it; there is nothing to attach to.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let zombie = zombie(scene, &cgroup)?;
                cgroup.remove()?;
                detach(scene, zombie.id())
            },
        },
    ],
};

fn create(scene: &Scene, container: &Container) -> Result<Output> {
    scene
        .hook
        .create_runtime(container.state_with(V4).to_string().as_bytes())
}

/// `detach` of the cgroup of a process.
pub fn detaching(scene: &Scene, pid: u32) -> Command {
    scene.command("detach", &["--pid", &pid.to_string()])
}

/// The same, run.
pub fn detach(scene: &Scene, pid: u32) -> Result<Output> {
    process::run(&mut detaching(scene, pid), b"")
}

/// A process in a cgroup that has ended, and that nobody waits for.
fn zombie(scene: &Scene, cgroup: &Cgroup) -> Result<Running> {
    let zombie = Running::start(Command::new("sleep").arg("60"))?;
    scene.name_process(zombie.id(), "PID");
    cgroup.take_in(zombie.id())?;
    zombie.signal(Signal::KILL)?;
    zombie.ends(process::PATIENCE)?;
    Ok(zombie)
}
