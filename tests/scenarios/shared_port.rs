//! M1, M2 and M4: a multicast port that containers and the host share, and the link by
//! which groups and broadcast addresses are reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use anyhow::{Result, ensure};
use libc::{
    IPPROTO_IPV6, IPV6_MULTICAST_IF, SO_BINDTOIFINDEX, SO_BROADCAST, SO_REUSEADDR, SOL_SOCKET,
};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::counters::await_dropped;
use oci_bind_hook_tests::far::{Host, ROUTER4, ROUTER6, interface};
use oci_bind_hook_tests::hook::{BOTH, NEIGHBOUR};
use oci_bind_hook_tests::net::{
    ANY4, ANY6, CIP4, CIP6, EVERYBODY, HOST4, NETWORK, OTHER4, OTHER6, ip,
};
use oci_bind_hook_tests::routes::Routes;
use oci_bind_hook_tests::socket::{Kind, Socket, UDP4, UDP6, at, first_ready};
use oci_bind_hook_tests::sys::PacketInfo;
use rustix::net::sockopt;

use crate::guard::join;
use crate::row::{Row, Scene};

const PORTS: &str = "1900,5353";
const MDNS: u16 = 5353;
const SSDP: u16 = 1900;
const GROUP4: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0xfb);

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in [UDP4, UDP6.v6only()] {
        for port in [MDNS, SSDP] {
            let what = format!("{kind:?} two containers and the host share port {port}");
            rows.push(Scene::row("M1", &what, move |scene| {
                shared(scene, kind, port)
            }));
        }
    }
    let what = "unicast at a shared port is for who bound it last";
    rows.push(Scene::row("M2", what, last));
    let what = "udp4 sends to a group and to all";
    rows.push(Scene::row("M4", what, by_the_address));
    let what = "udp6 sends to a group";
    rows.push(Scene::row("M4", what, by_the_route));
    rows
}

/// A member of the group at the wildcard address, which lets others share the port.
fn member(socket: Socket, port: u16, link: u32) -> Result<Socket> {
    let v6 = socket.kind().v6;
    socket.set(SOL_SOCKET, SO_REUSEADDR, 1)?;
    socket.bind(at(if v6 { ANY6 } else { ANY4 }, port, 0))?;
    let group = if v6 { GROUP6.into() } else { GROUP4.into() };
    join(&socket, group, link)?;
    Ok(socket)
}

/// All of them hear a question from outside, and each answers from its own address.
fn shared(scene: &Scene, kind: Kind, port: u16) -> Result<()> {
    let [querier, _] = Host::beyond()?;
    let other = Cgroup::new()?;
    let neighbour = Agent::new(&other)?;
    scene.attach(BOTH.guarded().multicast(PORTS))?;
    let policy = NEIGHBOUR.guarded().multicast(PORTS);
    scene.hook.attach(&other, policy)?;
    let link = scene.net.link();
    let members = [
        member(scene.agent.socket(kind)?, port, link)?,
        member(neighbour.socket(kind)?, port, link)?,
        member(Socket::new(kind)?, port, link)?,
    ];
    let client = querier.within(|| {
        let client = Socket::new(kind)?;
        client.bind(at(if kind.v6 { ROUTER6 } else { ROUTER4 }, 0, 0))?;
        let group = if kind.v6 {
            let link = interface("v1")?;
            client.set(IPPROTO_IPV6, IPV6_MULTICAST_IF, link.try_into()?)?;
            GROUP6.into()
        } else {
            GROUP4.into()
        };
        client.send(Some(at(group, port, 0)), b"who?")?;
        Ok(client)
    })?;
    // Over IPv6 the kernel chooses which of its addresses the host uses.
    let owns = if kind.v6 {
        [Some(CIP6), Some(OTHER6), None]
    } else {
        [Some(CIP4), Some(OTHER4), Some(HOST4)]
    };
    for (member, own) in members.iter().zip(owns) {
        let (question, from) = member.receive()?;
        ensure!(question == b"who?", "{own:?} heard {question:?}");
        member.send(Some(from), b"me")?;
        let (_, from) = client.receive()?;
        ensure!(
            from.port() == port && own.is_none_or(|own| own == from.ip()),
            "{from} answers for {own:?}"
        );
    }
    Ok(())
}

