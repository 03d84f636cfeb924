//! Web servers.

use oci_bind_hook_tests::hook::{BOTH, V4, V6};

use crate::program::{Binds, Program};
use crate::tool::Tool;

const CURL: Tool = ("curl", "curl");
/// What nginx and its clients need.
pub const NGINX: &[Tool] = &[("nginx", "nginx"), CURL];
const PYTHON: &[Tool] = &[("python3", "python3"), CURL];

/// Its configuration; where it listens is in a file of its own.
pub const NGINX_CONF: (&str, &str) = ("nginx.conf", include_str!("files/nginx.conf"));
/// It, in the foreground.
pub const NGINX_SERVER: &[&str] = &["nginx", "-e", "stderr", "-c", "{dir}/nginx.conf"];

/// Most of the commands below ask for a page at this port.
const CLIENT_8080: &[&str] = &["curl", "-sSgm", "5", "http://{at}:8080/"];
const CLIENT_80: &[&str] = &["curl", "-sSgm", "5", "http://{at}/"];

const PYTHON_CALLER: &[&str] = &[
    "python3",
    "-c",
    "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())",
    "http://{at}:8080/",
];

const NGINX_80: Program = Program {
    name: "nginx, listen 80",
    needs: NGINX,
    policies: &[V4, BOTH],
    binds: Binds::Any4,
    files: &[NGINX_CONF, ("listen", "listen 80;")],
    prepare: &[],
    server: NGINX_SERVER,
    client: CLIENT_80,
    caller: None,
    answer: " asked",
    seen: &["{} asked"],
};

const PYTHON_8080: Program = Program {
    name: "python http.server",
    needs: PYTHON,
    policies: &[V4, BOTH],
    binds: Binds::Any4,
    files: &[],
    prepare: &[],
    server: &["python3", "-m", "http.server", "8080"],
    client: CLIENT_8080,
    caller: Some(PYTHON_CALLER),
    answer: "Directory listing",
    seen: &["{} - - ["],
};

/// All of them.
pub const PROGRAMS: &[Program] = &[
    NGINX_80,
    Program {
        name: "nginx, listen [::]:80 for both families",
        policies: &[V4, V6],
        binds: Binds::Any6,
        files: &[NGINX_CONF, ("listen", "listen [::]:80 ipv6only=off;")],
        ..NGINX_80
    },
    Program {
        name: "nginx, listen [::]:80",
        policies: &[V6, BOTH],
        binds: Binds::Only6,
        files: &[NGINX_CONF, ("listen", "listen [::]:80;")],
        ..NGINX_80
    },
    Program {
        name: "nginx, listen 80 and [::]:80",
        policies: &[BOTH],
        binds: Binds::Both,
        files: &[NGINX_CONF, ("listen", "listen 80; listen [::]:80;")],
        ..NGINX_80
    },
    PYTHON_8080,
    Program {
        name: "python http.server, --bind ::",
        policies: &[V4, V6],
        binds: Binds::Any6,
        server: &["python3", "-m", "http.server", "--bind", "::", "8080"],
        ..PYTHON_8080
    },
    Program {
        name: "node",
        needs: &[("nodejs", "node"), CURL],
        policies: &[V4, V6],
        binds: Binds::Any6,
        files: &[],
        prepare: &[],
        server: &[
            "node",
            "-e",
            "require('http').createServer((request, response) => \
             response.end(request.socket.remoteAddress + ' asked\\n')).listen(8080)",
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
    },
    Program {
        name: "java",
        needs: &[
            ("default-jdk-headless", "java"),
            ("default-jdk-headless", "javac"),
            CURL,
        ],
        policies: &[V4, V6],
        binds: Binds::Any6,
        files: &[("Server.java", include_str!("files/Server.java"))],
        prepare: &[&["javac", "Server.java"]],
        server: &["java", "-cp", "{dir}", "Server"],
        client: CLIENT_8080,
        caller: Some(&["java", "-cp", "{dir}", "Server", "http://{at}:8080/"]),
        answer: " asked",
        seen: &["{} asked"],
    },
];
