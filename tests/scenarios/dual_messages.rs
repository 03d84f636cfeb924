//! B10: what comes with datagrams to dual-stack UDP servers at `::`, and how such sockets
//! send many at once.

use std::net::IpAddr;
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, bail, ensure};
use libc::{
    IPPROTO_IPV6, IPV6_FREEBIND, IPV6_HOPLIMIT, IPV6_PKTINFO, IPV6_RECVHOPLIMIT, IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS, IPV6_TCLASS, SOL_UDP, UDP_GRO, UDP_SEGMENT,
};
use oci_bind_hook_tests::message::{self, Control, Message};
use oci_bind_hook_tests::net::{LOOP4, PEER4, PEER6, mapped};
use oci_bind_hook_tests::socket::{Kind, Socket, UDP4, UDP6, at};
use oci_bind_hook_tests::sys::{PacketInfo, send_segments};

use crate::dual_options::{Test, Way, hear_answer, trials};
use crate::row::{Row, Site};

/// What is sent in segments, and how large those are.
const WHOLE: &[u8] = b"aaaabbbbcc";
const SEGMENTS: [&[u8]; 3] = [b"aaaa", b"bbbb", b"cc"];
const SIZE: u16 = 4;
/// More than is ever sent.
const ROOM: usize = 64;

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let tests: [(_, Test); 5] = [
        ("IPV6_RECVPKTINFO", packet_info),
        ("IPV6_RECVTCLASS and IPV6_RECVHOPLIMIT", header),
        ("UDP_GRO", received_segments),
        ("UDP_SEGMENT", sent_segments),
        ("sendmmsg", many),
    ];
    tests
        .into_iter()
        .flat_map(|(what, test)| trials(what, test))
        .collect()
}

/// The data of the only control message, if it is of this type.
fn only(message: &Message, level: i32, kind: i32) -> Result<&[u8]> {
    match &message.controls[..] {
        [control] if (control.level, control.kind) == (level, kind) => Ok(&control.data),
        other => bail!("what came along is {other:?}"),
    }
}

/// A server answers from the address at which it was asked, as many do.
fn packet_info(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    server.set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)?;
    client.send(None, b"ping")?;
    let message = message::receive(&server, ROOM)?;
    let info = only(&message, IPPROTO_IPV6, IPV6_PKTINFO)?;
    let (address, link) = info.split_at_checked(16).context("it is short")?;
    let address = IpAddr::from(<[u8; 16]>::try_from(address)?);
    let asked = client.peer()?.ip();
    ensure!(address == mapped(asked), "it says {address}, not {asked}");
    let IpAddr::V6(source) = address else {
        bail!("{address} is not of IPv6");
    };
    for link in [0, u32::from_ne_bytes(link.try_into()?)] {
        server.send_from(PacketInfo::V6(source, link), Some(message.from), b"pong")?;
        hear_answer(&client, b"pong")?;
    }
    Ok(())
}

/// For a datagram over IPv4 the kernel tells neither.
fn header(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    for option in [IPV6_RECVTCLASS, IPV6_RECVHOPLIMIT] {
        server.set(IPPROTO_IPV6, option, 1)?;
    }
    client.send(None, b"ping")?;
    let Message { controls, .. } = message::receive(&server, ROOM)?;
    let expected = if way.v6 {
        vec![
            control(IPPROTO_IPV6, IPV6_HOPLIMIT, 64),
            control(IPPROTO_IPV6, IPV6_TCLASS, 0),
        ]
    } else {
        Vec::new()
    };
    ensure!(controls == expected, "what came along is {controls:?}");
    Ok(())
}

fn control(level: i32, kind: i32, value: i32) -> Control {
    Control {
        level,
        kind,
        data: value.to_ne_bytes().to_vec(),
    }
}

