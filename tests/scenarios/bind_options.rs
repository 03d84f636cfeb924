//! B16: socket options that change what bind(2) may do.

use std::net::IpAddr;

use anyhow::{Context, Result};
use libc::{
    IP_BIND_ADDRESS_NO_PORT, IP_FREEBIND, IP_TRANSPARENT, IPPROTO_IP, IPPROTO_IPV6, IPV6_FREEBIND,
    IPV6_TRANSPARENT, SO_REUSEADDR, SO_REUSEPORT, SOL_SOCKET,
};
use oci_bind_hook_tests::net::{
    ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, NOBODY4, NOBODY6, OTHER4, OTHER6, PEER4, PEER6,
};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6};
use rustix::io::Errno;

use crate::observe::{PORT, Peer, dial, serve};
use crate::row::{Row, Site, WITH4, WITHOUT4, row};

/// The two families: policies with an address, TCP, UDP, and the addresses: the wildcard,
/// the container's, another's, nobody's, a peer's, the host's.
type Family = (
    &'static [oci_bind_hook_tests::hook::Policy],
    Kind,
    Kind,
    [IpAddr; 6],
);
const FAMILIES: [Family; 2] = [
    (
        WITH4,
        TCP4,
        UDP4,
        [ANY4, CIP4, OTHER4, NOBODY4, PEER4, HOST4],
    ),
    (
        WITHOUT4,
        TCP6,
        UDP6,
        [ANY6, CIP6, OTHER6, NOBODY6, PEER6, HOST6],
    ),
];

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, tcp, udp, [any, own, other, nobody, peer, host]) in FAMILIES {
        for kind in [tcp, udp] {
            let what = format!("{kind:?} SO_REUSEPORT group");
            let group = move |site: &Site| reuse_port(site, kind, any);
            rows.extend(row(
                "B16",
                &what,
                policies,
                group,
                [Ok(own); 2],
                [Ok(any); 2],
            ));

            let what = format!("{kind:?} SO_REUSEPORT group that names another address");
            let group = move |site: &Site| reuse_port(site, kind, other);
            rows.extend(row(
                "B16",
                &what,
                policies,
                group,
                [Ok(own); 2],
                [Ok(other); 2],
            ));

            for option in ["FREEBIND", "TRANSPARENT"] {
                let what = format!("{kind:?} IP_{option} at an address of nobody");
                let call = move |site: &Site| non_local(site, kind, option, nobody);
                rows.extend(row("B16", &what, policies, call, Ok(own), Ok(nobody)));
            }
        }

        let what = format!("{tcp:?} SO_REUSEADDR restart");
        let restart = move |site: &Site| restart(site, tcp, any);
        let again = |address| (Err(Errno::ADDRINUSE), Ok(address));
        rows.extend(row("B16", &what, policies, restart, again(own), again(any)));

        for asked in [any, other] {
            let what = format!("{tcp:?} IP_BIND_ADDRESS_NO_PORT bind {asked}, connect");
            let call = move |site: &Site| bind_late(site, tcp, asked, peer);
            let plain = if asked == any { host } else { other };
            rows.extend(row(
                "B16",
                &what,
                policies,
                call,
                (Ok(own), Ok(own)),
                (Ok(asked), Ok(plain)),
            ));
        }
    }
    rows
}

/// Two servers at one port, by `SO_REUSEPORT`: where they are. The members of the group
/// are checked one by one, since they share what arrives.
fn reuse_port(site: &Site, kind: Kind, asked: IpAddr) -> Result<[Outcome; 2]> {
    let bind = || -> Result<(Socket, Outcome)> {
        let server = site.socket(kind)?;
        server.set(SOL_SOCKET, SO_REUSEPORT, 1)?;
        let bound = match server.bind(site.at(asked, PORT)) {
            Ok(()) => Ok(server.local()?.ip()),
            Err(errno) => Err(errno),
        };
        Ok((server, bound))
    };
    let (first, one) = bind()?;
    let (_second, two) = bind()?;
    // The second does not listen, and UDP distributes by a hash of the peer: so only a TCP
    // group has a member that answers everything.
    if kind.tcp && one.is_ok() {
        first.listen()?;
        oci_bind_hook_tests::reach::assert_as_named(&first)?;
    }
    Ok([one, two])
}

/// A server that restarts while an old connection lingers: its bind without
/// `SO_REUSEADDR`, which fails, and where it ends up with the option.
fn restart(site: &Site, kind: Kind, asked: IpAddr) -> Result<(Outcome, Outcome)> {
    let reusing = |on: bool| -> Result<Socket> {
        let server = site.socket(kind)?;
        server.set(SOL_SOCKET, SO_REUSEADDR, on.into())?;
        Ok(server)
    };
    let old = reusing(true)?;
    old.bind(site.at(asked, PORT))?;
    old.listen()?;
    let name = old.local()?.ip();
    let client = Socket::new(kind)?;
    client.connect(site.at(
        if name.is_unspecified() {
            loopback(kind)
        } else {
            name
        },
        PORT,
    ))?;
    // The side that closes first keeps the port for a while.
    drop(old.accept()?);
    anyhow::ensure!(client.receive_connected()?.is_empty(), "no end of file");
    drop((client, old));

    let without = match reusing(false)?.bind(site.at(asked, PORT)) {
        Ok(()) => Ok(asked),
        Err(errno) => Err(errno),
    };
    Ok((without, serve(&reusing(true)?, site.at(asked, PORT))?))
}

fn loopback(kind: Kind) -> IpAddr {
    if kind.v6 {
        oci_bind_hook_tests::net::LOOP6
    } else {
        oci_bind_hook_tests::net::LOOP4
    }
}

/// Binds to an address that the host does not have.
fn non_local(site: &Site, kind: Kind, option: &str, asked: IpAddr) -> Result<Outcome> {
    let server = site.socket(kind)?;
    let (level, name) = match (kind.v6, option) {
        (false, "FREEBIND") => (IPPROTO_IP, IP_FREEBIND),
        (false, _) => (IPPROTO_IP, IP_TRANSPARENT),
        (true, "FREEBIND") => (IPPROTO_IPV6, IPV6_FREEBIND),
        (true, _) => (IPPROTO_IPV6, IPV6_TRANSPARENT),
    };
    server.set(level, name, 1)?;
    serve(&server, site.at(asked, PORT))
}

/// Binds without a port, which the kernel then chooses at connect: where the socket is
/// bound, and what the peer sees.
fn bind_late(site: &Site, kind: Kind, asked: IpAddr, peer: IpAddr) -> Result<(Outcome, Outcome)> {
    let client = site.socket(kind)?;
    client.set(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)?;
    let bound: Outcome = match client.bind(site.at(asked, 0)) {
        Ok(()) => Ok(client.local()?.ip()),
        Err(errno) => Err(errno),
    };
    let seen = dial(&client, &Peer::new(kind.tcp, peer)?).context("connect after the bind")?;
    Ok((bound, seen))
}
