//! B17 to B19 and M3: ports that are moved, ports that are left alone, and servers
//! that never bind.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use oci_bind_hook_tests::hook::{BOTH, Policy, V4, V6};
use oci_bind_hook_tests::net::{
    ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, LOOP4, LOOP6, OTHER4, OTHER6, PEER4, PEER6, mapped,
};
use oci_bind_hook_tests::reach;
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::guard::{GUARDED4, GUARDED6};
use crate::observe::{Peer, bind, done};
use crate::row::{Row, Site, WITH4, WITH6, denied, row};

/// The port that programs ask for, and the one that they get.
const ASKED: u16 = 8080;
const ACTUAL: u16 = 9090;
const MOVED: &[Policy] = &[BOTH.ports("80:81,8080:9090")];
const MOVED4: &[Policy] = &[V4.ports("8080:9090")];
const MOVED_TCP: &[Policy] = &[BOTH.ports("8080:9090/tcp")];
const MOVED_UDP: &[Policy] = &[BOTH.ports("8080:9090/udp")];
const MOVED_RANGE: &[Policy] = &[
    BOTH.ports("8000-8100:9010-9110"),
    BOTH.ports("8080-8090:9090-9100,1-8079:2-8080"),
    BOTH.ports("8070-8080:9080-9090,8081:1"),
];
const EXEMPT: &[Policy] = &[BOTH.exempt("8080"), V4.exempt("5353,8000-8100")];
const EXEMPT6: &[Policy] = &[BOTH.exempt("8080"), V6.exempt("8080-8081")];
const NOT_EXEMPT: &[Policy] = &[BOTH.exempt("8000-8079,8081-8100")];
const GUARDED_EXEMPT: &[Policy] = &[
    BOTH.guarded().exempt("8000-8100"),
    BOTH.loopback("auto").guarded().exempt("8080"),
];
const EXEMPT_TCP: &[Policy] = &[BOTH.exempt("8080/tcp")];
const EXEMPT_UDP: &[Policy] = &[BOTH.exempt("8080/udp")];

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = moved();
    rows.extend(exempt());
    rows.extend(guarded());
    for (policies, guarded, kind, addresses, own, loopback) in [
        (
            WITH4,
            GUARDED4,
            TCP4,
            [HOST4, OTHER4, LOOP4, CIP4],
            CIP4,
            LOOP4,
        ),
        (
            WITH6,
            GUARDED6,
            TCP6,
            [HOST6, OTHER6, LOOP6, CIP6],
            CIP6,
            LOOP6,
        ),
    ] {
        let what = format!("{kind:?} listen without bind");
        let all = addresses.to_vec();
        let observe = move |site: &Site| listen(site, kind, None, addresses);
        let inside = vec![loopback, own];
        rows.extend(row("B19", &what, guarded, observe, inside, all.clone()));
        // Without the guard, no hook sees it: the documented gap.
        rows.extend(row("B19", &what, policies, observe, all.clone(), all));
    }
    rows
}

fn moved() -> Vec<Row> {
    let mut rows = Vec::new();
    // Policies, socket, requested address; where it is under the policy.
    #[rustfmt::skip]
    let lines = [
        (MOVED, TCP4, ANY4, (CIP4, ACTUAL)),
        (MOVED, UDP4, ANY4, (CIP4, ACTUAL)),
        (MOVED, TCP4, CIP4, (CIP4, ACTUAL)),
        (MOVED, TCP4, OTHER4, (CIP4, ACTUAL)),
        (MOVED, TCP6.v6only(), ANY6, (CIP6, ACTUAL)),
        (MOVED, UDP6, CIP6, (CIP6, ACTUAL)),
        (MOVED, TCP6, mapped(ANY4), (mapped(CIP4), ACTUAL)),
        (MOVED4, TCP6, ANY6, (mapped(CIP4), ACTUAL)),
        (MOVED_TCP, TCP4, ANY4, (CIP4, ACTUAL)),
        (MOVED_TCP, UDP4, ANY4, (CIP4, ASKED)),
        (MOVED_UDP, TCP6.v6only(), ANY6, (CIP6, ASKED)),
        (MOVED_UDP, UDP6.v6only(), ANY6, (CIP6, ACTUAL)),
        (MOVED_RANGE, TCP4, ANY4, (CIP4, ACTUAL)),
        (MOVED_RANGE, UDP6.v6only(), ANY6, (CIP6, ACTUAL)),
        // A program that binds to loopback gets what it asked for.
        (MOVED, TCP4, LOOP4, (LOOP4, ASKED)),
        (MOVED, UDP6, LOOP6, (LOOP6, ASKED)),
    ];
    for (policies, kind, asked, inside) in lines {
        let what = format!("{kind:?} bind {asked}, port {ASKED}");
        let observe = move |site: &Site| named(site, kind, asked);
        let plain = Ok((asked, ASKED));
        rows.extend(row("B17", &what, policies, observe, Ok(inside), plain));
    }
    rows
}

