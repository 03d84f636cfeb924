//! What the host's configuration forbids, and policies that contradict
//! themselves.

use anyhow::Result;
use oci_bind_hook_tests::hook::{Hook, V4};
use oci_bind_hook_tests::process::Output;

use crate::row::{Area, Row};
use crate::scene::Scene;

pub const AREA: Area = Area {
    title: "Policy",
    status: 1,
    rows: &[
        Row {
            cause: "The administrator has denied the address.",
            message: "container ID: ipv4 address 192.0.2.10 is denied by 192.0.2.0/24 in the \
                configuration: choose another address or change deny",
            remedy: "Ask the administrator, or choose another address.",
            test: |scene| under(scene, "deny = [\"192.0.2.0/24\"]"),
        },
        Row {
            cause: "The administrator has allowed other addresses.",
            message: "container ID: ipv4 address 192.0.2.10 is not allowed by the configuration: \
                choose another address or add it to allow",
            remedy: "Ask the administrator, or choose one of those that `allow` has.",
            test: |scene| under(scene, "allow = [\"198.51.100.0/24\"]"),
        },
        Row {
            cause: "The administrator does not permit the annotation.",
            message: "container ID: annotation \"io.oci-bind-hook.exempt\" is not permitted by \
                the configuration: remove it, or add exempt to permit",
            remedy: "Ask the administrator, or do without.",
            test: |scene| {
                let hook = Hook::with_config("permit = [\"ipv4\", \"ports\"]")?;
                let settings = [
                    ("io.oci-bind-hook.ipv4", "192.0.2.10"),
                    ("io.oci-bind-hook.exempt", "53"),
                ];
                let state = scene.container()?.state(&settings);
                hook.create_runtime(state.to_string().as_bytes())
            },
        },
        Row {
            cause: "A port is both moved and exempt.",
            message: "container ID: port 53/udp is exempt, and moved by 53:5353: choose one",
            remedy: "Remove it from `ports` or from `exempt`.",
            test: |scene| {
                let settings = [
                    ("ipv4", "192.0.2.10"),
                    ("ports", "53:5353"),
                    ("exempt", "53/udp"),
                ];
                scene.create(&scene.container()?, &settings)
            },
        },
        Row {
            cause: "There are more ports than a policy has room for.",
            message: "container ID: 65 ports are moved or exempt: 32 is the most that one policy can \
                have",
            remedy: "Exempt or move fewer ports. A port with two entries counts twice.",
            test: |scene| {
                let ports: Vec<_> = (1..=65).map(|port| port.to_string()).collect();
                let settings = [("ipv4", "192.0.2.10"), ("exempt", &ports.join(","))];
                scene.create(&scene.container()?, &settings)
            },
        },
    ],
};

/// `create-runtime` under this configuration.
fn under(scene: &Scene, config: &str) -> Result<Output> {
    let container = scene.container()?;
    Hook::with_config(config)?.create_runtime(container.state_with(V4).to_string().as_bytes())
}
