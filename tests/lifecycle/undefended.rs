//! What docs/THREAT-MODEL.md says is not defended, so that it stays true.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::counters::await_dropped;
use oci_bind_hook_tests::harness;
use oci_bind_hook_tests::hook::{Hook, NEIGHBOUR, Policy, V4};
use oci_bind_hook_tests::net::{ANY4, CIP4, HOST4, LOOP4, Net, PEER4};
use oci_bind_hook_tests::process::PATIENCE;
use oci_bind_hook_tests::socket::{Socket, TCP4, UDP4, at};
use oci_bind_hook_tests::sys;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with, sockopt,
};

use crate::policy::assert_bound;
use crate::run_owner::{as_owner, delegate};

const PORT: u16 = 7000;
/// `ETH_P_IP`, in network byte order: frames that come in.
const IPV4_FRAMES: u16 = 0x0800_u16.to_be();
/// What `private` makes of 192.0.2.10.
const PRIVATE4: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 128, 2, 10));

/// All trials of this file.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn(Net) -> Result<()>| {
        harness::trial(format!("not defended: {name}"), move || Net::isolated(test))
    };
    vec![
        trial("packet sockets pass the guard", packet_socket),
        trial("two containers may have one address, and one port", |_| {
            shared_address()
        }),
        trial("an exempt port can be taken at a denied address", |_| {
            exempt()
        }),
        trial(
            "a private loopback, bound by a container with another",
            |_| private_loopback(),
        ),
        trial("the owner of a cgroup above moves a process out", |_| {
            moved_out()
        }),
    ]
}

/// A process in a cgroup under a policy.
struct Governed {
    agent: Agent,
    cgroup: Cgroup,
}

impl Governed {
    fn new(hook: &Hook, policy: Policy) -> Result<Self> {
        let cgroup = Cgroup::new()?;
        hook.attach(&cgroup, policy)?;
        Ok(Self {
            agent: Agent::new(&cgroup)?,
            cgroup,
        })
    }
}

/// What `run` sees to by itself: see run_owner.rs.
fn moved_out() -> Result<()> {
    let above = Cgroup::new()?;
    let [own, elsewhere] = [above.child("own")?, above.child("elsewhere")?];
    delegate(&above)?;
    delegate(&elsewhere)?;
    Hook::new()?.attach(&own, V4)?;
    let agent = Agent::new(&own)?;
    assert_bound(&agent, CIP4)?;
    as_owner(|| elsewhere.take_in(agent.id()))??;
    assert_bound(&agent, ANY4)
}

/// They are below IP, where the guard is. It takes CAP_NET_RAW in the network
/// namespace to make one.
fn packet_socket(net: Net) -> Result<()> {
    let container = Governed::new(&Hook::new()?, V4.guarded())?;
    let frames = Some(Protocol::from_raw(u32::from(IPV4_FRAMES).try_into()?));
    let peer = socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        frames,
    )?;
    sockopt::set_socket_timeout(&peer, sockopt::Timeout::Recv, Some(PATIENCE))?;
    let sender = container
        .agent
        .open(AddressFamily::PACKET, SocketType::RAW, 0)??;
    let frame = frame_of_the_host();
    sys::send_frame(sender.as_fd(), net.link(), &frame)?;
    let mut buffer = [0; 2048];
    loop {
        let (length, _) = retry_on_intr(|| recv(&peer, &mut buffer, RecvFlags::empty()))?;
        if buffer[..length] == *frame {
            return Ok(());
        }
    }
}

/// A broadcast Ethernet frame with an empty IPv4 packet (RFC 894, RFC 791) of
/// the host's own address.
fn frame_of_the_host() -> Vec<u8> {
    const EXPERIMENT: u8 = 253;
    let mut frame = [&[0xff; 6][..], &[2; 6], &IPV4_FRAMES.to_ne_bytes()].concat();
    frame.extend([0x45, 0, 0, 20, 0, 0, 0, 0, 64, EXPERIMENT, 0, 0]);
    for address in [HOST4, PEER4] {
        if let IpAddr::V4(address) = address {
            frame.extend(address.octets());
        }
    }
    frame
}

/// Where both ask for it, as the kernel has it within one user id.
fn shared_address() -> Result<()> {
    let hook = Hook::new()?;
    let containers = [Governed::new(&hook, V4)?, Governed::new(&hook, V4)?];
    let mut bound = Vec::new();
    for container in &containers {
        let socket = container.agent.socket(TCP4)?;
        socket.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        socket.bind(at(ANY4, PORT, 0))?;
        ensure!(socket.local()?.ip() == CIP4, "it is at {}", socket.local()?);
        bound.push(socket);
    }
    Ok(())
}

/// The lists are for the address that is assigned. What is taken hears nothing while the
/// guard is on, but nobody else has it.
fn exempt() -> Result<()> {
    let config = format!("deny = [\"{HOST4}\"]\n[defaults]\nguard = \"off\"\n");
    let hook = Hook::with_config(&config)?;
    let container = Governed::new(&hook, V4.guarded().exempt("7000"))?;
    let taken = container.agent.socket(UDP4)?;
    taken.bind(at(HOST4, PORT, 0))?;
    ensure!(taken.local()?.ip() == HOST4, "it is at {}", taken.local()?);
    let host = Socket::new(UDP4)?.bind(at(HOST4, PORT, 0));
    ensure!(host == Err(Errno::ADDRINUSE), "the host's bind: {host:?}");
    let client = Socket::new(UDP4)?;
    client.send(Some(at(HOST4, PORT, 0)), b"ping")?;
    await_dropped(&container.cgroup, |counts| counts == (0, 1))?;
    hook.attach(&container.cgroup, V4.exempt("7000"))?;
    client.send(Some(at(HOST4, PORT, 0)), b"no guard")?;
    ensure!(taken.receive()?.0 == b"no guard", "the guard let it in");
    Ok(())
}

/// Whoever shares the host's loopback can have any address of 127.0.0.0/8.
fn private_loopback() -> Result<()> {
    let hook = Hook::new()?;
    let container = Governed::new(&hook, V4.loopback("private"))?;
    let other = Governed::new(&hook, NEIGHBOUR.loopback("auto"))?;
    let server = other.agent.socket(TCP4)?;
    server.bind(at(PRIVATE4, PORT, 0))?;
    server.listen()?;
    let client = container.agent.socket(TCP4)?;
    client.connect(at(LOOP4, PORT, 0))?;
    let accepted = server.accept()?;
    ensure!(
        accepted.peer()?.port() == client.local()?.port(),
        "somebody else came"
    );
    Ok(())
}
