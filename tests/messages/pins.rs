//! The bpffs and the pins there, where they are missing or not what they should
//! be.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use oci_bind_hook_tests::hook::{BOTH, V4};
use oci_bind_hook_tests::host::PINS;
use oci_bind_hook_tests::process;
use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountFlags, mount, mount_remount};

use crate::programs::{ROOT, load, version};
use crate::row::{Area, Row};
use crate::scene::Scene;
use crate::surroundings::{FILES, short_of_descriptors, without};

const BPFFS: &str = "/sys/fs/bpf";

pub const AREA: Area = Area {
    title: "Pins",
    status: 1,
    rows: &[
        Row {
            cause: "/sys/fs/bpf does not exist.",
            message: "look at /sys/fs/bpf: is sysfs mounted at /sys?: No such file or directory (os \
                error 2)",
            remedy: "Mount sysfs: `mount -t sysfs sysfs /sys`. In a container, share the host's.",
            test: |scene| {
                mount("none", "/sys/fs", "tmpfs", MountFlags::empty(), None)?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "bpffs is not mounted, and the command may not look at its place.",
            message: "open /sys/fs/bpf: is sysfs mounted at /sys?: Permission denied (os error 13)",
            remedy: ROOT,
            test: |scene| {
                mount("none", BPFFS, "tmpfs", MountFlags::empty(), None)?;
                fs::set_permissions(BPFFS, fs::Permissions::from_mode(0o111))?;
                process::run(&mut without(FILES, &load(scene)), b"")
            },
        },
        Row {
            cause: "bpffs is not mounted, and the command may not mount it.",
            message: "mount bpffs at /sys/fs/bpf: mount it on the host, mount -t bpf -o \
                mode=0700 bpf /sys/fs/bpf, or run as root: Operation not permitted (os error 1)",
            remedy: "systemd mounts it at boot. Elsewhere add it to /etc/fstab.",
            test: |scene| {
                mount("none", BPFFS, "tmpfs", MountFlags::empty(), None)?;
                process::run(&mut without("-sys_admin", &load(scene)), b"")
            },
        },
        Row {
            cause: "bpffs is read-only, and nothing is pinned there.",
            message: "make /sys/fs/bpf/oci-bind-hook: Read-only file system (os error 30)",
            remedy: "Mount it writable: `mount -o remount,rw /sys/fs/bpf`.",
            test: |scene| {
                read_only()?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "bpffs is read-only, and a container has both families: the first of its \
                network namespace.",
            message: "steer calls to servers of both families: pin the link at \
                /sys/fs/bpf/oci-bind-hook/VERSION/steer-NUMBER: Read-only file system (os error 30)",
            remedy: "Mount it writable: `mount -o remount,rw /sys/fs/bpf`.",
            test: |scene| {
                scene.hook.load()?;
                read_only()?;
                let cgroup = scene.cgroup()?;
                process::run(&mut scene.attach_policy(&cgroup, BOTH), b"")
            },
        },
        Row {
            cause: "bpffs is read-only, and the programs of another version are pinned there.",
            message: "make /sys/fs/bpf/oci-bind-hook/VERSION-new: Read-only file system (os error \
                30)",
            remedy: "Mount it writable: `mount -o remount,rw /sys/fs/bpf`.",
            test: |scene| {
                fs::create_dir(PINS)?;
                read_only()?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "bpffs is not mounted, and somebody keeps its place locked.",
            message: "another process has kept /sys/fs/bpf locked, where bpffs is not mounted: \
                mount it at boot, mount -t bpf -o mode=0700 bpf /sys/fs/bpf",
            remedy: "Any user can do so while bpffs is not mounted. `lslocks` shows who it is.",
            test: |scene| {
                mount("none", BPFFS, "tmpfs", MountFlags::empty(), None)?;
                let place = File::open(BPFFS)?;
                flock(&place, FlockOperation::LockExclusive)?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "Others than root can rename what is in bpffs.",
            message: "/sys/fs/bpf, where the programs are pinned, can be changed by others: its \
                owner is uid 0, its mode 0777: chown root /sys/fs/bpf; chmod 0700 /sys/fs/bpf",
            remedy: "See what is in it: `ls -l /sys/fs/bpf`.",
            test: |scene| {
                fs::set_permissions(BPFFS, fs::Permissions::from_mode(0o777))?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "Others than root can put other programs in the place of the pins.",
            message: "/sys/fs/bpf/oci-bind-hook, where the programs are pinned, can be changed by \
                others: its owner is uid 0, its mode 0777: remove it, rm -r \
                /sys/fs/bpf/oci-bind-hook, and mount bpffs with mode=0700",
            remedy: "Containers that run keep their programs. Ask who made the directory.",
            test: |scene| {
                fs::create_dir(PINS)?;
                fs::set_permissions(PINS, fs::Permissions::from_mode(0o777))?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "The directory of pins may not be opened.",
            message: "open /sys/fs/bpf/oci-bind-hook: needs CAP_BPF and CAP_NET_ADMIN in the initial \
                user namespace: run the engine, or this command, as root: Permission denied (os \
                error 13)",
            remedy: ROOT,
            test: |scene| {
                fs::create_dir(PINS)?;
                fs::set_permissions(PINS, fs::Permissions::from_mode(0o000))?;
                process::run(&mut without(FILES, &load(scene)), b"")
            },
        },
        Row {
            cause: "What should be the directory of pins is something else.",
            message: "/sys/fs/bpf/oci-bind-hook is not a directory: remove it",
            remedy: "Remove it, and ask who made it.",
            test: |scene| {
                symlink("/etc/hostname", PINS)?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "Something else is mounted on the directory of pins.",
            message: "pin program bind4 at /sys/fs/bpf/oci-bind-hook/VERSION-new/bind4: \
                `BPF_OBJ_PIN` failed: Operation not permitted (os error 1)",
            remedy: "Unmount it: `umount /sys/fs/bpf/oci-bind-hook`.",
            test: |scene| {
                fs::create_dir(PINS)?;
                mount("none", PINS, "tmpfs", MountFlags::empty(), None)?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "Something else is mounted on the directory of pins, and they are to be \
                removed.",
            message: "remove /sys/fs/bpf/oci-bind-hook: Device or resource busy (os error 16)",
            remedy: "Unmount it: `umount /sys/fs/bpf/oci-bind-hook`.",
            test: |scene| {
                fs::create_dir(PINS)?;
                mount("none", PINS, "tmpfs", MountFlags::empty(), None)?;
                scene.say("unload", &[])
            },
        },
        Row {
            cause: "The pins cannot be removed.",
            message: "remove the pins in /sys/fs/bpf/oci-bind-hook/VERSION: Read-only file system \
                (os error 30)",
            remedy: "Look for what is mounted there, and whether bpffs is read-only.",
            test: |scene| {
                scene.hook.load()?;
                read_only()?;
                scene.say("unload", &[])
            },
        },
        Row {
            cause: "A pin is something else.",
            message: "open /sys/fs/bpf/oci-bind-hook/VERSION/bind4: Too many levels of symbolic \
                links (os error 40)",
            remedy: "Remove the directory with that version's pins: the next container makes it \
                anew.",
            test: |scene| {
                let pin = version(scene)?.join("bind4");
                fs::remove_file(&pin)?;
                symlink("bind4", &pin)?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "The pins are of programs that were loaded separately, and a policy is there.",
            message: "read the policy of cgroup /CGROUP: No such file or directory (os error 2)",
            remedy: "Remove the directory with that version's pins, and start the container again.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                scene.hook.attach(&cgroup, V4)?;
                mix(scene)?;
                process::run(&mut scene.attach(&cgroup), b"")
            },
        },
        Row {
            cause: "The pins are of programs that were loaded separately.",
            message: "write the policy of cgroup /CGROUP: No such file or directory (os error 2)",
            remedy: "Remove the directory with that version's pins: the next container makes it \
                anew.",
            test: |scene| {
                mix(scene)?;
                let cgroup = scene.cgroup()?;
                process::run(&mut scene.attach(&cgroup), b"")
            },
        },
        Row {
            cause: "The limit of open files leaves no room for the directory of pins.",
            message: "read /sys/fs/bpf/oci-bind-hook: Too many open files (os error 24)",
            remedy: "Raise the limit of open files (`LimitNOFILE=` in a unit).",
            test: |scene| {
                scene.hook.load()?;
                let cgroup = scene.cgroup()?;
                short_of_descriptors(&scene.attach(&cgroup), "read /sys", |attach| {
                    process::run(attach, b"")
                })
            },
        },
    ],
};

fn read_only() -> Result<()> {
    let flags = MountFlags::BIND | MountFlags::RDONLY;
    mount_remount(BPFFS, flags, "").context("make the bpffs read-only")
}

/// Leaves the programs as they are, and puts the maps of others beside them.
fn mix(scene: &Scene) -> Result<()> {
    let pins = version(scene)?;
    let aside = Path::new(BPFFS).join("aside");
    fs::rename(&pins, &aside)?;
    scene.hook.load()?;
    for entry in fs::read_dir(&aside)? {
        let name = entry?.file_name();
        if name != "policy" && name != "counters" {
            fs::rename(aside.join(&name), pins.join(&name))?;
        }
    }
    Ok(())
}
