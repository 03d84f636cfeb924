//! `run`: what keeps a command from being started, and its cgroup from being
//! cleared away.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::foreign::{BIND4, Foreign, Mode};
use oci_bind_hook_tests::hook::inside;
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::process::{self, Output, PATIENCE, Running, Signal};

use rustix::mount::{UnmountFlags, unmount};

use crate::hierarchy::TELL_US;
use crate::row::{Area, NOT_STARTED, Row};
use crate::scene::Scene;
use crate::surroundings::{
    FILES, file, short_of_descriptors, unreadable, unshared, with_own, without,
};

const DESCRIPTORS: &str = "Raise the limit on open files (`ulimit -n`).";

/// What has status 125.
pub const AREA: Area = Area {
    title: "run",
    status: NOT_STARTED,
    rows: &[
        Row {
            cause: "The command does not exist.",
            message: "start no-such-program: No such file or directory (os error 2)",
            remedy: "It is searched for in `PATH`, as in a shell; `sudo` may have shortened \
                `PATH`.",
            test: |scene| inside_a_cgroup(scene, &scene.run(&["no-such-program"])),
        },
        Row {
            cause: "The command is not a program.",
            message: "start /proc/version: Permission denied (os error 13)",
            remedy: "Name an executable file. For shell syntax, use `sh -c '...'`.",
            test: |scene| inside_a_cgroup(scene, &scene.run(&["/proc/version"])),
        },
        Row {
            cause: "The caller's cgroup is not allowed another cgroup below it.",
            message: "create cgroup /sys/fs/cgroup/CGROUP/oci-bind-hook-run-PID: needs root, and \
                room within cgroup.max.descendants and cgroup.max.depth: Resource temporarily \
                unavailable (os error 11)",
            remedy: "Raise `cgroup.max.descendants` and `cgroup.max.depth` there and above. A \
                unit needs `Delegate=yes`, and must run as root.",
            test: |scene| {
                let caller = scene.cgroup()?;
                fs::write(caller.path().join("cgroup.max.descendants"), "0")?;
                process::run(&mut inside(&caller, &scene.run(&["true"])), b"")
            },
        },
        Row {
            cause: "The caller's cgroup cannot be listed.",
            message: "read /sys/fs/cgroup/CGROUP: Permission denied (os error 13)",
            remedy: "Run it as root with all capabilities.",
            test: |scene| {
                let caller = scene.cgroup()?;
                fs::set_permissions(caller.path(), fs::Permissions::from_mode(0o111))?;
                let run = without(FILES, &scene.run(&["true"]));
                process::run(&mut inside(&caller, &run), b"")
            },
        },
        Row {
            cause: "The visible part of the cgroup hierarchy belongs to another user, who could \
                move the command out of its cgroup.",
            message: "the cgroup hierarchy here does not belong to root alone: run the command on \
                the host: /sys/fs/cgroup can be changed by others: its owner is uid 1000, its \
                mode 0755",
            remedy: "Run it on the host, or in a container that shares the host's cgroup namespace.",
            test: |scene| {
                let seen = scene.cgroup()?;
                chown(seen.path(), Some(1000), Some(1000))?;
                let script = format!(
                    "umount --lazy {0} && mount -t cgroup2 none {0} && exec \"$0\" \"$@\"",
                    host::cgroup_root()?.display()
                );
                let run = process::shell(&scene.run(&["true"]), &script);
                let alone = unshared("--cgroup", &unshared("--mount", &run));
                process::run(&mut inside(&seen, &alone), b"")
            },
        },
        Row {
            cause: "Another tool's exclusive program prevents ours from being attached.",
            message: "attach bind4 to cgroup /CGROUP/oci-bind-hook-run-PID: needs CAP_NET_ADMIN and \
                CAP_BPF in the initial user namespace, and no exclusive program of this type in \
                the cgroup or an ancestor (bpftool cgroup tree shows them): Operation not \
                permitted (os error 1)",
            remedy: "See [Programs and kernel](#programs-and-kernel), as for every message about \
                attaching.",
            test: |scene| {
                let caller = scene.cgroup()?;
                Foreign::permit(BIND4)?.attach(&caller, Mode::Exclusive)?;
                process::run(&mut inside(&caller, &scene.run(&["true"])), b"")
            },
        },
        Row {
            cause: "The limit on open files leaves no room for the new cgroup.",
            message: "open cgroup /CGROUP/oci-bind-hook-run-PID: Too many open files (os error 24)",
            remedy: DESCRIPTORS,
            test: |scene| short(scene, "open cgroup "),
        },
        Row {
            cause: "The limit on open files leaves no room for a second process.",
            message: "start the process that removes the cgroup: Too many open files (os error \
                24)",
            remedy: DESCRIPTORS,
            test: |scene| short(scene, "start the process"),
        },
        Row {
            cause: "/proc/self/status cannot be read.",
            message: "read /proc/self/status: Input/output error (os error 5)",
            remedy: TELL_US,
            test: |scene| with_status(scene, &unreadable()),
        },
        Row {
            cause: "/proc/self/status does not say which signals are ignored.",
            message: "find SigIgn in /proc/self/status",
            remedy: TELL_US,
            test: |scene| with_status(scene, &file("Name: oci-bind-hook\n")?),
        },
        Row {
            cause: "/proc/self/status has the ignored signals in an unknown format.",
            message: "read SigIgn in /proc/self/status: invalid digit found in string",
            remedy: TELL_US,
            test: |scene| with_status(scene, &file("SigIgn:\tnone\n")?),
        },
        Row {
            cause: "A signal arrived for a command that has changed its user, and root lacks \
                CAP_KILL.",
            message: "pass a signal on to the command: Operation not permitted (os error 1)",
            remedy: "Keep CAP_KILL in the bounding set, or let the command keep its user.",
            test: |scene| {
                let script = "echo; exec sleep 60";
                let other_user = [
                    "setpriv",
                    "--reuid=65534",
                    "--clear-groups",
                    "sh",
                    "-c",
                    script,
                ];
                let run = without("-kill", &scene.run(&other_user));
                signalled(&mut inside(&scene.cgroup()?, &run))
            },
        },
    ],
};

