//! Servers as Debian has them, each of which ends if one of its binds fails: they start
//! whatever the families of the policy, answer where they may, and come again.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, Policy};
use oci_bind_hook_tests::net::{HOST4, HOST6, LOOP4, LOOP6, Net, OTHER4, OTHER6};
use oci_bind_hook_tests::reach::PROBED;
use oci_bind_hook_tests::socket::{Kind, Socket};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::daemon::{DAEMONS, Daemon, Listens};
use crate::pair::explain;
use crate::server::Server;
use crate::tool;

/// One for each daemon and policy.
pub fn trials() -> Vec<Trial> {
    let trials = |daemon: &'static Daemon| {
        daemon.policies.iter().map(move |&policy| {
            harness::trial(format!("{} starts ({policy:?})", daemon.name), move || {
                tool::require(daemon.needs)?;
                Net::isolated(|_| check(daemon, policy))
            })
        })
    };
    DAEMONS.iter().flat_map(trials).collect()
}

fn check(daemon: &Daemon, policy: Policy) -> Result<()> {
    let hook = tool::hook()?;
    let plain = Running::plain(daemon)?;
    for host in [HOST4, HOST6] {
        plain.await_answer(host).context("without a policy")?;
    }
    plain.server.end()?;

    let own: Vec<_> = [policy.ipv4, policy.ipv6].into_iter().flatten().collect();
    let mut reached = own.clone();
    if daemon.listens == Listens::EachAddress {
        reached.extend([LOOP4, LOOP6]);
    }
    for what in ["under `run`", "once more"] {
        let running = Running::contained(daemon, &hook, policy)?;
        running.answers_at(&reached).context(what)?;
        running.answers_itself(&own).context(what)?;
        if daemon.listens == Listens::Wildcards {
            // Another container's has the same port.
            let theirs = neighbour(policy);
            let beside = Running::contained(daemon, &hook, theirs)?;
            let others: Vec<_> = [theirs.ipv4, theirs.ipv6].into_iter().flatten().collect();
            beside.await_answer(others[0]).context("side by side")?;
            running.await_answer(own[0]).context("side by side")?;
            beside.server.end()?;
        }
        running.server.end()?;
    }
    Ok(())
}

/// The same families at another container's addresses.
fn neighbour(policy: Policy) -> Policy {
    Policy::of(policy.ipv4.and(Some(OTHER4)), policy.ipv6.and(Some(OTHER6)))
}

/// A daemon that runs, with its scratch directory.
struct Running<'a> {
    daemon: &'a Daemon,
    server: Server,
    _dir: TempDir,
}

impl<'a> Running<'a> {
    fn plain(daemon: &'a Daemon) -> Result<Self> {
        let start = |words: &[String], dir: &Path| Server::plain(words, dir);
        Self::start(daemon, start)
    }

    fn contained(daemon: &'a Daemon, hook: &Hook, policy: Policy) -> Result<Self> {
        let start = |words: &[String], dir: &Path| Server::contained(hook, policy, words, dir);
        Self::start(daemon, start)
    }

    fn start(
        daemon: &'a Daemon,
        start: impl FnOnce(&[String], &Path) -> Result<Server>,
    ) -> Result<Self> {
        let dir = TempDir::new().context("make a scratch directory")?;
        for (name, text) in daemon.files {
            let text = text.replace("{dir}", &dir.path().display().to_string());
            fs::write(dir.path().join(name), text)?;
        }
        let words = tool::words(daemon.server, dir.path(), None);
        let server = start(&words, dir.path())?;
        let ready = server.wait_for(|| Ok(server.log()?.contains(daemon.ready).then_some(())));
        explain(&server, ready)?;
        Ok(Self {
            daemon,
            server,
            _dir: dir,
        })
    }

    /// Waits until it answers there.
    fn await_answer(&self, address: IpAddr) -> Result<()> {
        let awaited = self
            .server
            .wait_for(|| Ok(self.asks(Socket::new, address)?.then_some(())))
            .with_context(|| format!("wait for an answer at {address}"));
        explain(&self.server, awaited)
    }

    /// Fails unless it answers at exactly these addresses.
    fn answers_at(&self, expected: &[IpAddr]) -> Result<()> {
        for &address in expected {
            self.await_answer(address)?;
        }
        for address in PROBED {
            let answers = self.asks(Socket::new, address)?;
            let is_expected = expected.contains(&address);
            ensure!(answers == is_expected, "at {address} it answers: {answers}");
        }
        Ok(())
    }

    /// Fails unless its own programs find it at localhost, of the families of `own`.
    fn answers_itself(&self, own: &[IpAddr]) -> Result<()> {
        let agent = Agent::through(|command| self.server.exec(command))?;
        for own in own {
            let localhost = match own {
                IpAddr::V4(_) => LOOP4,
                // Its answers name the device of the address: see Limits.
                IpAddr::V6(_) if self.daemon.names_device => continue,
                IpAddr::V6(_) => LOOP6,
            };
            let answers = self.asks(|kind| agent.socket(kind), localhost)?;
            ensure!(answers, "it does not reach itself at {localhost}");
        }
        Ok(())
    }

    /// Whether it answers a socket of this program.
    fn asks(&self, socket: impl Fn(Kind) -> Result<Socket>, address: IpAddr) -> Result<bool> {
        let probe = &self.daemon.probe;
        let client = socket(Kind::of(probe.is_tcp, address))?;
        let said = client
            .connect(SocketAddr::new(address, probe.port))
            .and_then(|()| client.send(None, probe.says))
            .and_then(|()| client.receive_connected());
        match said {
            Ok(answer) => {
                let found = answer
                    .windows(probe.hears.len())
                    .any(|part| part == probe.hears);
                ensure!(found, "{answer:?} is no answer");
                Ok(true)
            }
            Err(Errno::CONNREFUSED) => Ok(false),
            Err(errno) => Err(errno).with_context(|| format!("ask at {address}")),
        }
    }
}
