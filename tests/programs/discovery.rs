//! Service discovery from other hosts: avahi-daemon, and a small responder of multicast DNS
//! and SSDP, in two containers at once.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use libc::{IPPROTO_IPV6, IPV6_MULTICAST_IF};
use libtest_mimic::Trial;
use oci_bind_hook_tests::far::{Host, ROUTER4, ROUTER6, interface};
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{BOTH, Hook, NEIGHBOUR, Policy, V4};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, Net, OTHER4, OTHER6};
use oci_bind_hook_tests::socket::{Socket, UDP4, UDP6, at};
use rustix::net::sockopt;
use tempfile::TempDir;

use crate::pair::explain;
use crate::server::Server;
use crate::tool::{self, Tool};

const NEEDS: &[Tool] = &[
    ("avahi-daemon", "avahi-daemon"),
    ("python3", "python3"),
    ("util-linux", "unshare"),
];
/// It wants a directory of its own in /run, where another one may be at work.
const AVAHI: &[&str] = &[
    "unshare",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs tmpfs /run && exec \"$0\" \"$@\"",
    "avahi-daemon",
    "--no-drop-root",
    "--no-chroot",
    "--no-rlimits",
    "--file={dir}/avahi.conf",
];
const AVAHI_CONF: &str = "[server]\nhost-name=avahi\nallow-interfaces=v0\nenable-dbus=no\n\
    [publish]\npublish-a-on-ipv6=yes\n";
const RESPONDER: &[&str] = &["python3", "{dir}/responder.py", "small", "v0"];
const PORTS: &str = "1900,5353";
const MDNS: u16 = 5353;
const SSDP: u16 = 1900;
const SEARCH: &[u8] = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\
    MAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n";

/// One for each combination of families.
pub fn trials() -> Vec<Trial> {
    [(V4, Policy::of(Some(OTHER4), None)), (BOTH, NEIGHBOUR)]
        .into_iter()
        .map(|(policy, neighbour)| {
            let name = format!("avahi-daemon and a small responder ({policy:?})");
            harness::trial(name, move || {
                tool::require(NEEDS)?;
                Net::isolated(|_| check(policy.multicast(PORTS), neighbour.multicast(PORTS)))
            })
        })
        .collect()
}

fn check(policy: Policy, neighbour: Policy) -> Result<()> {
    let [querier, _] = Host::beyond()?;
    let hook = tool::hook()?;
    let dir = TempDir::new().context("make a scratch directory")?;
    fs::write(dir.path().join("avahi.conf"), AVAHI_CONF)?;
    let responder = include_str!("files/responder.py");
    fs::write(dir.path().join("responder.py"), responder)?;

    let plain = Server::plain(&words(AVAHI, &dir), dir.path())?;
    explain(
        &plain,
        Querier::new(&querier, false)?.resolve(&plain, "avahi"),
    )?;
    plain.end()?;

    let avahi = contained(&hook, policy, AVAHI, &dir)?;
    let small = contained(&hook, neighbour, RESPONDER, &dir)?;
    for (v6, owns, host) in [
        (false, [CIP4, OTHER4], HOST4),
        (true, [CIP6, OTHER6], HOST6),
    ] {
        if v6 && policy.ipv6.is_none() {
            continue;
        }
        let client = Querier::new(&querier, v6)?;
        // Both are there now.
        for (server, name) in [(&avahi, "avahi"), (&small, "small")] {
            explain(server, client.resolve(server, name))?;
        }
        client.ask_closed(host)?;
        for (server, name, own) in [(&avahi, "avahi", owns[0]), (&small, "small", owns[1])] {
            let from = explain(server, client.resolve(server, name))?;
            ensure!(from == [own; 2], "{name} answers from {from:?}");
        }
        let from = explain(&small, client.search(&small))?;
        ensure!(from == owns[1], "the device answers from {from}");
    }
    small.end()?;
    avahi.end()
}

fn contained(hook: &Hook, policy: Policy, template: &[&str], dir: &TempDir) -> Result<Server> {
    Server::contained(hook, policy, &words(template, dir), dir.path())
}

fn words(template: &[&str], dir: &TempDir) -> Vec<String> {
    tool::words(template, dir.path(), None)
}

