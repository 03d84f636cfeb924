//! G1 and G2: what must keep working under the guard, with other hosts behind a link.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use libc::{
    IP_MTU_DISCOVER, IP_PMTUDISC_DO, IP_RECVERR, IPPROTO_IP, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
    SO_BINDTOIFINDEX, SO_BROADCAST, SOL_SOCKET,
};
use oci_bind_hook_tests::far::{
    FAR_MTU, FAR4, FAR6, Host, NO_HOST4, ROUTER_LINK6, ROUTER4, ROUTER6, interface,
};
use oci_bind_hook_tests::hook::{BOTH, Policy};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, LINK6, has_dual};
use oci_bind_hook_tests::process::PATIENCE;
use oci_bind_hook_tests::socket::{Kind, Socket, TCP4, TCP6, UDP4, UDP6, at};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with, sockopt};

use crate::guard::join;
use crate::observe::PORT;
use crate::row::{Row, Scene, Site, row};
use crate::told::open;

const POLICY: Policy = BOTH.loopback("auto").guarded();

/// A trial with the router and the far host behind the link.
type Test = fn(&Scene, &[Host; 2]) -> Result<()>;

/// All rows of this file.
#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let tests: [(_, _, Test); 11] = [
        ("G1", "port unreachable and reset from afar", refusals),
        ("G1", "host unreachable from a router", no_host),
        ("G1", "path MTU discovery of IPv4", |scene, hosts| path_mtu(scene, hosts, UDP4)),
        ("G1", "path MTU discovery of IPv6", |scene, hosts| path_mtu(scene, hosts, UDP6)),
        ("G1", "joining a group is reported by IGMP", igmp),
        ("G1", "joining a group is reported by MLD", mld),
        ("G1", "IPv6 link-local traffic", link_local),
        ("G1", "clients of servers afar", clients),
        ("G2", "servers for clients afar", servers),
        ("G2", "multicast from the link to a socket at the wildcard", multicast),
        ("G2", "broadcast both ways on an exempt port, as DHCP does", dhcp),
    ];
    let mut rows: Vec<_> = tests
        .into_iter()
        .map(|(id, what, test)| {
            Scene::row(id, what, move |scene| {
                let hosts = Host::beyond()?;
                scene.attach(POLICY.exempt("68/udp"))?;
                test(scene, &hosts)
            })
        })
        .collect();
    let all = vec!["all".to_owned(), "one".to_owned()];
    let what = "directed broadcast of the same host to an exempt port";
    let exempt = [POLICY.exempt("8080/udp")];
    rows.extend(row("G2", what, &exempt, broadcast, all.clone(), all));
    rows
}

fn refusals(scene: &Scene, _: &[Host; 2]) -> Result<()> {
    for (tcp, udp, far) in [(TCP4, UDP4, FAR4), (TCP6, UDP6, FAR6)] {
        let connected = scene.agent.socket(tcp)?.connect(at(far, PORT, 0));
        ensure!(
            connected == Err(Errno::CONNREFUSED),
            "{tcp:?}: {connected:?}"
        );
        let client = scene.agent.socket(udp)?;
        client.connect(at(far, PORT, 0))?;
        client.send(None, b"ping")?;
        let answer = client.receive_connected();
        ensure!(answer == Err(Errno::CONNREFUSED), "{udp:?}: {answer:?}");
    }
    Ok(())
}

fn no_host(scene: &Scene, _: &[Host; 2]) -> Result<()> {
    let connected = scene.agent.socket(TCP4)?.connect(at(NO_HOST4, PORT, 0));
    ensure!(connected == Err(Errno::HOSTUNREACH), "tcp4: {connected:?}");
    let client = scene.agent.socket(UDP4)?;
    // Otherwise the kernel does not treat the error as final.
    client.set(IPPROTO_IP, IP_RECVERR, 1)?;
    client.connect(at(NO_HOST4, PORT, 0))?;
    client.send(None, b"ping")?;
    let answer = client.receive_connected();
    ensure!(answer == Err(Errno::HOSTUNREACH), "udp4: {answer:?}");
    Ok(())
}

fn path_mtu(scene: &Scene, [_, far]: &[Host; 2], kind: Kind) -> Result<()> {
    let to = at(if kind.v6 { FAR6 } else { FAR4 }, PORT, 0);
    let server = far.within(|| bound(kind, PORT))?;
    let client = scene.agent.socket(kind)?;
    let (level, name) = if kind.v6 {
        (IPPROTO_IPV6, IPV6_MTU_DISCOVER)
    } else {
        (IPPROTO_IP, IP_MTU_DISCOVER)
    };
    client.set(level, name, IP_PMTUDISC_DO)?;
    client.connect(to)?;
    client.send(None, &vec![0; usize::from(FAR_MTU)])?;
    let answer = client.receive_connected();
    ensure!(answer == Err(Errno::MSGSIZE), "the router said {answer:?}");
    client.send(None, &vec![0; usize::from(FAR_MTU) - 100])?;
    let (_, seen) = server.receive()?;
    let own = if kind.v6 { CIP6 } else { CIP4 };
    ensure!(seen.ip().to_canonical() == own, "the far host saw {seen}");
    Ok(())
}

