//! L9 and G7: what does not leave the host from loopback, and what the host itself
//! redirects to another host.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;

use anyhow::{Context, Result, ensure};
use libc::{IP_OPTIONS, IPPROTO_IP};
use oci_bind_hook_tests::counters::await_dropped;
use oci_bind_hook_tests::far::{FAR4, FAR6, Host};
use oci_bind_hook_tests::hook::BOTH;
use oci_bind_hook_tests::net::{HOST4, LOOP4, LOOP6};
use oci_bind_hook_tests::rules::nft;
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6, at};
use oci_bind_hook_tests::sys;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::observe::PORT;
use crate::row::{Row, Scene};
use crate::told::{open, serve};

/// Dropped on its way out.
const DROPPED: Outcome<()> = Err(Errno::PERM);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for loopback in ["host", "auto", "private"] {
        for (tcp, udp, own, far) in [(TCP4, UDP4, LOOP4, FAR4), (TCP6, UDP6, LOOP6, FAR6)] {
            let what = format!("a socket bound to {own} calls another host, {loopback}");
            rows.push(Scene::row("L9", &what, move |scene| {
                leave(scene, loopback, [tcp, udp], own, far)
            }));
        }
    }
    for (loopback, udp, called, far) in [
        ("host", UDP4, LOOP4, FAR4),
        ("auto", UDP4, LOOP4, FAR4),
        ("private", UDP4, LOOP4, FAR4),
        ("host", UDP6, LOOP6, FAR6),
        ("auto", UDP6, LOOP6, FAR6),
    ] {
        let what = format!("a socket connected to {called} sends to another host, {loopback}");
        rows.push(Scene::row("L9", &what, move |scene| {
            turn_away(scene, loopback, udp, called, far)
        }));
    }
    let what = "sendto 127.0.0.1 with a route by another host";
    rows.push(Scene::row("G1", what, by_route));
    let what = "a port of loopback that the host sends to another host";
    rows.push(Scene::row("G7", what, node_port));
    rows
}

/// On a host that masquerades and lets loopback addresses leave, as kube-proxy sets it up.
fn leave(
    scene: &Scene,
    loopback: &'static str,
    [tcp, udp]: [Kind; 2],
    own: IpAddr,
    to: IpAddr,
) -> Result<()> {
    let hosts = Host::beyond()?;
    let [_, far] = &hosts;
    masquerade("")?;
    let to = at(to, PORT, 0);
    let server = at_far(far, udp, to)?;
    let send = |payload: &[u8]| -> Result<Outcome<()>> {
        let client = scene.agent.socket(udp)?;
        client.bind(at(own, 0, 0))?;
        Ok(client.send(Some(to), payload))
    };
    send(b"before")?.context("without a policy")?;
    ensure!(server.receive()?.0 == b"before", "it sends otherwise");

    scene.attach(BOTH.loopback(loopback).guarded())?;
    let sent = send(b"sendto")?;
    ensure!(sent == DROPPED, "sendto: {sent:?}");
    let client = scene.agent.socket(udp)?;
    client.bind(at(own, 0, 0))?;
    client.connect(to)?;
    let sent = client.send(None, b"connected");
    ensure!(sent == DROPPED, "send: {sent:?}");
    let client = scene.agent.socket(tcp)?;
    client.bind(at(own, 0, 0))?;
    fcntl_setfl(&client, fcntl_getfl(&client)? | OFlags::NONBLOCK)?;
    let connected = client.connect(to);
    ensure!(connected == Err(Errno::INPROGRESS), "{connected:?}");
    await_dropped(&scene.cgroup, |(egress, _)| egress > 2)?;
    let marker = Socket::new(udp)?;
    marker.send(Some(to), b"marker")?;
    ensure!(server.receive()?.0 == b"marker", "a datagram has left");
    Ok(())
}

