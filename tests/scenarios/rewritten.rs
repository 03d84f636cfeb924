//! G7: packets that the host itself rewrites on their way, after the sockets and
//! before the guard.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use oci_bind_hook_tests::counters::{await_dropped, dropped};
use oci_bind_hook_tests::far::{FAR4, FAR6, Host};
use oci_bind_hook_tests::hook::{BOTH, Policy};
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, HOST4, HOST6, OTHER4, OTHER6, ip};
use oci_bind_hook_tests::rules::{Tunnel, nft};
use oci_bind_hook_tests::socket::{Kind, Socket, TCP4, TCP6, UDP4, UDP6, at};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::observe::PORT;
use crate::row::{Row, Scene};
use crate::told::open;
use crate::unhooked::{EXPERIMENT, lite, raw_pair};

const POLICY: Policy = BOTH.loopback("auto").guarded();
/// Where a service or a published server is called.
const CALLED: u16 = 80;

/// A family, its addresses here, and how firewall rules name it.
#[derive(Clone, Copy)]
struct Family {
    kinds: [Kind; 2],
    any: IpAddr,
    own: IpAddr,
    host: IpAddr,
    other: IpAddr,
    far: IpAddr,
    service: &'static str,
    name: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        kinds: [TCP4, UDP4],
        any: ANY4,
        own: CIP4,
        host: HOST4,
        other: OTHER4,
        far: FAR4,
        service: "203.0.113.200",
        name: "ip",
    },
    Family {
        kinds: [TCP6.v6only(), UDP6.v6only()],
        any: ANY6,
        own: CIP6,
        host: HOST6,
        other: OTHER6,
        far: FAR6,
        service: "2001:db8:200::200",
        name: "ip6",
    },
];

/// A trial with the router and the far host behind the link.
type Test = fn(&Scene, &[Host; 2], Family) -> Result<()>;

/// All rows of this file.
pub fn rows() -> Vec<Row> {
    let tests: [(_, _, Test); 7] = [
        (
            "G7",
            "a service that is rewritten to a server afar",
            service,
        ),
        ("G7", "calls that leave from the host's address", source),
        ("G7", "a published port", published),
        ("M3", "a published port that is exempt", published_exempt),
        ("G7", "calls through a tunnel of IPsec", tunnel),
        ("G1", "sockets of another address", foreign),
        ("G1", "sockets without hooks", unhooked),
    ];
    let mut rows = Vec::new();
    for family in FAMILIES {
        let number = if family.kinds[0].v6 { 6 } else { 4 };
        for (id, what, test) in tests {
            let what = format!("IPv{number}, {what}, where the host rewrites packets");
            rows.push(Scene::row(id, &what, move |scene| {
                test(scene, &Host::beyond()?, family)
            }));
        }
    }
    rows
}

/// A ClusterIP as kube-proxy makes it: another destination for what programs of the host
/// send, and the host's own address as the source.
fn service(scene: &Scene, [_, far]: &[Host; 2], family: Family) -> Result<()> {
    let Family { service, name, .. } = family;
    let to = family.far;
    let rule = |protocol| {
        format!(
            "{name} daddr {service} {protocol} dport {CALLED} dnat {name} to {}",
            name_of(to, PORT)
        )
    };
    nft(&format!(
        "table inet nat {{
            chain output {{
                type nat hook output priority -100;
                {}
                {}
            }}
            chain postrouting {{
                type nat hook postrouting priority 100;
                {name} daddr {to} masquerade
            }}
        }}",
        rule("tcp"),
        rule("udp"),
    ))?;
    if family.kinds[0].v6 {
        // Otherwise masquerading could choose any address.
        for address in [family.own, family.other] {
            let address = format!("{address}/64");
            #[rustfmt::skip]
            ip(&["addr", "change", &address, "dev", "v0", "preferred_lft", "0"], "")?;
        }
    }
    scene.attach(POLICY)?;
    let called: IpAddr = service.parse()?;
    calls(
        scene,
        far,
        family,
        [called, to],
        [CALLED, PORT],
        family.host,
    )
}

/// SNAT.
fn source(scene: &Scene, [_, far]: &[Host; 2], family: Family) -> Result<()> {
    rewrite_sources(family)?;
    scene.attach(POLICY)?;
    calls(scene, far, family, [family.far; 2], [PORT; 2], family.host)
}

/// Gives everything that goes to the far host the host's own address as its source.
fn rewrite_sources(family: Family) -> Result<()> {
    let Family {
        name, far, host, ..
    } = family;
    nft(&format!(
        "table inet nat {{
            chain postrouting {{
                type nat hook postrouting priority 100;
                {name} daddr {far} snat {name} to {host}
            }}
        }}"
    ))
}

