//! Programs that ask systemd-resolved at 127.0.0.53, which answers its own host alone,
//! from a socket that they have bound.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, Policy, V4};
use oci_bind_hook_tests::net::{CIP4, HOST4, Net};
use tempfile::TempDir;

use crate::pair::explain;
use crate::server::Server;
use crate::services::DNSMASQ;
use crate::tool::{self, RESOLVED, Tool};

/// Where it listens.
const STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
/// What the resolver knows, and says.
const HOSTS: &str = "192.0.2.99 x.test\n";
const ANSWER: &str = "192.0.2.99\n";
const RESOLVER: &[Tool] = &[
    ("systemd-resolved (tests/resolved.sh --fetch)", RESOLVED),
    ("util-linux", "unshare"),
    ("bind9-dnsutils", "dig"),
];
const POLICIES: &[Policy] = &[V4, BOTH];

/// A program that prints the address of a name. In commands `{dir}` stands for a
/// scratch directory.
struct Client {
    name: &'static str,
    needs: &'static [Tool],
    files: &'static [(&'static str, &'static str)],
    /// What to run before, in the scratch directory.
    prepare: &'static [&'static str],
    command: &'static [&'static str],
}

const CLIENTS: &[Client] = &[
    Client {
        name: "musl, getaddrinfo",
        needs: &[("musl-tools", "musl-gcc")],
        files: &[
            ("lookup.c", include_str!("files/lookup.c")),
            ("resolv.conf", "nameserver 127.0.0.53\noptions timeout:30\n"),
        ],
        prepare: &["musl-gcc", "-static", "-o", "lookup", "lookup.c"],
        command: &[
            "unshare",
            "--mount",
            "sh",
            "-c",
            "mount --bind \"$0/resolv.conf\" /etc/resolv.conf && exec \"$0/lookup\" x.test",
            "{dir}",
        ],
    },
    Client {
        name: "node, dgram",
        needs: &[("nodejs", "node")],
        files: &[("lookup.js", include_str!("files/lookup.js"))],
        prepare: &["true"],
        command: &["node", "{dir}/lookup.js", "x.test"],
    },
    Client {
        name: "java, DatagramSocket",
        needs: &[
            ("default-jdk-headless", "java"),
            ("default-jdk-headless", "javac"),
        ],
        files: &[("Lookup.java", include_str!("files/Lookup.java"))],
        prepare: &["javac", "Lookup.java"],
        command: &["java", "-cp", "{dir}", "Lookup", "x.test"],
    },
];

const FORWARDER: &[&str] = &[
    "dnsmasq",
    "--conf-file=/dev/null",
    "--no-daemon",
    "--no-resolv",
    "--no-hosts",
    "--server=127.0.0.53",
    // Or else it does not bind.
    "--min-port=1024",
];
const DIG: &[&str] = &[
    "dig", "@{host}", "+short", "+tries=1", "+time=30", "x.test", "A", "-p",
];

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for client in CLIENTS {
        for &policy in POLICIES {
            let name = format!("{}, systemd-resolved ({policy:?})", client.name);
            trials.push(trial(name, client.needs, move || client.check(policy)));
        }
    }
    let name = format!("dnsmasq, to systemd-resolved ({BOTH:?})");
    trials.push(trial(name, DNSMASQ, forward));
    trials
}

/// A trial with the resolver, in a network namespace.
fn trial(
    name: String,
    needs: &'static [Tool],
    test: impl FnOnce() -> Result<()> + Send + 'static,
) -> Trial {
    harness::trial(name, move || {
        tool::require(needs)?;
        tool::require(RESOLVER)?;
        Net::isolated(|_| {
            let dir = TempDir::new().context("make a scratch directory")?;
            fs::write(dir.path().join("hosts"), HOSTS)?;
            let words = tool::words(&[RESOLVED, "{dir}/hosts"], dir.path(), None);
            let resolver = Server::plain(&words, dir.path())?;
            explain(&resolver, asked(&resolver, STUB, 53))?;
            explain(&resolver, test())?;
            resolver.end()
        })
    })
}

/// Waits until a server has the answer.
fn asked(server: &Server, host: IpAddr, port: u16) -> Result<()> {
    let mut dig = tool::words(DIG, Path::new(""), Some(host));
    dig.push(port.to_string());
    let asked = server.wait_for(|| {
        let output = tool::finish(tool::plain(&dig))?;
        Ok((output.stdout == ANSWER).then_some(()))
    });
    asked.with_context(|| format!("ask at {host}"))
}

impl Client {
    fn check(&self, policy: Policy) -> Result<()> {
        let dir = TempDir::new().context("make a scratch directory")?;
        for (name, text) in self.files {
            fs::write(dir.path().join(name), text)?;
        }
        let run = |mut command: Command| {
            command.current_dir(dir.path());
            tool::finish(command)
        };
        let words = |template| tool::words(template, dir.path(), None);
        let output = run(tool::plain(&words(self.prepare)))?;
        ensure!(output.status.success(), "prepare: {output:?}");

        let command = words(self.command);
        let output = run(tool::plain(&command))?;
        ensure!(output.stdout == ANSWER, "without a policy: {output:?}");
        let output = run(tool::run_under(&tool::hook()?, policy, &command))?;
        ensure!(output.stdout == ANSWER, "under `run`: {output:?}");
        Ok(())
    }
}

/// It asks from a socket for each question, and takes no answer from another address. At the
/// port of the resolver, which no lookup finds, it does not ask itself.
fn forward() -> Result<()> {
    let hook = tool::hook()?;
    let dir = TempDir::new().context("make a scratch directory")?;
    for (is_contained, at, port) in [(false, HOST4, 5300), (true, CIP4, 5300), (true, CIP4, 53)] {
        let mut words = tool::words(FORWARDER, dir.path(), None);
        words.push(format!("--port={port}"));
        let server = if is_contained {
            // It ends if it may not have its IPv6 socket.
            Server::contained(&hook, BOTH, &words, dir.path())?
        } else {
            Server::plain(&words, dir.path())?
        };
        explain(&server, asked(&server, at, port))?;
        server.end()?;
    }
    Ok(())
}
