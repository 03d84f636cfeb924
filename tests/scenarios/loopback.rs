//! U7, L3 and L5: loopback under the policy `host`, which never touches it.

use std::net::IpAddr;

use anyhow::Result;
use oci_bind_hook_tests::hook::V6;
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, LOOP4, LOOP6, mapped};
use oci_bind_hook_tests::socket::{Kind, Outcome, TCP4, TCP6, UDP4, UDP6};

use crate::observe::{Peer, connect, done, send, send_to};
use crate::row::{ANY_POLICY, Row, Site, WITH4, row};

const MAPPED_ANY: IpAddr = mapped(ANY4);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (tcp, udp, to) in [
        (TCP4, UDP4, LOOP4),
        (TCP6, UDP6, LOOP6),
        (TCP6, UDP6, mapped(LOOP4)),
    ] {
        let seen = Ok(to.to_canonical());
        for kind in [tcp, udp] {
            let what = format!("{kind:?} connect {to}");
            let call = move |site: &Site| connect(site, kind, to);
            rows.extend(row("L3", &what, ANY_POLICY, call, seen, seen));
        }
        let what = format!("{udp:?} sendto {to}");
        let call = move |site: &Site| send(site, udp, to, send_to);
        rows.extend(row("L3", &what, ANY_POLICY, call, seen, seen));

        let what = format!("{udp:?} bound to {to} sendto {to}");
        let call = move |site: &Site| send_bound(site, udp, to);
        rows.extend(row("U7", &what, ANY_POLICY, call, seen, seen));
    }
    for (kind, any, loopback) in [
        (TCP4, ANY4, LOOP4),
        (UDP4, ANY4, LOOP4),
        (TCP6, ANY6, LOOP6),
        (UDP6, ANY6, LOOP6),
    ] {
        let what = format!("{kind:?} connect {any}");
        let call = move |site: &Site| connect_any(site, kind, any, loopback);
        rows.extend(row(
            "L5",
            &what,
            ANY_POLICY,
            call,
            Ok(loopback),
            Ok(loopback),
        ));
    }
    // The kernel would replace 0.0.0.0 with the address that the socket was moved to.
    for (policies, tcp, udp, any, own, loopback) in [
        (WITH4, TCP4, UDP4, ANY4, CIP4, LOOP4),
        (WITH4, TCP6, UDP6, MAPPED_ANY, CIP4, LOOP4),
        (&[V6], TCP6, UDP6, ANY6, CIP6, LOOP6),
    ] {
        for kind in [tcp, udp] {
            let what = format!("{kind:?} bound to {any} connect {any}");
            let call = move |site: &Site| {
                let peer = Peer::new(kind.tcp, loopback)?;
                let client = site.socket(kind)?;
                done!(client.bind(site.at(any, 0)));
                done!(client.connect(site.at(any, peer.address().port())));
                peer.meet(&client)
            };
            rows.extend(row("L5", &what, policies, call, Ok(own), Ok(loopback)));
        }
        // The kernel accepts no such destination.
        if any == MAPPED_ANY {
            continue;
        }
        let what = format!("{udp:?} bound to {any} sendto {any}");
        let call = move |site: &Site| {
            let peer = Peer::new(false, loopback)?;
            let client = site.socket(udp)?;
            done!(client.bind(site.at(any, 0)));
            done!(send_to(&client, site.at(any, peer.address().port())));
            peer.reply(&client)
        };
        rows.extend(row("L5", &what, policies, call, Ok(own), Ok(loopback)));
    }
    rows
}

fn send_bound(site: &Site, kind: Kind, address: IpAddr) -> Result<Outcome> {
    let peer = Peer::new(false, address)?;
    let client = site.socket(kind)?;
    done!(client.bind(site.at(address, 0)));
    done!(send_to(&client, peer.address()));
    peer.reply(&client)
}

/// Connects to the wildcard address, which means loopback.
fn connect_any(site: &Site, kind: Kind, any: IpAddr, loopback: IpAddr) -> Result<Outcome> {
    let peer = Peer::new(kind.tcp, loopback)?;
    let client = site.socket(kind)?;
    done!(client.connect(site.at(any, peer.address().port())));
    peer.meet(&client)
}
