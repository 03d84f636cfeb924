//! An address that comes, goes and returns under a policy, as with keepalived.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{Hook, Policy};
use oci_bind_hook_tests::net::{ANY4, ANY6, Net, PEER4, ip};
use oci_bind_hook_tests::routes::Routes;
use oci_bind_hook_tests::socket::{Kind, Socket, TCP4, TCP6, UDP4, UDP6, at};
use oci_bind_hook_tests::{harness, reach};

const MOVING4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 40));
const MOVING6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x40));
/// The family that a server or client needs alone, and the wildcard that it names.
const KINDS: [(Kind, IpAddr, Policy, IpAddr); 4] = [
    (TCP4, ANY4, Policy::of(Some(MOVING4), None), MOVING4),
    (UDP4, ANY4, Policy::of(Some(MOVING4), None), MOVING4),
    (TCP6, ANY6, Policy::of(None, Some(MOVING6)), MOVING6),
    (UDP6, ANY6, Policy::of(None, Some(MOVING6)), MOVING6),
];
/// Nothing listens there, but servers.
const PORT: u16 = 8080;

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = KINDS
        .into_iter()
        .map(|(kind, any, policy, own)| {
            harness::trial(format!("failover: a {kind:?} server"), move || {
                Net::isolated(move |_| server(kind, any, policy.loopback("auto").guarded(), own))
            })
        })
        .collect();
    trials.push(harness::trial("failover: a client", || {
        Net::isolated(|_| client())
    }));
    trials
}

/// Lets sockets be bound to addresses that are not there, as the manual says.
fn hook() -> Result<Hook> {
    for family in ["ipv4", "ipv6"] {
        let path = format!("/proc/sys/net/{family}/ip_nonlocal_bind");
        fs::write(&path, "1").with_context(|| format!("write {path}"))?;
    }
    Hook::with_config("require-local-address = false\n")
}

fn come(address: IpAddr) -> Result<()> {
    let routes = Routes::watch()?;
    let (length, more) = match address {
        IpAddr::V4(_) => (24, ""),
        IpAddr::V6(_) => (64, " nodad"),
    };
    ip(
        &["-batch", "-"],
        &format!("addr add {address}/{length} dev v0{more}\n"),
    )?;
    if address.is_ipv6() {
        routes.wait_for(&[address])?;
    }
    Ok(())
}

fn go(address: IpAddr) -> Result<()> {
    let length = if address.is_ipv4() { 24 } else { 64 };
    ip(
        &["-batch", "-"],
        &format!("addr del {address}/{length} dev v0\n"),
    )
    .map(drop)
}

/// One socket serves whenever the address is there, and at no other address.
fn server(kind: Kind, any: IpAddr, policy: Policy, own: IpAddr) -> Result<()> {
    let hook = hook()?;
    let cgroup = Cgroup::new()?;
    hook.attach(&cgroup, policy)?;
    let server = Agent::new(&cgroup)?.socket(kind)?;
    server
        .bind(at(any, PORT, 0))
        .context("bind before it comes")?;
    if kind.tcp {
        server.listen()?;
    }
    ensure!(server.local()?.ip() == own, "it is at {}", server.local()?);
    for _ in 0..2 {
        come(own)?;
        let answered = reach::answered(&server)?;
        ensure!(answered.is_empty(), "it answers at {answered:?}");
        reach::assert_answers(&server, at(own, PORT, 0))?;
        go(own)?;
        // A server that starts while another host has the address.
        let late = Agent::new(&cgroup)?.socket(kind)?;
        late.bind(at(any, PORT + 1, 0))
            .context("bind after it has gone")?;
        ensure!(late.local()?.ip() == own, "it is at {}", late.local()?);
    }
    Ok(())
}

/// A call leaves from the address, or not at all.
fn client() -> Result<()> {
    let hook = hook()?;
    let cgroup = Cgroup::new()?;
    hook.attach(
        &cgroup,
        Policy::of(Some(MOVING4), None).loopback("auto").guarded(),
    )?;
    let agent = Agent::new(&cgroup)?;
    let peer = Socket::new(TCP4)?;
    peer.bind(at(PEER4, PORT, 0))?;
    peer.listen()?;
    for _ in 0..2 {
        let early = agent.socket(TCP4)?.connect(at(PEER4, PORT, 0));
        ensure!(early.is_err(), "it called without the address");
        come(MOVING4)?;
        let caller = agent.socket(TCP4)?;
        caller.reset_on_close()?;
        caller.connect(at(PEER4, PORT, 0))?;
        let from = peer.accept()?.peer()?;
        ensure!(from.ip() == MOVING4, "the call came from {from}");
        go(MOVING4)?;
    }
    Ok(())
}