/// Another host, which looks for services.
struct Querier {
    /// Whom others answer by unicast.
    client: Socket,
    /// Whom they answer by multicast, as one of them.
    member: Socket,
    groups: [IpAddr; 2],
}

impl Querier {
    fn new(host: &Host, v6: bool) -> Result<Self> {
        let (kind, own, any) = if v6 {
            (UDP6.v6only(), ROUTER6, ANY6)
        } else {
            (UDP4, ROUTER4, ANY4)
        };
        let mdns6 = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
        let ssdp6 = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc);
        let mdns4 = Ipv4Addr::new(224, 0, 0, 251);
        let ssdp4 = Ipv4Addr::new(239, 255, 255, 250);
        host.within(|| {
            let link = interface("v1")?;
            let [client, member] = [Socket::new(kind)?, Socket::new(kind)?];
            for socket in [&client, &member] {
                if v6 {
                    socket.set(IPPROTO_IPV6, IPV6_MULTICAST_IF, link.try_into()?)?;
                } else {
                    let any = Ipv4Addr::UNSPECIFIED;
                    sockopt::set_ip_multicast_if_with_ifindex(socket, &any, &any, link)?;
                }
            }
            client.bind(at(own, 0, 0))?;
            member.bind(at(any, MDNS, 0))?;
            if v6 {
                sockopt::set_ipv6_add_membership(&member, &mdns6, link)?;
            } else {
                let any = Ipv4Addr::UNSPECIFIED;
                sockopt::set_ip_add_membership_with_ifindex(&member, &mdns4, &any, link)?;
            }
            let groups = if v6 {
                [mdns6.into(), ssdp6.into()]
            } else {
                [mdns4.into(), ssdp4.into()]
            };
            Ok(Self {
                client,
                member,
                groups,
            })
        })
    }

    /// Where a name is answered from, by unicast and by multicast.
    fn resolve(&self, server: &Server, name: &str) -> Result<[IpAddr; 2]> {
        let to = at(self.groups[0], MDNS, 0);
        let is_answer = |packet: &[u8]| {
            let has = packet
                .windows(name.len())
                .any(|part| part == name.as_bytes());
            has && packet.get(2).is_some_and(|flags| flags & 0x80 != 0)
        };
        let ask = |socket| asks(server, socket, to, &query(name, OPEN), is_answer);
        Ok([ask(&self.client)?, ask(&self.member)?])
    }

    /// Where a search for devices is answered from.
    fn search(&self, server: &Server) -> Result<IpAddr> {
        let to = at(self.groups[1], SSDP, 0);
        let is_answer = |packet: &[u8]| packet.starts_with(b"HTTP/1.1 200 OK\r\n");
        asks(server, &self.client, to, SEARCH, is_answer)
    }

    /// Asks both at an address of the host's, which is to reach neither: an answer would
    /// come before those to what is asked later.
    fn ask_closed(&self, address: IpAddr) -> Result<()> {
        for name in ["avahi", "small"] {
            let to = at(address, MDNS, 0);
            self.client.send(Some(to), &query(name, CLOSED))?;
        }
        Ok(())
    }
}

/// Sends a question until it is answered: where from.
pub fn asks(
    server: &Server,
    socket: &Socket,
    to: SocketAddr,
    question: &[u8],
    is_answer: impl Fn(&[u8]) -> bool,
) -> Result<IpAddr> {
    let awaited = server.wait_for(|| {
        socket.send(Some(to), question)?;
        while socket.has_input()? {
            let (packet, from) = socket.receive()?;
            ensure!(
                !packet.starts_with(&CLOSED),
                "unicast for another address was heard"
            );
            if is_answer(&packet) {
                return Ok(Some(from.ip()));
            }
        }
        Ok(None)
    });
    awaited.with_context(|| format!("wait for an answer of {to}"))
}

/// Ids of queries, which answers repeat.
const OPEN: [u8; 2] = *b"op";
const CLOSED: [u8; 2] = *b"cl";

/// A query for the IPv4 address of NAME.local (RFC 1035 section 4.1).
fn query(name: &str, id: [u8; 2]) -> Vec<u8> {
    let mut query = id.to_vec();
    query.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in [name, "local", ""] {
        query.extend(u8::try_from(label.len()));
        query.extend(label.as_bytes());
    }
    query.extend([0, 1, 0, 1]);
    query
}
