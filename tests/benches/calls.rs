//! What one call pays: bind(2), connect(2) and sendto(2) of sockets inside a
//! cgroup with a policy against sockets outside, batch by batch in turn, so
//! that the ratio holds on a noisy machine. All sockets are made by a process
//! in a cgroup and handed over, those outside too: a socket made here would be
//! in this processor's cache, and its calls look cheaper than they are. The
//! calls are all made here. `no program` shows how far the method can be off.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::foreign::{BIND4, Foreign, Member, Mode};
use oci_bind_hook_tests::hook::Hook;
use oci_bind_hook_tests::host;
use oci_bind_hook_tests::net::{ANY4, ANY6, CIP4, CIP6, Net, PEER4, peer4};
use oci_bind_hook_tests::socket::{Kind, Socket, TCP4, TCP6, UDP4, at};

const BATCHES: usize = 150;
const SOCKETS: usize = 100;
/// Datagrams that one socket sends in a batch.
const DATAGRAMS: usize = 2_000;

/// The options of each policy measured.
const POLICIES: [(&str, &[&str]); 3] = [
    ("host, no guard", &["--loopback", "host", "--guard", "off"]),
    ("auto, no guard", &["--loopback", "auto", "--guard", "off"]),
    ("auto, guard", &["--loopback", "auto", "--guard", "on"]),
];

/// Who makes the sockets: one process in a cgroup that has the programs, one
/// in a cgroup that has none.
struct Agents {
    inside: Agent,
    outside: Agent,
    /// The cgroup of `inside`.
    cgroup: Cgroup,
    _bare: Cgroup,
}

impl Agents {
    fn new() -> Result<Self> {
        let (cgroup, bare) = (Cgroup::new()?, Cgroup::new()?);
        Ok(Self {
            inside: Agent::new(&cgroup)?,
            outside: Agent::new(&bare)?,
            cgroup,
            _bare: bare,
        })
    }
}

fn main() -> Result<()> {
    host::set_up()?;
    println!("median of {BATCHES} batches, nanoseconds a call");
    println!(
        "{:<15} {:<22} {:>8} {:>8} {:>6}",
        "policy", "call", "outside", "inside", "ratio"
    );
    Net::isolated(measure_nothing)?;
    Net::isolated(measure_least)?;
    for (name, options) in POLICIES {
        Net::isolated(move |net| measure_policy(name, options, net))?;
    }
    Ok(())
}

/// Two cgroups without programs.
fn measure_nothing(net: Net) -> Result<()> {
    measure_wildcard_binds("no program", &Agents::new()?, &net)
}

/// A program of four instructions that moves wildcard binds: no tool that does
/// so by a program can cost less.
fn measure_least(net: Net) -> Result<()> {
    let agents = Agents::new()?;
    let least = Foreign::replace(BIND4, Member::UserIp4, ANY4, CIP4)?;
    least.attach(&agents.cgroup, Mode::Multi)?;
    measure_wildcard_binds("least possible", &agents, &net)
}

fn measure_wildcard_binds(policy: &str, agents: &Agents, net: &Net) -> Result<()> {
    let bind = |socket: &Socket| Ok(socket.bind(at(ANY4, 0, net.link()))?);
    for (call, kind) in [("TCP bind 0.0.0.0", TCP4), ("UDP bind 0.0.0.0", UDP4)] {
        compare(policy, call, agents, kind, [&bind, &bind])?;
    }
    Ok(())
}

fn measure_policy(name: &str, options: &[&str], net: Net) -> Result<()> {
    let hook = Hook::new()?;
    let agents = Agents::new()?;
    let status = hook
        .command("attach")
        .arg("--cgroup")
        .arg(agents.cgroup.path())
        .args(["--ipv4", &CIP4.to_string(), "--ipv6", &CIP6.to_string()])
        .args(options)
        .status()
        .context("attach")?;
    anyhow::ensure!(status.success(), "attach ended with {status}");

    let listener = Socket::new(TCP4)?;
    listener.bind(at(PEER4, 0, net.link()))?;
    listener.listen()?;
    let server = listener.local()?;
    let sink = at(peer4(101), 9, net.link());
    let bind = |address| move |socket: &Socket| Ok(socket.bind(at(address, 0, net.link()))?);
    let (any4, any6, own4, own6) = (bind(ANY4), bind(ANY6), bind(CIP4), bind(CIP6));
    let dial = |socket: &Socket| dial(socket, server, &listener);
    let connect = |socket: &Socket| Ok(socket.connect(sink)?);
    // What is done inside, and what outside. A moved bind is set against the
    // same call, and against one with the same result: the kernel looks a
    // specific address up, and the wildcard not.
    let calls: [(&str, Kind, Call<'_>, Call<'_>); 10] = [
        ("TCP bind own address", TCP4, &own4, &own4),
        ("TCP bind 0.0.0.0 / own", TCP4, &any4, &own4),
        ("TCP bind 0.0.0.0", TCP4, &any4, &any4),
        ("TCP bind :: / own", TCP6, &any6, &own6),
        ("TCP bind ::", TCP6, &any6, &any6),
        ("UDP bind own address", UDP4, &own4, &own4),
        ("UDP bind 0.0.0.0 / own", UDP4, &any4, &own4),
        ("UDP bind 0.0.0.0", UDP4, &any4, &any4),
        ("TCP connect", TCP4, &dial, &dial),
        ("UDP connect", UDP4, &connect, &connect),
    ];
    for (call, kind, inside, outside) in calls {
        compare(name, call, &agents, kind, [inside, outside])?;
    }
    report(name, "UDP sendto", &agents, |agent, _| {
        let socket = agent.socket(UDP4)?;
        let start = Instant::now();
        for _ in 0..DATAGRAMS {
            socket.send(Some(sink), b"x")?;
        }
        Ok(start.elapsed() / u32::try_from(DATAGRAMS)?)
    })
}

/// One call of each of many sockets: what is done inside, and what outside.
fn compare(
    policy: &str,
    call: &str,
    agents: &Agents,
    kind: Kind,
    [inside, outside]: [Call<'_>; 2],
) -> Result<()> {
    report(policy, call, agents, |agent, is_inside| {
        let make = if is_inside { inside } else { outside };
        let sockets = (0..SOCKETS)
            .map(|_| agent.socket(kind))
            .collect::<Result<Vec<_>>>()?;
        let start = Instant::now();
        for socket in &sockets {
            make(socket)?;
        }
        Ok(start.elapsed() / u32::try_from(SOCKETS)?)
    })
}

type Call<'a> = &'a dyn Fn(&Socket) -> Result<()>;

/// A connect, without what the connection leaves behind.
fn dial(socket: &Socket, server: SocketAddr, listener: &Socket) -> Result<()> {
    socket.connect(server)?;
    socket.reset_on_close()?;
    listener.accept()?.reset_on_close()
}

fn report(
    policy: &str,
    call: &str,
    agents: &Agents,
    batch: impl Fn(&Agent, bool) -> Result<Duration>,
) -> Result<()> {
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        outside.push(batch(&agents.outside, false)?);
        inside.push(batch(&agents.inside, true)?);
    }
    let (outside, inside) = (median(&mut outside), median(&mut inside));
    let ratio = inside.as_secs_f64() / outside.as_secs_f64();
    println!(
        "{policy:<15} {call:<22} {:>8} {:>8} {ratio:>6.2}",
        outside.as_nanos(),
        inside.as_nanos()
    );
    Ok(())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
