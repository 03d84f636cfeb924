//! Servers that speak something else than HTTP.

use oci_bind_hook_tests::hook::{BOTH, V4, V6};

use crate::program::{Binds, Program};
use crate::tool::Tool;

/// What redis and its client need.
pub const REDIS: &[Tool] = &[
    ("redis-server", "redis-server"),
    ("redis-tools", "redis-cli"),
];
/// Its client, which is told about itself.
pub const REDIS_CLIENT: &[&str] = &["redis-cli", "-h", "{host}", "client", "info"];
/// What dnsmasq and its clients need.
pub const DNSMASQ: &[Tool] = &[
    ("dnsmasq-base", "dnsmasq"),
    ("bind9-dnsutils", "dig"),
    ("python3", "python3"),
];
const IPERF: &[Tool] = &[("iperf3", "iperf3")];
const IPERF_SERVER: &[&str] = &["iperf3", "--server", "--forceflush"];
const IPERF_CLIENT: &[&str] = &["iperf3", "--client", "{host}", "--bytes", "16K"];
const IPERF_SEEN: &[&str] = &[
    "Accepted connection from {},",
    " port 5201 connected to {} port ",
];
const IPERF_OWN: Option<&str> = Some("local {} port 5201 connected to ");
/// It closes its listening socket for each client.
const IPERF_READY: Option<&str> = Some("Server listening on ");
/// Server and client in one.
pub const SOCAT: &[Tool] = &[("socat", "socat")];

/// All of them.
pub const PROGRAMS: &[Program] = &[
    Program {
        name: "redis, its default",
        needs: REDIS,
        policies: &[V4, BOTH],
        binds: Binds::Loopback,
        files: &[],
        prepare: &[],
        // What the package makes a service, in the foreground.
        server: &[
            "redis-server",
            "/etc/redis/redis.conf",
            "--daemonize",
            "no",
            "--supervised",
            "no",
            "--logfile",
            "",
            "--pidfile",
            "{dir}/pid",
            "--dir",
            "{dir}",
        ],
        client: REDIS_CLIENT,
        caller: None,
        answer: " addr=",
        seen: &[" addr={}:"],
        own: Some(" laddr={}:"),
        ready: None,
    },
    Program {
        name: "redis, --bind 0.0.0.0",
        needs: REDIS,
        policies: &[V4],
        binds: Binds::Any4,
        files: &[],
        prepare: &[],
        server: &[
            "redis-server",
            "--bind",
            "0.0.0.0",
            "--protected-mode",
            "no",
            "--save",
            "",
        ],
        client: REDIS_CLIENT,
        caller: None,
        answer: " addr=",
        seen: &[" addr={}:"],
        own: Some(" laddr={}:"),
        ready: None,
    },
    Program {
        name: "redis, --bind * -::*",
        needs: REDIS,
        policies: &[V4, BOTH],
        binds: Binds::Both,
        files: &[],
        prepare: &[],
        server: &["redis-server", "--protected-mode", "no", "--save", ""],
        client: REDIS_CLIENT,
        caller: None,
        answer: " addr=",
        seen: &[" addr={}:"],
        own: Some(" laddr={}:"),
        ready: None,
    },
    Program {
        name: "dnsmasq",
        needs: DNSMASQ,
        // It ends if it may not have its IPv6 socket.
        policies: &[BOTH],
        binds: Binds::Both,
        files: &[],
        prepare: &[],
        server: &[
            "dnsmasq",
            "--conf-file=/dev/null",
            "--no-daemon",
            "--port=5300",
            "--address=/x.test/192.0.2.99",
            "--no-resolv",
            "--no-hosts",
            "--log-queries",
        ],
        client: &[
            "dig", "@{host}", "-p", "5300", "+short", "+tries=1", "+time=30", "x.test", "A",
        ],
        // dig binds to `::` before it connects: see Limits.
        caller: Some(&["python3", "-c", include_str!("files/query.py"), "{host}"]),
        answer: "192.0.2.99\n",
        seen: &["query[A] x.test from {}\n"],
        own: None,
        ready: None,
    },
    Program {
        name: "iperf3",
        needs: IPERF,
        policies: &[V4],
        binds: Binds::Any6,
        files: &[],
        prepare: &[],
        server: IPERF_SERVER,
        client: IPERF_CLIENT,
        // By itself the server answers datagrams from the host's address only.
        caller: Some(&["iperf3", "--client", "{host}", "--udp", "--bytes", "64K"]),
        answer: "iperf Done.",
        seen: IPERF_SEEN,
        own: IPERF_OWN,
        ready: IPERF_READY,
    },
    Program {
        name: "iperf3 over TCP",
        needs: IPERF,
        policies: &[V6, BOTH],
        binds: Binds::Any6,
        files: &[],
        prepare: &[],
        server: IPERF_SERVER,
        client: IPERF_CLIENT,
        caller: None,
        answer: "iperf Done.",
        seen: IPERF_SEEN,
        own: IPERF_OWN,
        ready: IPERF_READY,
    },
    Program {
        name: "socat over TCP",
        needs: SOCAT,
        policies: &[V4],
        binds: Binds::Any4,
        files: &[],
        prepare: &[],
        server: &[
            "socat",
            "-U",
            "TCP4-LISTEN:7000,fork,reuseaddr",
            "SYSTEM:echo $SOCAT_PEERADDR asked $SOCAT_SOCKADDR",
        ],
        client: &["socat", "-u", "TCP:{at}:7000", "-"],
        caller: None,
        answer: " asked",
        seen: &["{} asked"],
        own: Some("asked {}\n"),
        ready: None,
    },
    Program {
        name: "socat over UDP",
        needs: SOCAT,
        policies: &[V4],
        binds: Binds::Any4ButAnswersFromHost,
        files: &[],
        prepare: &[],
        // A datagram of a length that the client knows: it has no other end.
        server: &[
            "socat",
            "-t30",
            "UDP4-RECVFROM:7000,fork",
            "SYSTEM:read asked; printf %-30s.asked $SOCAT_PEERADDR",
        ],
        client: &[
            "sh",
            "-c",
            "echo hello | socat -t{patience} - \"$0\"",
            "UDP:{at}:7000,readbytes=36",
        ],
        caller: None,
        answer: ".asked",
        seen: &["{} "],
        own: None,
        ready: None,
    },
    Program {
        name: "ssh",
        needs: &[
            ("openssh-server", "sshd"),
            ("openssh-client", "ssh"),
            ("openssh-client", "ssh-keygen"),
            ("util-linux", "unshare"),
        ],
        policies: &[V4, V6, BOTH],
        binds: Binds::Both,
        files: &[
            ("sshd_config", include_str!("files/sshd_config")),
            ("ssh_config", include_str!("files/ssh_config")),
        ],
        prepare: &[
            &[
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-f",
                "host_key",
            ],
            &[
                "ssh-keygen",
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-f",
                "user_key",
            ],
        ],
        // It wants a directory that only the service manager makes.
        server: &[
            "unshare",
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec \"$0\" \"$@\"",
            "/usr/sbin/sshd",
            "-D",
            "-e",
            "-f",
            "{dir}/sshd_config",
        ],
        client: &[
            "ssh",
            "-F",
            "{dir}/ssh_config",
            "{host}",
            "set -- $SSH_CONNECTION && echo $1 asked $3",
        ],
        caller: None,
        answer: " asked",
        seen: &["{} asked"],
        own: Some("asked {}\n"),
        ready: None,
    },
];
