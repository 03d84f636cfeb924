//! L4: datagram sockets that have sent, and so have a port already, when they
//! connect to the private loopback.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use oci_bind_hook_tests::bpf::deny_errno;
use oci_bind_hook_tests::hook::{BOTH, Policy};
use oci_bind_hook_tests::net::{LOOP4, LOOP6, PEER4, PEER6, mapped};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, UDP4, UDP6, at};
use rustix::io::Errno;

use crate::observe::{PORT, Peer, done};
use crate::private::{DERIVED, PRIVATE};
use crate::row::{Row, Scene, Site, row};
use crate::told::{How, Told, call, open, serve, take};

const PRIVATE_BOTH: &[Policy] = &[BOTH.loopback("private").guarded()];
const MAPPED_LOOP: IpAddr = mapped(LOOP4);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    #[rustfmt::skip]
    let lines = [
        (PRIVATE, UDP4, PEER4, LOOP4),
        (PRIVATE, UDP4, LOOP4, LOOP4),
        (PRIVATE, UDP6, mapped(PEER4), MAPPED_LOOP),
        (PRIVATE_BOTH, UDP6, PEER6, LOOP6),
    ];
    for (policies, kind, first, to) in lines {
        let (server, loopback) = if to == LOOP6 {
            (UDP6, LOOP6)
        } else {
            (UDP4, LOOP4)
        };
        let to = SocketAddr::new(to, PORT);
        let what = format!("{kind:?} sendto {first}, then connect {}", to.ip());
        let told = move |seen| Ok(Told::by_call(How::Connect, kind, to, seen));
        let observe = move |site: &Site| {
            let server = serve(site, server, site.at(loopback, PORT))?;
            let outcome = call(&has_sent(site, kind, first)?, &server, to, How::Connect)?;
            Ok(or_refused(outcome, told(loopback)))
        };
        let seen = told(loopback);
        rows.extend(row("L4", &what, policies, observe, seen.clone(), seen));
        rows.push(Scene::row(
            "L4",
            &format!("{what}, by its real address"),
            move |scene| real_source(scene, kind, first, to),
        ));
    }
    rows
}

/// A client whose first datagram has gone to `first`.
fn has_sent(site: &Site, kind: Kind, first: IpAddr) -> Result<Socket> {
    let peer = Peer::new(false, first)?;
    let client = site.socket(kind)?;
    // To loopback it may be refused: nobody in this container listens there.
    let _ = client.send(Some(peer.address()), b"hello");
    Ok(client)
}

/// The container's servers are told translated names. A server of the host at the
/// container's private address is not.
fn real_source(scene: &Scene, kind: Kind, first: IpAddr, to: SocketAddr) -> Result<()> {
    scene.attach(BOTH.loopback("private").guarded())?;
    let server = Socket::new(UDP4)?;
    open(&server, at(DERIVED, PORT, 0))?;
    let host = Socket::new(UDP4)?;
    open(&host, at(LOOP4, PORT, 0))?;
    let site = scene.inside();
    let seen = |client: &Socket| -> Result<Outcome> {
        done!(client.connect(to));
        client.send(None, b"ping")?;
        Ok(Ok(take(&server)?.ip()))
    };
    let expected = Ok(DERIVED);
    let fresh = seen(&site.socket(kind)?)?;
    ensure!(fresh == expected, "a fresh one is really at {fresh:?}");
    let used = or_refused(seen(&has_sent(&site, kind, first)?)?, expected);
    ensure!(used == expected, "it is really at {used:?}");
    ensure!(!host.has_input()?, "the host's loopback hears of it");
    Ok(())
}

/// A call that cannot leave from the private loopback may be refused instead.
fn or_refused<T>(outcome: Outcome<T>, otherwise: Outcome<T>) -> Outcome<T> {
    match outcome {
        Err(errno) if errno == deny_errno(Errno::ADDRNOTAVAIL) => otherwise,
        outcome => outcome,
    }
}
