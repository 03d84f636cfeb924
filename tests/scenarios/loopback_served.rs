//! L6: UDP servers that were bound to the wildcard address, and so are at the assigned
//! one, are called from loopback.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::hook::{BOTH, Policy};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, LOOP4, Net, mapped};
use oci_bind_hook_tests::socket::{Kind, Socket, UDP4, UDP6, at};

use crate::loopback_bound::{self, AUTO, PRIVATE, RESOLVER, bound, exchange};
use crate::observe::PORT;
use crate::private::DERIVED;
use crate::row::{Row, Scene, Site, row};
use crate::told::{serve, take};

/// How many clients call before the first is answered.
const CROWD: u8 = 20;

/// What a client does before it sends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Unbound,
    Bound,
    Connected,
}

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for policies in [AUTO, PRIVATE] {
        for (server, client) in [(UDP4, UDP4), (UDP6, UDP4), (UDP4, UDP6)] {
            for how in [Client::Unbound, Client::Bound, Client::Connected] {
                rows.extend(own_server(policies, server, client, how));
            }
        }
    }
    let told = |port| at(LOOP4, port, 0);
    for policies in [AUTO, PRIVATE] {
        let what = "two bound sockets that call each other at 127.0.0.1";
        let both = [told(PORT + 1), told(PORT)];
        rows.extend(row("L6", what, policies, each_other, both, both));
        let what = "a bound socket that calls itself at 127.0.0.1";
        rows.extend(row("L6", what, policies, itself, told(PORT), told(PORT)));
    }
    let what = "somebody waits at the loopback address of the container for its answers";
    rows.push(Scene::row("L6", what, waiting));
    let what = "a bound socket in another network namespace than the policy's";
    rows.push(Scene::row("L6", what, elsewhere));
    for loopback in ["auto", "private"] {
        for kind in [UDP4, UDP6] {
            let what = format!("{kind:?} server that answers many later, {loopback}");
            rows.push(Scene::row("L6", &what, move |scene| {
                scene.attach(BOTH.loopback(loopback).guarded())?;
                let site = scene.inside();
                crowd(&site, &serve(&site, kind, wildcard(kind))?, LOOP4)
            }));
        }
    }
    let what = "the host's server that answers many later, auto";
    rows.push(Scene::row("L6", what, |scene| {
        scene.attach(BOTH.loopback("auto").guarded())?;
        let site = scene.inside();
        let server = serve(&site.outside(), UDP4, at(RESOLVER, PORT, 0))?;
        crowd(&site, &server, RESOLVER)
    }));
    for loopback in ["host", "auto"] {
        for kind in [UDP4, UDP6] {
            let what = format!("{kind:?} server that the host calls from {LOOP4}, {loopback}");
            rows.push(Scene::row("L6", &what, move |scene| {
                from_host(scene, loopback, kind)
            }));
        }
    }
    loopback_bound::moved(rows)
}

fn wildcard(kind: Kind) -> SocketAddr {
    at(if kind.v6 { ANY6 } else { ANY4 }, PORT, 0)
}

/// Clients of the same program: whether the server sees them on loopback, and what they
/// are told that the server is.
fn own_server(policies: &'static [Policy], server: Kind, client: Kind, how: Client) -> Vec<Row> {
    let to = if client.v6 { mapped(LOOP4) } else { LOOP4 };
    let to = at(to, PORT, 0);
    let what = format!("{client:?} {how:?} calls {LOOP4}, own {server:?} server at the wildcard");
    let observe = move |site: &Site| {
        let server = serve(site, server, wildcard(server))?;
        let client = match how {
            Client::Bound => bound(site, client, 0)?,
            Client::Unbound | Client::Connected => site.socket(client)?,
        };
        if how == Client::Connected {
            client.connect(to)?;
        }
        let mut seen = Vec::new();
        for _ in 0..2 {
            let to = (how != Client::Connected).then_some(to);
            let (from, told) = exchange(&client, &server, to)?;
            seen.push((from.ip().to_canonical().is_loopback(), told));
        }
        Ok(seen)
    };
    let seen = vec![(true, to); 2];
    row("L6", &what, policies, observe, seen.clone(), seen)
}

