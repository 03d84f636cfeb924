//! Names of NetBIOS (RFC 1002): nmbd, which is asked at the broadcast address of its
//! network, and binds it, after the wildcard and each address of the host.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::far::Host;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Policy, V4};
use oci_bind_hook_tests::net::{CIP4, NETWORK, Net};
use oci_bind_hook_tests::socket::at;
use tempfile::TempDir;

use crate::discovery::asks;
use crate::pair::explain;
use crate::server::Server;
use crate::tool::{self, Tool};

const NEEDS: &[Tool] = &[("samba", "nmbd")];
const NMBD: &[&str] = &[
    "nmbd",
    "--foreground",
    "--debug-stdout",
    "--configfile={dir}/conf",
];
/// It would find no network on a veth by itself.
const CONF: &str = "[global]\nnetbios name = box\ninterfaces = v0\nprivate dir = {dir}\n\
    lock directory = {dir}\nstate directory = {dir}\ncache directory = {dir}\n\
    pid directory = {dir}\nncalrpc dir = {dir}/ncalrpc\nnmbd:socket dir = {dir}/nmbd\n";
const NAMES: u16 = 137;

/// One with the names' port for broadcasts, and one without.
pub fn trials() -> Vec<Trial> {
    [V4, V4.multicast("137-138")]
        .into_iter()
        .map(|policy| {
            harness::trial(format!("nmbd ({policy:?})"), move || {
                tool::require(NEEDS)?;
                Net::isolated(|_| check(policy))
            })
        })
        .collect()
}

fn check(policy: Policy) -> Result<()> {
    let [querier, _] = Host::beyond()?;
    let dir = TempDir::new().context("make a scratch directory")?;
    let conf = CONF.replace("{dir}", &dir.path().display().to_string());
    fs::write(dir.path().join("conf"), conf)?;
    let words = tool::words(NMBD, dir.path(), None);

    let plain = Server::plain(&words, dir.path())?;
    explain(&plain, find(&plain, &querier))?;
    plain.end()?;

    let hook = tool::hook()?;
    let server = Server::contained(&hook, policy, &words, dir.path())?;
    let from = explain(&server, find(&server, &querier))?;
    ensure!(from == CIP4, "the name is answered from {from}");
    server.end()
}

/// Asks all for the name: who answers.
fn find(server: &Server, querier: &Host) -> Result<IpAddr> {
    let client = querier.broadcaster()?;
    let is_answer = |packet: &[u8]| packet.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let to = at(NETWORK, NAMES, 0);
    asks(server, &client, to, &query("BOX"), is_answer)
}

/// A query for the addresses of a workstation (RFC 1002 section 4.2.12), whose name has
/// two letters for each byte of 16 (RFC 1001 section 14.1).
fn query(name: &str) -> Vec<u8> {
    let mut query = b"nm\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00\x20".to_vec();
    for byte in format!("{name:<15}\0").bytes() {
        query.extend([b'A' + (byte >> 4), b'A' + (byte & 0xf)]);
    }
    query.extend(b"\x00\x00\x20\x00\x01");
    query
}
