//! What others pay for dual-stack servers: the program that steers calls runs
//! for each packet of its network namespace that opens a connection, and for
//! each datagram to an unconnected socket. The same is done in a namespace with
//! it and in one without, batch by batch in turn, so that the ratio holds on a
//! noisy machine. `no program` shows how far the method can be off.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use oci_bind_hook_ebpf::decide::dual::{Place, bucket};
use oci_bind_hook_ebpf::net::{Port, V6};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bench::in_namespace;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::hook::{BOTH, Hook};
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::{ANY6, CIP4, CIP6, HOST6, has_dual, ip};
use oci_bind_hook_tests::results::Results;
use oci_bind_hook_tests::socket::{Kind, Socket, TCP6, UDP6};

const BATCHES: usize = 300;
const CONNECTIONS: u32 = 100;
const DATAGRAMS: u32 = 1_000;
/// `IPPROTO_TCP`
const TCP: u16 = 6;
/// Where nobody is by chance.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

const ADDRESSES: &str = "\
link set lo up
addr add 192.0.2.10/32 dev lo
addr add 2001:db8::1/128 dev lo nodad
addr add 2001:db8::10/128 dev lo nodad
";

/// A network namespace with the host's address and a container's, and who makes
/// sockets in it.
struct Site {
    host: Agent,
    container: Agent,
    /// By its inode number.
    namespace: u64,
    _cgroups: [Cgroup; 2],
}

impl Site {
    /// With a policy on the container, or without one.
    fn new(is_steered: bool) -> Result<Self> {
        in_namespace(|| {
            ip(&["-batch", "-"], ADDRESSES)?;
            let cgroups = [Cgroup::new()?, Cgroup::new()?];
            if is_steered {
                Hook::new()?.attach(&cgroups[1], BOTH)?;
            }
            Ok(Self {
                host: Agent::new(&cgroups[0])?,
                container: Agent::new(&cgroups[1])?,
                namespace: fs::metadata("/proc/thread-self/ns/net")?.ino(),
                _cgroups: cgroups,
            })
        })
    }

    /// A server to be called at `address`: one of the host there, or else one of
    /// the container at `::`.
    fn open(&self, kind: Kind, address: IpAddr, port: u16) -> Result<Called<'_>> {
        let server = if address == HOST6 {
            let server = self.host.socket(kind)?;
            server.bind(SocketAddr::new(HOST6, port))?;
            server
        } else {
            let server = self.container.socket(kind)?;
            server.bind(SocketAddr::new(ANY6, port))?;
            server
        };
        if kind.tcp {
            server.listen()?;
        }
        let (site, at) = (self, SocketAddr::new(address, port));
        Ok(Called { site, server, at })
    }
}

/// A server, and where it is called.
struct Called<'a> {
    site: &'a Site,
    server: Socket,
    at: SocketAddr,
}

fn main() -> Result<()> {
    if !has_dual() {
        println!("skipped: without type information no calls are steered");
        return Ok(());
    }
    host::set_up()?;
    let (plain, other, steered) = (Site::new(false)?, Site::new(false)?, Site::new(true)?);
    let (port, sharing) = sharing(&steered)?;
    let results = &mut Results::new(
        "steer",
        "A call to a server of the host, in a namespace with dual-stack servers against one without",
    );
    let without = plain.open(TCP6, HOST6, port)?;
    let none = other.open(TCP6, HOST6, port)?;
    let with = steered.open(TCP6, HOST6, port)?;
    report(results, "TCP", "no program", connect, [&without, &none])?;
    for (what, dual) in [
        ("the program", None),
        ("a dual-stack server at this port", Some(port)),
        ("one that shares a count", Some(sharing)),
    ] {
        let dual = dual.map(|port| steered.open(TCP6, CIP6, port));
        let _dual = dual.transpose()?;
        report(results, "TCP", what, connect, [&without, &with])?;
    }
    // Here `without` is IPv4, and `with` IPv6.
    for (what, site) in [
        ("IPv6 against IPv4, :: without policy", &plain),
        ("IPv6 against IPv4, dual-stack server", &steered),
    ] {
        let four = site.open(TCP6, CIP4, sharing)?;
        let six = site.open(TCP6, CIP6, sharing + 1)?;
        report(results, "TCP", what, connect, [&four, &six])?;
    }
    let without = plain.open(UDP6, HOST6, port)?;
    let none = other.open(UDP6, HOST6, port)?;
    let with = steered.open(UDP6, HOST6, port)?;
    report(results, "UDP", "no program", send, [&without, &none])?;
    report(results, "UDP", "the program", send, [&without, &with])?;
    for (what, site) in [
        ("IPv6 against IPv4, :: without policy", &plain),
        ("IPv6 against IPv4, dual-stack server", &steered),
    ] {
        let four = site.open(UDP6, CIP4, sharing)?;
        let six = site.open(UDP6, CIP6, sharing + 1)?;
        report(results, "UDP", what, send, [&four, &six])?;
    }
    results.finish()
}

/// The port of a server of the host, and one of a dual-stack server that is
/// counted in the same place: the program looks into the first slot in vain.
fn sharing(site: &Site) -> Result<(u16, u16)> {
    let namespace = site.namespace;
    let count = |address, port: u16| {
        bucket(&Place {
            namespace,
            address: words(address),
            port: Port::new(port),
            protocol: TCP,
            ..Place::default()
        })
    };
    PORTS
        .flat_map(|port| PORTS.map(move |other| (port, other)))
        .find(|&(port, other)| count(HOST6, port) == count(CIP6, other))
        .context("find two places that share a count")
}

/// An address as the programs have it.
fn words(address: IpAddr) -> V6 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// What is done over and over: how many nanoseconds it takes.
type Round = fn(&Called<'_>) -> Result<f64>;

/// A connection, without what it leaves behind.
fn connect(called: &Called<'_>) -> Result<f64> {
    let make = |_| called.site.host.socket(Kind::of(true, called.at.ip()));
    let clients = (0..CONNECTIONS).map(make).collect::<Result<Vec<_>>>()?;
    let start = Instant::now();
    for client in &clients {
        client.connect(called.at)?;
        client.reset_on_close()?;
        called.server.accept()?.reset_on_close()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(CONNECTIONS))
}

/// A datagram between sockets that are not connected.
fn send(called: &Called<'_>) -> Result<f64> {
    let client = called.site.host.socket(UDP6)?;
    let start = Instant::now();
    for _ in 0..DATAGRAMS {
        client.send(Some(called.at), b"x")?;
        called.server.receive()?;
    }
    Ok(start.elapsed().as_secs_f64() * 1e9 / f64::from(DATAGRAMS))
}

/// Runs both sides in turn.
fn report(
    results: &mut Results,
    round: &str,
    what: &str,
    run: Round,
    sides: [&Called<'_>; 2],
) -> Result<()> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        without.push(run(sides[0])?);
        with.push(run(sides[1])?);
    }
    results.pairs(what, round, "ns", [&without, &with], None);
    Ok(())
}
