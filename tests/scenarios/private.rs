//! L4: the container's own loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use libc::{IP_RECVERR, IPPROTO_IP};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR, Policy, V4};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP6, LOOP4, LOOP6, Net, has_dual, mapped};
use oci_bind_hook_tests::places;
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6, first_ready};
use rustix::io::Errno;

use crate::observe::{PORT, done};
use crate::row::{Row, Site, denied, row};
use crate::told::{How, Told, call, open, serve};

/// Policies with a derived private loopback.
pub const PRIVATE: &[Policy] = &[
    V4.loopback("private").guarded(),
    BOTH.loopback("private").guarded(),
];
const PRIVATE_BOTH: &[Policy] = &[BOTH.loopback("private").guarded()];
const CHOSEN: &[Policy] = &[V4.loopback("127.5.6.7").guarded()];

/// The address in 127.128.0.0/9 that is derived from 192.0.2.10.
pub const DERIVED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 128, 2, 10));
const LOOP4_ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const MAPPED_LOOP: IpAddr = mapped(LOOP4);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = transparent();
    rows.extend(moved());
    rows.extend(unreachable());
    for (kind, how) in [
        (TCP4, How::Connect),
        (UDP4, How::Connect),
        (UDP4, How::SendTo),
    ] {
        rows.push(Row::alone(
            "L4",
            format!("L4 {kind:?} {how:?}, two containers and the host at one loopback port"),
            move || Net::isolated(move |_| side_by_side(kind, how)),
        ));
    }
    rows
}

/// Programs do not notice it: client and server, in either role, are told what they would
/// be without a policy.
fn transparent() -> Vec<Row> {
    let mut rows = Vec::new();
    #[rustfmt::skip]
    let lines = [
        (PRIVATE, TCP4, LOOP4, TCP4, LOOP4, How::Connect, LOOP4),
        (PRIVATE, UDP4, LOOP4, UDP4, LOOP4, How::Connect, LOOP4),
        (PRIVATE, UDP4, LOOP4, UDP4, LOOP4, How::SendTo, LOOP4),
        (PRIVATE, TCP4, LOOP4, TCP4, ANY4, How::Connect, LOOP4),
        (PRIVATE, TCP4, LOOP4, TCP6, MAPPED_LOOP, How::Connect, LOOP4),
        (PRIVATE, UDP4, LOOP4, UDP6, MAPPED_LOOP, How::SendTo, LOOP4),
        (PRIVATE, TCP6, LOOP6, TCP6, LOOP6, How::Connect, LOOP6),
        (PRIVATE, UDP6, LOOP6, UDP6, LOOP6, How::Connect, LOOP6),
        (PRIVATE, UDP6, LOOP6, UDP6, LOOP6, How::SendTo, LOOP6),
        (CHOSEN, TCP4, LOOP4, TCP4, LOOP4, How::Connect, LOOP4),
    ];
    for (policies, server, at, client, to, how, seen) in lines {
        let what = format!("{client:?} {how:?} {to}, own {server:?} server at {at}");
        let to = SocketAddr::new(to, PORT);
        let observe = move |site: &Site| -> Result<Outcome<(IpAddr, Told)>> {
            let server = serve(site, server, site.at(at, PORT))?;
            let told = done!(call(&site.socket(client)?, &server, to, how)?);
            Ok(Ok((server.local()?.ip(), told)))
        };
        let told = |seen| Ok((at, Told::by_call(how, client, to, seen)));
        rows.extend(row("L4", &what, policies, observe, told(seen), told(at)));
    }
    // A dual-stack server is called at its IPv4 address.
    let dual = if has_dual() { LOOP4 } else { CIP6 };
    // A server that a wildcard bind moved is found as under `auto`.
    for (policies, kind, any, to, how, seen) in [
        (PRIVATE, TCP4, ANY4, LOOP4, How::Connect, LOOP4),
        (PRIVATE, UDP4, ANY4, LOOP4, How::Connect, LOOP4),
        (PRIVATE, UDP4, ANY4, LOOP4, How::SendTo, LOOP4),
        (PRIVATE_BOTH, TCP6, ANY6, LOOP6, How::Connect, dual),
        (PRIVATE_BOTH, TCP6.v6only(), ANY6, LOOP6, How::Connect, CIP6),
        (PRIVATE_BOTH, UDP6, ANY6, LOOP6, How::SendTo, CIP6),
    ] {
        let what = format!("{kind:?} {how:?} {to}, own server at {any}");
        let to = SocketAddr::new(to, PORT);
        let told = move |seen| Ok(Told::by_call(how, kind, to, seen));
        let observe = move |site: &Site| {
            let server = serve(site, kind, site.at(any, PORT))?;
            call(&site.socket(kind)?, &server, to, how)
        };
        let plain = told(to.ip());
        rows.extend(row("L4", &what, policies, observe, told(seen), plain));
    }
    rows
}

