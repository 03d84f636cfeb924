//! L1, L2 and L5 under the policy `auto`: localhost finds a server that its
//! bind moved away from there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use oci_bind_hook_tests::hook::{BOTH, Policy, V4, V6};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, HOST4, LOOP4, LOOP6, mapped};
use oci_bind_hook_tests::socket::{Kind, Outcome, Socket, TCP4, TCP6, UDP4, UDP6};

use crate::observe::{PORT, bind, connect, done, send, send_to};
use crate::row::{Row, Site, row};
use crate::told::{How, Told, call, open, serve, take};

/// Policies with an IPv4 address.
pub const AUTO4: &[Policy] = &[auto(V4), auto(BOTH)];
/// Policies with an IPv6 address.
pub const AUTO6: &[Policy] = &[auto(V6), auto(BOTH)];
const AUTO4_ALONE: &[Policy] = &[auto(V4)];
const AUTO_ANY: &[Policy] = &[auto(V4), auto(V6)];

/// The default for everything but the addresses.
const fn auto(policy: Policy) -> Policy {
    policy.loopback("auto").guarded()
}

const LOOP4_ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const MAPPED_LOOP: IpAddr = mapped(LOOP4);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = own_servers();
    rows.extend(kept());
    rows.extend(hosts());
    for (policies, kind, loopback, own) in [(AUTO4, UDP4, LOOP4, CIP4), (AUTO6, UDP6, LOOP6, CIP6)]
    {
        for count in [REMEMBERED, REMEMBERED + 2] {
            let what = format!("{kind:?} to {count} servers at once, replies in another order");
            let call = move |site: &Site| several(site, kind, loopback, count);
            let names = |forgotten: u16| {
                let name = |number| {
                    let address = if number < forgotten { own } else { loopback };
                    SocketAddr::new(address, PORT + number)
                };
                (0..count).map(name).collect::<Vec<_>>()
            };
            let inside = names(count - REMEMBERED);
            rows.extend(row("L1", &what, policies, call, inside, names(0)));
        }
    }
    rows
}

