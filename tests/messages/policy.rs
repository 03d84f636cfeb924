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
            remedy: "Ask the administrator, or choose an address that `allow` covers.",
            test: |scene| under(scene, "allow = [\"198.51.100.0/24\"]"),
        },
        Row {
            cause: "The administrator does not permit the annotation.",
            message: "container ID: annotation \"io.oci-bind-hook.exempt\" is not permitted by \
                the configuration: remove it, or add exempt to permit",
            remedy: "Ask the administrator, or remove the annotation.",
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
            cause: "The container is on the host's network, has no address assigned, and the \
                administrator has set `without-policy` to `refuse`.",
            message: "container ID: on the host's network without a policy: annotate it with \
                io.oci-bind-hook.ipv4 or io.oci-bind-hook.ipv6, or give it a network of its own \
                (see without-policy in the configuration)",
            remedy: "Annotate the container, or ask the administrator. With `warn`, the line is \
                in the log, and the container starts.",
            test: |scene| {
                let hook = Hook::with_config("without-policy = \"refuse\"")?;
                let container = scene.container()?;
                hook.create_runtime(container.state(&[]).to_string().as_bytes())
            },
        },
        Row {
            cause: "The same, and the container has an annotation whose key is nearly one of the \
                hook's.",
            message: "container ID: on the host's network without a policy, and \
                \"oci-bind-hook.ipv4\" is not a key of this hook: annotate it with \
                io.oci-bind-hook.ipv4 or io.oci-bind-hook.ipv6, or give it a network of its own \
                (see without-policy in the configuration)",
            remedy: "Correct the key.",
            test: |scene| {
                let hook = Hook::with_config("without-policy = \"refuse\"")?;
                let container = scene.container()?;
                let state = container.state(&[("oci-bind-hook.ipv4", "192.0.2.10")]);
                hook.create_runtime(state.to_string().as_bytes())
            },
        },
        Row {
            cause: "A port is both moved and exempt.",
            message: "container ID: port 53/udp is exempt, but also moved by 53:5353: choose one",
            remedy: "Remove it from `ports` or from `exempt`.",
            test: |scene| {
                let ports = [("ports", "53:5353"), ("exempt", "53/udp")];
                with(scene, &ports)
            },
        },
        Row {
            cause: "A port is both moved and for multicast.",
            message: "container ID: port 5350-5360 is for multicast, but also moved by \
                5353:53/udp: choose one",
            remedy: "Remove it from `ports` or from `multicast`.",
            test: |scene| {
                let ports = [("ports", "5353:53/udp"), ("multicast", "5350-5360")];
                with(scene, &ports)
            },
        },
        Row {
            cause: "A port is both exempt and for multicast.",
            message: "container ID: port 5353 is for multicast, but 5353 is exempt: choose one",
            remedy: "Remove it from `exempt`, or exempt TCP alone: `5353/tcp`.",
            test: |scene| with(scene, &[("exempt", "5353"), ("multicast", "5353")]),
        },
        Row {
            cause: "There are ports for multicast, but the guard is off.",
            message: "container ID: multicast 5353 needs the guard, which keeps unicast to other \
                addresses away from these ports: set guard to on, or remove multicast",
            remedy: "Without the guard, `exempt` does what `multicast` would: the port is open at \
                every address.",
            test: |scene| with(scene, &[("guard", "off"), ("multicast", "5353")]),
        },
        Row {
            cause: "There are more port ranges than a policy can have.",
            message: "container ID: ports, exempt and multicast make 33 port ranges, but a policy \
                can have at most 32: write consecutive ports as FIRST-LAST",
            remedy: "A range counts once, and so does a single port. Overlapping ranges are split \
                where one begins or ends, and each piece counts.",
            test: |scene| {
                let ports: Vec<_> = (1..=33).map(|port| (2 * port).to_string()).collect();
                with(scene, &[("exempt", &ports.join(","))])
            },
        },
    ],
};

/// `create-runtime` with an address and this besides.
fn with(scene: &Scene, ports: &[(&str, &str)]) -> Result<Output> {
    let settings = [&[("ipv4", "192.0.2.10")], ports].concat();
    scene.create(&scene.container()?, &settings)
}

/// `create-runtime` under this configuration.
fn under(scene: &Scene, config: &str) -> Result<Output> {
    let container = scene.container()?;
    Hook::with_config(config)?.create_runtime(container.state_with(V4).to_string().as_bytes())
}