/// Where a server at loopback really is, according to the kernel's list of sockets.
fn moved() -> Vec<Row> {
    let mut rows = Vec::new();
    #[rustfmt::skip]
    let lines = [
        (PRIVATE, TCP4, LOOP4, DERIVED),
        (PRIVATE, TCP4, LOOP4_ELSEWHERE, DERIVED),
        (CHOSEN, TCP4, LOOP4, IpAddr::V4(Ipv4Addr::new(127, 5, 6, 7))),
        (PRIVATE, TCP6, MAPPED_LOOP, mapped(DERIVED)),
    ];
    for (policies, kind, asked, own) in lines {
        let what = format!("{kind:?} bind {asked}, in the kernel's list");
        let observe = move |site: &Site| {
            let _server = serve(site, kind, site.at(asked, PORT))?;
            places::listeners(PORT)
        };
        rows.extend(row("L4", &what, policies, observe, vec![own], vec![asked]));
    }
    rows
}

/// The host's servers, at loopback and at the wildcard address.
fn unreachable() -> Vec<Row> {
    let mut rows = Vec::new();
    #[rustfmt::skip]
    let lines = [
        // Nobody is at the private address: the kernel refuses.
        (TCP4, How::Connect, LOOP4, LOOP4, false),
        (TCP4, How::Connect, LOOP4_ELSEWHERE, LOOP4_ELSEWHERE, false),
        (TCP4, How::Connect, LOOP4, ANY4, false),
        (UDP4, How::Connect, LOOP4, LOOP4, false),
        (UDP4, How::SendTo, LOOP4, LOOP4, false),
        (TCP6, How::Connect, LOOP4, MAPPED_LOOP, false),
        (TCP6, How::Connect, LOOP6, LOOP6, false),
        (UDP6, How::Connect, LOOP6, LOOP6, false),
        // The call goes to another port of ::1.
        (TCP6, How::Connect, ANY6, LOOP6, false),
        // A wildcard server would be found there: the policy refuses.
        (TCP4, How::Connect, ANY4, LOOP4, true),
        (UDP4, How::Connect, ANY4, LOOP4, true),
        (UDP4, How::SendTo, ANY4, LOOP4, true),
    ];
    for (kind, how, at, to, by_policy) in lines {
        let what = format!("{kind:?} {how:?} {to}, the host's server at {at}");
        let refused = if by_policy {
            denied(Errno::CONNREFUSED)
        } else {
            Err(Errno::CONNREFUSED)
        };
        let observe = move |site: &Site| -> Result<Outcome<()>> {
            let server = Socket::new(Kind::of(kind.tcp, at))?;
            open(&server, site.at(at, PORT))?;
            let client = site.socket(kind)?;
            if how == How::SendTo {
                // Otherwise the kernel does not report errors.
                client.set(IPPROTO_IP, IP_RECVERR, 1)?;
                done!(client.send(Some(site.at(to, PORT)), b"ping"));
                return received(&client, &server);
            }
            done!(client.connect(site.at(to, PORT)));
            if kind.tcp {
                return Ok(Ok(()));
            }
            done!(client.send(None, b"ping"));
            received(&client, &server)
        };
        rows.extend(row("L4", &what, PRIVATE, observe, refused, Ok(())));
    }
    rows
}

/// Waits for a datagram at the server, or for an error at the client.
pub fn received(client: &Socket, server: &Socket) -> Result<Outcome<()>> {
    if first_ready(&[client, server])? == 0 {
        return Ok(client.receive_connected().map(drop));
    }
    server.receive()?;
    Ok(Ok(()))
}

/// Two containers and the host hold the same port of loopback at once, and each reaches
/// its own server.
fn side_by_side(kind: Kind, how: How) -> Result<()> {
    let to = SocketAddr::new(LOOP4, PORT);
    let cgroups = [Cgroup::new()?, Cgroup::new()?];
    let agents = [Agent::new(&cgroups[0])?, Agent::new(&cgroups[1])?];
    let hook = Hook::new()?;
    for (cgroup, policy) in cgroups.iter().zip([BOTH, NEIGHBOUR]) {
        hook.attach(cgroup, policy.loopback("private").guarded())?;
    }
    let make = |number: usize| match agents.get(number) {
        Some(agent) => agent.socket(kind),
        None => Socket::new(kind),
    };
    let servers = [make(0)?, make(1)?, make(2)?];
    for (number, server) in servers.iter().enumerate() {
        open(server, to).with_context(|| format!("server {number}"))?;
    }
    if kind.tcp {
        let found = places::listeners(PORT)?;
        ensure!(found.len() == servers.len(), "listeners: {found:?}");
    }
    for (number, server) in servers.iter().enumerate() {
        let told = call(&make(number)?, server, to, how)
            .with_context(|| format!("client {number}"))?
            .with_context(|| format!("client {number} was refused"))?;
        let expected = Told::by_call(how, kind, to, LOOP4);
        ensure!(told == expected, "client {number} was told {told:?}");
    }
    Ok(())
}