/// Binds to a port: the name that getsockname reports, at which it answers.
fn named(site: &Site, kind: Kind, asked: IpAddr) -> Result<Outcome<(IpAddr, u16)>> {
    let server = site.socket(kind)?;
    done!(server.bind(site.at(asked, ASKED)));
    if kind.tcp {
        server.listen()?;
    }
    reach::assert_as_named(&server)?;
    let name = server.local()?;
    Ok(Ok((name.ip(), name.port())))
}

fn exempt() -> Vec<Row> {
    let mut rows = Vec::new();
    #[rustfmt::skip]
    let lines = [
        (EXEMPT, TCP4, ANY4, ANY4),
        (EXEMPT, UDP4, ANY4, ANY4),
        (EXEMPT, TCP4, OTHER4, OTHER4),
        (EXEMPT, UDP4, OTHER4, OTHER4),
        (EXEMPT6, TCP6, ANY6, ANY6),
        (EXEMPT6, UDP6, ANY6, ANY6),
        (EXEMPT6, UDP6, OTHER6, OTHER6),
        (EXEMPT_TCP, TCP4, ANY4, ANY4),
        (EXEMPT_TCP, UDP4, ANY4, CIP4),
        (EXEMPT_UDP, TCP6.v6only(), ANY6, CIP6),
        (EXEMPT_UDP, UDP6, ANY6, ANY6),
        (NOT_EXEMPT, UDP4, ANY4, CIP4),
    ];
    for (policies, kind, asked, inside) in lines {
        let what = format!("{kind:?} bind {asked}");
        let observe = move |site: &Site| bind(site, kind, asked);
        rows.extend(row("B18", &what, policies, observe, Ok(inside), Ok(asked)));
    }
    // Its clients are answered from the address that they called, whatever that is.
    for (policies, kind, any, other) in
        [(EXEMPT, TCP4, ANY4, OTHER4), (EXEMPT6, TCP6, ANY6, OTHER6)]
    {
        let what = format!("{kind:?} at {any} is called at {other}");
        let observe = move |site: &Site| -> Result<Outcome> {
            let server = site.socket(kind)?;
            done!(server.bind(site.at(any, ASKED)));
            server.listen()?;
            let client = Socket::new(kind)?;
            client.reset_on_close()?;
            client.connect(site.at(other, ASKED))?;
            let accepted = server.accept()?;
            accepted.send(None, b"pong")?;
            ensure!(client.receive_connected()? == b"pong", "no pong");
            Ok(Ok(accepted.local()?.ip()))
        };
        rows.extend(row("B18", &what, policies, observe, Ok(other), Ok(other)));
    }
    let what = "udp4 at 0.0.0.0 connects from the exempt port";
    rows.extend(row("B18", what, EXEMPT, connect, Ok(HOST4), Ok(HOST4)));
    rows
}

/// A client at an exempt port: the address that its peer sees.
fn connect(site: &Site) -> Result<Outcome> {
    let peer = Peer::new(false, PEER4)?;
    let client = site.socket(UDP4)?;
    done!(client.bind(site.at(ANY4, ASKED)));
    done!(client.connect(peer.address()));
    peer.meet(&client)
}