const GROUP4: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 1, 3);

fn igmp(scene: &Scene, [router, _]: &[Host; 2]) -> Result<()> {
    /// All routers that speak IGMPv3 (RFC 3376).
    const ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
    let listener = router.within(|| {
        let socket = raw(UDP4, Protocol::from_raw(2.try_into()?))?;
        let IpAddr::V4(own) = ROUTER4 else {
            anyhow::bail!("{ROUTER4} is not of IPv4");
        };
        sockopt::set_ip_add_membership(&socket, &ROUTERS, &own)?;
        Ok(socket)
    })?;
    let member = scene.agent.socket(UDP4)?;
    join(&member, GROUP4.into(), scene.net.link())?;
    wait_for(&listener, &GROUP4.octets())
}

fn mld(scene: &Scene, [router, _]: &[Host; 2]) -> Result<()> {
    /// All routers that speak MLDv2 (RFC 3810).
    const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
    let listener = router.within(|| {
        let socket = raw(UDP6, Protocol::from_raw(58.try_into()?))?;
        sockopt::set_ipv6_add_membership(&socket, &ROUTERS, interface("v1")?)?;
        Ok(socket)
    })?;
    let member = scene.agent.socket(UDP6)?;
    join(&member, GROUP6.into(), scene.net.link())?;
    wait_for(&listener, &GROUP6.octets())
}

fn raw(kind: Kind, protocol: Protocol) -> Result<Socket> {
    let (family, _): (AddressFamily, _) = kind.arguments();
    let flags = SocketFlags::CLOEXEC;
    Socket::unusual(
        socket_with(family, SocketType::RAW, flags, Some(protocol))?,
        kind,
    )
}

/// Receives until a packet holds these bytes.
fn wait_for(listener: &Socket, bytes: &[u8]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let (packet, _) = listener.receive()?;
        if packet.windows(bytes.len()).any(|window| window == bytes) {
            return Ok(());
        }
    }
    anyhow::bail!("no report of {bytes:?} within {PATIENCE:?}")
}

fn link_local(scene: &Scene, [router, _]: &[Host; 2]) -> Result<()> {
    let to = scene.inside().at(ROUTER_LINK6, PORT);
    let server = router.within(|| bound(UDP6, PORT))?;
    let client = scene.agent.socket(UDP6)?;
    client.send(Some(to), b"ping")?;
    let (_, seen) = server.receive()?;
    ensure!(seen.ip() == LINK6, "the router saw {seen}");
    server.send(Some(seen), b"pong")?;
    ensure!(client.receive()?.0 == b"pong", "no pong");

    let server = router.within(|| bound(TCP6, PORT))?;
    let client = scene.agent.socket(TCP6)?;
    client.connect(to)?;
    let seen = server.accept()?.peer()?;
    ensure!(seen.ip() == LINK6, "the router saw {seen}");

    let server = scene.agent.socket(UDP6)?;
    server.bind(scene.inside().at(LINK6, PORT))?;
    let own = router.within(|| interface("v1"))?;
    let client = router.within(|| Socket::new(UDP6))?;
    client.send(Some(at(LINK6, PORT, own)), b"ping")?;
    ensure!(server.receive()?.0 == b"ping", "no ping");
    Ok(())
}