/// The documented limit: the kernel gives a unicast datagram to one of those that share a
/// port, and the guard drops it if it is for somebody else.
fn last(scene: &Scene) -> Result<()> {
    let [neighbour, _] = Host::beyond()?;
    let other = Cgroup::new()?;
    scene.attach(BOTH.guarded().multicast(PORTS))?;
    let policy = NEIGHBOUR.guarded().multicast(PORTS);
    scene.hook.attach(&other, policy)?;
    let link = scene.net.link();
    let first = member(scene.agent.socket(UDP4)?, MDNS, link)?;
    let second = member(Agent::new(&other)?.socket(UDP4)?, MDNS, link)?;
    let client = neighbour.within(|| Socket::new(UDP4))?;
    client.send(Some(at(CIP4, MDNS, 0)), b"first")?;
    await_dropped(&other, |counts| counts == (0, 1))?;
    client.send(Some(at(OTHER4, MDNS, 0)), b"second")?;
    ensure!(second.receive()?.0 == b"second", "another one arrived");
    // A socket at the assigned address comes before all those at the wildcard address.
    let own = scene.agent.socket(UDP4)?;
    own.set(SOL_SOCKET, SO_REUSEADDR, 1)?;
    own.bind(at(CIP4, MDNS, 0))?;
    client.send(Some(at(CIP4, MDNS, 0)), b"own")?;
    ensure!(own.receive()?.0 == b"own", "another one arrived");
    drop((own, second));
    client.send(Some(at(CIP4, MDNS, 0)), b"alone")?;
    ensure!(first.receive()?.0 == b"alone", "another one arrived");
    Ok(())
}

/// Another link, to which all routes lead.
const ELSEWHERE: &str = "\
link add x0 type veth peer name x1
link set x0 addrgenmode none
link set x1 addrgenmode none
link set x0 up
addr add 198.18.0.1/24 dev x0
addr add 2001:db8:300::1/64 dev x0 nodad
";
const ROUTES: &str = "\
route del 224.0.0.0/4
route add default via 198.18.0.2
route add multicast ff15::/16 dev x0 table local
";
const BEYOND: &str = "\
link set lo up
link set x1 up
addr add 198.18.0.2/24 dev x1
addr add 2001:db8:300::2/64 dev x1 nodad
";
const NEAR6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x300, 0, 0, 0, 0, 1));
const BEYOND6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x300, 0, 0, 0, 0, 2));

/// A container, with a host on the link of its address and one on another link.
struct Links {
    /// The members of a group on each link, in this order.
    members: [Socket; 2],
    /// The index of the other link.
    other: u32,
}

impl Links {
    fn new(scene: &Scene, kind: Kind) -> Result<Self> {
        let [near, _] = Host::beyond()?;
        let routes = Routes::watch()?;
        ip(&["-batch", "-"], ELSEWHERE)?;
        let far = Host::with_interface("x1", None)?;
        far.within(|| {
            let routes = Routes::watch()?;
            ip(&["-batch", "-"], BEYOND)?;
            routes.wait_for(&[BEYOND6])
        })?;
        routes.wait_for(&[NEAR6])?;
        ip(&["-batch", "-"], ROUTES)?;
        scene.attach(BOTH.guarded().multicast(PORTS))?;
        Ok(Self {
            members: [
                near.within(|| hearer(kind, "v1"))?,
                far.within(|| hearer(kind, "x1"))?,
            ],
            other: interface("x0")?,
        })
    }

    /// Sends a datagram: who hears it on which link.
    fn heard(&self, send: impl FnOnce() -> Result<()>) -> Result<(usize, IpAddr)> {
        send()?;
        let [near, far] = &self.members;
        let link = first_ready(&[near, far])?;
        let (_, from) = self.members[link].receive()?;
        Ok((link, from.ip()))
    }
}

/// The link of the assigned address, and the other one: indices of `Links::members`.
const OWN: usize = 0;
const OTHER: usize = 1;

/// A member of the group on a link, in the calling thread's namespace.
fn hearer(kind: Kind, link: &str) -> Result<Socket> {
    let link = interface(link)?;
    let member = Socket::new(kind)?;
    if kind.v6 {
        sockopt::set_ipv6_add_membership(&member, &GROUP6, link)?;
    } else {
        let any = Ipv4Addr::UNSPECIFIED;
        sockopt::set_ip_add_membership_with_ifindex(&member, &GROUP4, &any, link)?;
    }
    member.bind(at(if kind.v6 { ANY6 } else { ANY4 }, MDNS, 0))?;
    Ok(member)
}

