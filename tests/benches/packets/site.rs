//! Who makes the sockets, and where.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use oci_bind_hook_tests::agent::Agent;
use oci_bind_hook_tests::bench::in_namespace;
use oci_bind_hook_tests::bpf::PACKET_TYPES;
use oci_bind_hook_tests::cgroup::Cgroup;
use oci_bind_hook_tests::foreign::{Foreign, Mode};
use oci_bind_hook_tests::hook::{Hook, Policy};
use oci_bind_hook_tests::net::{CIP4, PEER4, ip};
use oci_bind_hook_tests::socket::{Kind, Socket};

/// Which way packets take.
#[derive(Clone, Copy, Debug)]
pub enum Path {
    Loopback,
    Veth,
}

/// What a container is under.
#[derive(Clone, Copy)]
pub enum Under {
    Nothing,
    /// Programs of two instructions that see each packet: no guard can cost less.
    Empty,
    Policy(Policy),
}

/// The other namespace makes the pair: one end is for the process that takes the
/// place of `PID`.
const PEER: &str = "\
link set lo up
link add outer type veth peer name inner netns PID
link set outer up
addr add 198.51.100.100/32 dev outer
route add 192.0.2.0/24 dev outer src 198.51.100.100
";
/// The container's namespace has the same address either way.
const CONTAINER: &str = "\
link set lo up
link set inner up
addr add 192.0.2.10/32 dev inner
route add 198.51.100.0/24 dev inner src 192.0.2.10
";

/// Processes that make the ends of connections, all in the same two namespaces.
pub struct Site {
    path: Path,
    /// One for each policy.
    containers: Vec<Agent>,
    /// Keeps its end of the veth pair, with which the container's would go.
    peer: Agent,
    _cgroups: Vec<Cgroup>,
}

impl Site {
    /// With a cgroup under each of these policies, or under none.
    pub fn new(path: Path, policies: &[Under]) -> Result<Self> {
        let cgroups = (0..=policies.len()).map(|_| Cgroup::new());
        let cgroups = cgroups.collect::<Result<Vec<_>>>()?;
        let (bare, cgroups_of) = cgroups.split_last().context("there is no cgroup")?;
        let (containers, peer) = in_namespace(|| {
            let containers = cgroups_of.iter().map(Agent::new);
            let containers = containers.collect::<Result<Vec<_>>>()?;
            let peer = in_namespace(|| {
                let pid = containers[0].id().to_string();
                ip(&["-batch", "-"], &PEER.replace("PID", &pid))?;
                Agent::new(bare)
            })?;
            ip(&["-batch", "-"], CONTAINER)?;
            Ok((containers, peer))
        })?;
        // The addresses are in another namespace than this thread's.
        let hook =
            Hook::with_config("require-local-address = false\n[defaults]\nguard = \"off\"\n")?;
        for (cgroup, policy) in cgroups_of.iter().zip(policies) {
            match policy {
                Under::Nothing => {}
                Under::Empty => {
                    for (_, attach_type) in PACKET_TYPES {
                        Foreign::permit(attach_type)?.attach(cgroup, Mode::Multi)?;
                    }
                }
                Under::Policy(policy) => hook.attach(cgroup, *policy)?,
            }
        }
        Ok(Self {
            path,
            containers,
            peer,
            _cgroups: cgroups,
        })
    }

    /// Two sockets that are connected to each other, first that of the container
    /// with this policy.
    pub fn pair(&self, policy: usize, tcp: bool) -> Result<[Socket; 2]> {
        let container = &self.containers[policy];
        let (peer, address) = match self.path {
            Path::Loopback => (container, CIP4),
            Path::Veth => (&self.peer, PEER4),
        };
        let kind = Kind::of(tcp, CIP4);
        let (one, other) = (container.socket(kind)?, peer.socket(kind)?);
        other.bind(SocketAddr::new(address, 0))?;
        if tcp {
            other.listen()?;
            one.connect(other.local()?)?;
            let accepted = peer.accept_passed(&other)?;
            for socket in [&one, &accepted] {
                socket.set(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
            }
            return Ok([one, accepted]);
        }
        one.connect(other.local()?)?;
        other.connect(one.local()?)?;
        Ok([one, other])
    }
}
