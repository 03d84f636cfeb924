//! Configuration files that cannot be read or understood.

use std::fs;
use std::process::Command;

use anyhow::Result;
use oci_bind_hook_tests::hook::V4;
use oci_bind_hook_tests::process::{self, Output};

use crate::row::{Area, Row};
use crate::scene::Scene;

const KEYS: &str = "The shipped [config.toml](../config/config.toml) shows and explains every key.";

pub const AREA: Area = Area {
    title: "Configuration",
    status: 1,
    rows: &[
        Row {
            cause: "The file that the command line names does not exist.",
            message: "container ID: read configuration \"/no-such.toml\": No such file or directory \
                (os error 2)",
            remedy: "Correct `--config`, in the hooks.d file too. Without the option, a missing \
                file means the defaults.",
            test: |scene| {
                let mut hook = Command::new(scene.hook.binary());
                hook.args(["--config", "/no-such.toml", "create-runtime"]);
                let state = scene.container()?.state_with(V4).to_string();
                process::run(&mut hook, state.as_bytes())
            },
        },
        Row {
            cause: "The file is not UTF-8.",
            message: "container ID: FILE:1: not UTF-8 text: write the file in UTF-8",
            remedy: "`iconv` converts it. Comments count too.",
            test: |scene| with(scene, b"# caf\xe9\n"),
        },
        Row {
            cause: "The file is not TOML.",
            message: "container ID: FILE:1: invalid float, expected nothing",
            remedy: "Strings are in quotes, lists in brackets: `deny = [\"192.0.2.1\"]`.",
            test: |scene| with(scene, b"deny = 192.0.2.1\n"),
        },
        Row {
            cause: "A key is unknown.",
            message: "container ID: FILE:1: key denied: unknown field `denied`, expected one of \
                `allow`, `deny`, `require-local-address`, `defaults`",
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
            cause: "A value is of another type.",
            message: "container ID: FILE:1: key require-local-address: invalid type: string \"no\", \
                expected a boolean",
            remedy: KEYS,
            test: |scene| with(scene, b"require-local-address = \"no\"\n"),
        },
        Row {
            cause: "A list is of numbers, not of strings.",
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
            cause: "A network is none.",
            message: "container ID: FILE:1: key allow: \"192.0.2.0/33\" is not a network: write one \
                such as 192.0.2.0/24 or 2001:db8:1::/64, or a single address",
            remedy: "Names and ranges are not understood.",
            test: |scene| with(scene, b"allow = [\"192.0.2.0/33\"]\n"),
        },
        Row {
            cause: "A network of IPv4 is written in the form of IPv6.",
            message: "container ID: FILE:1: key allow: \"::ffff:192.0.2.0/120\" is an IPv4-mapped \
                network: write it in IPv4, such as 192.0.2.0",
            remedy: "Write it as IPv4 has it.",
            test: |scene| with(scene, b"allow = [\"::ffff:192.0.2.0/120\"]\n"),
        },
        Row {
            cause: "A network has an address that is not its first.",
            message: "container ID: FILE:1: key allow: \"192.0.2.10/24\" has bits beyond its prefix: \
                write 192.0.2.0/24 for the network or 192.0.2.10 for the address",
            remedy: "Say whether the network or the address is meant.",
            test: |scene| with(scene, b"allow = [\"192.0.2.10/24\"]\n"),
        },
    ],
};

/// `create-runtime` under a configuration of these bytes.
fn with(scene: &Scene, config: &[u8]) -> Result<Output> {
    let container = scene.container()?;
    fs::write(scene.hook.config(), config)?;
    scene
        .hook
        .create_runtime(container.state_with(V4).to_string().as_bytes())
}
