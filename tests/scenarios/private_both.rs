//! L7: 127.0.0.1 and `::1` at one port, on the container's own loopback.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use libc::{SO_REUSEADDR, SO_REUSEPORT, SOL_SOCKET};
use oci_bind_hook_ebpf::decide::loopback::port6;
use oci_bind_hook_ebpf::net::{self, Port};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, NEIGHBOUR, V4, V6};
use oci_bind_hook_tests::net::{ANY6, LOOP4, LOOP6};
use oci_bind_hook_tests::places;
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6, at};
use rustix::io::Errno;

use crate::observe::{PORT, done};
use crate::row::{Row, Scene, Site, denied, row};
use crate::told::{How, Told, call, open, serve, take};

/// Policies with a private loopback.
const PRIVATE: &[oci_bind_hook_tests::hook::Policy] = &[
    V4.loopback("private").guarded(),
    V6.loopback("private").guarded(),
    BOTH.loopback("private").guarded(),
    BOTH.loopback("private"),
];

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = both();
    rows.extend(one_port());
    rows.extend(apart());
    rows.push(late());
    rows.extend(shared());
    rows.push(Scene::row("L7", "tcp6 a port not asked for", unasked));
    rows.push(Scene::row("L7", "tcp6 a bind that fails", elsewhere));
    let what = "udp6 a client whose port comes to the server's place";
    rows.push(Scene::row("L7", what, answered));
    let what = "tcp6 a port that comes to the place of another";
    rows.push(Scene::row("L7", what, uncalled));
    const CALLS: &[(Kind, How)] = &[(TCP6, How::Connect), (UDP6, How::SendTo)];
    for (outer, calls) in [("auto", CALLS), ("private", &CALLS[..1])] {
        let what = format!("below a policy with {outer}");
        rows.push(Scene::row("L7", &what, move |scene| {
            nested(scene, outer, calls)
        }));
    }
    rows
}

/// Servers at both, in either order; a call to each address finds the server there.
fn both() -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind4, kind6, how) in [
        (TCP4, TCP6, How::Connect),
        (TCP4, TCP6.v6only(), How::Connect),
        (UDP4, UDP6, How::Connect),
        (UDP4, UDP6.v6only(), How::Connect),
        (UDP4, UDP6, How::SendTo),
        (UDP4, UDP6.v6only(), How::SendTo),
    ] {
        for is_v6_first in [false, true] {
            let first = if is_v6_first { LOOP6 } else { LOOP4 };
            let what = format!("{kind4:?} and {kind6:?} {how:?}, servers at both, {first} first");
            let observe = move |site: &Site| -> Result<Outcome<[Told; 2]>> {
                let (four, six) = if is_v6_first {
                    let six = serve(site, kind6, site.at(LOOP6, PORT))?;
                    (serve(site, kind4, site.at(LOOP4, PORT))?, six)
                } else {
                    let four = serve(site, kind4, site.at(LOOP4, PORT))?;
                    (four, serve(site, kind6, site.at(LOOP6, PORT))?)
                };
                let mut told = Vec::new();
                for (server, kind, address) in [(&four, kind4, LOOP4), (&six, kind6, LOOP6)] {
                    let name = server.local()?;
                    ensure!(
                        name == SocketAddr::new(address, PORT),
                        "a server is told {name}"
                    );
                    told.push(done!(call(&site.socket(kind)?, server, name, how)?));
                }
                Ok(Ok(told.try_into().expect("two calls")))
            };
            let told = [(kind4, LOOP4), (kind6, LOOP6)]
                .map(|(kind, to)| Told::by_call(how, kind, SocketAddr::new(to, PORT), to));
            rows.extend(row(
                "L7",
                &what,
                PRIVATE,
                observe,
                Ok(told.clone()),
                Ok(told),
            ));
        }
    }
    rows
}