/// For IPv4 the source decides which link is used, unless the program does.
fn by_the_address(scene: &Scene) -> Result<()> {
    let links = Links::new(scene, UDP4)?;
    let group = at(GROUP4.into(), MDNS, 0);
    let outside = Socket::new(UDP4)?;
    let (link, from) = links.heard(|| Ok(outside.send(Some(group), b"outside")?))?;
    ensure!(link == OTHER, "from {from}, which no policy has moved");
    let wildcard = scene.agent.socket(UDP4)?;
    let shared = member(scene.agent.socket(UDP4)?, MDNS, scene.net.link())?;
    for (what, socket) in [("a client", &wildcard), ("a member", &shared)] {
        let assert = |call, expected, heard| {
            let expected = (expected, CIP4);
            ensure!(
                heard == expected,
                "{what} {call}: {heard:?}, not {expected:?}"
            );
            Ok(())
        };
        socket.set(SOL_SOCKET, SO_BROADCAST, 1)?;
        for to in [group.ip(), NETWORK, EVERYBODY] {
            let heard = links.heard(|| Ok(socket.send(Some(at(to, MDNS, 0)), b"all")?))?;
            assert("sends", OWN, heard)?;
        }
        let info = PacketInfo::V4(Ipv4Addr::UNSPECIFIED, links.other);
        let heard = links.heard(|| Ok(socket.send_from(info, Some(group), b"info")?))?;
        assert("names a link", OTHER, heard)?;
        let any = Ipv4Addr::UNSPECIFIED;
        sockopt::set_ip_multicast_if_with_ifindex(
            socket,
            &Ipv4Addr::UNSPECIFIED,
            &any,
            links.other,
        )?;
        let heard = links.heard(|| Ok(socket.send(Some(group), b"option")?))?;
        assert("has a link for groups", OTHER, heard)?;
    }
    let bound = scene.agent.socket(UDP4)?;
    bound.set(SOL_SOCKET, SO_BINDTOIFINDEX, links.other.try_into()?)?;
    let heard = links.heard(|| Ok(bound.send(Some(group), b"bound")?))?;
    ensure!(heard == (OTHER, CIP4), "one of a link: {heard:?}");
    let connected = scene.agent.socket(UDP4)?;
    connected.connect(group)?;
    let heard = links.heard(|| Ok(connected.send(None, b"connected")?))?;
    ensure!(heard == (OWN, CIP4), "one that is connected: {heard:?}");
    Ok(())
}

/// The documented limit: for IPv6 the routes decide which link is used, unless the program
/// does. The source is the assigned address in any case.
fn by_the_route(scene: &Scene) -> Result<()> {
    let links = Links::new(scene, UDP6)?;
    let group = at(GROUP6.into(), MDNS, 0);
    let own = scene.net.link();
    let shared = member(scene.agent.socket(UDP6)?, MDNS, own)?;
    let client = scene.agent.socket(UDP6)?;
    for (what, socket) in [("a client", &client), ("a member", &shared)] {
        let assert = |call, expected, heard| {
            let expected = (expected, CIP6);
            ensure!(
                heard == expected,
                "{what} {call}: {heard:?}, not {expected:?}"
            );
            Ok(())
        };
        let heard = links.heard(|| Ok(socket.send(Some(group), b"route")?))?;
        assert("sends", OTHER, heard)?;
        let info = PacketInfo::V6(Ipv6Addr::UNSPECIFIED, own);
        let heard = links.heard(|| Ok(socket.send_from(info, Some(group), b"info")?))?;
        assert("names a link", OWN, heard)?;
        let link_group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let scoped: SocketAddr = SocketAddrV6::new(link_group, MDNS, 0, own).into();
        let heard = links.heard(|| Ok(socket.send(Some(scoped), b"scope")?))?;
        assert("sends by a link", OWN, heard)?;
        socket.set(IPPROTO_IPV6, IPV6_MULTICAST_IF, own.try_into()?)?;
        let heard = links.heard(|| Ok(socket.send(Some(group), b"option")?))?;
        assert("has a link for groups", OWN, heard)?;
    }
    Ok(())
}
