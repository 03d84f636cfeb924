//! The cgroup2 hierarchy and /proc, where they are missing or not what they
//! should be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::hook::{at_root, inside};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::process::{self, Output};

use crate::cgroup::{detach, detaching};
use crate::row::{Area, Row};
use crate::scene::Scene;
use crate::surroundings::{FILES, file, unreadable, unshared, with_own, without, without_proc};

/// What to do about a file that the kernel always has.
pub const TELL_US: &str = "The kernel never does this: something is mounted over the file.";

pub const AREA: Area = Area {
    title: "Cgroup file system",
    status: 1,
    rows: &[
        Row {
            cause: "The command runs in a cgroup namespace that the process is not in.",
            message: "pid PID: cgroup /../CGROUP is outside this process's cgroup namespace: run in \
                the host's cgroup namespace",
            remedy: "Run it on the host, not in a container.",
            test: |scene| {
                let container = scene.container()?;
                let own = scene.cgroup()?;
                let name = scene.within(&container.cgroup)?;
                scene.name(
                    &format!("/..{}", &name[name.rfind('/').unwrap_or(0)..]),
                    "/../CGROUP",
                );
                let pid = container.init.id().to_string();
                let detach = scene.command("detach", &["--pid", &pid]);
                process::run(&mut inside(&own, &unshared("--cgroup", &detach)), b"")
            },
        },
        Row {
            cause: "The host has only cgroup v1.",
            message: "pid PID: not in the cgroup2 hierarchy: programs cannot be attached to \
                cgroup v1: boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2",
            remedy: "systemd and all current engines work with cgroup2.",
            test: |scene| {
                let container = scene.container()?;
                let version1 = file("4:memory:/web\n1:name=systemd:/web\n")?;
                host::replace(&of_process(&container, "cgroup"), &version1)?;
                detach(scene, container.init.id())
            },
        },
        Row {
            cause: "The command itself is not in a cgroup of cgroup2.",
            message: "this process: not in the cgroup2 hierarchy: programs cannot be attached to \
                cgroup v1: boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2",
            remedy: "systemd and all current engines work with cgroup2.",
            test: |scene| {
                let container = scene.container()?;
                let version1 = file("4:memory:/web\n1:name=systemd:/web\n")?;
                let detach = detaching(scene, container.init.id());
                process::run(&mut with_own("cgroup", &version1, &detach), b"")
            },
        },
        Row {
            cause: "cgroup2 is not mounted, or not visible.",
            message: "no cgroup2 mount: programs cannot be attached to cgroup v1: boot with \
                systemd.unified_cgroup_hierarchy=1, or mount cgroup2; ip netns exec hides it: \
                use nsenter --net=/run/netns/NAME",
            remedy: "`mount -t cgroup2 none /sys/fs/cgroup/unified` on a hybrid host. In a \
                container, share the host's /sys/fs/cgroup. `ip netns exec NAME` mounts a /sys \
                of its own, without it; `nsenter --net=/run/netns/NAME` does not.",
            test: |scene| unmounted(scene, None),
        },
        Row {
            cause: "The cgroup2 mount is hidden by a later one.",
            message: "the cgroup2 mount at /dev is hidden by another mount: unmount that one",
            remedy: "`findmnt --submounts /sys/fs/cgroup` shows what is mounted there.",
            test: |scene| unmounted(scene, Some("/dev")),
        },
        Row {
            cause: "The cgroup2 mount is gone, or the command is not permitted to open it.",
            message: "open the cgroup2 mount at /no-such-place: No such file or directory (os error \
                2)",
            remedy: "`findmnt --types cgroup2` shows where it is.",
            test: |scene| unmounted(scene, Some("/no-such-place")),
        },
        Row {
            cause: "The visible cgroup2 mount shows only part of the hierarchy, and the cgroup is \
                outside it.",
            message: "cgroup /CGROUP is not in the cgroup2 mount at /sys/fs/cgroup, which shows \
                only /OTHER: mount the whole hierarchy",
            remedy: "Mount the whole hierarchy: `mount -t cgroup2 none /sys/fs/cgroup`.",
            test: |scene| {
                let container = scene.container()?;
                let other = Cgroup::new()?;
                scene.name_cgroup(&other, "OTHER")?;
                let detach = detaching(scene, container.init.id());
                process::run(&mut at_root(&other, &detach)?, b"")
            },
        },
        Row {
            cause: "The command is not permitted to open a cgroup below the container's.",
            message: "read cgroup /CGROUP: Permission denied (os error 13)",
            remedy: "Run it as root with all capabilities.",
            test: |scene| {
                let container = scene.container()?;
                let below = container.cgroup.child("below")?;
                fs::set_permissions(below.path(), fs::Permissions::from_mode(0o000))?;
                let detach = detaching(scene, container.init.id());
                process::run(&mut without(FILES, &detach), b"")
            },
        },
        Row {
            cause: "/proc is not mounted.",
            message: "read /proc/self/cgroup: No such file or directory (os error 2)",
            remedy: "Mount it: `mount -t proc proc /proc`.",
            test: |scene| {
                let container = scene.container()?;
                let pid = container.init.id();
                let script = format!("mkdir /proc/{pid} && echo 0::/web >/proc/{pid}/cgroup");
                process::run(&mut without_proc(&script, &detaching(scene, pid)), b"")
            },
        },
        Row {
            cause: "/proc/self/mountinfo cannot be read.",
            message: "read /proc/self/mountinfo: Input/output error (os error 5)",
            remedy: TELL_US,
            test: |scene| {
                let cgroup = scene.cgroup()?;
                let detach =
                    scene.command("detach", &["--cgroup", &cgroup.path().to_string_lossy()]);
                process::run(&mut with_own("mountinfo", &unreadable(), &detach), b"")
            },
        },
        Row {
            cause: "/proc/PID/cgroup cannot be read.",
            message: "read /proc/PID/cgroup: Input/output error (os error 5)",
            remedy: TELL_US,
            test: |scene| {
                let container = scene.container()?;
                host::replace(&of_process(&container, "cgroup"), &unreadable())?;
                detach(scene, container.init.id())
            },
        },
        Row {
            cause: "/proc/PID/cgroup has a path that does not begin with a slash.",
            message: "pid PID: cgroup path \"web\" is not absolute and normalised: report this as \
                a bug",
            remedy: TELL_US,
            test: |scene| {
                let container = scene.container()?;
                let relative = file("0::web\n")?;
                host::replace(&of_process(&container, "cgroup"), &relative)?;
                detach(scene, container.init.id())
            },
        },
        Row {
            cause: "/proc/PID/stat of a process in the cgroup cannot be read.",
            message: "read /proc/OTHER/stat: Input/output error (os error 5)",
            remedy: TELL_US,
            test: |scene| with_stranger(scene, &unreadable()),
        },
        Row {
            cause: "/proc/PID/stat of a process in the cgroup is malformed.",
            message: "/proc/OTHER/stat is malformed",
            remedy: TELL_US,
            test: |scene| with_stranger(scene, &file("7\n")?),
        },
        Row {
            cause: "cgroup.procs cannot be read.",
            message: "read cgroup.procs of cgroup /CGROUP: Input/output error (os error 5)",
            remedy: TELL_US,
            test: |scene| with_members(scene, &unreadable()),
        },
        Row {
            cause: "cgroup.procs has something other than numbers.",
            message: "read cgroup.procs of cgroup /CGROUP: not a number",
            remedy: TELL_US,
            test: |scene| with_members(scene, &file("web\n")?),
        },
    ],
};