/// Clients in the container call a server on the far host, which sees them at `source`.
fn calls(
    scene: &Scene,
    far: &Host,
    family: Family,
    [called, at_far]: [IpAddr; 2],
    [port, port_at_far]: [u16; 2],
    source: IpAddr,
) -> Result<()> {
    let [tcp, udp] = family.kinds;
    let to = at(called, port, 0);
    let server = |kind| {
        far.within(|| {
            let server = Socket::new(kind)?;
            open(&server, at(at_far, port_at_far, 0))?;
            Ok(server)
        })
    };
    let listener = server(tcp)?;
    let client = scene.agent.socket(tcp)?;
    client.connect(to).context("connect")?;
    let accepted = listener.accept()?;
    ensure!(accepted.peer()?.ip() == source, "it saw {accepted:?}");
    exchange(&client, &accepted)?;
    ensure!(client.local()?.ip() == family.own, "it is at {client:?}");

    let receiver = server(udp)?;
    for is_connected in [true, false] {
        let client = scene.agent.socket(udp)?;
        if is_connected {
            client.connect(to)?;
            client.send(None, b"ping")?;
        } else {
            client.send(Some(to), b"ping").context("sendto")?;
        }
        let (_, seen) = receiver.receive()?;
        ensure!(seen.ip() == source, "the server saw {seen}");
        receiver.send(Some(seen), b"pong")?;
        let (payload, from) = client.receive()?;
        ensure!(payload == b"pong" && from == to, "{payload:?} from {from}");
    }
    assert_none_dropped(scene)
}

/// DNAT: a published port, or a NodePort.
fn publish(family: Family) -> Result<()> {
    let Family {
        name, own, host, ..
    } = family;
    let rule = |protocol| {
        format!(
            "{name} daddr {host} {protocol} dport {CALLED} dnat {name} to {}",
            name_of(own, PORT)
        )
    };
    nft(&format!(
        "table inet nat {{
            chain prerouting {{
                type nat hook prerouting priority -100;
                {}
                {}
            }}
        }}",
        rule("tcp"),
        rule("udp"),
    ))
}

fn published(scene: &Scene, [_, far]: &[Host; 2], family: Family) -> Result<()> {
    publish(family)?;
    scene.attach(POLICY)?;
    let [tcp, _] = family.kinds;
    let called = at(family.host, CALLED, 0);
    let listener = scene.agent.socket(tcp)?;
    open(&listener, at(family.any, PORT, 0))?;
    let client = far.within(|| Socket::new(tcp))?;
    client.connect(called).context("connect")?;
    exchange(&client, &listener.accept()?)?;
    answered(scene, far, family)?;
    assert_none_dropped(scene)
}

/// For a socket at an exempt port, sendmsg has chosen the source of what it sends. A TCP
/// listener without an address has none to be judged by: the documented limit. Older
/// kernels do not show the guard what it answers over IPv6 (`ip6_finish_output`), and the
/// resulting connection has an address.
fn published_exempt(scene: &Scene, [_, far]: &[Host; 2], family: Family) -> Result<()> {
    publish(family)?;
    scene.attach(POLICY.exempt("8080"))?;
    answered(scene, far, family)?;
    assert_none_dropped(scene)?;
    let [tcp, _] = family.kinds;
    let listener = scene.agent.socket(tcp)?;
    open(&listener, at(family.any, PORT, 0))?;
    let client = far.within(|| Socket::new(tcp))?;
    client.connect(at(family.own, PORT, 0)).context("connect")?;
    exchange(&client, &listener.accept()?)?;
    let client = far.within(|| Socket::new(tcp))?;
    let flags = fcntl_getfl(&client)?;
    fcntl_setfl(&client, flags | OFlags::NONBLOCK)?;
    let outcome = client.connect(at(family.host, CALLED, 0));
    ensure!(outcome == Err(Errno::INPROGRESS), "connect: {outcome:?}");
    let is_reached = || tcp.v6 && listener.has_input().unwrap_or_default();
    await_dropped(&scene.cgroup, |(egress, _)| egress > 0 || is_reached())?;
    if is_reached() {
        fcntl_setfl(&client, flags)?;
        exchange(&client, &listener.accept()?)?;
    }
    Ok(())
}

/// A server at the wildcard address answers datagrams to the published port.
fn answered(scene: &Scene, far: &Host, family: Family) -> Result<()> {
    let [_, udp] = family.kinds;
    let server = scene.agent.socket(udp)?;
    open(&server, at(family.any, PORT, 0))?;
    let client = far.within(|| Socket::new(udp))?;
    client.connect(at(family.host, CALLED, 0))?;
    client.send(None, b"ping")?;
    let (_, from) = server.receive()?;
    server.send(Some(from), b"pong").context("the server")?;
    ensure!(client.receive_connected()? == b"pong", "no pong");
    Ok(())
}