/// Clients of the program that all call the server before it answers the first of them:
/// each hears its own answer, from the address that it has called.
fn crowd(site: &Site, server: &Socket, called: IpAddr) -> Result<()> {
    let mut clients = Vec::new();
    for number in 0..CROWD {
        let kind = if number % 2 == 0 { UDP4 } else { UDP6 };
        let client = if number % 4 < 2 {
            bound(site, kind, 0)?
        } else {
            site.socket(kind)?
        };
        let name = if kind.v6 { mapped(called) } else { called };
        let to = at(name, PORT, 0);
        client.send(Some(to), &[number])?;
        clients.push((client, to));
    }
    let calls = clients
        .iter()
        .map(|_| server.receive().context("the server"))
        .collect::<Result<Vec<_>>>()?;
    for (payload, from) in calls.iter().rev() {
        ensure!(
            from.ip().to_canonical().is_loopback(),
            "the server sees {from}"
        );
        server.send(Some(*from), payload)?;
    }
    for (number, (client, to)) in (0..).zip(&clients) {
        let (payload, from) = client.receive().context("a client")?;
        ensure!(payload == [number], "client {number} hears {payload:?}");
        ensure!(from == *to, "client {number} is told {from}");
    }
    Ok(())
}

/// The answer comes from the address that the host has called, since a connected client
/// accepts no other. Clients of the program are still answered from loopback.
fn from_host(scene: &Scene, loopback: &'static str, kind: Kind) -> Result<()> {
    scene.attach(BOTH.loopback(loopback).guarded())?;
    let site = scene.inside();
    let server = serve(&site, kind, wildcard(kind))?;
    let host = Socket::new(UDP4)?;
    host.bind(at(LOOP4, 0, 0))?;
    let to = at(CIP4, PORT, 0);
    for _ in 0..2 {
        let (seen, told) = exchange(&host, &server, Some(to))?;
        let seen = seen.ip().to_canonical();
        ensure!(seen == LOOP4, "the server sees {seen}");
        ensure!(told == to, "the host is told {told}");
        if loopback == "auto" {
            let own = at(LOOP4, PORT, 0);
            let (_, told) = exchange(&bound(&site, UDP4, 0)?, &server, Some(own))?;
            ensure!(told == own, "the own client is told {told}");
        }
    }
    host.connect(to)?;
    exchange(&host, &server, None).context("connected")?;
    Ok(())
}

/// Whom each of them sees.
fn each_other(site: &Site) -> Result<[SocketAddr; 2]> {
    let (one, two) = (bound(site, UDP4, PORT)?, bound(site, UDP4, PORT + 1)?);
    one.send(Some(at(LOOP4, PORT + 1, 0)), b"ping")?;
    two.send(Some(at(LOOP4, PORT, 0)), b"ping")?;
    Ok([take(&one)?, take(&two)?])
}

fn itself(site: &Site) -> Result<SocketAddr> {
    let socket = bound(site, UDP4, PORT)?;
    socket.send(Some(at(LOOP4, PORT, 0)), b"ping")?;
    take(&socket)
}

/// A network namespace where nothing is delivered, so that the socket calls from the
/// assigned address.
fn elsewhere(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.loopback("auto").guarded())?;
    let cgroup = &scene.cgroup;
    Net::isolated(move |_| {
        let client = Agent::new(cgroup)?.socket(UDP4)?;
        client.bind(at(ANY4, 0, 0))?;
        let server = Socket::new(UDP4)?;
        server.bind(at(RESOLVER, PORT, 0))?;
        exchange(&client, &server, Some(at(RESOLVER, PORT, 0))).map(drop)
    })
}

/// Anybody can bind to that address.
fn waiting(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.loopback("auto").guarded())?;
    let client = bound(&scene.inside(), UDP4, PORT + 1)?;
    let stranger = Socket::new(UDP4)?;
    stranger.bind(at(DERIVED, PORT + 1, 0))?;
    let server = serve(&scene.inside().outside(), UDP4, at(RESOLVER, PORT, 0))?;
    exchange(&client, &server, Some(at(RESOLVER, PORT, 0)))?;
    ensure!(!stranger.has_input()?, "somebody else hears the answer");
    Ok(())
}