fn of_process(container: &Container, name: &str) -> PathBuf {
    format!("/proc/{}/{name}", container.init.id()).into()
}

/// Something else in the place of another process's stat.
fn with_stranger(scene: &Scene, stat: &Path) -> Result<Output> {
    let container = scene.container()?;
    let stranger = Agent::new(&container.cgroup)?;
    scene.name_process(stranger.id(), "OTHER");
    host::replace(Path::new(&format!("/proc/{}/stat", stranger.id())), stat)?;
    detach(scene, container.init.id())
}

/// Something else in the place of the cgroup's cgroup.procs.
fn with_members(scene: &Scene, members: &Path) -> Result<Output> {
    let container = scene.container()?;
    host::replace(&container.cgroup.path().join("cgroup.procs"), members)?;
    detach(scene, container.init.id())
}

/// `detach` of a process's cgroup where no cgroup2 is mounted, and where
/// mountinfo lists what is given instead.
fn unmounted(scene: &Scene, listed: Option<&str>) -> Result<Output> {
    let container = scene.container()?;
    let mut detach = detaching(scene, container.init.id());
    let list;
    if let Some(point) = listed {
        list = file(&format!("30 1 0:26 / {point} rw - cgroup2 cgroup2 rw\n"))?;
        detach = with_own("mountinfo", &list, &detach);
    }
    let script = "umount --lazy --all --types cgroup2 && exec \"$0\" \"$@\"";
    process::run(
        &mut unshared("--mount", &process::shell(&detach, script)),
        b"",
    )
}