/// Servers of the program itself, bound to the wildcard address.
fn own_servers() -> Vec<Row> {
    let mut rows = Vec::new();
    // Row, policies, server and client as TCP and UDP, the server's wildcard address, and
    // what the client calls.
    #[rustfmt::skip]
    let lines = [
        ("L1", AUTO4, [TCP4, UDP4], [TCP4, UDP4], ANY4, LOOP4),
        ("L1", AUTO4, [TCP4, UDP4], [TCP4, UDP4], ANY4, LOOP4_ELSEWHERE),
        ("L1", AUTO4, [TCP4, UDP4], [TCP6, UDP6], ANY4, MAPPED_LOOP),
        ("L1", AUTO6, [TCP6, UDP6], [TCP6, UDP6], ANY6, LOOP6),
        ("L1", AUTO4_ALONE, [TCP6, UDP6], [TCP4, UDP4], ANY6, LOOP4),
        ("L5", AUTO4, [TCP4, UDP4], [TCP4, UDP4], ANY4, ANY4),
        ("L5", AUTO6, [TCP6, UDP6], [TCP6, UDP6], ANY6, ANY6),
    ];
    for (id, policies, [tcp_server, udp_server], [tcp, udp], any, to) in lines {
        for (server, client, how) in [
            (tcp_server, tcp, How::Connect),
            (udp_server, udp, How::Connect),
            (udp_server, udp, How::SendTo),
        ] {
            // Without a policy, a wildcard server answers from 127.0.0.1.
            if to == LOOP4_ELSEWHERE && !client.tcp {
                continue;
            }
            let what = format!("{client:?} {how:?} {to}, own {server:?} server at {any}");
            let seen = if to.to_canonical().is_ipv4() {
                LOOP4
            } else {
                LOOP6
            };
            let to = SocketAddr::new(to, PORT);
            let told = move |seen| Ok(Told::by_call(how, client, to, seen));
            let call = move |site: &Site| {
                let server = serve(site, server, site.at(any, PORT))?;
                call(&site.socket(client)?, &server, to, how)
            };
            rows.extend(row(id, &what, policies, call, told(seen), told(seen)));
        }
    }
    // connect can move an IPv6 socket to the IPv4 address, sendto cannot.
    for kind in [TCP6, UDP6] {
        let what = format!("{kind:?} Connect {LOOP6}, own {kind:?} server at {ANY6}");
        let to = SocketAddr::new(LOOP6, PORT);
        let told = move |seen| Ok(Told::by_call(How::Connect, kind, to, seen));
        let call = move |site: &Site| {
            let server = serve(site, kind, site.at(ANY6, PORT))?;
            call(&site.socket(kind)?, &server, to, How::Connect)
        };
        let (inside, plain) = (told(LOOP4), told(LOOP6));
        rows.extend(row("L1", &what, AUTO4_ALONE, call, inside, plain));
    }
    for (kind, how) in [
        (TCP4, How::Connect),
        (UDP4, How::Connect),
        (UDP4, How::SendTo),
    ] {
        const MOVED: &[Policy] = &[auto(V4).ports("8080:9090")];
        let what = format!("{kind:?} {how:?} {LOOP4}, own server at a port that is moved");
        let to = SocketAddr::new(LOOP4, PORT);
        let told = move |seen| Ok(Told::by_call(how, kind, to, seen));
        let observe = move |site: &Site| {
            let server = serve(site, kind, site.at(ANY4, PORT))?;
            call(&site.socket(kind)?, &server, to, how)
        };
        rows.extend(row("L1", &what, MOVED, observe, told(LOOP4), told(LOOP4)));

        let what = format!("{kind:?} bound to {LOOP4} {how:?} {LOOP4}, own server at {ANY4}");
        let told = Ok((to, LOOP4));
        let observe = move |site: &Site| {
            let server = serve(site, kind, site.at(ANY4, PORT))?;
            let client = site.socket(kind)?;
            done!(client.bind(site.at(LOOP4, 0)));
            let told = done!(call(&client, &server, to, how)?);
            Ok(Ok((told.peer, told.seen)))
        };
        rows.extend(row("L1", &what, AUTO4, observe, told, told));
    }
    rows
}

/// What one call leaves behind must not affect the next.
fn kept() -> Vec<Row> {
    let mut rows = Vec::new();
    // Without a policy, a wildcard server answers from an address that the kernel chooses:
    // the last two, for a client without an address and for one that is bound.
    for (policies, tcp, udp, any, own, host, [free, bound]) in [
        (
            AUTO4,
            TCP4,
            UDP4,
            ANY4,
            LOOP4,
            CIP4,
            [[LOOP4, HOST4], [HOST4; 2]],
        ),
        (
            AUTO6,
            TCP6,
            UDP6,
            ANY6,
            LOOP6,
            CIP6,
            [[LOOP6, CIP6], [CIP6; 2]],
        ),
    ] {
        let at_port = |address| SocketAddr::new(address, PORT);
        let names = [own, host].map(at_port);
        for (is_bound, plain) in [(false, free), (true, bound)] {
            let first = if is_bound {
                " bound to its own address"
            } else {
                ""
            };
            let what = format!("{udp:?}{first} sendto {own}, then {host}, on one socket");
            let observe = move |site: &Site| {
                let server = serve(site, udp, site.at(any, PORT))?;
                let client = site.socket(udp)?;
                if is_bound {
                    client.bind(site.at(host, 0))?;
                }
                let told = |to| anyhow::Ok(call(&client, &server, to, How::SendTo)??.peer);
                Ok([told(names[0])?, told(names[1])?])
            };
            rows.extend(row(
                "L1",
                &what,
                policies,
                observe,
                names,
                plain.map(at_port),
            ));
        }
        for (kind, is_same) in [(udp, true), (udp, false), (tcp, false)] {
            let on = if is_same { "the same" } else { "a new" };
            let what = format!("{kind:?} connect {own}, then {host}, on {on} socket");
            let observe = move |site: &Site| {
                let _server = serve(site, kind, site.at(any, PORT))?;
                let make = || {
                    let client = site.socket(kind)?;
                    client.reset_on_close()?;
                    anyhow::Ok(client)
                };
                let told = |client: &Socket, to| {
                    client.connect(to)?;
                    client.peer()
                };
                let client = make()?;
                let first = told(&client, names[0])?;
                if is_same {
                    return Ok([first, told(&client, names[1])?]);
                }
                // The next socket gets the descriptor of the closed one.
                drop(client);
                Ok([first, told(&make()?, names[1])?])
            };
            rows.extend(row("L1", &what, policies, observe, names, names));
        }
    }
    rows
}

