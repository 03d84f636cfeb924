//! The programs, where each is attached, and the names of the pins: pure.

use aya_obj::generated::bpf_attach_type;
use oci_bind_hook_ebpf::abi::{COUNTERS_MAP, POLICY_MAP, Policy, flag};

/// The first 16 digits of the SHA-256 of the embedded object.
pub const VERSION: &str = env!("OBJECT_HASH");

/// One program: its name in the object and as a pin, and where it is attached.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Name in the object, and of the pin.
    pub name: &'static str,
    /// The hook in the kernel.
    pub attach_type: bpf_attach_type,
    /// It is needed by policies that have one of these bits of
    /// [`oci_bind_hook_ebpf::abi::flag`].
    needed_by: u32,
}

impl Program {
    /// Whether a cgroup under this policy needs the program.
    pub fn is_needed(&self, policy: &Policy) -> bool {
        policy.flags & self.needed_by != 0
    }

    /// Whether it sees packets rather than calls.
    pub fn sees_packets(&self) -> bool {
        self.needed_by == PACKETS
    }
}

/// Programs that decide calls, or report where a socket is bound.
const CALLS: u32 = flag::ACTIVE;
/// Programs that translate the peers of redirected calls back to what the caller used.
const NAMES: u32 = flag::LOOPBACK_AUTO | flag::LOOPBACK_PRIVATE;
/// Programs that see every packet.
const PACKETS: u32 = flag::GUARD;
/// Programs that put dual-stack servers into the map.
const SERVERS: u32 = flag::DUAL;

/// All programs, in the order of attachment. Those that count come first, in the order of
/// [`oci_bind_hook_ebpf::abi::Hook`].
pub const PROGRAMS: [Program; 17] = [
    program("bind4", bpf_attach_type::BPF_CGROUP_INET4_BIND, CALLS),
    program("bind6", bpf_attach_type::BPF_CGROUP_INET6_BIND, CALLS),
    program("connect4", bpf_attach_type::BPF_CGROUP_INET4_CONNECT, CALLS),
    program("connect6", bpf_attach_type::BPF_CGROUP_INET6_CONNECT, CALLS),
    program("sendmsg4", bpf_attach_type::BPF_CGROUP_UDP4_SENDMSG, CALLS),
    program("sendmsg6", bpf_attach_type::BPF_CGROUP_UDP6_SENDMSG, CALLS),
    program("recvmsg4", bpf_attach_type::BPF_CGROUP_UDP4_RECVMSG, NAMES),
    program("recvmsg6", bpf_attach_type::BPF_CGROUP_UDP6_RECVMSG, NAMES),
    program(
        "getpeername4",
        bpf_attach_type::BPF_CGROUP_INET4_GETPEERNAME,
        NAMES,
    ),
    program(
        "getpeername6",
        bpf_attach_type::BPF_CGROUP_INET6_GETPEERNAME,
        NAMES,
    ),
    program(
        "getsockname4",
        bpf_attach_type::BPF_CGROUP_INET4_GETSOCKNAME,
        CALLS,
    ),
    program(
        "getsockname6",
        bpf_attach_type::BPF_CGROUP_INET6_GETSOCKNAME,
        CALLS,
    ),
    program("egress", bpf_attach_type::BPF_CGROUP_INET_EGRESS, PACKETS),
    program("ingress", bpf_attach_type::BPF_CGROUP_INET_INGRESS, PACKETS),
    program(
        "socket",
        bpf_attach_type::BPF_CGROUP_INET_SOCK_CREATE,
        CALLS,
    ),
    program("listen", bpf_attach_type::BPF_CGROUP_SOCK_OPS, SERVERS),
    program(
        "release",
        bpf_attach_type::BPF_CGROUP_INET_SOCK_RELEASE,
        SERVERS,
    ),
];

/// Programs of earlier versions, which are detached with the rest of their version.
pub const FORMER: [Program; 2] = [
    program("bound6", bpf_attach_type::BPF_CGROUP_INET6_POST_BIND, 0),
    program("options", bpf_attach_type::BPF_CGROUP_SETSOCKOPT, 0),
];

/// Names of maps in the object, by which programs are known that are not pinned here: each
/// program that is attached to cgroups uses one of them, in every version.
pub const OWN_MAPS: [&str; 3] = [POLICY_MAP, COUNTERS_MAP, "DUAL_BINDS"];

/// Name of the pinned policy map.
pub const POLICY_PIN: &str = "policy";
/// Name of the pinned map of counters.
pub const COUNTERS_PIN: &str = "counters";
/// Name of the pinned map of dual-stack servers.
pub const DUAL_PIN: &str = "dual";
/// Name of the program that delivers datagrams at network devices, and of its pin.
pub const DELIVER: &str = "deliver";
/// Name of the pinned map of datagram destinations.
pub const DESTINATIONS_PIN: &str = "destinations";

const fn program(name: &'static str, attach_type: bpf_attach_type, needed_by: u32) -> Program {
    Program {
        name,
        attach_type,
        needed_by,
    }
}
