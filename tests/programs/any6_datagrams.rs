//! UDP servers at `::` that are open to both families.

use oci_bind_hook_tests::hook::{BOTH, Policy, V4, V6};

use crate::program::{Binds, Program};
use crate::services::SOCAT;

const POLICIES: &[Policy] = &[V4, V6, BOTH];
/// Waits for a datagram of a length that it knows: it has no other end.
const CLIENT: &[&str] = &[
    "sh",
    "-c",
    "echo hello | socat -t{patience} - \"$0\"",
    "UDP:{at}:7000,readbytes=56",
];
/// What they have in common: each answers with the client's address.
const ECHO: Program = Program {
    name: "",
    needs: SOCAT,
    policies: POLICIES,
    binds: Binds::Any6Datagrams,
    files: &[],
    prepare: &[],
    server: &[],
    client: CLIENT,
    caller: None,
    answer: ".asked",
    seen: &["{} "],
    own: None,
    ready: None,
};

/// All of them.
pub const SERVERS: &[Program] = &[
    Program {
        name: "socat, UDP6-RECVFROM for both families",
        server: &[
            "socat",
            "-t30",
            "UDP6-RECVFROM:7000,ipv6only=0,fork",
            "SYSTEM:read asked; printf %-50s.asked $SOCAT_PEERADDR",
        ],
        seen: &["[{}] "],
        ..ECHO
    },
    Program {
        name: "python, datagrams",
        needs: &[SOCAT[0], ("python3", "python3")],
        files: &[("server.py", include_str!("files/datagrams.py"))],
        server: &["python3", "{dir}/server.py"],
        ..ECHO
    },
    Program {
        name: "node, datagrams",
        needs: &[SOCAT[0], ("nodejs", "node")],
        server: &[
            "node",
            "-e",
            "const server = require('dgram').createSocket('udp6');\
             server.on('message', (_, peer) => server.send(\
             peer.address.padEnd(50) + '.asked', peer.port, peer.address));\
             server.bind(7000)",
        ],
        ..ECHO
    },
    Program {
        name: "java, datagrams",
        needs: &[
            SOCAT[0],
            ("default-jdk-headless", "java"),
            ("default-jdk-headless", "javac"),
        ],
        files: &[("Datagrams.java", include_str!("files/Datagrams.java"))],
        prepare: &[&["javac", "Datagrams.java"]],
        server: &["java", "-cp", "{dir}", "Datagrams"],
        ..ECHO
    },
];