/// An exempt port does not open another address while the guard is on.
fn guarded() -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, any, addresses, own, loopback) in [
        (TCP4, ANY4, [HOST4, OTHER4, LOOP4, CIP4], CIP4, LOOP4),
        (TCP6, ANY6, [HOST6, OTHER6, LOOP6, CIP6], CIP6, LOOP6),
    ] {
        let what = format!("{kind:?} at {any} is called at an exempt port");
        let observe = move |site: &Site| listen(site, kind, Some(any), addresses);
        let (inside, all) = (vec![loopback, own], addresses.to_vec());
        rows.extend(row("M3", &what, GUARDED_EXEMPT, observe, inside, all));
    }
    for (kind, any, others, own) in [
        (UDP4, ANY4, [HOST4, OTHER4], CIP4),
        (UDP6, ANY6, [HOST6, OTHER6], CIP6),
        (UDP6, mapped(ANY4), [HOST4, OTHER4], CIP4),
    ] {
        let all: Vec<_> = others.into_iter().chain([own]).collect();
        let what = format!("{kind:?} at {any} hears datagrams at an exempt port");
        let addresses = all.clone();
        let observe = move |site: &Site| hear(site, kind, any, &addresses);
        let inside = vec![own];
        rows.extend(row(
            "M3",
            &what,
            GUARDED_EXEMPT,
            observe,
            inside,
            all.clone(),
        ));
        // If the guard is off, everything passes.
        let addresses = all.clone();
        let observe = move |site: &Site| hear(site, kind, any, &addresses);
        let what = format!("{kind:?} at {any} hears datagrams at an exempt port, no guard");
        let policies = [BOTH.exempt("8080")];
        rows.extend(row("M3", &what, &policies, observe, all.clone(), all));
    }
    for (kind, any, peer, own, host) in [
        (UDP4, ANY4, PEER4, CIP4, HOST4),
        (UDP6, ANY6, PEER6, CIP6, HOST6),
    ] {
        let observe = move |site: &Site| -> Result<Outcome> {
            let peer = Peer::new(false, peer)?;
            let client = site.socket(kind)?;
            done!(client.bind(site.at(any, ASKED)));
            done!(client.send(Some(peer.address()), b"ping"));
            peer.reply(&client)
        };
        let what = format!("{kind:?} at {any} sends from an exempt port");
        rows.extend(row("M3", &what, GUARDED_EXEMPT, observe, Ok(own), Ok(host)));
    }
    let refused = denied(Errno::ADDRNOTAVAIL);
    let what = "udp4 at 0.0.0.0 connects from an exempt port";
    rows.extend(row("M3", what, GUARDED_EXEMPT, connect, refused, Ok(HOST4)));
    rows
}

/// What a server at the exempt port hears of what is sent to these addresses; it hears the
/// last one in any case.
fn hear(site: &Site, kind: Kind, at: IpAddr, addresses: &[IpAddr]) -> Result<Vec<IpAddr>> {
    let server = site.socket(kind)?;
    server.bind(site.at(at, ASKED))?;
    for &address in addresses {
        let client = Socket::new(Kind::of(false, address))?;
        client.send(
            Some(site.at(address, ASKED)),
            address.to_string().as_bytes(),
        )?;
    }
    let mut heard = Vec::new();
    while heard.last() != addresses.last() {
        heard.push(String::from_utf8(server.receive()?.0)?.parse()?);
    }
    Ok(heard)
}

/// Listens on a socket that is bound at the exempt port, or was never bound: at which of
/// `addresses` it answers, the last of which it does in any case.
fn listen(
    site: &Site,
    kind: Kind,
    at: Option<IpAddr>,
    addresses: [IpAddr; 4],
) -> Result<Vec<IpAddr>> {
    let server = site.socket(kind)?;
    if let Some(at) = at {
        server.bind(site.at(at, ASKED))?;
    }
    server.listen()?;
    let port = server.local()?.port();
    let mut clients = Vec::new();
    for address in addresses {
        let client = Socket::new(kind)?;
        client.reset_on_close()?;
        fcntl_setfl(&client, fcntl_getfl(&client)? | OFlags::NONBLOCK)?;
        match client.connect(site.at(address, port)) {
            Ok(()) | Err(Errno::INPROGRESS) => clients.push((address, client)),
            Err(errno) => return Err(errno.into()),
        }
    }
    // A packet that is dropped is not answered, and nothing reports it. But packets to
    // this host itself are delivered in turn, at once or, on a busy machine, by ksoftirqd:
    // when the last handshake is over, so are those before it.
    let mut answered = Vec::new();
    let (_, own) = clients.last().context("no address is called")?;
    own.connected()
        .context("nothing answers at the assigned address")?;
    for (address, client) in &clients {
        if client.peer().is_ok() {
            answered.push(*address);
            server.accept()?.reset_on_close()?;
        }
    }
    Ok(answered)
}
