//! L6: UDP sockets that were bound to the wildcard address, and so are at the assigned
//! one, call servers at loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, Policy, V4};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, HOST4, LOOP4, PEER4, has_cookie, mapped};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, UDP4, UDP6, at};
use rustix::io::Errno;

use crate::observe::{PORT, Peer};
use crate::private::DERIVED;
use crate::row::{Row, Scene, Site, row};
use crate::told::{serve, take};

/// Where systemd-resolved is.
pub const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
const RESOLVER_PORT: u16 = 5300;
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

pub const HOST: &[Policy] = &with("host");
pub const AUTO: &[Policy] = &with("auto");
pub const PRIVATE: &[Policy] = &with("private");

/// The policies with this loopback and an IPv4 address.
const fn with(loopback: &'static str) -> [Policy; 2] {
    [
        V4.loopback(loopback).guarded(),
        BOTH.loopback(loopback).guarded(),
    ]
}

/// These rows, which are skipped where a bound socket calls from the assigned address.
pub fn moved(mut rows: Vec<Row>) -> Vec<Row> {
    if !has_cookie() {
        for row in &mut rows {
            let name = row.trial.name().to_owned();
            let why = "before Linux 5.14 a bound socket calls loopback from the assigned address";
            *row = Row::alone(row.id, name, move || Err(harness::skip(why)));
        }
    }
    rows
}

/// What happens to calls.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    /// Whether the server at loopback sees the client on loopback, call by call.
    on_loopback: [bool; 3],
    /// The server's name as the client is told it, call by call.
    told: [SocketAddr; 3],
    /// Where a peer elsewhere sees the same socket.
    elsewhere: Outcome,
}

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, called, by, is_moved) in [
        (AUTO, RESOLVER, "the host's", true),
        (PRIVATE, LOOP4, "its own", true),
        (HOST, RESOLVER, "the host's", false),
    ] {
        for (kind, any) in [(UDP4, ANY4), (UDP6, ANY6)] {
            for port in [0, PORT] {
                let to = if kind.v6 { mapped(called) } else { called };
                let to = at(to, RESOLVER_PORT, 0);
                let what = format!("{kind:?} bound to {any} port {port}, {by} server at {called}");
                let observe = move |site: &Site| {
                    let server = server(site, called)?;
                    call(&bound(site, kind, port)?, &server, to)
                };
                let seen = |on_loopback, elsewhere| Seen {
                    on_loopback: [on_loopback; 3],
                    told: [to; 3],
                    elsewhere: Ok(elsewhere),
                };
                let (inside, plain) = (seen(is_moved && has_cookie(), CIP4), seen(true, HOST4));
                rows.extend(row("L6", &what, policies, observe, inside, plain));
            }
        }
    }
    let mut strange = Vec::new();
    for (loopback, server) in [("auto", RESOLVER), ("private", LOOP4)] {
        for kind in [UDP4, UDP6] {
            let what = format!("{kind:?} that has called loopback hears no stranger, {loopback}");
            strange.push(Scene::row("L6", &what, move |scene| {
                strangers(scene, loopback, kind, server)
            }));
        }
    }
    rows.extend(moved(strange));
    rows
}

/// A server at loopback: the program's at 127.0.0.1, the host's at any other address.
fn server(site: &Site, address: IpAddr) -> Result<Socket> {
    let address = at(address, RESOLVER_PORT, 0);
    if address.ip() == LOOP4 {
        serve(site, UDP4, address)
    } else {
        serve(&site.outside(), UDP4, address)
    }
}

/// A client of the program that is bound to the wildcard address.
pub fn bound(site: &Site, kind: Kind, port: u16) -> Result<Socket> {
    let client = site.socket(kind)?;
    let any = if kind.v6 { ANY6 } else { ANY4 };
    client
        .bind(at(any, port, 0))
        .with_context(|| format!("bind a client to {any}"))?;
    Ok(client)
}

/// Calls the server at loopback twice, a peer elsewhere, and the server again.
fn call(client: &Socket, server: &Socket, to: SocketAddr) -> Result<Seen> {
    let once = || exchange(client, server, Some(to));
    let (first, second) = (once()?, once()?);
    let peer = if client.kind().v6 {
        mapped(PEER4)
    } else {
        PEER4
    };
    let peer = Peer::new(false, peer)?;
    client.send(Some(peer.address()), b"ping")?;
    let elsewhere = peer.reply(client)?;
    let all = [first, second, once()?];
    Ok(Seen {
        on_loopback: all.map(|(seen, _)| seen.ip().is_loopback()),
        told: all.map(|(_, told)| told),
        elsewhere,
    })
}

/// A datagram and its answer: what each side is told that the other one is. `to` is `None`
/// if the client is connected.
pub fn exchange(
    client: &Socket,
    server: &Socket,
    to: Option<SocketAddr>,
) -> Result<(SocketAddr, SocketAddr)> {
    client.send(to, b"ping")?;
    let seen = take(server)?;
    server.send(Some(seen), b"pong")?;
    let (payload, told) = client.receive().context("the client")?;
    ensure!(payload == b"pong", "{payload:?} is no pong");
    Ok((seen, told))
}

/// At the loopback address that the socket calls from, it hears only the server that it
/// has called.
fn strangers(scene: &Scene, loopback: &'static str, kind: Kind, called: IpAddr) -> Result<()> {
    scene.attach(BOTH.loopback(loopback).guarded())?;
    let site = scene.inside();
    let server = server(&site, called)?;
    let client = bound(&site, kind, PORT)?;
    let name = if kind.v6 { mapped(called) } else { called };
    let to = at(name, RESOLVER_PORT, 0);
    exchange(&client, &server, Some(to))?;
    client.send(Some(to), b"ping")?;
    let seen = take(&server)?;
    ensure!(seen.ip().is_loopback(), "it calls from {seen}");
    // Another address, and another port at the server's own address.
    for address in [STRANGER, RESOLVER, LOOP4] {
        let stranger = Socket::new(UDP4)?;
        stranger.bind(at(address, 0, 0))?;
        stranger.connect(at(DERIVED, PORT, 0))?;
        stranger.send(None, b"stranger")?;
        let refused = stranger.receive_connected();
        ensure!(
            refused == Err(Errno::CONNREFUSED),
            "{address} gets {refused:?}"
        );
    }
    ensure!(!client.has_input()?, "it hears a stranger");
    server.send(Some(seen), b"pong")?;
    let (payload, told) = client.receive()?;
    ensure!(payload == b"pong", "it hears {payload:?}");
    ensure!(told == to, "it is told {told}");
    Ok(())
}