/// What else a program does with one port of `::1`.
fn one_port() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in [TCP6, UDP6.v6only()] {
        let what = format!("{kind:?} bind {LOOP6} twice");
        let observe = move |site: &Site| {
            let _server = serve(site, kind, site.at(LOOP6, PORT))?;
            Ok(site.socket(kind)?.bind(site.at(LOOP6, PORT)))
        };
        let in_use = Err(Errno::ADDRINUSE);
        rows.extend(row("L7", &what, PRIVATE, observe, in_use, in_use));

        let what = format!("{kind:?} bind {LOOP6} port 0, and calls it");
        let how = How::Connect;
        let observe = move |site: &Site| -> Result<Outcome<(IpAddr, IpAddr)>> {
            let server = serve(site, kind, site.at(LOOP6, 0))?;
            let told = done!(call(&site.socket(kind)?, &server, server.local()?, how)?);
            Ok(Ok((told.peer.ip(), told.seen)))
        };
        let told = Ok((LOOP6, LOOP6));
        rows.extend(row("L7", &what, PRIVATE, observe, told, told));
    }
    let what = "tcp6 accepted connections are told the same";
    let observe = move |site: &Site| {
        let server = serve(site, TCP6, site.at(LOOP6, PORT))?;
        let client = site.socket(TCP6)?;
        client.connect(site.at(LOOP6, PORT))?;
        let accepted = server.accept()?;
        drop(server);
        // Also when nobody listens there any more.
        accepted.send(None, b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong");
        accepted.reset_on_close()?;
        accepted.local()
    };
    let name = SocketAddr::new(LOOP6, PORT);
    rows.extend(row("L7", what, PRIVATE, observe, name, name));
    rows
}

/// Two containers and the host.
fn apart() -> Vec<Row> {
    let kinds = [
        (TCP6, How::Connect),
        (TCP6.v6only(), How::Connect),
        (UDP6, How::Connect),
        (UDP6.v6only(), How::SendTo),
    ];
    let row = |(kind, how): (Kind, How)| {
        let what = format!("{kind:?} {how:?} {LOOP6}, two containers and the host at one port");
        Scene::row("L7", &what, move |scene| {
            scene.attach(BOTH.loopback("private").guarded())?;
            let other = Cgroup::new()?;
            let policy = NEIGHBOUR.loopback("private").guarded();
            scene.hook.attach(&other, policy)?;
            let neighbour = Agent::new(&other)?;
            let own = scene.inside();
            let to = at(LOOP6, PORT, 0);
            let host = Socket::new(kind)?;
            open(&host, to)?;
            let one = serve(&own, kind, to)?;
            let two = neighbour.socket(kind)?;
            open(&two, to)?;
            let places = [places::place(&one)?, places::place(&two)?, to];
            ensure!(
                places[0] != places[1] && !places[..2].contains(&to),
                "{places:?}"
            );
            call(&own.socket(kind)?, &one, to, how)??;
            call(&neighbour.socket(kind)?, &two, to, how)??;
            call(&Socket::new(kind)?, &host, to, how)??;
            Ok(())
        })
    };
    kinds.map(row).into()
}

/// A datagram socket that is connected before its server is there.
fn late() -> Row {
    Scene::row(
        "L7",
        "udp6 connected to ::1, then its server starts",
        |scene| {
            scene.attach(BOTH.loopback("private").guarded())?;
            let (own, to) = (scene.inside(), at(LOOP6, PORT, 0));
            let client = own.socket(UDP6)?;
            client.connect(to)?;
            let server = serve(&own, UDP6, to)?;
            client.send(None, b"ping")?;
            take(&server)?;
            Ok(())
        },
    )
}

/// Options that let sockets share a port do not let a container share one at `::1`: a
/// server of the host is at the very port that the container's would get.
fn shared() -> Vec<Row> {
    [
        (TCP6, SO_REUSEPORT),
        (UDP6, SO_REUSEPORT),
        (UDP6, SO_REUSEADDR),
    ]
    .map(|(kind, option)| {
        let what = format!("{kind:?} a port that the host shares, option {option}");
        Scene::row("L8", &what, move |scene| {
            scene.attach(BOTH.loopback("private").guarded())?;
            let own = scene.inside();
            let free = serve(&own, kind, at(LOOP6, PORT, 0))?;
            let place = places::place(&free)?;
            drop(free);
            let sharing = |socket: Socket| {
                socket.set(SOL_SOCKET, option, 1)?;
                anyhow::Ok(socket)
            };
            let host = sharing(Socket::new(kind)?)?;
            open(&host, place)?;
            let outcome = sharing(own.socket(kind)?)?.bind(at(LOOP6, PORT, 0));
            ensure!(outcome == denied(Errno::ADDRINUSE), "{outcome:?}");
            // Nor does a call from the container reach it.
            let client = own.socket(kind)?;
            let outcome = client.connect(at(LOOP6, PORT, 0));
            if kind.tcp {
                ensure!(outcome == Err(Errno::CONNREFUSED), "{outcome:?}");
                return Ok(());
            }
            outcome?;
            client.send(None, b"from the container")?;
            Socket::new(kind)?.send(Some(place), b"from the host")?;
            let (first, from) = host.receive()?;
            ensure!(first == b"from the host", "{from} reached the host's");
            Ok(())
        })
    })
    .into()
}