/// What the second process of `run` says.
pub const END: Area = Area {
    title: "run, cleaning up after the command",
    status: 1,
    rows: &[
        Row {
            cause: "A process in the cgroup does not die.",
            message: "cgroup /sys/fs/cgroup/CGROUP still has processes 10 s after they were killed: \
                oci-bind-hook unload removes it once they are gone",
            remedy: "It is waiting for a device or a file system such as NFS: `ps` shows it in \
                state D. Once it is gone, `oci-bind-hook unload` removes the cgroup.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let populated = file("populated 1\nfrozen 0\n")?;
                let events = cgroup.path().join("cgroup.events");
                host::replace(&events, &populated)?;
                let output = end(scene, &cgroup);
                unmount(&events, UnmountFlags::DETACH)?;
                output
            },
        },
        Row {
            cause: "A new process has joined the cgroup, or something is mounted on it.",
            message: "remove cgroup /sys/fs/cgroup/CGROUP: Device or resource busy (os error 16)",
            remedy: "`oci-bind-hook unload` removes it once it is empty.",
            test: |scene| {
                let container = scene.container()?;
                let populated = file("populated 0\nfrozen 0\n")?;
                host::replace(&container.cgroup.path().join("cgroup.events"), &populated)?;
                end(scene, &container.cgroup)
            },
        },
        Row {
            cause: "The cgroup's state cannot be read.",
            message: "read cgroup.events of cgroup /sys/fs/cgroup/CGROUP: Input/output error (os \
                error 5)",
            remedy: TELL_US,
            test: |scene| {
                let cgroup = scene.cgroup()?;
                host::replace(&cgroup.path().join("cgroup.events"), &unreadable())?;
                end(scene, &cgroup)
            },
        },
        Row {
            cause: "The command is not permitted to open the cgroup.",
            message: "open /sys/fs/cgroup/CGROUP/cgroup.events: Permission denied (os error 13)",
            remedy: "Run it as root with all capabilities.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                fs::set_permissions(cgroup.path(), fs::Permissions::from_mode(0o000))?;
                let end = scene.command("end-run", &[&cgroup.path().to_string_lossy()]);
                process::run(&mut without(FILES, &end), b"")
            },
        },
        Row {
            cause: "The kernel cannot kill all processes of a cgroup at once (before Linux 5.14), \
                and they cannot be listed.",
            message: "read /sys/fs/cgroup/CGROUP/cgroup.procs: Input/output error (os error 5)",
            remedy: TELL_US,
            test: |scene| {
                let container = scene.container()?;
                let kill = container.cgroup.path().join("cgroup.kill");
                host::replace(&kill, Path::new("/proc/version"))?;
                let procs = container.cgroup.path().join("cgroup.procs");
                host::replace(&procs, &unreadable())?;
                end(scene, &container.cgroup)
            },
        },
        Row {
            cause: "The pipe from the first process cannot be read.",
            message: "wait for the end of the run: Is a directory (os error 21)",
            remedy: "`end-run` is internal: only `run` calls it.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let end = scene.command("end-run", &[&cgroup.path().to_string_lossy()]);
                process::run(&mut process::shell(&end, "exec \"$0\" \"$@\" </"), b"")
            },
        },
    ],
};

/// Runs a command line inside the cgroup `CGROUP`.
fn inside_a_cgroup(scene: &Scene, command: &Command) -> Result<Output> {
    process::run(&mut inside(&scene.cgroup()?, command), b"")
}

/// `run` with a limit of open files at which this is said.
fn short(scene: &Scene, wanted: &str) -> Result<Output> {
    scene.hook.load()?;
    let caller = scene.cgroup()?;
    let run = scene.run(&["true"]);
    let output = short_of_descriptors(&run, wanted, |run| {
        process::run(&mut inside(&caller, run), b"")
    });
    // It removes what the failed one has left.
    process::run(&mut inside(&caller, &run), b"")?;
    output
}

/// `run` with another file in the place of /proc/self/status.
fn with_status(scene: &Scene, status: &Path) -> Result<Output> {
    let run = with_own("status", status, &scene.run(&["true"]));
    inside_a_cgroup(scene, &run)
}

/// Starts a command, and sends it SIGTERM once it has written a line.
fn signalled(command: &mut Command) -> Result<Output> {
    let stderr = file("")?;
    let said = File::create(&stderr)?;
    let mut run = Running::start(command.stdout(Stdio::piped()).stderr(said))?;
    BufReader::new(run.stdout()?).read_line(&mut String::new())?;
    run.signal(Signal::TERM)?;
    Ok(Output {
        status: run.wait(PATIENCE)?,
        stdout: String::new(),
        stderr: fs::read_to_string(&stderr)?,
    })
}

fn end(scene: &Scene, cgroup: &Cgroup) -> Result<Output> {
    scene.say("end-run", &[&cgroup.path().to_string_lossy()])
}
