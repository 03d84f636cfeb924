//! U6: multicast in a container.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use libc::{IPPROTO_IPV6, IPV6_MULTICAST_IF, SO_REUSEADDR, SOL_SOCKET};
use oci_bind_hook_tests::hook::{BOTH, Policy};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, HOST4, HOST6};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, UDP4, UDP6};

use crate::guard::{GUARDED4, GUARDED6, join};
use crate::observe::done;
use crate::row::{Row, Site, WITH4, WITH6, row};
use crate::unhooked::lite;

/// The port of multicast DNS.
const PORT: u16 = 5353;
const GROUP4: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251));
const GROUP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0xfb));
const EXEMPT: &[Policy] = &[BOTH.guarded().exempt("5353/udp"), BOTH.exempt("5353")];

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, guarded, kind, any, group, own, host) in [
        (WITH4, GUARDED4, UDP4, ANY4, GROUP4, CIP4, HOST4),
        (WITH6, GUARDED6, UDP6, ANY6, GROUP6, CIP6, HOST6),
    ] {
        for policies in [policies, guarded] {
            let what = format!("{kind:?} sendto {group}");
            // Otherwise the kernel chooses one of the host's addresses.
            let is_own = move |seen| seen == own;
            let observe = move |site: &Site| Ok(send(site, kind, any, group)?.map(is_own));
            rows.extend(row("U6", &what, policies, observe, Ok(true), Ok(false)));
        }
        let all = vec!["group".to_owned(), "own".to_owned()];
        for (policies, inside, port) in [
            (EXEMPT, all.clone(), "an exempt port"),
            // The socket is at the assigned address, where nothing sent to a group
            // arrives: the documented gap.
            (guarded, all[1..].to_vec(), "a port that is not exempt"),
        ] {
            let what = format!("{kind:?} at {any} receives from {group}, {port}");
            let observe = move |site: &Site| receive(site, kind, [any, group, own, host]);
            rows.extend(row("U6", &what, policies, observe, inside, all.clone()));
        }
        let what = format!("{kind:?} at {group} receives from {group}");
        let observe = move |site: &Site| receive(site, kind, [group, group, group, host]);
        let own = vec!["group".to_owned(), "own".to_owned()];
        rows.extend(row("U6", &what, guarded, observe, own.clone(), own));
    }
    // The documented gap: the guard drops the packet, but not the copy for members
    // on this host, which has no socket.
    let what = "UDP-Lite connect 224.0.0.251, send: the copy for members on this host";
    rows.extend(row("U6", what, GUARDED4, looped, Ok(HOST4), Ok(HOST4)));
    rows
}

/// Sends to a group from a socket that no hook has moved: the address that a member
/// on the same host sees.
fn looped(site: &Site) -> Result<Outcome> {
    let member = lite(&site.outside(), UDP4)?;
    member.bind(site.at(ANY4, PORT))?;
    join(&member, GROUP4, site.net().link())?;
    let client = lite(site, UDP4)?;
    done!(client.connect(site.at(GROUP4, PORT)));
    // EPERM if it is dropped.
    let _ = client.send(None, b"hello");
    Ok(Ok(member.receive()?.1.ip()))
}

/// Sends to a group: the address that a member outside sees.
fn send(site: &Site, kind: Kind, any: IpAddr, group: IpAddr) -> Result<Outcome> {
    let member = Socket::new(kind)?;
    member.bind(site.at(any, PORT))?;
    join(&member, group, site.net().link())?;
    let client = site.socket(kind)?;
    choose_link(site, &client)?;
    done!(client.send(Some(site.at(group, PORT)), b"hello"));
    Ok(Ok(member.receive()?.1.ip()))
}

/// A member that is bound to an address; somebody outside sends to the group and then to
/// an address where it hears in any case: what arrives.
fn receive(site: &Site, kind: Kind, addresses: [IpAddr; 4]) -> Result<Vec<String>> {
    let [at, group, own, host] = addresses;
    let member = site.socket(kind)?;
    member.set(SOL_SOCKET, SO_REUSEADDR, 1)?;
    member.bind(site.at(at, PORT))?;
    join(&member, group, site.net().link())?;
    let client = Socket::new(kind)?;
    choose_link(site, &client)?;
    client.bind(site.at(host, 0))?;
    client.send(Some(site.at(group, PORT)), b"group")?;
    client.send(Some(site.at(own, PORT)), b"own")?;
    let mut arrived = Vec::new();
    while arrived.last().is_none_or(|last| last != "own") {
        arrived.push(String::from_utf8(member.receive()?.0)?);
    }
    Ok(arrived)
}

/// IPv6 has no route to groups on all links.
fn choose_link(site: &Site, socket: &Socket) -> Result<()> {
    if socket.kind().v6 {
        socket.set(
            IPPROTO_IPV6,
            IPV6_MULTICAST_IF,
            site.net().link().try_into()?,
        )?;
    }
    Ok(())
}
