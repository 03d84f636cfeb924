//! Annotations that are not understood. The options of the command line go
//! through the same parsers.

use anyhow::Result;
use oci_bind_hook_tests::process::Output;

use crate::row::{Area, Row};
use crate::scene::Scene;

const NO_ADDRESS: &str = "Write the address alone: no prefix length, no port, no name.";
const NOT_FOR_SOCKETS: &str = "Choose an address of the host that other hosts can reach.";

pub const AREA: Area = Area {
    title: "Annotations",
    status: 1,
    rows: &[
        Row {
            cause: "The key is misspelt.",
            message: "container ID: annotation \"io.oci-bind-hook.ip4\": unknown key (its value is \
                \"192.0.2.10\"): after io.oci-bind-hook. write ipv4, ipv6, loopback, ports, \
                exempt, multicast or guard",
            remedy: "Correct the key. It is refused because the container would otherwise run \
                without what was asked for.",
            test: |scene| with(scene, &[("ip4", "192.0.2.10")]),
        },
        Row {
            cause: "What follows the slash of a key is not `container.` and a name.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv4/web\": unknown key (its value \
                is \"192.0.2.10\"): after the slash write container.NAME",
            remedy: "Write `io.oci-bind-hook.ipv4/container.web` for the container `web` of a pod.",
            test: |scene| with(scene, &[("ipv4/web", "192.0.2.10")]),
        },
        Row {
            cause: "The same key has two different values.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv4\": \"192.0.2.10\" contradicts \
                \"192.0.2.20\" in the same key: give the key once",
            remedy: "Remove one of them.",
            test: |scene| {
                let container = scene.container()?;
                let state = container
                    .state(&[("io.oci-bind-hook.ipv4", "192.0.2.10")])
                    .to_string();
                let twice = "\"io.oci-bind-hook.ipv4\":\"192.0.2.20\",\"io.oci-bind-hook.ipv4\":";
                let state = state.replacen("\"io.oci-bind-hook.ipv4\":", twice, 1);
                scene.hook.create_runtime(state.as_bytes())
            },
        },
        Row {
            cause: "Annotations are set, but none of them is an address.",
            message: "container ID: annotations under io.oci-bind-hook. are set, but neither ipv4 \
                nor ipv6: add io.oci-bind-hook.ipv4 or io.oci-bind-hook.ipv6 with the address, or \
                remove the others",
            remedy: "Add an address, or remove the other annotations.",
            test: |scene| with(scene, &[("guard", "off")]),
        },
        Row {
            cause: "Annotations are for one container of a pod, but the engine does not say which \
                container this is.",
            message: "container ID: annotations KEY/container.NAME are set, but this container \
                has no name: only CRI-O and containerd pass it to hooks: annotate each container \
                with io.oci-bind-hook.KEY instead",
            remedy: "podman does not pass the name: annotate each container of the pod \
                separately.",
            test: |scene| with(scene, &[("ipv4/container.web", "192.0.2.10")]),
        },
        Row {
            cause: "Two annotations give the container different names.",
            message: "container ID: this container has two names, \"web\" and \"db\": \
                io.kubernetes.container.name and io.kubernetes.cri.container-name must agree",
            remedy: "Remove the annotation that the engine did not write.",
            test: |scene| {
                let container = scene.container()?;
                let state = container.state(&[
                    ("io.oci-bind-hook.ipv4/container.web", "192.0.2.10"),
                    ("io.kubernetes.container.name", "web"),
                    ("io.kubernetes.cri.container-name", "db"),
                ]);
                scene.hook.create_runtime(state.to_string().as_bytes())
            },
        },
        Row {
            cause: "The value is not an IPv4 address.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv4\": \"192.0.2.10/24\" is not \
                an IPv4 address: write one unicast address such as 192.0.2.10",
            remedy: NO_ADDRESS,
            test: |scene| with(scene, &[("ipv4", "192.0.2.10/24")]),
        },
        Row {
            cause: "The IPv4 address is 0.0.0.0.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv4\": \"0.0.0.0\" is the \
                unspecified address: write one unicast address such as 192.0.2.10",
            remedy: "For all addresses of the host, leave the annotation out.",
            test: |scene| with(scene, &[("ipv4", "0.0.0.0")]),
        },
        Row {
            cause: "The IPv4 address is a multicast address.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv4\": \"224.0.0.251\" is a \
                multicast address: write one unicast address such as 192.0.2.10",
            remedy: NOT_FOR_SOCKETS,
            test: |scene| with(scene, &[("ipv4", "224.0.0.251")]),
        },
        Row {
            cause: "The IPv4 address is the broadcast address.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv4\": \"255.255.255.255\" is the \
                broadcast address: write one unicast address such as 192.0.2.10",
            remedy: NOT_FOR_SOCKETS,
            test: |scene| with(scene, &[("ipv4", "255.255.255.255")]),
        },
        Row {
            cause: "The IPv4 address is a loopback address.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv4\": \"127.0.0.2\" is a \
                loopback address: write one unicast address such as 192.0.2.10",
            remedy: "For loopback, use `io.oci-bind-hook.loopback`. `run` and `attach` accept \
                such an address.",
            test: |scene| with(scene, &[("ipv4", "127.0.0.2")]),
        },
        Row {
            cause: "The value is not an IPv6 address.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv6\": \"[2001:db8::10]\" is not \
                an IPv6 address: write one unicast address such as 2001:db8::10",
            remedy: NO_ADDRESS,
            test: |scene| with(scene, &[("ipv6", "[2001:db8::10]")]),
        },
        Row {
            cause: "The IPv6 address has a zone, which names an interface.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv6\": \"fe80::10%eth0\" has a \
                zone, which is not supported: write one unicast address such as 2001:db8::10",
            remedy: "Choose an address that is not link-local: it needs no zone.",
            test: |scene| with(scene, &[("ipv6", "fe80::10%eth0")]),
        },
        Row {
            cause: "The IPv6 address is link-local.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv6\": \"fe80::10\" is a \
                link-local address, which needs a zone: write one unicast address such as \
                2001:db8::10",
            remedy: NOT_FOR_SOCKETS,
            test: |scene| with(scene, &[("ipv6", "fe80::10")]),
        },
        Row {
            cause: "The IPv6 address is an IPv4-mapped address.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv6\": \"::ffff:192.0.2.10\" is \
                an IPv4-mapped address: assign 192.0.2.10 as the IPv4 address",
            remedy: "Write it as `io.oci-bind-hook.ipv4`.",
            test: |scene| with(scene, &[("ipv6", "::ffff:192.0.2.10")]),
        },
        Row {
            cause: "The IPv6 address is `::`.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv6\": \"::\" is the unspecified \
                address: write one unicast address such as 2001:db8::10",
            remedy: "For all addresses of the host, leave the annotation out.",
            test: |scene| with(scene, &[("ipv6", "::")]),
        },
        Row {
            cause: "The IPv6 address is a multicast address.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv6\": \"ff02::fb\" is a \
                multicast address: write one unicast address such as 2001:db8::10",
            remedy: NOT_FOR_SOCKETS,
            test: |scene| with(scene, &[("ipv6", "ff02::fb")]),
        },
        Row {
            cause: "The IPv6 address is the loopback address.",
            message: "container ID: annotation \"io.oci-bind-hook.ipv6\": \"::1\" is the loopback \
                address: write one unicast address such as 2001:db8::10",
            remedy: "For loopback, use `io.oci-bind-hook.loopback`. `run` and `attach` accept \
                such an address.",
            test: |scene| with(scene, &[("ipv6", "::1")]),
        },
        Row {
            cause: "The value is not a loopback policy. 127.0.0.1 belongs to the host, and cannot \
                be private.",
            message: "container ID: annotation \"io.oci-bind-hook.loopback\": \"127.0.0.1\" is not a \
                loopback policy: write auto, host, private, or an address from 127.0.0.2 to \
                127.255.255.254",
            remedy: "`private` chooses an address automatically.",
            test: |scene| with_address(scene, ("loopback", "127.0.0.1")),
        },
        Row {
            cause: "The guard is neither on nor off.",
            message: "container ID: annotation \"io.oci-bind-hook.guard\": \"false\" is not a guard \
                setting: write on or off",
            remedy: "Write `on` or `off`, in lower case.",
            test: |scene| with_address(scene, ("guard", "false")),
        },
        Row {
            cause: "A port mapping is incomplete, or names a protocol other than TCP and UDP.",
            message: "container ID: annotation \"io.oci-bind-hook.ports\": \"80\" in \"80\" is \
                not a port mapping: write ASKED:ACTUAL, ASKED:ACTUAL/tcp or ASKED:ACTUAL/udp, \
                with two ports or two ranges FIRST-LAST of the same length; ports are from 1 to \
                65535; separate items with commas and no spaces",
            remedy: "In `80:8080` the program asks for port 80 and gets 8080.",
            test: |scene| with_address(scene, ("ports", "80")),
        },
        Row {
            cause: "A range of ports is mapped to a shorter or longer range.",
            message: "container ID: annotation \"io.oci-bind-hook.ports\": \
                \"8000-8010:9000-9009\" in \"8000-8010:9000-9009\" is not a port mapping: write \
                ASKED:ACTUAL, ASKED:ACTUAL/tcp or ASKED:ACTUAL/udp, with two ports or two ranges \
                FIRST-LAST of the same length; ports are from 1 to 65535; separate items with \
                commas and no spaces",
            remedy: "In `8000-8010:9000-9010` port 8003 becomes 9003.",
            test: |scene| with_address(scene, ("ports", "8000-8010:9000-9009")),
        },
        Row {
            cause: "A port is mapped to two different ports.",
            message: "container ID: annotation \"io.oci-bind-hook.ports\": \"53:5353,53:5354/tcp\" \
                maps port 53 twice, as 53:5353 and as 53:5354/tcp: keep one of them",
            remedy: "Keep one. A port can be mapped to one port with `/tcp`, and to another with \
                `/udp`.",
            test: |scene| with_address(scene, ("ports", "53:5353,53:5354/tcp")),
        },
        Row {
            cause: "An exempt port is not a number, or a range ends before it begins.",
            message: "container ID: annotation \"io.oci-bind-hook.exempt\": \"60-53\" in \
                \"60-53\" is not a port: write PORT or FIRST-LAST, followed by /tcp or /udp for \
                one protocol; ports are from 1 to 65535; separate items with commas and no spaces",
            remedy: "Write each port as a number, or a range such as `53-60`.",
            test: |scene| with_address(scene, ("exempt", "60-53")),
        },
        Row {
            cause: "A port for multicast is not a number, or names a protocol.",
            message: "container ID: annotation \"io.oci-bind-hook.multicast\": \"5353/udp\" in \
                \"5353/udp\" is not a UDP port: write PORT or FIRST-LAST; ports are from 1 to \
                65535; separate items with commas and no spaces",
            remedy: "Write the number alone: multicast is always UDP.",
            test: |scene| with_address(scene, ("multicast", "5353/udp")),
        },
    ],
};

/// `create-runtime` for a container with these annotations.
fn with(scene: &Scene, settings: &[(&str, &str)]) -> Result<Output> {
    scene.create(&scene.container()?, settings)
}

/// The same with an address besides.
fn with_address(scene: &Scene, setting: (&str, &str)) -> Result<Output> {
    with(scene, &[("ipv4", "192.0.2.10"), setting])
}
