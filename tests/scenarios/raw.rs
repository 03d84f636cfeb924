//! G1 and L8: raw sockets for TCP and UDP, which no address hook sees either.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use libc::{IP_HDRINCL, IPPROTO_IP, IPPROTO_IPV6, IPV6_FREEBIND, IPV6_HDRINCL};
use oci_bind_hook_tests::counters::dropped;
use oci_bind_hook_tests::hook::{BOTH, Policy};
use oci_bind_hook_tests::net::{
    CIP4, CIP6, HOST4, HOST6, LOOP4, LOOP6, OTHER4, OTHER6, PEER4, PEER6,
};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, UDP4, UDP6};
use rustix::io::Errno;
use rustix::net::SocketType;

use crate::guard::{GUARDED4, GUARDED6};
use crate::observe::done;
use crate::private::PRIVATE;
use crate::row::{Row, Scene, Site, row};
use crate::unhooked::packet;

/// `IPPROTO_TCP` and `IPPROTO_UDP`
const PROTOCOLS: [(&str, u32); 2] = [("TCP", 6), ("UDP", 17)];
const PRIVATE_BOTH: &[Policy] = &[BOTH.loopback("private").guarded()];
/// Dropped on its way out.
const DROPPED: Outcome = Err(Errno::PERM);

/// Where a packet comes from: what the socket is bound to, and what the program
/// writes into the header, if it does.
#[derive(Clone, Copy)]
struct From {
    bound: Option<IpAddr>,
    header: Option<IpAddr>,
}

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, protocol) in PROTOCOLS {
        for (policies, kind, host, own, other, peer) in [
            (GUARDED4, UDP4, HOST4, CIP4, OTHER4, PEER4),
            (GUARDED6, UDP6, HOST6, CIP6, OTHER6, PEER6),
        ] {
            for (bound, header, inside, plain) in [
                (None, None, DROPPED, host),
                (None, Some(other), DROPPED, other),
                (Some(own), Some(other), DROPPED, other),
                (Some(own), None, Ok(own), own),
                (None, Some(own), Ok(own), own),
            ] {
                let from = From { bound, header };
                let what = from.name(name, kind);
                let observe = move |site: &Site| send(site, kind, protocol, from, peer);
                rows.extend(row("G1", &what, policies, observe, inside, Ok(plain)));
            }
        }
        for (policies, kind, own, loopback) in [
            (PRIVATE, UDP4, CIP4, LOOP4),
            (PRIVATE_BOTH, UDP6, CIP6, LOOP6),
        ] {
            for (bound, header) in [(Some(own), None), (None, Some(own))] {
                let from = From { bound, header };
                let what = format!("{}, to {loopback}", from.name(name, kind));
                let observe = move |site: &Site| send(site, kind, protocol, from, loopback);
                rows.extend(row("L8", &what, policies, observe, DROPPED, Ok(own)));
            }
        }
    }
    let what = "RAW sockets of TCP and UDP, drops are counted";
    rows.push(Scene::row("G1", what, counted));
    rows
}

impl From {
    fn name(self, protocol: &str, kind: Kind) -> String {
        let family = if kind.v6 { 6 } else { 4 };
        let at = self.bound.map_or("unbound".to_owned(), |address| {
            format!("bound to {address}")
        });
        let header = self.header.map_or(String::new(), |source| {
            format!(", header with source {source}")
        });
        format!("RAW socket of {protocol} over IPv{family}, {at}{header}")
    }
}

/// Sends a packet to a raw socket outside: the address that it comes from.
fn send(site: &Site, kind: Kind, protocol: u32, from: From, to: IpAddr) -> Result<Outcome> {
    let server = site.outside().open(kind, SocketType::RAW, protocol)?;
    if kind.v6 {
        server.set(IPPROTO_IPV6, IPV6_FREEBIND, 1)?;
    }
    server.bind(site.at(to, 0))?;
    let client = open(site, kind, protocol, from)?;
    done!(call(&client, site, protocol, from, to));
    Ok(Ok(server.receive()?.1.ip()))
}

/// A raw socket of the program.
fn open(site: &Site, kind: Kind, protocol: u32, from: From) -> Result<Socket> {
    let client = site.open(kind, SocketType::RAW, protocol)?;
    if from.header.is_some() {
        let (level, option) = if kind.v6 {
            (IPPROTO_IPV6, IPV6_HDRINCL)
        } else {
            (IPPROTO_IP, IP_HDRINCL)
        };
        client.set(level, option, 1)?;
    }
    if let Some(address) = from.bound {
        client.bind(site.at(address, 0)).context("bind")?;
    }
    Ok(client)
}

fn call(client: &Socket, site: &Site, protocol: u32, from: From, to: IpAddr) -> Outcome<()> {
    let payload = match from.header {
        Some(source) => packet(protocol, source, to),
        None => b"ping".to_vec(),
    };
    client.send(Some(site.at(to, 0)), &payload)
}

fn counted(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.guarded())?;
    let site = scene.inside();
    let mut number = 0;
    for (name, protocol) in PROTOCOLS {
        for (kind, own, other, peer) in [(UDP4, CIP4, OTHER4, PEER4), (UDP6, CIP6, OTHER6, PEER6)] {
            for (bound, header) in [(None, None), (None, Some(other)), (Some(own), Some(other))] {
                let from = From { bound, header };
                let client = open(&site, kind, protocol, from)?;
                let sent = call(&client, &site, protocol, from, peer);
                number += 1;
                let counts = dropped(&scene.cgroup)?;
                ensure!(
                    sent == Err(Errno::PERM) && counts == (number, 0),
                    "{}: {sent:?}, counted {counts:?}, not {number}",
                    from.name(name, kind)
                );
            }
        }
    }
    Ok(())
}