/// ESP in tunnel mode between the host and the router.
fn tunnel(scene: &Scene, [router, far]: &[Host; 2], family: Family) -> Result<()> {
    let (own, other) = (family.own.to_string(), family.far.to_string());
    let outer = if family.kinds[0].v6 {
        ["2001:db8::1", "2001:db8::2"]
    } else {
        ["192.0.2.1", "192.0.2.2"]
    };
    let [near, beyond] = outer;
    Tunnel {
        ends: outer,
        networks: [&own, &other],
    }
    .set_up()?;
    router.within(|| {
        Tunnel {
            ends: [beyond, near],
            networks: [&other, &own],
        }
        .set_up()
    })?;
    scene.attach(POLICY)?;
    calls(scene, far, family, [family.far; 2], [PORT; 2], family.own)
}

/// What was bound to another address before the policy was attached stays cut off.
fn foreign(scene: &Scene, [_, far]: &[Host; 2], family: Family) -> Result<()> {
    rewrite_sources(family)?;
    let [tcp, udp] = family.kinds;
    let to = at(family.far, PORT, 0);
    let server = |kind| {
        far.within(|| {
            let server = Socket::new(kind)?;
            open(&server, to)?;
            Ok(server)
        })
    };
    let (listener, receiver) = (server(tcp)?, server(udp)?);
    let client = |kind| -> Result<Socket> {
        let client = scene.agent.socket(kind)?;
        client.bind(at(family.other, 0, 0))?;
        client.connect(to)?;
        Ok(client)
    };
    let (stream, datagrams) = (client(tcp)?, client(udp)?);
    stream.reset_on_close()?;
    let accepted = listener.accept()?;
    exchange(&stream, &accepted)?;
    datagrams.send(None, b"ping")?;
    receiver.receive()?;

    scene.attach(POLICY)?;
    let sent = datagrams.send(None, b"ping");
    ensure!(sent == Err(Errno::PERM), "{sent:?}");
    ensure!(dropped(&scene.cgroup)? == (1, 0), "not counted");
    stream.send(None, b"ping")?;
    await_dropped(&scene.cgroup, |(egress, _)| egress > 1)?;
    // Somebody else's datagram arrives, and so the others would have.
    let marker = Socket::new(udp)?;
    marker.send(Some(to), b"marker")?;
    ensure!(receiver.receive()?.0 == b"marker", "it sent");
    ensure!(!accepted.has_input()?, "the connection goes on");
    Ok(())
}

/// Packets of sockets without hooks are judged by the header, whatever the socket's
/// address.
fn unhooked(scene: &Scene, _: &[Host; 2], family: Family) -> Result<()> {
    rewrite_sources(family)?;
    scene.attach(POLICY)?;
    let [_, udp] = family.kinds;
    let to = at(family.far, PORT, 0);
    let site = scene.inside();
    // Each has its own protocol number, since connection tracking sees no ports in them.
    for (number, address, protocol) in [
        (1, family.other, EXPERIMENT),
        (2, family.own, EXPERIMENT + 1),
    ] {
        let (client, _) = raw_pair(&site, udp, protocol, family.host)?;
        client.bind(at(address, 0, 0))?;
        let sent = client.send(Some(at(family.far, 0, 0)), b"ping");
        ensure!(sent == Err(Errno::PERM), "from {address}: {sent:?}");
        let counts = dropped(&scene.cgroup)?;
        ensure!(counts == (number, 0), "from {address}: {counts:?}");
    }
    let client = lite(&site, udp)?;
    client.connect(to)?;
    let sent = client.send(None, b"ping");
    ensure!(sent == Err(Errno::PERM), "UDP-Lite: {sent:?}");
    let counts = dropped(&scene.cgroup)?;
    ensure!(counts == (3, 0), "UDP-Lite: {counts:?}");
    Ok(())
}

/// Both ends send and receive.
fn exchange(client: &Socket, accepted: &Socket) -> Result<()> {
    for (from, to) in [(client, accepted), (accepted, client)] {
        from.send(None, b"hello")?;
        ensure!(to.receive_connected()? == b"hello", "it did not arrive");
    }
    Ok(())
}

fn assert_none_dropped(scene: &Scene) -> Result<()> {
    let counts = dropped(&scene.cgroup)?;
    ensure!(counts == (0, 0), "dropped {counts:?} out and in");
    Ok(())
}

/// An address and a port, as firewall rules write them.
fn name_of(address: IpAddr, port: u16) -> String {
    at(address, port, 0).to_string()
}
