//! What the programs count.

/// The hooks, in the order of [`Counters::hooks`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `BPF_CGROUP_INET4_BIND`
    Bind4,
    /// `BPF_CGROUP_INET6_BIND`
    Bind6,
    /// `BPF_CGROUP_INET4_CONNECT`
    Connect4,
    /// `BPF_CGROUP_INET6_CONNECT`
    Connect6,
    /// `BPF_CGROUP_UDP4_SENDMSG`
    Sendmsg4,
    /// `BPF_CGROUP_UDP6_SENDMSG`
    Sendmsg6,
    /// `BPF_CGROUP_UDP4_RECVMSG`
    Recvmsg4,
    /// `BPF_CGROUP_UDP6_RECVMSG`
    Recvmsg6,
    /// `BPF_CGROUP_INET4_GETPEERNAME`
    Getpeername4,
    /// `BPF_CGROUP_INET6_GETPEERNAME`
    Getpeername6,
    /// `BPF_CGROUP_INET4_GETSOCKNAME`
    Getsockname4,
    /// `BPF_CGROUP_INET6_GETSOCKNAME`
    Getsockname6,
    /// `BPF_CGROUP_INET_EGRESS`
    Egress,
    /// `BPF_CGROUP_INET_INGRESS`
    Ingress,
    /// `BPF_CGROUP_INET_SOCK_CREATE`
    Socket,
}

/// How many hooks there are for bind(2); they come first.
pub const BINDS: usize = 2;

/// How many hooks there are.
pub const HOOKS: usize = 15;

/// What one hook decided.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounters {
    /// Calls whose address was replaced.
    pub rewritten: u64,
    /// Calls left as they were. Hooks that see every packet or socket, or only
    /// translate names, do not count these.
    pub passed: u64,
    /// Calls refused; packets dropped.
    pub denied: u64,
}

/// Why a call was refused, in the order of [`Counters::causes`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The cgroup has programs but no policy yet: EPERM.
    NoPolicy,
    /// The address is of a different family than the socket: EAFNOSUPPORT.
    Family,
    /// A bind or a named source in a family that is not assigned: EADDRNOTAVAIL.
    NotAssigned,
    /// A destination in a family that is not assigned: ENETUNREACH.
    Unreachable,
    /// The socket already has an address, or a port without an address, that can no longer
    /// be changed: EADDRNOTAVAIL.
    Immovable,
    /// Nobody in the cgroup listens there on its private loopback:
    /// ECONNREFUSED.
    Refused,
    /// A dual-stack server and an IPv6-only one want the same port: EADDRINUSE.
    InUse,
    /// A socket of a protocol that no hook could keep at its address:
    /// EPROTONOSUPPORT.
    Protocol,
}

/// How many causes there are.
pub const CAUSES: usize = 8;

/// What has been decided in one cgroup since its first attachment, in one copy for each
/// CPU: the value of the map [`super::COUNTERS_MAP`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By hook, indexed by [`Hook`].
    pub hooks: [HookCounters; HOOKS],
    /// Refused calls by reason, indexed by [`Cause`].
    pub causes: [u64; CAUSES],
    /// Binds that succeed where no other host can reach them, by hook: [`Hook::Bind4`]
    /// and [`Hook::Bind6`].
    pub isolated: [u64; BINDS],
}

impl Counters {
    /// Adds what another CPU has counted.
    pub fn add(&mut self, other: &Self) {
        for (sum, hook) in self.hooks.iter_mut().zip(&other.hooks) {
            sum.rewritten += hook.rewritten;
            sum.passed += hook.passed;
            sum.denied += hook.denied;
        }
        let single = self.causes.iter_mut().chain(&mut self.isolated);
        for (sum, count) in single.zip(other.causes.iter().chain(&other.isolated)) {
            *sum += count;
        }
    }
}

const _: () = assert!(size_of::<Counters>() == HOOKS * 24 + CAUSES * 8 + BINDS * 8);
