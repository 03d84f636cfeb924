//! Servers that trust the programs of their own host: those are the clients
//! inside that call localhost, and nobody else.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, Hook, Policy, V4, V6};
use oci_bind_hook_tests::net::{HOST4, LOOP4, LOOP6, Net};
use tempfile::TempDir;

use crate::http::{NGINX, NGINX_CONF, NGINX_SERVER};
use crate::program::Binds;
use crate::server::Server;
use crate::services::{REDIS, REDIS_CLIENT};
use crate::tool::{self, Tool};

/// A server and its client, as in `Program`.
struct Trusting {
    name: &'static str,
    needs: &'static [Tool],
    files: &'static [(&'static str, &'static str)],
    server: &'static [&'static str],
    client: &'static [&'static str],
    /// Where it listens by itself.
    binds: Binds,
    /// What the client says if the server trusts it.
    welcome: &'static str,
    /// What it says if the server does not.
    refusal: &'static str,
}

const NGINX_STATUS: &[&str] = &["curl", "-sSgm", "30", "http://{at}/status"];

const REDIS_DEFAULT: Trusting = Trusting {
    name: "redis, its protected mode",
    needs: REDIS,
    files: &[],
    // Without a configuration it listens everywhere, in this mode.
    server: &["redis-server", "--save", ""],
    client: REDIS_CLIENT,
    binds: Binds::Both,
    welcome: " addr=",
    refusal: "running in protected mode",
};
const NGINX4: Trusting = Trusting {
    name: "nginx, allow and deny",
    needs: NGINX,
    files: &[NGINX_CONF, ("listen", "listen 80;")],
    server: NGINX_SERVER,
    client: NGINX_STATUS,
    binds: Binds::Any4,
    welcome: "Active connections",
    refusal: "403 Forbidden",
};
const NGINX_BOTH: Trusting = Trusting {
    name: "nginx for both families, allow and deny",
    files: &[NGINX_CONF, ("listen", "listen [::]:80 ipv6only=off;")],
    binds: Binds::Any6,
    ..NGINX4
};

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    // Program, policy, `loopback`; what localhost is to trusted clients.
    let lines: [(&Trusting, Policy, &str, &[IpAddr]); 11] = [
        (&REDIS_DEFAULT, V4, "auto", &[LOOP4]),
        (&REDIS_DEFAULT, BOTH, "auto", &[LOOP4, LOOP6]),
        (&REDIS_DEFAULT, V4, "private", &[LOOP4]),
        (&REDIS_DEFAULT, BOTH, "private", &[LOOP4]),
        (&NGINX4, V4, "auto", &[LOOP4]),
        (&NGINX4, V4, "private", &[LOOP4]),
        (&NGINX_BOTH, V4, "auto", &[LOOP4, LOOP6]),
        (&NGINX_BOTH, V6, "auto", &[LOOP6]),
        (&NGINX_BOTH, BOTH, "auto", &[LOOP4, LOOP6]),
        (&NGINX_BOTH, V4, "private", &[LOOP4, LOOP6]),
        (&NGINX_BOTH, BOTH, "private", &[LOOP4, LOOP6]),
    ];
    lines
        .into_iter()
        .map(|(program, policy, loopback, trusted)| {
            let name = format!("{} ({policy:?} {loopback})", program.name);
            harness::trial(name, move || {
                tool::require(program.needs)?;
                program.binds.require(policy)?;
                Net::isolated(|_| program.check(policy, loopback, trusted))
            })
        })
        .collect()
}

impl Trusting {
    fn check(&self, policy: Policy, loopback: &str, trusted: &[IpAddr]) -> Result<()> {
        let dir = TempDir::new().context("make a scratch directory")?;
        for (name, text) in self.files {
            let text = text.replace("{dir}", &dir.path().display().to_string());
            fs::write(dir.path().join(name), text)?;
        }
        let words = tool::words(self.server, dir.path(), None);
        let client = |host| tool::plain(&tool::words(self.client, dir.path(), Some(host)));

        let server = Server::plain(&words, dir.path())?;
        let ask = |host| self.trusts(&server, || Ok(client(host)));
        ensure!(ask(LOOP4)?, "without a policy, not even its own host");
        ensure!(!ask(HOST4)?, "without a policy, everybody");
        server.end()?;

        let hook = Hook::with_config(&format!("[defaults]\nloopback = \"{loopback}\"\n"))?;
        let server = Server::contained(&hook, policy, &words, dir.path())?;
        let outside = |host| self.trusts(&server, || Ok(client(host)));
        let inside = |host| self.trusts(&server, || server.exec(&client(host)));
        // From outside first: `run` has its cgroup once the server answers.
        for own in [policy.ipv4, policy.ipv6].into_iter().flatten() {
            if own.is_ipv6() && self.binds == Binds::Any4 {
                continue;
            }
            ensure!(!outside(own)?, "whoever calls {own}");
            ensure!(!inside(own)?, "inside, whoever calls {own}");
        }
        for &localhost in trusted {
            ensure!(inside(localhost)?, "inside, not {localhost}");
        }
        if !trusted.contains(&LOOP6) && policy == BOTH {
            // `::1` leads to the assigned address there: the documented gap.
            ensure!(!inside(LOOP6)?, "inside, {LOOP6}");
        }
        server.end()
    }

    /// Whether the server, once it is ready, trusts this client; it must say so
    /// itself either way.
    fn trusts(&self, server: &Server, client: impl Fn() -> Result<Command>) -> Result<bool> {
        let asked = server.wait_for(|| {
            let output = tool::finish(client()?)?;
            let says = |text| output.stdout.contains(text) || output.stderr.contains(text);
            Ok((says(self.welcome) || says(self.refusal)).then(|| says(self.welcome)))
        });
        asked.with_context(|| format!("{} does not answer: {:?}", self.name, server.log()))
    }
}
