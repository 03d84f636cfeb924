//! C1 to C5, C7 and C8: which address a client connects from.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use oci_bind_hook_tests::bpf::deny_errno;
use oci_bind_hook_tests::net::{
    ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, LOOP4, LOOP6, PEER4, PEER6, mapped, peer4, peer6,
};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6};
use rustix::io::Errno;

use crate::observe::{Peer, connect, dial, done, send_to};
use crate::row::{ANY_POLICY, Row, Site, WITH4, WITH6, WITHOUT4, WITHOUT6, denied, row};

const MAPPED_PEER: IpAddr = mapped(PEER4);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let unreachable = denied(Errno::NETUNREACH);
    // Row, policies, socket, destination; what the peer sees under the policy,
    // and what otherwise.
    #[rustfmt::skip]
    let lines = [
        ("C1", WITH4, TCP4, PEER4, Ok(CIP4), Ok(HOST4)),
        ("C1", WITH6, TCP6, PEER6, Ok(CIP6), Ok(HOST6)),
        ("C1", WITH6, TCP6.v6only(), PEER6, Ok(CIP6), Ok(HOST6)),
        ("C2", WITH4, UDP4, PEER4, Ok(CIP4), Ok(HOST4)),
        ("C2", WITH6, UDP6, PEER6, Ok(CIP6), Ok(HOST6)),
        ("C3", WITH4, TCP6, MAPPED_PEER, Ok(CIP4), Ok(HOST4)),
        ("C3", WITH4, UDP6, MAPPED_PEER, Ok(CIP4), Ok(HOST4)),
        // An AF_INET address: not mapped.
        ("C4", WITH4, UDP6, PEER4, Ok(CIP4), Ok(HOST4)),
        ("C8", WITHOUT4, TCP4, PEER4, unreachable, Ok(HOST4)),
        ("C8", WITHOUT4, UDP4, PEER4, unreachable, Ok(HOST4)),
        ("C8", WITHOUT4, TCP6, MAPPED_PEER, unreachable, Ok(HOST4)),
        ("C8", WITHOUT4, UDP6, MAPPED_PEER, unreachable, Ok(HOST4)),
        ("C8", WITHOUT4, UDP6, PEER4, unreachable, Ok(HOST4)),
        ("C8", WITHOUT6, TCP6, PEER6, unreachable, Ok(HOST6)),
        ("C8", WITHOUT6, UDP6, PEER6, unreachable, Ok(HOST6)),
    ];
    for (id, policies, kind, to, inside, plain) in lines {
        let what = format!("{kind:?} connect {to}");
        let call = move |site: &Site| connect(site, kind, to);
        rows.extend(row(id, &what, policies, call, inside, plain));
    }

    for (policies, kind, bound, to) in [
        (WITH4, TCP4, CIP4, PEER4),
        (WITH4, UDP4, CIP4, PEER4),
        (WITH6, TCP6, CIP6, PEER6),
        (WITH6, UDP6, CIP6, PEER6),
        (ANY_POLICY, TCP4, LOOP4, LOOP4),
        (ANY_POLICY, UDP4, LOOP4, LOOP4),
        (ANY_POLICY, TCP6, LOOP6, LOOP6),
        (ANY_POLICY, UDP6, LOOP6, LOOP6),
    ] {
        let what = format!("{kind:?} bound to {bound} connect {to}");
        let call = move |site: &Site| connect_bound(site, kind, bound, to);
        rows.extend(row("C5", &what, policies, call, Ok(bound), Ok(bound)));
    }
    for (policies, kind, any, to, (own, host)) in [
        (WITH4, TCP4, ANY4, PEER4, (CIP4, HOST4)),
        (WITHOUT4, UDP6, ANY6, PEER6, (CIP6, HOST6)),
    ] {
        let what = format!("{kind:?} bound to the wildcard connect {to}");
        let call = move |site: &Site| connect_bound(site, kind, any, to);
        rows.extend(row("C5", &what, policies, call, Ok(own), Ok(host)));
    }

    for (policies, kind, member, (own, host)) in [
        (WITH4, TCP4, peer4 as fn(u8) -> IpAddr, (CIP4, HOST4)),
        (WITH6, TCP6, peer6, (CIP6, HOST6)),
    ] {
        let what = format!("{kind:?} connects to {CROWD} peers share {PORTS} ports");
        let call = move |site: &Site| crowd(site, kind, member);
        let from = |address| Crowd {
            shared: true,
            from: Some(address),
        };
        rows.extend(row("C1", &what, policies, call, from(own), from(host)));
    }

    #[rustfmt::skip]
    let sent_before = [
        (WITH4, UDP4, PEER4, (CIP4, HOST4)),
        (WITH6, UDP6, PEER6, (CIP6, HOST6)),
        (WITH4, UDP6, MAPPED_PEER, (CIP4, HOST4)),
    ];
    for (policies, kind, to, (own, host)) in sent_before {
        let what = format!("{kind:?} sendto, then connect {to}");
        let call = move |site: &Site| send_then_connect(site, kind, to);
        let plain = [Ok(host); 2];
        rows.extend(row("C7", &what, policies, call, [Ok(own); 2], plain));
    }
    rows
}

fn connect_bound(site: &Site, kind: Kind, bound: IpAddr, to: IpAddr) -> Result<Outcome> {
    let client = site.socket(kind)?;
    done!(client.bind(site.at(bound, 0)));
    dial(&client, &Peer::new(kind.tcp, to)?)
}

const CROWD: u8 = 250;
const PORTS: u16 = 8;

/// How connections to many distinct peers went.
#[derive(Clone, PartialEq, Debug)]
struct Crowd {
    /// Whether all of them succeeded, with no more ports than there are.
    shared: bool,
    /// The address that they came from, if it was the same for all.
    from: Option<IpAddr>,
}

/// Connects to many more peers than there are local ports.
fn crowd(site: &Site, kind: Kind, member: fn(u8) -> IpAddr) -> Result<Crowd> {
    site.net().squeeze_ports(PORTS)?;
    // A port outside the few local ones, so that it takes none of them.
    let any = if kind.v6 { ANY6 } else { ANY4 };
    let peer = Peer::at(true, SocketAddr::new(any, 9000))?;
    let mut clients = Vec::new();
    for number in 1..=CROWD {
        let client = site.socket(kind)?;
        client.reset_on_close()?;
        client.connect(site.at(member(number), peer.address().port()))?;
        clients.push(client);
    }
    let mut ports = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for _ in &clients {
        let seen = peer.accept()?.peer()?;
        ports.insert(seen.port());
        addresses.insert(seen.ip());
    }
    Ok(Crowd {
        shared: ports.len() <= PORTS.into(),
        from: addresses.first().copied().filter(|_| addresses.len() == 1),
    })
}

/// Sends, which takes a port at the wildcard address, and then connects: what the peer
/// sees each time. A refused connect is as good as one from the container's own address;
/// one from another address is not.
fn send_then_connect(site: &Site, kind: Kind, to: IpAddr) -> Result<[Outcome; 2]> {
    let peer = Peer::new(false, to)?;
    let client: Socket = site.socket(kind)?;
    send_to(&client, peer.address())?;
    let sent = peer.reply(&client)?;
    let connected = match dial(&client, &peer)? {
        Err(errno) if errno == deny_errno(Errno::ADDRNOTAVAIL) => sent,
        outcome => outcome,
    };
    Ok([sent, connected])
}
