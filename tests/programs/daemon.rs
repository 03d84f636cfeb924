//! The servers of [`crate::daemons`].

use oci_bind_hook_tests::hook::{BOTH, Policy, V4, V6};

use crate::http::{NGINX, NGINX_CONF, NGINX_SERVER};
use crate::probe::{DNS, HTTP, NTP, Probe, SMB, SNMP, STUN, tcp, udp};
use crate::services::DNSMASQ;
use crate::tool::{NTPD, Tool};

/// A server, and what it answers.
pub struct Daemon {
    /// Its name, and what is special.
    pub name: &'static str,
    /// What must be installed.
    pub needs: &'static [Tool],
    /// The policies it is tried under.
    pub policies: &'static [Policy],
    /// Where it listens by itself.
    pub listens: Listens,
    /// Names and contents of files in its scratch directory, `{dir}`.
    pub files: &'static [(&'static str, &'static str)],
    /// Its command line.
    pub server: &'static [&'static str],
    /// A question.
    pub probe: Probe,
    /// Whether its datagrams over IPv6 name the device that the question came by.
    pub names_device: bool,
    /// What it says in its log once it answers, if it drops questions before.
    pub ready: &'static str,
}

/// Where a server listens by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listens {
    /// At the wildcard of each family.
    Wildcards,
    /// At every address of the host, loopback too, one by one.
    EachAddress,
}

/// Of each family alone, and of both.
const ALL: &[Policy] = &[V4, V6, BOTH];
/// For a server that binds the addresses of IPv4 first, and ends if it may not: see Limits.
const WITH_V4: &[Policy] = &[V4, BOTH];

