//! Programs that ask a resolver at 127.0.0.53 which answers its own host alone, as
//! systemd-resolved does, from a socket that they have bound.

use std::fs;
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
use crate::tool::{self, Tool};

/// What the resolver says of every name.
const ANSWER: &str = "192.0.2.99\n";
const PYTHON: Tool = ("python3", "python3");
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
        needs: &[
            PYTHON,
            ("musl-tools", "musl-gcc"),
            ("util-linux", "unshare"),
        ],
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
        needs: &[PYTHON, ("nodejs", "node")],
        files: &[("lookup.js", include_str!("files/lookup.js"))],
        prepare: &["true"],
        command: &["node", "{dir}/lookup.js", "x.test"],
    },
    Client {
        name: "java, DatagramSocket",
        needs: &[
            PYTHON,
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
    "--port=5300",
    "--no-resolv",
    "--no-hosts",
    "--server=127.0.0.53",
    // Or else it does not bind.
    "--min-port=1024",
];
const DIG: &[&str] = &[
    "dig", "@{host}", "-p", "5300", "+short", "+tries=1", "+time=30", "x.test", "A",
];

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for client in CLIENTS {
        for &policy in POLICIES {
            let name = format!("{}, a resolver at 127.0.0.53 ({policy:?})", client.name);
            trials.push(trial(name, client.needs, move || client.check(policy)));
        }
    }
    let name = format!("dnsmasq, to a resolver at 127.0.0.53 ({BOTH:?})");
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
        tool::require(&[PYTHON])?;
        Net::isolated(|_| {
            let dir = TempDir::new().context("make a scratch directory")?;
            let script = include_str!("files/resolver.py");
            fs::write(dir.path().join("resolver.py"), script)?;
            let words = tool::words(&["python3", "{dir}/resolver.py"], dir.path(), None);
            let resolver = Server::plain(&words, dir.path())?;
            resolver.wait_for(|| Ok(resolver.log()?.contains("ready").then_some(())))?;
            explain(&resolver, test())?;
            resolver.end()
        })
    })
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

/// It asks from a socket for each question, and takes no answer from another address.
fn forward() -> Result<()> {
    let hook = tool::hook()?;
    let dir = TempDir::new().context("make a scratch directory")?;
    let words = tool::words(FORWARDER, dir.path(), None);
    for (is_contained, at) in [(false, HOST4), (true, CIP4)] {
        let server = if is_contained {
            // It ends if it may not have its IPv6 socket.
            Server::contained(&hook, BOTH, &words, dir.path())?
        } else {
            Server::plain(&words, dir.path())?
        };
        let dig = tool::words(DIG, dir.path(), Some(at));
        let asked = server.wait_for(|| {
            let output = tool::finish(tool::plain(&dig))?;
            Ok((output.stdout == ANSWER).then_some(()))
        });
        explain(&server, asked).with_context(|| format!("ask at {at}"))?;
        server.end()?;
    }
    Ok(())
}
