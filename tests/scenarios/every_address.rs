//! B23: a program that binds every address of the host, one by one.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use libc::{SO_REUSEADDR, SOL_SOCKET};
use oci_bind_hook_tests::hook::{BOTH, V4, V6};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, OTHER4, OTHER6};
use oci_bind_hook_tests::socket::{Kind, Socket, TCP4, TCP6, UDP4, UDP6};
use oci_bind_hook_tests::{places, reach};
use rustix::io::Errno;

use crate::observe::PORT;
use crate::row::{Row, Site, denied, row};

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, kinds, [own, other, third, any]) in [
        (&[V4, BOTH][..], [TCP4, UDP4], [CIP4, OTHER4, HOST4, ANY4]),
        (&[V6, BOTH], [TCP6, UDP6], [CIP6, OTHER6, HOST6, ANY6]),
    ] {
        for kind in kinds {
            let orders = [
                [own, other, third],
                [other, own, third],
                [other, third, own],
            ];
            for order in orders {
                if !kind.tcp && order[0] != own {
                    // The socket that names the assigned address is bound there too.
                    continue;
                }
                let what = format!("{kind:?} bind {order:?}, all at one port");
                let call = move |site: &Site| all(site, kind.tcp, order);
                let [first, second, third] = order;
                // With the first bind it is where it may be, and is told so.
                let inside = vec![(own, true), (second, false), (third, false)];
                let plain = vec![(first, true), (second, true), (third, true)];
                rows.extend(row("B23", &what, policies, call, inside, plain));
            }
            for again in [[own, own], [other, other], [any, other]] {
                let what = format!("{kind:?} bind {} where {} is", again[1], again[0]);
                let call = move |site: &Site| {
                    let [first, second] = again;
                    let _first = open(site, kind, first)?;
                    Ok(site.socket(kind)?.bind(site.at(second, PORT)))
                };
                let in_use = Err(Errno::ADDRINUSE);
                for policy in policies {
                    // A dual-stack `::` server has another address.
                    let is_dual = kind.v6 && again[0] == any && policy.ipv4.is_some();
                    let inside = if is_dual {
                        denied(Errno::ADDRINUSE)
                    } else {
                        in_use
                    };
                    rows.extend(row("B23", &what, &[*policy], call, inside, in_use));
                }
            }
        }
    }
    rows.extend(by_name());
    rows.extend(both_families());
    rows
}

/// A datagram socket that names the assigned address is bound there, beside the one that
/// came first.
fn by_name() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, kind, [own, other, third]) in [
        (&[V4, BOTH], UDP4, [CIP4, OTHER4, HOST4]),
        (&[V6, BOTH], UDP6, [CIP6, OTHER6, HOST6]),
    ] {
        let what = format!("{kind:?} bind {other}, {own}, {third}, all at one port");
        let call = move |site: &Site| {
            let [other, named, third] = [other, own, third].map(|to| open(site, kind, to));
            let servers = [other?, named?, third?];
            let answers = reach::answers(&servers[1], servers[1].local()?)?;
            ensure!(answers, "it does not answer");
            servers
                .iter()
                .map(|server| {
                    let name = server.local()?;
                    Ok((name.ip(), places::place(server)? == name))
                })
                .collect()
        };
        let inside = vec![(own, true), (own, true), (third, false)];
        let plain = vec![(other, true), (own, true), (third, true)];
        rows.extend(row("B23", &what, policies, call, inside, plain));
    }
    rows
}

/// The same with addresses of the family that is not assigned, once the program is at the
/// assigned address.
fn both_families() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policy, order) in [(V4, [OTHER4, HOST6, OTHER6]), (V6, [OTHER6, HOST4, OTHER4])] {
        let own = policy.ipv4.or(policy.ipv6).expect("an address");
        let [first, second, third] = order;
        for tcp in [true, false] {
            let what = format!("tcp {tcp}: bind {order:?}, all at one port");
            let call = move |site: &Site| all(site, tcp, order);
            let inside = vec![(own, true), (second, false), (third, false)];
            let plain = vec![(first, true), (second, true), (third, true)];
            rows.extend(row("B23", &what, &[policy], call, inside, plain));
        }
    }
    rows
}

fn open(site: &Site, kind: Kind, address: IpAddr) -> Result<Socket> {
    let server = site.socket(kind)?;
    if !kind.tcp {
        server.set(SOL_SOCKET, SO_REUSEADDR, 1)?;
    }
    server.bind(site.at(address, PORT))?;
    if kind.tcp {
        server.listen()?;
    }
    Ok(server)
}

/// What each server is told, and whether it answers there.
fn all(site: &Site, is_tcp: bool, order: [IpAddr; 3]) -> Result<Vec<(IpAddr, bool)>> {
    let mut servers = Vec::new();
    for address in order {
        servers.push(open(site, Kind::of(is_tcp, address), address)?);
    }
    servers
        .iter()
        .map(|server| {
            let name = server.local()?;
            ensure!(name.port() == PORT, "it is told {name}");
            let is_there = places::place(server)? == name && reach::answers(server, name)?;
            Ok((name.ip(), is_there))
        })
        .collect()
}
