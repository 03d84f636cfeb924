//! L8: what does not leave a container's loopback, whatever the call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;

use anyhow::{Context, Result, ensure};
use libc::{IP_RECVERR, IPPROTO_IP, IPPROTO_IPV6, IPV6_RTHDR};
use oci_bind_hook_tests::counters::{await_dropped, dropped};
use oci_bind_hook_tests::harness::skip;
use oci_bind_hook_tests::hook::{BOTH, Policy, V4};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, LOOP4, LOOP6, mapped};
use oci_bind_hook_tests::places;
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, UDP4, UDP6, at, errno};
use oci_bind_hook_tests::sys;
use rustix::io::Errno;

use crate::observe::{PORT, done};
use crate::private::{DERIVED, PRIVATE, received};
use crate::row::{Row, Scene, Site, denied, row};
use crate::told::{open, serve};
use crate::unhooked::{EXPERIMENT, raw_pair};

const UNGUARDED: &[Policy] = &[V4.loopback("private")];
const PRIVATE_BOTH: Policy = BOTH.loopback("private").guarded();
/// An address whose words add up to the same as those of `::1`, so that the checksum of a
/// datagram to it is the same, too.
const SAME_SUM: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xd247));
/// Dropped on its way out.
const DROPPED: Outcome<()> = Err(Errno::PERM);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = without_family();
    rows.extend(late());
    rows.extend(header());
    for (what, test) in [
        (
            "connections and datagrams of before the policy",
            early as fn(&Scene) -> Result<()>,
        ),
        ("replies to programs of the host", replies),
    ] {
        rows.push(Scene::row("L8", what, test));
    }
    rows
}

/// A datagram to the host's servers whose address has no family.
fn without_family() -> Vec<Row> {
    let mut rows = Vec::new();
    for (host, by_policy) in [(LOOP4, false), (ANY4, true)] {
        let what = format!("sendto {LOOP4} with AF_UNSPEC, the host's server at {host}");
        let observe = move |site: &Site| -> Result<Outcome<()>> {
            let server = Socket::new(UDP4)?;
            open(&server, site.at(host, PORT))?;
            let client = site.socket(UDP4)?;
            client.set(IPPROTO_IP, IP_RECVERR, 1)?;
            let sent = sys::send_unspec(client.as_fd(), Ipv4Addr::LOCALHOST, PORT, b"ping");
            done!(sent.map_err(errno));
            received(&client, &server)
        };
        let refused = if by_policy {
            denied(Errno::CONNREFUSED)
        } else {
            Err(Errno::CONNREFUSED)
        };
        for policies in [PRIVATE, UNGUARDED] {
            rows.extend(row("L8", &what, policies, observe, refused, Ok(())));
        }
    }
    rows
}

/// A UDP socket that is already connected when a server of the host starts.
fn late() -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, to, host) in [
        (UDP4, LOOP4, ANY4),
        (UDP6, mapped(LOOP4), ANY4),
        (UDP6, LOOP6, ANY6),
    ] {
        for has_server in [false, true] {
            let before = if has_server { "its own" } else { "no" };
            let what = format!("{kind:?} connected to {to} with {before} server, then the host's");
            let to = SocketAddr::new(to, PORT);
            let observe = move |site: &Site| -> Result<Outcome<()>> {
                let own = if has_server {
                    Some(serve(site, kind, to)?)
                } else {
                    None
                };
                let client = site.socket(kind)?;
                done!(client.connect(to));
                // At `::1` the server has another port.
                let port = match &own {
                    Some(own) => places::place(own)?.port(),
                    None => PORT,
                };
                drop(own);
                let server = Socket::new(Kind::of(false, host))?;
                open(&server, SocketAddr::new(host, port))?;
                done!(client.send(None, b"ping"));
                received(&client, &server)
            };
            // A call to `::1` goes to the port that a server of the container would have.
            let inside = if to.ip() == LOOP6 && !has_server {
                Err(Errno::CONNREFUSED)
            } else {
                DROPPED
            };
            rows.extend(row("L8", &what, PRIVATE, observe, inside, Ok(())));
        }
    }
    rows
}

/// Packets whose header has another destination than the call had.
fn header() -> Vec<Row> {
    let what = "sendto with a routing header by the host's loopback";
    let routed = |site: &Site| -> Result<Outcome<()>> {
        for device in ["all", "lo"] {
            let path = format!("/proc/sys/net/ipv6/conf/{device}/seg6_enabled");
            if std::fs::write(&path, "1").is_err() {
                return Err(skip("this kernel has no segment routing"));
            }
        }
        let server = Socket::new(UDP6)?;
        open(&server, site.at(LOOP6, PORT))?;
        let client = site.socket(UDP6)?;
        let mut segments = vec![0, 2, 4, 0, 0, 0, 0, 0];
        segments.extend(Ipv6Addr::LOCALHOST.octets());
        if sys::set_bytes(client.as_fd(), IPPROTO_IPV6, IPV6_RTHDR, &segments).is_err() {
            return Err(skip("this kernel has no segment routing header"));
        }
        done!(client.send(Some(site.at(SAME_SUM, PORT)), b"ping"));
        received(&client, &server)
    };
    let both = [PRIVATE_BOTH];
    let mut rows = row("L8", what, &both, routed, DROPPED, Ok(()));
    let what = format!("RAW socket to {LOOP4}");
    let raw = |site: &Site| -> Result<Outcome<()>> {
        let (client, server) = raw_pair(site, UDP4, EXPERIMENT, LOOP4)?;
        done!(client.send(Some(site.at(LOOP4, 0)), b"ping"));
        received(&client, &server)
    };
    rows.extend(row("L8", &what, PRIVATE, raw, DROPPED, Ok(())));
    rows
}

/// Sockets that had called the host's loopback before the policy was attached.
fn early(scene: &Scene) -> Result<()> {
    let servers = [Socket::new(TCP4)?, Socket::new(UDP4)?];
    let mut clients = Vec::new();
    for server in &servers {
        open(server, at(LOOP4, PORT, 0))?;
        let client = scene.agent.socket(server.kind())?;
        client.connect(at(LOOP4, PORT, 0))?;
        clients.push(client);
    }
    let accepted = servers[0].accept()?;
    accepted.reset_on_close()?;
    scene.attach(PRIVATE_BOTH)?;
    let sent = clients[1].send(None, b"ping");
    ensure!(sent == DROPPED, "{sent:?}");
    clients[0].send(None, b"ping")?;
    await_dropped(&scene.cgroup, |(egress, _)| egress > 1)?;
    ensure!(!accepted.has_input()?, "the connection goes on");
    ensure!(!servers[1].has_input()?, "the datagram arrived");
    Ok(())
}

/// A program of the host connects from loopback, and is answered.
fn replies(scene: &Scene) -> Result<()> {
    scene.attach(PRIVATE_BOTH)?;
    for (asked, called) in [(ANY4, CIP4), (LOOP4, DERIVED)] {
        let server = serve(&scene.inside(), TCP4, at(asked, PORT, 0))?;
        let client = Socket::new(TCP4)?;
        client.bind(at(LOOP4, 0, 0))?;
        client.connect(at(called, PORT, 0)).context("connect")?;
        let accepted = server.accept()?;
        accepted.reset_on_close()?;
        accepted.send(None, b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong");
    }
    ensure!(dropped(&scene.cgroup)? == (0, 0), "something was dropped");
    Ok(())
}