fn clients(scene: &Scene, [router, far]: &[Host; 2]) -> Result<()> {
    for (host, address, tcp, udp, own) in [
        (router, ROUTER4, TCP4, UDP4, CIP4),
        (router, ROUTER6, TCP6, UDP6, CIP6),
        (far, FAR4, TCP4, UDP4, CIP4),
        (far, FAR6, TCP6, UDP6, CIP6),
    ] {
        let server = host.within(|| bound(tcp, PORT))?;
        let client = scene.agent.socket(tcp)?;
        client.connect(at(address, PORT, 0))?;
        let accepted = server.accept()?;
        accepted.send(None, b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong");
        ensure!(accepted.peer()?.ip() == own, "{address} saw {accepted:?}");

        let server = host.within(|| bound(udp, PORT))?;
        let client = scene.agent.socket(udp)?;
        client.send(Some(at(address, PORT, 0)), b"ping")?;
        let (_, seen) = server.receive()?;
        ensure!(seen.ip() == own, "{address} saw {seen}");
        server.send(Some(seen), b"pong")?;
        ensure!(client.receive()?.0 == b"pong", "no pong");
    }
    Ok(())
}

fn servers(scene: &Scene, [_, far]: &[Host; 2]) -> Result<()> {
    for (tcp, udp, any, own, host) in [
        (TCP4, UDP4, ANY4, CIP4, HOST4),
        (TCP6.v6only(), UDP6, ANY6, CIP6, HOST6),
    ] {
        let server = scene.agent.socket(tcp)?;
        open(&server, at(any, PORT, 0))?;
        let client = far.within(|| Socket::new(tcp))?;
        client.connect(at(own, PORT, 0))?;
        server.accept()?.send(None, b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong");
        let elsewhere = far.within(|| Socket::new(tcp))?.connect(at(host, PORT, 0));
        ensure!(
            elsewhere == Err(Errno::CONNREFUSED),
            "{host}: {elsewhere:?}"
        );

        let server = scene.agent.socket(udp)?;
        open(&server, at(any, PORT, 0))?;
        let client = far.within(|| Socket::new(udp))?;
        client.connect(at(own, PORT, 0))?;
        client.send(None, b"ping")?;
        let (_, from) = server.receive()?;
        server.send(Some(from), b"pong")?;
        ensure!(client.receive_connected()? == b"pong", "no pong");
    }
    if has_dual() {
        let server = scene.agent.socket(TCP6)?;
        open(&server, at(ANY6, PORT + 1, 0))?;
        for (kind, own) in [(TCP4, CIP4), (TCP6, CIP6)] {
            let client = far.within(|| Socket::new(kind))?;
            client.connect(at(own, PORT + 1, 0))?;
            server.accept()?.send(None, b"pong")?;
            ensure!(client.receive_connected()? == b"pong", "no pong from {own}");
        }
    }
    Ok(())
}

fn multicast(scene: &Scene, [router, _]: &[Host; 2]) -> Result<()> {
    let member = scene.agent.socket(UDP4)?;
    join(&member, GROUP4.into(), scene.net.link())?;
    member.send(Some(at(ROUTER4, PORT, 0)), b"hello")?;
    let sender = router.within(|| Socket::new(UDP4))?;
    sender.bind(at(ROUTER4, 0, 0))?;
    sender.send(Some(at(GROUP4.into(), member.local()?.port(), 0)), b"ping")?;
    let (_, from) = member.receive()?;
    ensure!(from.ip() == ROUTER4, "{from} was first");
    Ok(())
}

fn dhcp(scene: &Scene, [router, _]: &[Host; 2]) -> Result<()> {
    const ALL: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);
    let client = scene.agent.socket(UDP4)?;
    client.set(SOL_SOCKET, SO_BROADCAST, 1)?;
    client.set(SOL_SOCKET, SO_BINDTOIFINDEX, scene.net.link().try_into()?)?;
    client.bind(at(ANY4, 68, 0))?;
    ensure!(client.local()?.ip() == ANY4, "the exempt port was moved");
    let server = router.within(|| bound(UDP4, 67))?;
    client.send(Some(at(ALL, 67, 0)), b"discover")?;
    let (_, seen) = server.receive()?;
    ensure!(seen.ip() == CIP4, "the server saw {seen}");
    drop(server);

    let server = router.within(|| Socket::new(UDP4))?;
    server.set(SOL_SOCKET, SO_BROADCAST, 1)?;
    server
        .bind(at(ROUTER4, 67, 0))
        .context("bind the server's address")?;
    server.send(Some(at(ALL, 68, 0)), b"offer")?;
    ensure!(client.receive()?.0 == b"offer", "no offer");
    Ok(())
}

/// What a program on the same host sends to the link, and then only to the socket: what
/// arrives.
fn broadcast(site: &Site) -> Result<Vec<String>> {
    const LINK: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 255));
    let server = site.socket(UDP4)?;
    server.bind(at(ANY4, PORT, 0))?;
    let client = Socket::new(UDP4)?;
    client.set(SOL_SOCKET, SO_BROADCAST, 1)?;
    client.bind(at(HOST4, 0, 0))?;
    client.send(Some(at(LINK, PORT, 0)), b"all")?;
    client.send(Some(at(CIP4, PORT, 0)), b"one")?;
    let mut arrived = Vec::new();
    while arrived.last().is_none_or(|last| last != "one") {
        arrived.push(String::from_utf8(server.receive()?.0)?);
    }
    Ok(arrived)
}

/// A server at the wildcard address, in the calling thread's namespace.
fn bound(kind: Kind, port: u16) -> Result<Socket> {
    let server = Socket::new(kind)?;
    if kind.tcp {
        server.set(SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    open(&server, at(if kind.v6 { ANY6 } else { ANY4 }, port, 0))?;
    Ok(server)
}
