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
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::programs::{ROOT, load, version};
use crate::row::{Area, Row};
use crate::scene::Scene;
use crate::surroundings::{FILES, without};

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
                let output = process::run(&mut load(scene), b"");
                unmount("/sys/fs", UnmountFlags::DETACH)?;
                output
            },
        },
        Row {
            cause: "bpffs is not mounted, and the command is not permitted to open its mount \
                point.",
            message: "open /sys/fs/bpf: is sysfs mounted at /sys?: Permission denied (os error 13)",
            remedy: ROOT,
            test: |scene| {
                mount("none", BPFFS, "tmpfs", MountFlags::empty(), None)?;
                fs::set_permissions(BPFFS, fs::Permissions::from_mode(0o111))?;
                process::run(&mut without(FILES, &load(scene)), b"")
            },
        },
        Row {
            cause: "bpffs is not mounted, and the command is not permitted to mount it.",
            message: "mount bpffs at /sys/fs/bpf: mount it on the host (mount -t bpf -o mode=0700 \
                bpf /sys/fs/bpf), or run as root: Operation not permitted (os error 1)",
            remedy: "systemd mounts it at boot. Without systemd, add it to /etc/fstab.",
            test: |scene| {
                mount("none", BPFFS, "tmpfs", MountFlags::empty(), None)?;
                process::run(&mut without("-sys_admin", &load(scene)), b"")
            },
        },
        Row {
            cause: "bpffs is read-only, and nothing is pinned there.",
            message: "create /sys/fs/bpf/oci-bind-hook: Read-only file system (os error 30)",
            remedy: "Mount it writable: `mount -o remount,rw /sys/fs/bpf`.",
            test: |scene| {
                read_only()?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "bpffs is read-only, and a container is the first in its network namespace to \
                have both families.",
            message: "steer calls to dual-stack servers: pin the link at \
                /sys/fs/bpf/oci-bind-hook/VERSION/steer-NUMBER: Read-only file system (os error \
                30)",
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
            message: "create /sys/fs/bpf/oci-bind-hook/VERSION-new: Read-only file system (os \
                error 30)",
            remedy: "Mount it writable: `mount -o remount,rw /sys/fs/bpf`.",
            test: |scene| {
                fs::create_dir(PINS)?;
                read_only()?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "bpffs is not mounted, and another process keeps its mount point locked.",
            message: "lock /sys/fs/bpf: another process holds the lock, and bpffs is not mounted \
                there: mount it at boot (mount -t bpf -o mode=0700 bpf /sys/fs/bpf)",
            remedy: "Any user can do this while bpffs is not mounted. `lslocks` shows the \
                process.",
            test: |scene| {
                mount("none", BPFFS, "tmpfs", MountFlags::empty(), None)?;
                let place = File::open(BPFFS)?;
                flock(&place, FlockOperation::LockExclusive)?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "Users other than root can rename what is in bpffs.",
            message: "/sys/fs/bpf, where the programs are pinned, can be changed by others: its \
                owner is uid 0, its mode 0777: chown root /sys/fs/bpf; chmod 0700 /sys/fs/bpf",
            remedy: "Check what is in it: `ls -l /sys/fs/bpf`.",
            test: |scene| {
                fs::set_permissions(BPFFS, fs::Permissions::from_mode(0o777))?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "Users other than root can replace the pins with other programs.",
            message: "/sys/fs/bpf/oci-bind-hook, where the programs are pinned, can be changed by \
                others: its owner is uid 0, its mode 0777: remove it (rm -r \
                /sys/fs/bpf/oci-bind-hook), and mount bpffs with mode=0700",
            remedy: "Running containers keep their programs. Find out who created the directory.",
            test: |scene| {
                fs::create_dir(PINS)?;
                fs::set_permissions(PINS, fs::Permissions::from_mode(0o777))?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "The command is not permitted to open the directory of pins.",
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
            cause: "Something that is not a directory is where the directory of pins should be.",
            message: "/sys/fs/bpf/oci-bind-hook is not a directory: remove it",
            remedy: "Remove it, and find out who created it.",
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
            cause: "Something else is mounted on the directory of pins, and `unload` cannot \
                remove it.",
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
            remedy: "Check whether bpffs is read-only, or something else is mounted there.",
            test: |scene| {
                scene.hook.load()?;
                read_only()?;
                scene.say("unload", &[])
            },
        },
        Row {
            cause: "Something that is not a pin has the name of one.",
            message: "open /sys/fs/bpf/oci-bind-hook/VERSION/bind4: Too many levels of symbolic \
                links (os error 40)",
            remedy: "Remove the directory with that version's pins: the next container recreates \
                it.",
            test: |scene| {
                let pin = version(scene)?.join("bind4");
                fs::remove_file(&pin)?;
                symlink("bind4", &pin)?;
                process::run(&mut load(scene), b"")
            },
        },
        Row {
            cause: "The pinned programs and maps were loaded separately, and the cgroup has a \
                policy.",
            message: "read the policy of cgroup /CGROUP: No such file or directory (os error 2)",
            remedy: "Remove the directory with that version's pins, and restart the container.",
            test: |scene| {
                let cgroup = scene.cgroup()?;
                scene.hook.attach(&cgroup, V4)?;
                mix(scene)?;
                process::run(&mut scene.attach(&cgroup), b"")
            },
        },
        Row {
            cause: "The pinned programs and maps were loaded separately.",
            message: "write the policy of cgroup /CGROUP: No such file or directory (os error 2)",
            remedy: "Remove the directory with that version's pins: the next container recreates \
                it.",
            test: |scene| {
                mix(scene)?;
                let cgroup = scene.cgroup()?;
                process::run(&mut scene.attach(&cgroup), b"")
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
