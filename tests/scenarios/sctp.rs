//! G1 and G2: SCTP (RFC 9260), whose bind, connect and send no hook sees: only the guard
//! controls it.
//!
//! Within one host, a handshake gets as far as it ever will before connect returns.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use oci_bind_hook_tests::counters::{await_dropped, dropped};
use oci_bind_hook_tests::hook::BOTH;
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, OTHER4, OTHER6};
use oci_bind_hook_tests::socket::{Kind, Socket, TCP4, TCP6};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::SocketType;

use crate::observe::PORT;
use crate::row::{Row, Scene, Site};

/// `IPPROTO_SCTP`
const SCTP: u32 = 132;

/// A family: the sockets, and the addresses.
#[derive(Clone, Copy)]
struct Family {
    kind: Kind,
    any: IpAddr,
    own: IpAddr,
    host: IpAddr,
    other: IpAddr,
}

const IPV4: Family = Family {
    kind: TCP4,
    any: ANY4,
    own: CIP4,
    host: HOST4,
    other: OTHER4,
};
const IPV6: Family = Family {
    kind: TCP6,
    any: ANY6,
    own: CIP6,
    host: HOST6,
    other: OTHER6,
};

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for family in [IPV4, IPV6] {
        let number = if family.kind.v6 { 6 } else { 4 };
        let mut add = |id, what: &str, test: fn(&Scene, Family) -> Result<()>| {
            let what = format!("SCTP over IPv{number}, {what}");
            rows.push(Scene::row(id, &what, move |scene| test(scene, family)));
        };
        add("G1", "clients", clients);
        add("G2", "servers", servers);
    }
    rows
}

/// Packets from another address are dropped, and the peer hears nothing.
fn clients(scene: &Scene, family: Family) -> Result<()> {
    let site = scene.inside();
    let listener = open(&site.outside(), family.kind)?;
    listener.bind(site.at(family.host, PORT))?;
    listener.listen()?;
    let client = |bound: Option<IpAddr>| -> Result<Socket> {
        let client = open(&site, family.kind)?;
        if let Some(bound) = bound {
            client.bind(site.at(bound, 0))?;
        }
        Ok(client)
    };
    let meet = |client: &Socket, expected: IpAddr| -> Result<()> {
        client.connect(site.at(family.host, PORT))?;
        let accepted = listener.accept()?;
        let seen = accepted.peer()?;
        ensure!(seen.ip() == expected, "the peer saw {seen}");
        exchange(client, &accepted)
    };

    meet(&client(None)?, family.host)?;
    scene.attach(BOTH.guarded())?;
    for bound in [Some(family.other), None] {
        let (before, _) = dropped(&scene.cgroup)?;
        let client = client(bound)?;
        begin(&client, &site, family.host)?;
        await_dropped(&scene.cgroup, |(after, _)| after > before)
            .with_context(|| format!("bound to {bound:?}"))?;
        ensure!(!listener.has_input()?, "bound to {bound:?}, it arrived");
    }
    let before = dropped(&scene.cgroup)?;
    meet(&client(Some(family.own))?, family.own)?;
    let after = dropped(&scene.cgroup)?;
    ensure!(after == before, "{before:?} dropped came to {after:?}");
    scene.hook.detach(&scene.cgroup)?;
    meet(&client(Some(family.other))?, family.other)
}

/// Packets for another address are dropped, and the server hears nothing.
fn servers(scene: &Scene, family: Family) -> Result<()> {
    let site = scene.inside();
    let server = |at: IpAddr| -> Result<Socket> {
        let listener = open(&site, family.kind)?;
        listener.bind(site.at(at, PORT))?;
        listener.listen()?;
        Ok(listener)
    };
    let client = || -> Result<Socket> {
        let client = open(&site.outside(), family.kind)?;
        client.bind(site.at(family.host, 0))?;
        Ok(client)
    };
    let meet = |listener: &Socket, to: IpAddr| -> Result<()> {
        let client = client()?;
        let connected = client.connect(site.at(to, PORT));
        connected.with_context(|| format!("connect to {to}"))?;
        let accepted = listener.accept()?;
        let seen = accepted.peer()?;
        ensure!(seen.ip() == family.host, "called at {to}, it saw {seen}");
        exchange(&client, &accepted)
    };

    meet(&server(family.other)?, family.other)?;
    scene.attach(BOTH.guarded())?;
    for at in [family.other, family.any] {
        let listener = server(at)?;
        let (_, before) = dropped(&scene.cgroup)?;
        let client = client()?;
        begin(&client, &site, family.other)?;
        await_dropped(&scene.cgroup, |(_, after)| after > before)
            .with_context(|| format!("at {at}"))?;
        ensure!(!listener.has_input()?, "at {at}: it was reached");
    }
    // A server at the wildcard address answers from an address that the kernel chooses:
    // the documented gap.
    let listener = server(family.any)?;
    let (before, _) = dropped(&scene.cgroup)?;
    let client = client()?;
    begin(&client, &site, family.own)?;
    await_dropped(&scene.cgroup, |(after, _)| after > before).context("an answer")?;
    ensure!(!listener.has_input()?, "at the wildcard: it was reached");
    drop((listener, client));

    let before = dropped(&scene.cgroup)?;
    meet(&server(family.own)?, family.own)?;
    let after = dropped(&scene.cgroup)?;
    ensure!(after == before, "{before:?} dropped came to {after:?}");
    scene.hook.detach(&scene.cgroup)?;
    meet(&server(family.other)?, family.other)
}

/// Starts to connect.
fn begin(client: &Socket, site: &Site, to: IpAddr) -> Result<()> {
    fcntl_setfl(client, fcntl_getfl(client)? | OFlags::NONBLOCK)?;
    let connected = client.connect(site.at(to, PORT));
    ensure!(connected == Err(Errno::INPROGRESS), "{to}: {connected:?}");
    Ok(())
}

/// Both ends send and receive; closing then resets the connection.
fn exchange(client: &Socket, accepted: &Socket) -> Result<()> {
    for (from, to) in [(client, accepted), (accepted, client)] {
        from.send(None, b"hello")?;
        ensure!(to.receive_connected()? == b"hello", "it did not arrive");
    }
    accepted.reset_on_close()
}

/// A socket with one association, like a TCP one.
fn open(site: &Site, kind: Kind) -> Result<Socket> {
    let socket = site.open(kind, SocketType::STREAM, SCTP)?;
    socket.reset_on_close()?;
    Ok(socket)
}