/// All of them.
pub const DAEMONS: &[Daemon] = &[
    Daemon {
        name: "nginx, listen 80 and [::]:80",
        needs: NGINX,
        policies: ALL,
        listens: Listens::Wildcards,
        files: &[NGINX_CONF, ("listen", "listen 80; listen [::]:80;")],
        server: NGINX_SERVER,
        probe: HTTP,
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "lighttpd",
        needs: &[("lighttpd", "lighttpd")],
        policies: ALL,
        listens: Listens::Wildcards,
        files: &[(
            "lighttpd.conf",
            "server.document-root = \"{dir}\"\nserver.port = 80\n\
             $SERVER[\"socket\"] == \"[::]:80\" { }\n",
        )],
        server: &["lighttpd", "-D", "-f", "{dir}/lighttpd.conf"],
        probe: HTTP,
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "memcached",
        needs: &[("memcached", "memcached")],
        policies: ALL,
        listens: Listens::Wildcards,
        files: &[],
        server: &["memcached", "-u", "root"],
        probe: tcp(11211, b"version\r\n", b"VERSION "),
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "mosquitto",
        needs: &[("mosquitto", "mosquitto")],
        policies: ALL,
        listens: Listens::Wildcards,
        files: &[("conf", "listener 1883\nallow_anonymous true\nuser root\n")],
        server: &["mosquitto", "-c", "{dir}/conf"],
        // CONNECT and CONNACK of MQTT 3.1.1.
        probe: tcp(
            1883,
            b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01x",
            b"\x20\x02",
        ),
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "epmd",
        needs: &[("erlang-base", "epmd")],
        policies: ALL,
        listens: Listens::Wildcards,
        files: &[],
        server: &["epmd"],
        // Which nodes there are: it repeats its port.
        probe: tcp(4369, b"\0\x01n", b"\0\0\x11\x11"),
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "unbound",
        needs: &[("unbound", "unbound")],
        policies: ALL,
        listens: Listens::Wildcards,
        files: &[(
            "conf",
            "server:\n interface: 0.0.0.0\n interface: ::0\n directory: \"{dir}\"\n \
             do-daemonize: no\n chroot: \"\"\n username: \"\"\n pidfile: \"\"\n use-syslog: no\n \
             access-control: 0.0.0.0/0 allow\n access-control: ::/0 allow\n \
             local-zone: \"x.test\" static\n local-data: \"x.test A 192.0.2.99\"\n",
        )],
        server: &["unbound", "-d", "-c", "{dir}/conf"],
        probe: DNS,
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "nsd",
        needs: &[("nsd", "nsd")],
        policies: ALL,
        listens: Listens::Wildcards,
        files: &[(
            "conf",
            "server:\n username: \"\"\n chroot: \"\"\n zonesdir: \"{dir}\"\n database: \"\"\n \
             pidfile: \"{dir}/pid\"\n zonelistfile: \"{dir}/zones\"\n xfrdfile: \"{dir}/xfrd\"\n \
             xfrdir: \"{dir}\"\n logfile: \"/dev/stderr\"\nremote-control:\n control-enable: no\n",
        )],
        server: &["nsd", "-d", "-c", "{dir}/conf"],
        probe: DNS,
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "dnsmasq",
        needs: DNSMASQ,
        policies: ALL,
        listens: Listens::Wildcards,
        files: &[],
        server: DNSMASQ_SERVER,
        probe: DNS,
        names_device: true,
        ready: "",
    },
    Daemon {
        name: "dnsmasq --bind-dynamic",
        needs: DNSMASQ,
        policies: ALL,
        listens: Listens::EachAddress,
        files: &[("more", "bind-dynamic\n")],
        server: DNSMASQ_MORE,
        probe: DNS,
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "dnsmasq --bind-interfaces",
        needs: DNSMASQ,
        policies: WITH_V4,
        listens: Listens::EachAddress,
        files: &[("more", "bind-interfaces\n")],
        server: DNSMASQ_MORE,
        probe: DNS,
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "named",
        needs: &[("bind9", "named")],
        policies: ALL,
        listens: Listens::EachAddress,
        files: &[(
            "conf",
            "options { directory \"{dir}\"; pid-file none; session-keyfile none; lock-file none;\n \
             listen-on { any; }; listen-on-v6 { any; }; dnssec-validation no; recursion no; };\n\
             controls { };\n",
        )],
        server: &["named", "-g", "-c", "{dir}/conf"],
        probe: DNS,
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "snmpd",
        needs: &[("snmpd", "snmpd")],
        policies: ALL,
        listens: Listens::Wildcards,
        files: &[(
            "conf",
            "agentaddress udp:161,udp6:161\nrocommunity public\nrocommunity6 public\n",
        )],
        server: &[
            "snmpd",
            "-f",
            "-Lo",
            "-C",
            "-c",
            "{dir}/conf",
            "-p",
            "{dir}/pid",
            "--noPersistentLoad=yes",
            "--noPersistentSave=yes",
        ],
        probe: udp(161, SNMP, b"public"),
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "smbd",
        needs: &[("samba", "smbd")],
        policies: ALL,
        listens: Listens::Wildcards,
        files: &[(
            "conf",
            "[global]\nprivate dir = {dir}\nlock directory = {dir}\nstate directory = {dir}\n\
             cache directory = {dir}\npid directory = {dir}\nncalrpc dir = {dir}/ncalrpc\n",
        )],
        server: &[
            "smbd",
            "--foreground",
            "--debug-stdout",
            "--configfile={dir}/conf",
        ],
        probe: tcp(445, SMB, b"\xfeSMB"),
        names_device: false,
        ready: "",
    },
    Daemon {
        name: "ntpd",
        needs: &[("ntpsec (tests/ntpd.sh --fetch)", NTPD)],
        policies: ALL,
        listens: Listens::EachAddress,
        // It leaves the clock alone.
        files: &[("conf", "disable ntp kernel\n")],
        server: &[NTPD, "--nofork", "--user=root", "--configfile={dir}/conf"],
        probe: NTP,
        names_device: false,
        ready: "Listening on routing socket",
    },
    Daemon {
        name: "coturn",
        needs: &[("coturn", "turnserver")],
        policies: WITH_V4,
        listens: Listens::EachAddress,
        files: &[],
        server: &[
            "turnserver",
            "-c",
            "/dev/null",
            "--no-cli",
            "--no-tls",
            "--no-dtls",
            "--no-auth",
            "--log-file=stdout",
            "--pidfile={dir}/pid",
            "--userdb={dir}/users",
        ],
        probe: udp(3478, STUN, b"\x01\x01"),
        names_device: false,
        ready: "",
    },
];

const DNSMASQ_SERVER: &[&str] = &[
    "dnsmasq",
    "--conf-file=/dev/null",
    "--no-daemon",
    "--user=root",
    "--no-resolv",
    "--no-hosts",
    "--address=/x.test/192.0.2.99",
];
const DNSMASQ_MORE: &[&str] = &[
    "dnsmasq",
    "--conf-file={dir}/more",
    "--no-daemon",
    "--user=root",
    "--no-resolv",
    "--no-hosts",
    "--address=/x.test/192.0.2.99",
];
