//! C6: sockets that connect more than once.

use std::net::{IpAddr, SocketAddr};

use anyhow::Result;
use oci_bind_hook_tests::net::{CIP4, CIP6, HOST4, HOST6, PEER4, PEER6, mapped, peer4, peer6};
use oci_bind_hook_tests::socket::{Kind, Outcome, TCP4, TCP6, UDP4, UDP6};
use rustix::io::Errno;

use crate::observe::{Peer, dial};
use crate::row::{Row, Site, WITH4, WITH6, row};

/// All rows of this file.
#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, tcp, udp, peer, other, own, host) in [
        (WITH4, TCP4, UDP4, PEER4, peer4(7), CIP4, HOST4),
        (WITH6, TCP6, UDP6, PEER6, peer6(7), CIP6, HOST6),
        (WITH4, TCP6, UDP6, mapped(PEER4), mapped(peer4(7)), CIP4, HOST4),
    ] {
        rows.extend(row(
            "C6", &format!("{tcp:?} connect {peer} refused, then retried"), policies,
            move |site| refused(site, tcp, peer),
            [Err(Errno::CONNREFUSED), Ok(own)],
            [Err(Errno::CONNREFUSED), Ok(host)],
        ));
        for kind in [tcp, udp] {
            rows.extend(row(
                "C6", &format!("{kind:?} connect {peer}, disconnect, connect {other}"), policies,
                move |site| reconnect(site, kind, [peer, other], true),
                [Ok(own); 2],
                [Ok(host); 2],
            ));
        }
        rows.extend(row(
            "C6", &format!("{udp:?} connect {peer}, then connect {other}"), policies,
            move |site| reconnect(site, udp, [peer, other], false),
            [Ok(own); 2],
            [Ok(host); 2],
        ));
    }
    rows
}

/// Connects to a closed port, and again on the same socket once the port is open.
fn refused(site: &Site, kind: Kind, to: IpAddr) -> Result<[Outcome; 2]> {
    let closed = Peer::new(kind.tcp, to)?.address();
    let client = site.socket(kind)?;
    let first = client.connect(closed).map(|()| to);
    let peer = Peer::at(kind.tcp, SocketAddr::new(to, closed.port()))?;
    Ok([first, dial(&client, &peer)?])
}

/// Connects to one peer and then, on the same socket, to another.
fn reconnect(site: &Site, kind: Kind, to: [IpAddr; 2], disconnect: bool) -> Result<[Outcome; 2]> {
    let client = site.socket(kind)?;
    let [one, two] = [Peer::new(kind.tcp, to[0])?, Peer::new(kind.tcp, to[1])?];
    let first = dial(&client, &one)?;
    if disconnect {
        client.disconnect()?;
    }
    Ok([first, dial(&client, &two)?])
}