/// Like [`leave`], with a socket that got its address from a call to loopback.
fn turn_away(
    scene: &Scene,
    loopback: &'static str,
    kind: Kind,
    called: IpAddr,
    to: IpAddr,
) -> Result<()> {
    const DISCARD: u16 = 9;
    let hosts = Host::beyond()?;
    let [_, far] = &hosts;
    masquerade("")?;
    let to = at(to, PORT, 0);
    let server = at_far(far, kind, to)?;
    let connected = || -> Result<Socket> {
        let client = scene.agent.socket(kind)?;
        client.connect(at(called, DISCARD, 0)).context("connect")?;
        Ok(client)
    };
    let client = connected()?;
    client.send(Some(to), b"before").context("no policy")?;
    ensure!(server.receive()?.0 == b"before", "it sends otherwise");

    scene.attach(BOTH.loopback(loopback).guarded())?;
    // Under `private` a call needs a server in the container.
    let _own = serve(&scene.inside(), kind, at(called, DISCARD, 0))?;
    for client in [client, connected()?] {
        let sent = client.send(Some(to), b"turned");
        ensure!(sent.is_err(), "sendto: {sent:?}");
    }
    let marker = Socket::new(kind)?;
    marker.send(Some(to), b"marker")?;
    ensure!(server.receive()?.0 == b"marker", "a datagram has left");
    Ok(())
}

/// A source route (RFC 791, section 3.1) leads to another host before loopback.
fn by_route(scene: &Scene) -> Result<()> {
    let IpAddr::V4(far) = FAR4 else {
        unreachable!("an IPv4 address")
    };
    let _hosts = Host::beyond()?;
    masquerade("")?;
    let [first, second, third, fourth] = far.octets();
    let route = [131, 7, 4, first, second, third, fourth, 0];
    let send = || -> Result<Outcome<()>> {
        let client = scene.agent.socket(UDP4)?;
        sys::set_bytes(client.as_fd(), IPPROTO_IP, IP_OPTIONS, &route)?;
        Ok(client.send(Some(at(LOOP4, PORT, 0)), b"ping"))
    };
    send()?.context("without a policy")?;
    for loopback in ["host", "auto"] {
        scene.attach(BOTH.loopback(loopback).guarded())?;
        let sent = send()?;
        ensure!(sent == DROPPED, "{loopback}: {sent:?}");
    }
    Ok(())
}

/// A NodePort at loopback: the container calls it like any program of the host.
fn node_port(scene: &Scene) -> Result<()> {
    const NODE_PORT: u16 = 30080;
    let hosts = Host::beyond()?;
    let [_, far] = &hosts;
    masquerade(&format!(
        "chain output {{
            type nat hook output priority -100;
            ip daddr {LOOP4} tcp dport {NODE_PORT} dnat ip to {FAR4}:{PORT}
            ip daddr {LOOP4} udp dport {NODE_PORT} dnat ip to {FAR4}:{PORT}
        }}"
    ))?;
    let to = at(FAR4, PORT, 0);
    let (server, receiver) = (at_far(far, TCP4, to)?, at_far(far, UDP4, to)?);
    scene.attach(BOTH.loopback("auto").guarded())?;
    let client = scene.agent.socket(UDP4)?;
    client.connect(at(LOOP4, NODE_PORT, 0))?;
    client.send(None, b"ping").context("send")?;
    let (_, seen) = receiver.receive()?;
    ensure!(seen.ip() == HOST4, "the receiver saw {seen}");
    let client = scene.agent.socket(TCP4)?;
    client.connect(at(LOOP4, NODE_PORT, 0)).context("connect")?;
    let accepted = server.accept()?;
    ensure!(
        accepted.peer()?.ip() == HOST4,
        "the server saw {accepted:?}"
    );
    accepted.send(None, b"pong")?;
    ensure!(client.receive_connected()? == b"pong", "no pong");
    Ok(())
}

/// A server on the far host.
fn at_far(far: &Host, kind: Kind, address: SocketAddr) -> Result<Socket> {
    far.within(|| {
        let server = Socket::new(kind)?;
        open(&server, address)?;
        Ok(server)
    })
}

/// Whatever leaves the host gets the host's address as its source, even from loopback.
fn masquerade(chain: &str) -> Result<()> {
    let path = "/proc/sys/net/ipv4/conf/all/route_localnet";
    std::fs::write(path, "1").with_context(|| format!("write {path}"))?;
    nft(&format!(
        "table inet nat {{
            {chain}
            chain postrouting {{
                type nat hook postrouting priority 100;
                oifname v0 masquerade
            }}
        }}"
    ))
}