/// Two ports that come to one place, below 32768 and above.
fn two_ports() -> Result<(u16, u16)> {
    /// The loopback of the container's own.
    const PRIVATE: net::V4 = net::V4::from_octets([127, 128, 2, 10]);
    let place = |port: u16| port6(PRIVATE, Port::new(port));
    let pair = (PORT..32768).find_map(|low| {
        let high = (32768..=u16::MAX).find(|high| place(*high) == place(low));
        Some((low, high?))
    });
    pair.context("two ports that come to one place")
}

/// The server answers its client, and not itself.
fn answered(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.loopback("private").guarded())?;
    let (asked, chosen) = two_ports()?;
    let (own, to) = (scene.inside(), at(LOOP6, asked, 0));
    let server = serve(&own, UDP6, to)?;
    scene.net.only_port(chosen)?;
    let client = own.socket(UDP6)?;
    call(&client, &server, to, How::Connect)??;
    let port = client.local()?.port();
    ensure!(port == chosen, "the client is at port {port}");
    Ok(())
}

/// Nobody has asked for the port, so nobody is called.
fn uncalled(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.loopback("private").guarded())?;
    let (asked, other) = two_ports()?;
    let own = scene.inside();
    let _server = serve(&own, TCP6, at(LOOP6, asked, 0))?;
    let outcome = own.socket(TCP6)?.connect(at(LOOP6, other, 0));
    ensure!(outcome == Err(Errno::CONNREFUSED), "{outcome:?}");
    Ok(())
}

/// A port that was not asked for is nobody's, whoever is there.
fn unasked(scene: &Scene) -> Result<()> {
    scene.attach(BOTH.loopback("private").guarded())?;
    let own = scene.inside();
    let server = serve(&own, TCP6, at(LOOP6, PORT, 0))?;
    let place = places::place(&server)?;
    let outcome = own.socket(TCP6)?.connect(place);
    ensure!(outcome == Err(Errno::CONNREFUSED), "{outcome:?}");
    Ok(())
}

/// A socket whose bind to `::1` fails, and which is then bound elsewhere.
fn elsewhere(scene: &Scene) -> Result<()> {
    scene.attach(V4.loopback("private").guarded())?;
    let own = scene.inside();
    let _first = serve(&own, TCP6, at(LOOP6, PORT, 0))?;
    let second = own.socket(TCP6.v6only())?;
    let outcome = second.bind(at(LOOP6, PORT, 0));
    ensure!(outcome == Err(Errno::ADDRINUSE), "{outcome:?}");
    let any = at(ANY6, PORT, 0);
    second.bind(any)?;
    let name = second.local()?;
    ensure!(name == any, "it is told {name}");
    Ok(())
}

/// A container with a private loopback below a cgroup with another policy.
fn nested(scene: &Scene, outer: &'static str, calls: &[(Kind, How)]) -> Result<()> {
    scene.attach(BOTH.loopback(outer).guarded())?;
    let inner = scene.cgroup.child("inner")?;
    scene
        .hook
        .attach(&inner, BOTH.loopback("private").guarded())?;
    let agent = Agent::new(&inner)?;
    for &(kind, how) in calls {
        let server = agent.socket(kind)?;
        open(&server, at(LOOP6, PORT, 0))?;
        let name = server.local()?;
        ensure!(name == at(LOOP6, PORT, 0), "the server is told {name}");
        call(&agent.socket(kind)?, &server, name, how)??;
    }
    Ok(())
}
