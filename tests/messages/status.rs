//! `status` and `cdi`, and what they print to.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use oci_bind_hook_tests::hook::V4;
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::process::{self, Output};

use crate::row::{Area, Row};
use crate::scene::Scene;
use crate::surroundings::{file, without, without_proc};

pub const AREA: Area = Area {
    title: "status and cdi",
    status: 1,
    rows: &[
        Row {
            cause: "The container has no policy, or is not running.",
            message: "no container or cgroup \"web\" is under a policy: give a container's id, \
                its first characters, a unit's name, or a cgroup's path; status lists them",
            remedy: "`status` without a name lists all of them. A container that is not listed \
                was started without annotations, or without the hook: see the engine's hooks.d.",
            test: |scene| {
                scene.hook.load()?;
                scene.say("status", &["web"])
            },
        },
        Row {
            cause: "The name is empty, as from a variable that is not set.",
            message: "the container's id is empty: give an id, its first characters, a unit's \
                name, or a cgroup's path",
            remedy: "Give the id, or omit the argument to list all containers.",
            test: |scene| scene.say("status", &[""]),
        },
        Row {
            cause: "The command lacks the capability to list what is attached.",
            message: "look at cgroup /CGROUP: list the bind4 programs: needs CAP_BPF and \
                CAP_NET_ADMIN in the initial user namespace: run the engine, or this command, as \
                root: Operation not permitted (os error 1)",
            remedy: "Run it as root.",
            test: |scene| {
                let container = scene.container()?;
                scene.hook.attach(&container.cgroup, V4)?;
                let status = scene.command("status", &[]);
                let status = without("-net_admin,-sys_admin", &status);
                process::run(&mut scene.alone(&status)?, b"")
            },
        },
        Row {
            cause: "The kernel's list of CPUs cannot be read.",
            message: "read the number of CPUs in /sys/devices/system/cpu/possible: none",
            remedy: "In a container, share the host's /sys.",
            test: |scene| {
                scene.hook.load()?;
                let list = Path::new("/sys/devices/system/cpu/possible");
                let nothing = file("none\n")?;
                host::replace(list, &nothing)?;
                scene.say("status", &[])
            },
        },
        Row {
            cause: "Standard output cannot be written to.",
            message: "write to standard output: No space left on device (os error 28)",
            remedy: "Check whether the file system is full.",
            test: |scene| {
                let cdi = scene.command("cdi", &[]);
                process::run(
                    &mut process::shell(&cdi, "exec \"$0\" \"$@\" >/dev/full"),
                    b"",
                )
            },
        },
        Row {
            cause: "/proc is not mounted, so `cdi` cannot find its own path.",
            message: "find the path of this program in /proc/self/exe: no /proc/self/exe available. \
                Is /proc mounted?",
            remedy: "Mount it: `mount -t proc proc /proc`.",
            test: |scene| process::run(&mut without_proc(":", &scene.command("cdi", &[])), b""),
        },
        Row {
            cause: "The program is installed in a directory whose name is not UTF-8.",
            message: "/opt/hook-� is not UTF-8, but a CDI specification must be: install the \
                program elsewhere",
            remedy: "Install it in a directory with a UTF-8 name.",
            test: elsewhere,
        },
    ],
};

/// `cdi` of a copy of the binary whose path is not UTF-8.
fn elsewhere(scene: &Scene) -> Result<Output> {
    let directory = tempfile::tempdir()?;
    scene.name(&directory.path().to_string_lossy(), "/opt");
    let copy = directory.path().join(OsStr::from_bytes(b"hook-\xff"));
    fs::copy(scene.hook.binary(), &copy)?;
    process::run(Command::new(copy).arg("cdi"), b"")
}
