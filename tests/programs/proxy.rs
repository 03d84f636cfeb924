//! A proxy in front of a server at its own port of 127.0.0.1.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, Policy, V4};
use oci_bind_hook_tests::net::{CIP4, LOOP4, Net};
use oci_bind_hook_tests::socket::{Socket, TCP4};
use rustix::io::Errno;
use tempfile::TempDir;

use crate::pair::explain;
use crate::server::Server;
use crate::tool::{self, Tool};

const HAPROXY: &[Tool] = &[("haproxy", "haproxy")];
const CONF: &str = "defaults\n mode tcp\n timeout connect 60s\n timeout client 60s\n \
                    timeout server 60s\nlisten front\n bind 0.0.0.0:80\n server back 127.0.0.1:80\n";
const PORT: u16 = 80;

/// One for each policy.
pub fn trials() -> Vec<Trial> {
    let trial = |policy: Policy| {
        let name = format!("haproxy, in front of 127.0.0.1:80 ({policy:?})");
        harness::trial(name, move || {
            tool::require(HAPROXY)?;
            Net::isolated(|_| check(policy))
        })
    };
    [V4, BOTH].map(trial).into()
}

fn check(policy: Policy) -> Result<()> {
    let back = Socket::new(TCP4)?;
    back.bind(SocketAddr::new(LOOP4, PORT))?;
    back.listen()?;

    let dir = TempDir::new().context("make a scratch directory")?;
    fs::write(dir.path().join("conf"), CONF)?;
    let words = ["haproxy", "-db", "-f", "{dir}/conf"];
    let words = tool::words(&words, dir.path(), None);
    let hook = tool::hook()?;
    let proxy = Server::contained(&hook, policy, &words, dir.path())?;
    explain(&proxy, proxied(&proxy, &back))?;
    proxy.end()
}

/// Fails unless what is said to the proxy is heard behind it, and the answer comes back.
fn proxied(proxy: &Server, back: &Socket) -> Result<()> {
    let client = proxy.wait_for(|| {
        let client = Socket::new(TCP4)?;
        match client.connect(SocketAddr::new(CIP4, PORT)) {
            Ok(()) => Ok(Some(client)),
            Err(Errno::CONNREFUSED) => Ok(None),
            Err(errno) => Err(errno).context("call the proxy"),
        }
    })?;
    client.send(None, b"ping")?;
    let behind = back.accept().context("behind the proxy")?;
    let heard = behind.receive_connected()?;
    ensure!(heard == b"ping", "{heard:?} was heard behind the proxy");
    behind.send(None, b"pong")?;
    let heard = client.receive_connected()?;
    ensure!(heard == b"pong", "{heard:?} came back");
    Ok(())
}
