//! B22: binds to the wildcard address of a family that is not assigned.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::counters::isolated;
use oci_bind_hook_tests::hook::{Policy, V4, V6};
use oci_bind_hook_tests::net::{
    ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, LOOP4, LOOP6, OTHER4, OTHER6, PEER4, PEER6, mapped,
};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6, at};
use oci_bind_hook_tests::{places, reach};
use rustix::io::Errno;

use crate::observe::{PORT, Peer, done};
use crate::row::{Row, Scene, Site, denied, row};

/// Policies without an IPv4 address, and without an IPv6 address.
const WITHOUT4: &[Policy] = &[V6, V6.loopback("auto").guarded(), V6.loopback("private")];
const WITHOUT6: &[Policy] = &[V4, V4.loopback("auto").guarded()];
/// Under `private` a wildcard socket is on the container's own loopback.
const PRIVATE: &[Policy] = &[V4.loopback("private")];

const MAPPED_ANY: IpAddr = mapped(ANY4);
const HOSTS4: [IpAddr; 4] = [HOST4, CIP4, OTHER4, LOOP4];
const HOSTS6: [IpAddr; 4] = [HOST6, CIP6, OTHER6, LOOP6];

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = wildcards();
    rows.extend(callers());
    rows.extend(side_by_side());
    rows.extend(counted());
    rows
}

/// The outcome of a bind: what getsockname reports, and where the socket answers.
type Seen = Outcome<(SocketAddr, Vec<IpAddr>)>;

/// The wildcard address of a family that is not assigned.
fn wildcards() -> Vec<Row> {
    let mut rows = Vec::new();
    let v6only = [TCP6.v6only(), UDP6.v6only()];
    for (policies, kinds, any, outside) in [
        (WITHOUT4, [TCP4, UDP4], ANY4, HOSTS4),
        (WITHOUT4, [TCP6, UDP6], MAPPED_ANY, HOSTS4),
        (WITHOUT6, v6only, ANY6, HOSTS6),
        (PRIVATE, v6only, ANY6, HOSTS6),
    ] {
        for kind in kinds {
            for port in [PORT, 0] {
                let what = format!("{kind:?} bind {any} port {port}");
                let call = move |site: &Site| bind(site, kind, SocketAddr::new(any, port));
                let name = SocketAddr::new(any, port);
                let inside = Ok((name, Vec::new()));
                let plain = Ok((name, outside.to_vec()));
                rows.extend(row("B22", &what, policies, call, inside, plain));
            }
        }
    }
    rows
}

/// Binds to `asked`: what the program is told, with port 0 if the kernel chose it, and the
/// addresses at which other hosts could reach it.
fn bind(site: &Site, kind: Kind, asked: SocketAddr) -> Result<Seen> {
    let server = site.socket(kind)?;
    done!(server.bind(asked));
    if kind.tcp {
        server.listen()?;
    }
    let (name, place) = (server.local()?, places::place(&server)?);
    ensure!(name.port() != 0, "no port was chosen");
    let name = SocketAddr::new(name.ip(), if asked.port() == 0 { 0 } else { name.port() });
    let mut reached = reach::answered_at(&server, place.port())?;
    if place.ip().to_canonical().is_loopback() {
        // On the host's loopback it may be reached.
        reached.retain(|address| !address.is_loopback());
    }
    Ok(Ok((name, reached)))
}

/// Programs that first bind to the family that is not assigned, and then call its
/// loopback, as dig and rndc do; they cannot reach other hosts.
fn callers() -> Vec<Row> {
    let mut rows = Vec::new();
    for (policies, kinds, any, loopback, peer) in [
        (
            &[V6, V6.loopback("auto").guarded()][..],
            [TCP4, UDP4],
            ANY4,
            LOOP4,
            PEER4,
        ),
        (
            &[V4, V4.loopback("auto").guarded()],
            [TCP6.v6only(), UDP6.v6only()],
            ANY6,
            LOOP6,
            PEER6,
        ),
    ] {
        for kind in kinds {
            let what = format!("{kind:?} bound to {any} calls the host's server at {loopback}");
            let call = move |site: &Site| {
                let server = Peer::new(kind.tcp, loopback)?;
                let client = site.socket(kind)?;
                done!(client.bind(site.at(any, 0)));
                done!(client.connect(server.address()));
                server.meet(&client)
            };
            rows.extend(row(
                "B22",
                &what,
                policies,
                call,
                Ok(loopback),
                Ok(loopback),
            ));

            let what = format!("{kind:?} bound to {any} calls another host");
            let call = move |site: &Site| {
                let server = Peer::new(kind.tcp, peer)?;
                let client = site.socket(kind)?;
                done!(client.bind(site.at(any, 0)));
                done!(client.connect(server.address()));
                Ok(Ok(()))
            };
            let unreachable = denied(Errno::NETUNREACH);
            rows.extend(row("B22", &what, policies, call, unreachable, Ok(())));
            if kind.tcp {
                continue;
            }
            let what = format!("{kind:?} bound to {any} sends to another host");
            let call = move |site: &Site| {
                let server = Peer::new(false, peer)?;
                let client = site.socket(kind)?;
                done!(client.bind(site.at(any, 0)));
                Ok(client.send(Some(server.address()), b"ping"))
            };
            rows.extend(row("B22", &what, policies, call, unreachable, Ok(())));
        }
    }
    rows
}

/// Two containers whose programs want the same port, one of them twice.
fn side_by_side() -> Vec<Row> {
    [
        (V6, TCP4, ANY4),
        (V6, UDP4, ANY4),
        (V4, TCP6.v6only(), ANY6),
        (V4, UDP6.v6only(), ANY6),
    ]
    .map(|(policy, kind, any)| {
        let what = format!("{kind:?} {any}, two containers and a restart");
        Scene::row("B22", &what, move |scene| {
            scene.attach(policy)?;
            let other = Cgroup::new()?;
            scene.hook.attach(&other, policy)?;
            let neighbour = Agent::new(&other)?;
            let asked = at(any, PORT, 0);
            for _ in 0..2 {
                let (one, two) = (scene.inside().socket(kind)?, neighbour.socket(kind)?);
                let host = Socket::new(kind)?;
                for server in [&one, &two, &host] {
                    server.bind(asked)?;
                    if kind.tcp {
                        server.listen()?;
                    }
                    let name = server.local()?;
                    ensure!(name == asked, "it is told {name}");
                }
                // Nothing is taken from the host's server.
                reach::assert_as_named(&host)?;
            }
            Ok(())
        })
    })
    .into()
}

/// Isolated binds are counted apart from those that moved a socket.
fn counted() -> Vec<Row> {
    vec![Scene::row("B22", "they are counted", |scene| {
        scene.attach(V4)?;
        for expected in 1..=2 {
            let server = scene.inside().socket(TCP6.v6only())?;
            server.bind(at(ANY6, PORT, 0))?;
            let counted = isolated(&scene.cgroup)?;
            ensure!(counted == (0, expected), "{counted:?} counted");
        }
        Ok(())
    })]
}
