//! The host itself.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::container::Container;
use oci_bind_hook_tests::foreign::EGRESS;
use oci_bind_hook_tests::harness::skip;
use oci_bind_hook_tests::hook::{BOTH, V4};
use oci_bind_hook_tests::net::{ip, require_dual};
use oci_bind_hook_tests::{bpf, host, process};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::place::{CONFIG, PROGRAM, Place, Said, chmod, note, ok, problem, trial, write};

const BPFFS: &str = "/sys/fs/bpf";

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    [
        privileges(),
        places(),
        config(),
        syslog(),
        policies(),
        devices(),
        protocols(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn privileges() -> Vec<Trial> {
    vec![
        trial("in another user namespace", |place| {
            let mut check = Command::new("unshare");
            check.args(["-U", "-r", PROGRAM, "check"]);
            cannot_tell(place, &check)
        }),
        trial("as nobody", |place| cannot_tell(place, &as_nobody()?)),
        trial(
            "as nobody, with a configuration that root alone may read",
            |place| {
                write(CONFIG, "allow = []\n")?;
                chmod(CONFIG, 0o600)?;
                let said = place.run(&mut place.as_run(&as_nobody()?)?)?;
                said.line("unknown", "configuration", &[CONFIG, "Permission denied"])?;
                said.ends_with(1)
            },
        ),
    ]
}

/// `check` without any privileges.
fn as_nobody() -> Result<Command> {
    let setpriv = Path::new("/usr/bin/setpriv");
    if !setpriv.exists() {
        return Err(skip("there is no setpriv"));
    }
    let mut check = Command::new(setpriv);
    check.args(["--reuid", "65534", "--clear-groups", PROGRAM, "check"]);
    Ok(check)
}

/// It still says what it can.
fn cannot_tell(place: &Place, check: &Command) -> Result<()> {
    let said = place.run(&mut place.as_run(check)?)?;
    said.line("unknown", "privileges", &[])?;
    for subject in ["bpffs", "kernel", "policies", "devices"] {
        let (_, remedy) = said.line("unknown", subject, &["cannot tell"])?;
        ensure!(remedy.contains("as root"), "{remedy}");
    }
    said.line("ok", "hooks.d", &["podman reads"])?;
    let last = said.0.stdout.lines().last().unwrap_or_default();
    ensure!(
        last.starts_with("0 problems, ") && last.contains(" 5 unknown"),
        "{last}"
    );
    said.ends_with(1)
}

fn places() -> Vec<Trial> {
    vec![
        trial("cgroup2 is not mounted", |place| {
            let root = host::cgroup_root()?;
            mount("none", &root, "tmpfs", MountFlags::empty(), None)?;
            // It cannot enter a cgroup either.
            let output = process::run(Command::new(PROGRAM).arg("check"), b"");
            unmount(&root, UnmountFlags::DETACH)?;
            let said = Said(output?);
            said.has_problem("cgroup2", &["cgroup v1"])?;
            place.assert_no_cgroup()
        }),
        note(
            "bpffs is not mounted",
            |_| {
                while unmount(BPFFS, UnmountFlags::DETACH).is_ok() {}
                Ok(())
            },
            "bpffs",
            &["not mounted"],
        ),
        problem(
            "bpffs is read-only",
            |_| {
                mount_remount(BPFFS, MountFlags::BIND | MountFlags::RDONLY, "")
                    .context("remount it")
            },
            "bpffs",
            &["read-only"],
        ),
        problem(
            "bpffs in which all may rename",
            |_| chmod(BPFFS, 0o777),
            "bpffs",
            &[BPFFS, "can be changed by others"],
        ),
        problem(
            "pins that all may replace",
            |place| {
                place.hook.load()?;
                chmod(host::PINS, 0o777)
            },
            "bpffs",
            &[host::PINS, "can be changed by others"],
        ),
    ]
}

fn protocols() -> Vec<Trial> {
    const SUBJECT: &str = "protocols";
    vec![
        note(
            "rds_tcp is loaded",
            |_| {
                let modules = "/sys/module";
                mount("modules", modules, "tmpfs", MountFlags::empty(), None)?;
                Ok(fs::create_dir("/sys/module/rds_tcp")?)
            },
            SUBJECT,
            &["rds_tcp"],
        ),
        trial("segment routing is on", |place| {
            let switch = |device: &str| {
                let path = format!("/proc/sys/net/ipv6/conf/{device}/seg6_enabled");
                match Path::new(&path).exists() {
                    true => Ok(fs::write(path, "1")?),
                    false => Err(skip("this kernel has no segment routing")),
                }
            };
            // One alone does nothing.
            switch("lo")?;
            let said = place.check(&[])?;
            ensure!(!said.text().contains("seg6"), "{}", said.text());
            switch("all")?;
            place
                .check(&[])?
                .has_note(SUBJECT, &["seg6_enabled", " lo:"])
        }),
    ]
}

fn config() -> Vec<Trial> {
    const SUBJECT: &str = "configuration";
    vec![
        ok(
            "configuration: none",
            |_| Ok(()),
            SUBJECT,
            &["built in", "any address"],
        ),
        ok(
            "configuration: lists",
            |_| {
                write(
                    CONFIG,
                    "allow = [\"192.0.2.0/24\"]\ndeny = [\"192.0.2.1\", \"192.0.2.2\"]\n",
                )
            },
            SUBJECT,
            &[CONFIG, "1 network allowed", "2 networks denied"],
        ),
        note(
            "configuration: any address",
            |_| Ok(()),
            SUBJECT,
            &["allow is empty"],
        ),
        problem(
            "configuration: an unknown key",
            |_| write(CONFIG, "frobnicate = 1\n"),
            SUBJECT,
            &[CONFIG, ":1", "frobnicate"],
        ),
        trial("configuration: named by --config", |place| {
            write("/etc/other.toml", "allow = 1\n")?;
            let said = place.check(&["--config", "/etc/other.toml"])?;
            said.has_problem(SUBJECT, &["/etc/other.toml", "allow"])?;
            let said = place.check(&["--config", "/etc/missing.toml"])?;
            said.has_problem(SUBJECT, &["/etc/missing.toml"])
        }),
    ]
}

fn syslog() -> Vec<Trial> {
    const SUBJECT: &str = "syslog";
    vec![
        note(
            "no syslog",
            |_| host::own_dev(),
            SUBJECT,
            &["/dev/log", "not recorded"],
        ),
        note(
            "no syslog, and crun",
            |place| {
                place.engine("crun")?;
                host::own_dev()
            },
            SUBJECT,
            &["/dev/log", "crun"],
        ),
        trial("syslog", |place| {
            host::own_dev()?;
            let _daemon = UnixDatagram::bind("/dev/log")?;
            place
                .check(&[])?
                .line("ok", SUBJECT, &["/dev/log"])
                .map(drop)
        }),
    ]
}

fn policies() -> Vec<Trial> {
    const SUBJECT: &str = "policies";
    vec![
        trial("policies: a cgroup under one", |place| {
            let container = Container::below(&place.root)?;
            place.hook.attach(&container.cgroup, V4)?;
            let said = place.check(&[])?;
            said.line("ok", SUBJECT, &["1 cgroup under"])?;
            said.line("ok", "bpffs", &["pinned"])?;
            said.ends_with(0)
        }),
        trial("policies: a program was taken off", |place| {
            let container = Container::below(&place.root)?;
            place.hook.attach(&container.cgroup, V4.guarded())?;
            let pins = host::pins()?;
            let egress = bpf::open_pin(&pins.first().context("no pins")?.join("egress"))?;
            let cgroup = File::open(container.cgroup.path())?;
            bpf::detach(egress.as_fd(), cgroup.as_fd(), EGRESS)?;
            let said = place.check(&[])?;
            said.has_problem(SUBJECT, &[container.id(), "egress"])
        }),
        trial("policies: a cgroup without processes", |place| {
            let cgroup = place.root.child("service")?;
            place.hook.attach(&cgroup, V4)?;
            let name = cgroup.path().file_name().context("its name")?;
            let name = name.to_str().context("UTF-8")?;
            let said = place.check(&[])?;
            said.line("ok", SUBJECT, &["0 cgroups under"])?;
            said.has_note(SUBJECT, &[name, "no processes"])?;
            let _process = Agent::new(&cgroup)?;
            let said = place.check(&[])?;
            said.line("ok", SUBJECT, &["1 cgroup under"])?;
            ensure!(!said.text().contains(name), "{}", said.text());
            Ok(())
        }),
        trial("policies: programs of another version", |place| {
            place.hook.load()?;
            fs::create_dir(Path::new(host::PINS).join("0123456789abcdef"))?;
            place
                .check(&[])?
                .has_note(SUBJECT, &["0123456789abcdef", "by 0 cgroups"])
        }),
    ]
}

fn devices() -> Vec<Trial> {
    vec![
        trial(
            "devices: some came after a policy that needs them",
            |place| {
                require_dual()?;
                let container = Container::new()?;
                place.hook.attach(&container.cgroup, BOTH)?;
                without_devices(&place.check(&[])?)?;
                ip(&["-batch", "-"], LATER)?;
                let said = place.check(&[])?;
                said.has_problem("devices", &["d0", "d1", "UDP sockets bound to ::"])?;
                place.hook.load()?;
                without_devices(&place.check(&[])?)
            },
        ),
        trial(
            "devices: some came after a policy that needs none",
            |place| {
                let container = Container::new()?;
                place.hook.attach(&container.cgroup, V4.loopback("auto"))?;
                ip(&["-batch", "-"], LATER)?;
                without_devices(&place.check(&[])?)
            },
        ),
    ]
}

/// A veth pair.
const LATER: &str = "link add d0 type veth peer name d1\n";

/// Fails if it says anything of devices, and unless all is well.
fn without_devices(said: &Said) -> Result<()> {
    ensure!(!said.text().contains("devices: "), "{}", said.text());
    said.ends_with(0)
}