/// The host's servers, which a container without a server of its own reaches as before,
/// and loopback binds, which stay where they are (L2).
fn hosts() -> Vec<Row> {
    let mut rows = Vec::new();
    for (tcp, udp, to) in [
        (TCP4, UDP4, LOOP4),
        (TCP6, UDP6, LOOP6),
        (TCP6, UDP6, MAPPED_LOOP),
    ] {
        let seen = Ok(to.to_canonical());
        for kind in [tcp, udp] {
            let what = format!("{kind:?} connect {to}, the host's server there");
            let call = move |site: &Site| connect(site, kind, to);
            rows.extend(row("L1", &what, AUTO_ANY, call, seen, seen));

            let what = format!("{kind:?} bind {to}");
            let call = move |site: &Site| bind(site, kind, to);
            rows.extend(row("L2", &what, AUTO_ANY, call, Ok(to), Ok(to)));
        }
        let what = format!("{udp:?} sendto {to}, the host's server there");
        let call = move |site: &Site| send(site, udp, to, send_to);
        rows.extend(row("L1", &what, AUTO_ANY, call, seen, seen));
    }
    for (kind, any, to, how) in [
        (TCP4, ANY4, LOOP4, How::Connect),
        (UDP4, ANY4, LOOP4, How::Connect),
        (UDP4, ANY4, LOOP4, How::SendTo),
        (TCP6, ANY6, LOOP6, How::Connect),
        (UDP6, ANY6, LOOP6, How::SendTo),
    ] {
        let what = format!("{kind:?} {how:?} {to}, the host's server at {any}");
        let to = SocketAddr::new(to, PORT);
        let observe = move |site: &Site| wildcard(site, kind, any, to, how);
        let told = Ok(Told::by_call(how, kind, to, to.ip()));
        rows.extend(row("L1", &what, AUTO_ANY, observe, told.clone(), told));
    }
    rows
}

fn wildcard(
    site: &Site,
    kind: Kind,
    any: IpAddr,
    to: SocketAddr,
    how: How,
) -> Result<Outcome<Told>> {
    let server = Socket::new(kind)?;
    open(&server, site.at(any, PORT))?;
    call(&site.socket(kind)?, &server, to, how)
}

/// How many redirected peers one socket remembers; older ones appear with their real
/// address.
const REMEMBERED: u16 = 4;

/// Sends to several servers from one socket, and only then do they all answer: what the
/// client is told they are, in the order of their ports.
fn several(site: &Site, kind: Kind, loopback: IpAddr, count: u16) -> Result<Vec<SocketAddr>> {
    let any = if kind.v6 { ANY6 } else { ANY4 };
    let client = site.socket(kind)?;
    let mut servers = Vec::new();
    for port in PORT..PORT + count {
        servers.push(serve(site, kind, site.at(any, port))?);
        client.send(Some(SocketAddr::new(loopback, port)), b"ping")?;
    }
    let mut names = Vec::new();
    for server in servers.iter().rev() {
        server.send(Some(take(server)?), b"pong")?;
        let (payload, from) = client.receive()?;
        ensure!(payload == b"pong", "{payload:?} is no pong");
        names.push(from);
    }
    names.reverse();
    Ok(names)
}
