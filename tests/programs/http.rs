//! Web servers.

use oci_bind_hook_tests::hook::{BOTH, V4, V6};

use crate::program::{Binds, Program};
use crate::tool::Tool;

/// The client of most of them.
pub const CURL: Tool = ("curl", "curl");
/// What nginx and its clients need.
pub const NGINX: &[Tool] = &[("nginx", "nginx"), CURL];
const PYTHON: &[Tool] = &[("python3", "python3"), CURL];

/// Its configuration; where it listens is in a file of its own.
pub const NGINX_CONF: (&str, &str) = ("nginx.conf", include_str!("files/nginx.conf"));
/// It, in the foreground.
pub const NGINX_SERVER: &[&str] = &["nginx", "-e", "stderr", "-c", "{dir}/nginx.conf"];

/// It asks for a page at the port of most servers.
pub const CLIENT_8080: &[&str] = &["curl", "-sSgm", "30", "http://{at}:8080/"];
const CLIENT_80: &[&str] = &["curl", "-sSgm", "30", "http://{at}/"];

const PYTHON_CALLER: &[&str] = &[
    "python3",
    "-c",
    "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())",
    "http://{at}:8080/",
];

/// nginx on 0.0.0.0.
pub const NGINX_80: Program = Program {
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
    own: Some("asked {}\n"),
    ready: None,
};

/// The server of its standard library, on 0.0.0.0.
pub const PYTHON_8080: Program = Program {
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
    own: None,
    ready: None,
};

/// All of them.
pub const PROGRAMS: &[Program] = &[
    NGINX_80,
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
];
