//! Bad annotations: each must be named with its key and its value.

use libtest_mimic::Trial;
use oci_bind_hook_tests::container::{Container, PREFIX};
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::Hook;
use oci_bind_hook_tests::net::Net;

use crate::refusal::{assert_refused, refused};

/// A key, and values that it must not have.
const BAD: &[(&str, &[&str])] = &[
    (
        "ipv4",
        &[
            "",
            "web",
            "192.0.2",
            "192.0.2.300",
            "192.0.2.010",
            "192.0.2.10/24",
            "192.0.2.10,192.0.2.20",
            "192.0.2.10\n192.0.2.20",
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "2001:db8::10",
        ],
    ),
    (
        "ipv6",
        &[
            "",
            "web",
            "2001:db8::10::1",
            "[2001:db8::10]",
            "2001:db8::10/64",
            "2001:db8::10%v0",
            "::",
            "::1",
            "ff02::1",
            "fe80::10",
            "::ffff:192.0.2.10",
            "192.0.2.10",
        ],
    ),
    (
        "loopback",
        &["", "yes", "Host", "192.0.2.10", "127.0.0.1", "::1"],
    ),
    (
        "ports",
        &[
            "",
            "80",
            "80:",
            ":80",
            "80:99999",
            "0:80",
            "80:8080/sctp",
            "80:8080;53:53",
            "a:b",
            "80-81:90",
            "80-82:90-91",
            "81-80:91-90",
        ],
    ),
    (
        "exempt",
        &[
            "", "dns", "0", "70000", "53/sctp", "60-53", "0-53", "53-", "53:60", "53,,67",
        ],
    ),
    (
        "multicast",
        &["", "mdns", "5353/udp", "5354-5353", "5353;1900"],
    ),
    ("guard", &["", "yes", "ON"]),
    ("ip4", &["192.0.2.10"]),
    ("", &["192.0.2.10"]),
    ("ipv4/web", &["192.0.2.10"]),
    ("ipv4/container.", &["192.0.2.10"]),
];

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = BAD
        .iter()
        .flat_map(|&(key, values)| values.iter().map(move |&value| bad(key, value)))
        .collect();
    trials.extend([
        refused(
            "keys but no address",
            &[PREFIX, "ipv4", "ipv6"],
            |container| {
                let guard = format!("{PREFIX}guard");
                Ok(container.state(&[(guard.as_str(), "off")]).to_string())
            },
        ),
        refused(
            "a key for a container of a pod, without a pod",
            &["no name"],
            |container| {
                let key = format!("{PREFIX}ipv4/container.web");
                Ok(container.state(&[(key.as_str(), "192.0.2.10")]).to_string())
            },
        ),
        refused(
            "a container of a pod that also says it is the pod's sandbox",
            &[
                "container-type",
                "ContainerType",
                "\"container\"",
                "\"sandbox\"",
            ],
            |container| {
                let key = format!("{PREFIX}ipv4/container.web");
                Ok(container
                    .state(&[
                        ("io.kubernetes.container.name", "web"),
                        ("io.kubernetes.cri-o.ContainerType", "container"),
                        ("io.kubernetes.cri.container-type", "sandbox"),
                        (key.as_str(), "192.0.2.10"),
                    ])
                    .to_string())
            },
        ),
    ]);
    trials
}

fn bad(key: &'static str, value: &'static str) -> Trial {
    harness::trial(format!("annotation {key:?} with {value:?}"), move || {
        Net::isolated(move |_| {
            let container = Container::new()?;
            let bad = format!("{PREFIX}{key}");
            let good = format!("{PREFIX}ipv4");
            let mut annotations = vec![(bad.as_str(), value)];
            if key != "ipv4" {
                annotations.push((&good, "192.0.2.10"));
            }
            let state = container.state(&annotations).to_string();
            let output = Hook::new()?.create_runtime(state.as_bytes())?;
            // A value with control characters is shown with escapes.
            let shown = value.escape_debug().to_string();
            assert_refused(&output, &[key, &shown, container.id()])?;
            container.cgroup.assert_bare()
        })
    })
}
