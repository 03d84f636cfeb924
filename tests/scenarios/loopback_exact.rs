//! L1 under the policy `auto`: a server at the very loopback address that is called comes
//! before the container's own server at the wildcard address, as on any host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;

use anyhow::Result;
use libc::{SO_BINDTODEVICE, SO_REUSEPORT, SOL_SOCKET};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, NEIGHBOUR};
use oci_bind_hook_tests::net::{ANY4, ANY6, LOOP4, LOOP6, mapped};
use oci_bind_hook_tests::socket::{Socket, TCP4, TCP6, UDP4, UDP6, at};
use oci_bind_hook_tests::{places, sys};

use crate::localhost::{AUTO4, AUTO6};
use crate::observe::PORT;
use crate::row::{Row, Scene, Site, row};
use crate::told::{How, Told, call, open, serve};

/// The address of resolvers that serve only their own host.
const RESOLVER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
/// The port of DNS.
const DNS: u16 = 53;
const MAPPED_LOOP: IpAddr = mapped(LOOP4);

/// Whose the server on loopback is.
#[derive(Clone, Copy, Debug)]
enum Whose {
    Own,
    Host,
}

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    // Policies, server and client as TCP and UDP, the wildcard address and the exact
    // address of the servers, what the client calls.
    #[rustfmt::skip]
    let lines = [
        (AUTO4, [TCP4, UDP4], [TCP4, UDP4], ANY4, LOOP4, LOOP4),
        (AUTO4, [TCP4, UDP4], [TCP4, UDP4], ANY4, RESOLVER, RESOLVER),
        (AUTO4, [TCP4, UDP4], [TCP4, UDP4], ANY4, LOOP4, ANY4),
        (AUTO4, [TCP4, UDP4], [TCP6, UDP6], ANY4, LOOP4, MAPPED_LOOP),
        (AUTO6, [TCP6, UDP6], [TCP6, UDP6], ANY6, LOOP6, LOOP6),
        (AUTO6, [TCP6, UDP6], [TCP6, UDP6], ANY6, LOOP6, ANY6),
    ];
    for (policies, [tcp_server, udp_server], [tcp, udp], any, place, to) in lines {
        for (server, client, how) in [
            (tcp_server, tcp, How::Connect),
            (udp_server, udp, How::Connect),
            (udp_server, udp, How::SendTo),
        ] {
            for whose in [Whose::Own, Whose::Host] {
                let what =
                    format!("{client:?} {how:?} {to}, {whose:?} server at {place}, own at {any}");
                let seen = if place.is_ipv4() { LOOP4 } else { LOOP6 };
                let to = SocketAddr::new(to, PORT);
                let told = Ok(Told::by_call(how, client, to, seen));
                let observe = move |site: &Site| {
                    let _own = shared(site.socket(server)?, SocketAddr::new(any, PORT))?;
                    let socket = match whose {
                        Whose::Own => site.socket(server)?,
                        Whose::Host => Socket::new(server)?,
                    };
                    let exact = shared(socket, SocketAddr::new(place, PORT))?;
                    call(&site.socket(client)?, &exact, to, how)
                };
                rows.extend(row("L1", &what, policies, observe, told.clone(), told));
            }
        }
    }
    rows.extend(resolved());
    rows.extend(neighbours());
    rows
}

/// Other containers are not the host.
fn neighbours() -> Vec<Row> {
    let mut rows = Vec::new();
    for loopback in ["auto", "host", "private"] {
        for (server, any, to) in [
            (TCP4, ANY4, LOOP4),
            (UDP4, ANY4, LOOP4),
            (TCP6, ANY6, LOOP6),
            (UDP6, ANY6, LOOP6),
        ] {
            let what = format!("{server:?} {to}, where a container with {loopback} is at it");
            rows.push(Scene::row("L1", &what, move |scene| {
                scene.attach(BOTH.loopback("auto").guarded())?;
                let other = Cgroup::new()?;
                let policy = NEIGHBOUR.loopback(loopback).guarded();
                scene.hook.attach(&other, policy)?;
                let theirs = Agent::new(&other)?.socket(server)?;
                open(&theirs, at(to, PORT, 0))?;
                let place = places::place(&theirs)?;
                let own = serve(&scene.inside(), server, at(any, place.port(), 0))?;
                let client = scene.inside().socket(server)?;
                call(&client, &own, place, How::Connect)??;
                Ok(())
            }));
        }
    }
    rows
}

/// The host's systemd-resolved, which is bound to `lo`.
fn resolved() -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, how) in [
        (TCP4, How::Connect),
        (UDP4, How::Connect),
        (UDP4, How::SendTo),
    ] {
        let what = format!("{kind:?} {how:?} {RESOLVER}, a server of lo, own at {ANY4}");
        let to = SocketAddr::new(RESOLVER, DNS);
        let told = Ok(Told::by_call(how, kind, to, LOOP4));
        let observe = move |site: &Site| {
            let resolver = Socket::new(kind)?;
            sys::set_bytes(resolver.as_fd(), SOL_SOCKET, SO_BINDTODEVICE, b"lo")?;
            let resolver = shared(resolver, to)?;
            let _own = shared(site.socket(kind)?, SocketAddr::new(ANY4, DNS))?;
            call(&site.socket(kind)?, &resolver, to, how)
        };
        rows.extend(row("L1", &what, AUTO4, observe, told.clone(), told));
    }
    rows
}

/// A server that shares its port with another, as it must without a policy.
fn shared(server: Socket, address: SocketAddr) -> Result<Socket> {
    server.set(SOL_SOCKET, SO_REUSEPORT, 1)?;
    open(&server, address)?;
    Ok(server)
}