/// With the option the server gets the segments together, without it one by one.
fn received_segments(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    let together = together()?;
    let alone = SEGMENTS.map(|segment| (segment, None));
    for (is_set, expected) in [(0, &alone[..]), (1, &together), (0, &alone)] {
        server.set(SOL_UDP, UDP_GRO, is_set)?;
        send_segments(client.as_fd(), None, SIZE, WHOLE)?;
        assert_received(&server, client.local()?.port(), expected)
            .with_context(|| format!("UDP_GRO {is_set}"))?;
    }
    // A single segment comes without a size.
    server.set(SOL_UDP, UDP_GRO, 1)?;
    client.send(None, b"aaaa")?;
    assert_received(&server, client.local()?.port(), &[(b"aaaa", None)])
}

/// What a socket with UDP_GRO gets of segments that were sent at once on this host:
/// Linux 5.10 takes them apart.
fn together() -> Result<Vec<(&'static [u8], Option<i32>)>> {
    let (server, client) = (Socket::new(UDP4)?, Socket::new(UDP4)?);
    server.bind(at(LOOP4, 0, 0))?;
    server.set(SOL_UDP, UDP_GRO, 1)?;
    client.connect(server.local()?)?;
    send_segments(client.as_fd(), None, SIZE, WHOLE)?;
    Ok(if message::receive(&server, ROOM)?.payload == WHOLE {
        vec![(WHOLE, Some(i32::from(SIZE)))]
    } else {
        SEGMENTS.map(|segment| (segment, None)).into()
    })
}

/// Fails unless these payloads come from this port, each with the size of its segments, if
/// the kernel is to tell that.
fn assert_received(socket: &Socket, port: u16, expected: &[(&[u8], Option<i32>)]) -> Result<()> {
    for (payload, size) in expected {
        let message = message::receive(socket, ROOM)?;
        let told: Vec<_> = size
            .map(|size| control(SOL_UDP, UDP_GRO, size))
            .into_iter()
            .collect();
        ensure!(
            message.payload == *payload && message.controls == told,
            "it hears {message:?}"
        );
        ensure!(
            message.from.port() == port,
            "it comes from {}",
            message.from
        );
    }
    ensure!(!socket.has_input()?, "it hears more");
    Ok(())
}

/// Sent by a server that was called, to its client and to another peer, and by a socket
/// that was never bound.
fn sent_segments(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    client.send(None, b"ping")?;
    let (_, from) = server.receive()?;
    let port = server.local()?.port();
    let alone = SEGMENTS.map(|segment| (segment, None));
    send_segments(server.as_fd(), Some(from), SIZE, WHOLE)?;
    assert_received(&client, port, &alone).context("what a server answers")?;
    server.set(SOL_UDP, UDP_SEGMENT, SIZE.into())?;
    server.send(Some(from), WHOLE)?;
    assert_received(&client, port, &alone).context("by its option")?;
    client.set(SOL_UDP, UDP_GRO, 1)?;
    server.send(Some(from), WHOLE)?;
    assert_received(&client, port, &together()?).context("together")?;

    let address = if way.v6 { PEER6 } else { PEER4 };
    let peer = Socket::new(Kind::of(false, address))?;
    if way.v6 {
        peer.set(IPPROTO_IPV6, IPV6_FREEBIND, 1)?;
    }
    peer.bind(at(address, 0, 0))?;
    let to = at(mapped(address), peer.local()?.port(), 0);
    for sender in [&server, &site.socket(UDP6)?] {
        send_segments(sender.as_fd(), Some(to), SIZE, WHOLE)?;
        let port = sender.local()?.port();
        assert_received(&peer, port, &alone).context("what a peer hears")?;
        // All of them come from the address that a single one comes from.
        send_segments(sender.as_fd(), Some(to), SIZE, WHOLE)?;
        let seen = peer.receive()?.1.ip();
        let expected = way.address(&server)?.ip();
        ensure!(seen == expected, "the peer sees {seen}, not {expected}");
        peer.receive()?;
        peer.receive()?;
    }
    Ok(())
}

fn many(site: &Site, way: Way) -> Result<()> {
    let (server, client) = way.pair(site)?;
    client.send_two(client.peer()?, b"ping")?;
    let (_, from) = server.receive()?;
    let (_, again) = server.receive()?;
    ensure!(from == again, "one from {from}, one from {again}");
    server.send_two(from, b"pong")?;
    for _ in 0..2 {
        hear_answer(&client, b"pong")?;
    }
    Ok(())
}
