//! Configuration files that cannot be read or understood.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use oci_bind_hook_tests::hook::V4;
use oci_bind_hook_tests::process::{self, Output};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::row::{Area, Row};
use crate::scene::Scene;

const KEYS: &str = "The shipped [config.toml](../config/config.toml) shows and explains every key.";

pub const AREA: Area = Area {
    title: "Configuration",
    status: 1,
    rows: &[
        Row {
            cause: "The file that the command line names does not exist.",
            message: "container ID: read configuration /no-such.toml: No such file or directory \
                (os error 2)",
            remedy: "Correct `--config`, in the hooks.d file too. Without the option, a missing \
                file means the defaults.",
            test: |scene| create_under(scene, Path::new("/no-such.toml")),
        },
        Row {
            cause: "The path is not that of a regular file.",
            message: "container ID: configuration FILE is not a regular file",
            remedy: "Write the configuration to a regular file, or remove what is there to use \
                the defaults.",
            test: |scene| {
                let config = scene.hook.config();
                fs::remove_file(config)?;
                mknodat(CWD, config, FileType::Fifo, Mode::RUSR, 0)?;
                create(scene)
            },
        },
        Row {
            cause: "The file is longer than 1 MiB.",
            message: "container ID: configuration FILE is longer than 1048576 bytes: write a \
                shorter one",
            remedy: "Combine networks: a shorter prefix covers more addresses.",
            test: |scene| with(scene, &[b'#'; 1024 * 1024 + 1]),
        },
        Row {
            cause: "Users other than root can write to the file.",
            message: "container ID: configuration FILE can be changed by others: its owner is uid \
                0, its mode 0666: chown root FILE; chmod go-w FILE",
            remedy: "Check its contents before you trust it again.",
            test: |scene| {
                set_mode(scene.hook.config(), 0o666)?;
                create(scene)
            },
        },
        Row {
            cause: "Users other than root can replace the file, because they can write to a \
                directory on its path.",
            message: "container ID: configuration DIR/FILE: directory DIR can be changed by \
                others: its owner is uid 0, its mode 0777: chown root DIR; chmod go-w DIR",
            remedy: "Check the file's contents before you trust it again.",
            test: |scene| {
                let directory = directory(scene)?;
                set_mode(directory.path(), 0o777)?;
                create_under(scene, &directory.path().join("FILE"))
            },
        },
        Row {
            cause: "Users other than root can replace a symbolic link on the file's path.",
            message: "container ID: configuration DIR/LINK: link DIR/LINK can be changed by \
                others: its owner is uid 65534, its mode 0777: chown -h root DIR/LINK",
            remedy: "Check where it leads before you trust it again.",
            test: |scene| {
                let directory = directory(scene)?;
                let link = directory.path().join("LINK");
                symlink("FILE", &link)?;
                lchown(&link, Some(NOBODY), Some(NOBODY))?;
                create_under(scene, &link)
            },
        },
        Row {
            cause: "The file is not UTF-8.",
            message: "container ID: FILE:1: not UTF-8 text: write the file in UTF-8",
            remedy: "Convert it with `iconv`. Comments must be UTF-8 too.",
            test: |scene| with(scene, b"# caf\xe9\n"),
        },
        Row {
            cause: "The file is not TOML.",
            message: "container ID: FILE:1: invalid float, expected nothing",
            remedy: "Write strings in quotes, and lists in brackets: `deny = [\"192.0.2.1\"]`.",
            test: |scene| with(scene, b"deny = 192.0.2.1\n"),
        },
        Row {
            cause: "A key is unknown.",
            message: "container ID: FILE:1: key denied: unknown field `denied`, expected one of \
                `allow`, `deny`, `permit`, `require-local-address`, `wait-for-address`, \
                `without-policy`, `debug`, `defaults`",
            remedy: KEYS,
            test: |scene| with(scene, b"denied = []\n"),
        },
        Row {
            cause: "A key of `[defaults]` is unknown.",
            message: "container ID: FILE:2: key defaults.ipv4: unknown field `ipv4`, expected \
                `loopback` or `guard`",
            remedy: KEYS,
            test: |scene| with(scene, b"[defaults]\nipv4 = \"192.0.2.10\"\n"),
        },
        Row {
            cause: "A value has the wrong type.",
            message: "container ID: FILE:1: key require-local-address: invalid type: string \"no\", \
                expected a boolean",
            remedy: KEYS,
            test: |scene| with(scene, b"require-local-address = \"no\"\n"),
        },
        Row {
            cause: "A list has numbers instead of strings.",
            message: "container ID: FILE:1: key deny: invalid type: integer `10`, expected a string",
            remedy: "Write networks in quotes.",
            test: |scene| with(scene, b"deny = [10]\n"),
        },
        Row {
            cause: "A default is not one of the values that its annotation may have.",
            message: "container ID: FILE:2: key defaults.loopback: \"off\" is not a loopback policy: \
                write auto, host, private, or an address from 127.0.0.2 to 127.255.255.254",
            remedy: "See [Annotations](#annotations).",
            test: |scene| with(scene, b"[defaults]\nloopback = \"off\"\n"),
        },
        Row {
            cause: "`without-policy` is not one of the values that it may have.",
            message: "container ID: FILE:1: key without-policy: \"deny\" is not a setting \
                for containers without a policy: write ignore, warn or refuse",
            remedy: KEYS,
            test: |scene| with(scene, b"without-policy = \"deny\"\n"),
        },
        Row {
            cause: "A value is not a network.",
            message: "container ID: FILE:1: key allow: \"192.0.2.0/33\" is not a network: write one \
                such as 192.0.2.0/24 or 2001:db8:1::/64, or a single address",
            remedy: "Host names and address ranges are not supported.",
            test: |scene| with(scene, b"allow = [\"192.0.2.0/33\"]\n"),
        },
        Row {
            cause: "An IPv4 network is written as an IPv4-mapped one.",
            message: "container ID: FILE:1: key allow: \"::ffff:192.0.2.0/120\" is an IPv4-mapped \
                network: write it as IPv4, such as 192.0.2.0",
            remedy: "Write it in IPv4 notation.",
            test: |scene| with(scene, b"allow = [\"::ffff:192.0.2.0/120\"]\n"),
        },
        Row {
            cause: "A network is written with host bits set.",
            message: "container ID: FILE:1: key allow: \"192.0.2.10/24\" has host bits set: write \
                192.0.2.0/24 for the network or 192.0.2.10 for the address",
            remedy: "Write the network, or the single address, whichever you mean.",
            test: |scene| with(scene, b"allow = [\"192.0.2.10/24\"]\n"),
        },
    ],
};

/// Nobody, by the number that every Linux has for it.
const NOBODY: u32 = 65534;

/// `create-runtime` under a configuration of these bytes.
fn with(scene: &Scene, config: &[u8]) -> Result<Output> {
    fs::write(scene.hook.config(), config)?;
    create(scene)
}

/// `create-runtime` under the configuration as it is.
fn create(scene: &Scene) -> Result<Output> {
    create_under(scene, scene.hook.config())
}

/// `create-runtime` under the configuration at this path.
fn create_under(scene: &Scene, config: &Path) -> Result<Output> {
    let mut hook = Command::new(scene.hook.binary());
    hook.arg("--config").arg(config).arg("create-runtime");
    let state = scene.container()?.state_with(V4).to_string();
    process::run(&mut hook, state.as_bytes())
}

/// A directory `DIR` with a configuration `FILE` in it.
fn directory(scene: &Scene) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    scene.name(&directory.path().to_string_lossy(), "DIR");
    let config = directory.path().join("FILE");
    fs::write(&config, "")?;
    set_mode(&config, 0o644)?;
    Ok(directory)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("change the mode of {}", path.display()))
}
