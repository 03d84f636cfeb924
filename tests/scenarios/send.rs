//! U1 to U5: which address an unconnected datagram leaves from.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use oci_bind_hook_tests::hook::Policy;
use oci_bind_hook_tests::net::{
    ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, OTHER4, OTHER6, PEER4, PEER6, mapped,
};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, UDP4, UDP6};
use oci_bind_hook_tests::sys::PacketInfo;
use rustix::io::Errno;

use crate::observe::{PORT, Peer, done, send, send_to};
use crate::row::{Row, Site, WITH4, WITH6, WITHOUT4, WITHOUT6, denied, row};

const MAPPED_PEER: IpAddr = mapped(PEER4);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = sends();
    rows.extend(with_info());
    rows.extend(replies());
    rows
}

/// A way to send a datagram.
type Call = fn(&Socket, SocketAddr) -> Outcome<()>;

fn sends() -> Vec<Row> {
    let unreachable = denied(Errno::NETUNREACH);
    // Row, policies, socket, destination; what the peer sees under the policy.
    #[rustfmt::skip]
    let lines: [(_, &[Policy], _, _, Outcome); 9] = [
        ("U1", WITH4, UDP4, PEER4, Ok(CIP4)),
        ("U1", WITH6, UDP6, PEER6, Ok(CIP6)),
        ("U1", WITH6, UDP6.v6only(), PEER6, Ok(CIP6)),
        ("U4", WITH4, UDP6, MAPPED_PEER, Ok(CIP4)),
        // An AF_INET address: not mapped.
        ("C4", WITH4, UDP6, PEER4, Ok(CIP4)),
        ("C8", WITHOUT4, UDP4, PEER4, unreachable),
        ("C8", WITHOUT4, UDP6, MAPPED_PEER, unreachable),
        ("C8", WITHOUT4, UDP6, PEER4, unreachable),
        ("C8", WITHOUT6, UDP6, PEER6, unreachable),
    ];
    let calls: [(&str, Call); 3] = [
        ("sendto", send_to),
        ("sendmsg", |client, to| client.send_message(to, b"ping")),
        ("sendmmsg", |client, to| {
            client.send_two(to, b"ping").map(drop)
        }),
    ];
    let mut rows = Vec::new();
    for (id, policies, kind, to, inside) in lines {
        let plain = Ok(if to.to_canonical().is_ipv4() {
            HOST4
        } else {
            HOST6
        });
        for (name, call) in calls {
            let what = format!("{kind:?} {name} {to}");
            let observe = move |site: &Site| send(site, kind, to, call);
            rows.extend(row(id, &what, policies, observe, inside, plain));
        }
    }
    rows
}

/// Datagrams that name another address as their source.
fn with_info() -> Vec<Row> {
    let mut rows = Vec::new();
    for (id, policies, kind, to, other, inside) in [
        ("U2", WITH4, UDP4, PEER4, OTHER4, CIP4),
        ("U2", WITH6, UDP6, PEER6, OTHER6, CIP6),
        ("U4", WITH4, UDP6, MAPPED_PEER, mapped(OTHER4), CIP4),
    ] {
        let plain = Ok(other.to_canonical());
        let what = format!("{kind:?} sendmsg {to} that names {other}");
        let call = move |client: &Socket, to| client.send_from(info(other), Some(to), b"ping");
        let observe = move |site: &Site| send(site, kind, to, call);
        rows.extend(row(id, &what, policies, observe, Ok(inside), plain));

        let id = if id == "U2" { "U3" } else { id };
        let what = format!("{kind:?} connected to {to}, sendmsg that names {other}");
        let observe = move |site: &Site| send_connected(site, kind, to, other);
        rows.extend(row(id, &what, policies, observe, Ok(inside), plain));
    }
    rows
}

fn info(source: IpAddr) -> PacketInfo {
    match source {
        IpAddr::V4(source) => PacketInfo::V4(source, 0),
        IpAddr::V6(source) => PacketInfo::V6(source, 0),
    }
}

fn send_connected(site: &Site, kind: Kind, to: IpAddr, source: IpAddr) -> Result<Outcome> {
    let peer = Peer::new(false, to)?;
    let client = site.socket(kind)?;
    done!(client.connect(peer.address()));
    done!(client.send_from(info(source), None, b"ping"));
    Ok(Ok(peer.receive()?.ip()))
}

/// A server at the wildcard address: what its client sees as the sender of the reply.
fn replies() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, kind, any, host, client, own) in [
        (WITH4, UDP4, ANY4, HOST4, PEER4, CIP4),
        (WITH6, UDP6, ANY6, HOST6, PEER6, CIP6),
        (WITHOUT6, UDP6, ANY6, HOST4, PEER4, CIP4),
    ] {
        let what = format!("{kind:?} server at {any} replies to {client}");
        let observe = move |site: &Site| reply(site, kind, any, host, client);
        rows.extend(row("U5", &what, policies, observe, Ok(own), Ok(host)));
    }
    rows
}

fn reply(site: &Site, kind: Kind, any: IpAddr, host: IpAddr, client: IpAddr) -> Result<Outcome> {
    let server = site.socket(kind)?;
    done!(server.bind(site.at(any, PORT)));
    let name = server.local()?.ip();
    let found_at = match name.to_canonical() {
        name if name.is_unspecified() => host,
        // It is dual-stack, so it answers at both addresses.
        CIP4 if client.is_ipv6() => CIP6,
        name => name,
    };
    let client = Peer::new(false, client)?;
    client.send(site.at(found_at, PORT))?;
    let (_, sender) = server.receive()?;
    ensure!(
        sender.ip().to_canonical() == client.address().ip(),
        "the server saw {sender}"
    );
    done!(server.send(Some(sender), b"pong"));
    Ok(Ok(client.receive()?.ip()))
}
