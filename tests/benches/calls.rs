//! What one call pays: bind(2), connect(2) and sendto(2) of sockets inside a
//! cgroup with a policy against sockets outside, batch by batch in turn, so
//! that the ratio holds on a noisy machine. The sockets inside are made by a
//! process in the cgroup; the calls are all made here.

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

const BATCHES: usize = 60;
const SOCKETS: usize = 100;
/// Datagrams that one socket sends in a batch.
const DATAGRAMS: usize = 2_000;

/// The options of each policy measured.
const POLICIES: [(&str, &[&str]); 3] = [
    ("host, no guard", &["--loopback", "host", "--guard", "off"]),
    ("auto, no guard", &["--loopback", "auto", "--guard", "off"]),
    ("auto, guard", &["--loopback", "auto", "--guard", "on"]),
];

fn main() -> Result<()> {
    host::set_up()?;
    println!("median of {BATCHES} batches, nanoseconds a call");
    println!(
        "{:<15} {:<22} {:>8} {:>8} {:>6}",
        "policy", "call", "outside", "inside", "ratio"
    );
    Net::isolated(measure_least)?;
    for (name, options) in POLICIES {
        Net::isolated(move |net| measure_policy(name, options, net))?;
    }
    Ok(())
}

/// A program of four instructions that moves wildcard binds: no tool that does
/// so by a program can cost less.
fn measure_least(net: Net) -> Result<()> {
    let cgroup = Cgroup::new()?;
    let agent = Agent::new(&cgroup)?;
    let least = Foreign::replace(BIND4, Member::UserIp4, ANY4, CIP4)?;
    least.attach(&cgroup, Mode::Multi)?;
    let any4 = at(ANY4, 0, net.link());
    for (call, kind) in [("bind 0.0.0.0, TCP", TCP4), ("bind 0.0.0.0, UDP", UDP4)] {
        compare("least possible", call, &agent, kind, &|socket| {
            Ok(socket.bind(any4)?)
        })?;
    }
    Ok(())
}

fn measure_policy(name: &str, options: &[&str], net: Net) -> Result<()> {
    let hook = Hook::new()?;
    let cgroup = Cgroup::new()?;
    let agent = Agent::new(&cgroup)?;
    let status = hook
        .command("attach")
        .arg("--cgroup")
        .arg(cgroup.path())
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
    let any4 = at(ANY4, 0, net.link());
    let any6 = at(ANY6, 0, net.link());
    let own4 = at(CIP4, 0, net.link());
    let calls: [(&str, Kind, Call<'_>); 6] = [
        ("bind 0.0.0.0, TCP", TCP4, &|socket| Ok(socket.bind(any4)?)),
        // The kernel looks an address up, and the wildcard not: this is what
        // the program alone costs.
        ("bind own address, TCP", TCP4, &|socket| {
            Ok(socket.bind(own4)?)
        }),
        ("bind ::, TCP", TCP6, &|socket| Ok(socket.bind(any6)?)),
        ("bind 0.0.0.0, UDP", UDP4, &|socket| Ok(socket.bind(any4)?)),
        ("connect, TCP", TCP4, &|socket| {
            dial(socket, server, &listener)
        }),
        ("connect, UDP", UDP4, &|socket| Ok(socket.connect(sink)?)),
    ];
    for (call, kind, make) in calls {
        compare(name, call, &agent, kind, make)?;
    }
    report(name, "sendto, unconnected", |is_inside| {
        let socket = if is_inside {
            agent.socket(UDP4)?
        } else {
            Socket::new(UDP4)?
        };
        let start = Instant::now();
        for _ in 0..DATAGRAMS {
            socket.send(Some(sink), b"x")?;
        }
        Ok(start.elapsed() / u32::try_from(DATAGRAMS)?)
    })
}

/// One call of each of many sockets.
fn compare(policy: &str, call: &str, agent: &Agent, kind: Kind, make: Call<'_>) -> Result<()> {
    report(policy, call, |is_inside| {
        let sockets = (0..SOCKETS)
            .map(|_| {
                if is_inside {
                    agent.socket(kind)
                } else {
                    Socket::new(kind)
                }
            })
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

fn report(policy: &str, call: &str, batch: impl Fn(bool) -> Result<Duration>) -> Result<()> {
    let (mut outside, mut inside) = (Vec::new(), Vec::new());
    for _ in 0..BATCHES {
        outside.push(batch(false)?);
        inside.push(batch(true)?);
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
