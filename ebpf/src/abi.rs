//! What user space writes and the programs read: plain structs without
//! padding, in the byte order that each field states.
//!
//! # Worked example
//!
//! A cgroup that owns 192.0.2.10 and 2001:db8::10 has this [`Policy`]:
//!
//! ```
//! use oci_bind_hook_ebpf::abi::{Policy, flag};
//!
//! let policy = Policy {
//!     flags: flag::ACTIVE | flag::IPV4 | flag::IPV6,
//!     ipv4: u32::from_ne_bytes([192, 0, 2, 10]),
//!     ipv6: [
//!         u32::from_ne_bytes([0x20, 0x01, 0x0d, 0xb8]),
//!         0,
//!         0,
//!         u32::from_ne_bytes([0, 0, 0, 0x10]),
//!     ],
//! };
//! assert_eq!(policy.flags, 7);
//! ```

/// What one cgroup is allowed to use: the value of the map [`POLICY_MAP`].
///
/// The key is the cgroup's id, a `u64`; all attach types share the value. The
/// kernel creates it, all zero, when the first program is attached to the
/// cgroup, and keeps it until the cgroup goes. All zero means "nothing is known yet" and denies every call
/// that a policy would decide.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Bits of [`flag`], host byte order.
    pub flags: u32,
    /// The assigned IPv4 address, network byte order; meaningful with
    /// [`flag::IPV4`].
    pub ipv4: u32,
    /// The assigned IPv6 address as four words, each in network byte order;
    /// meaningful with [`flag::IPV6`].
    pub ipv6: [u32; 4],
}

/// Bits of [`Policy::flags`].
pub mod flag {
    /// The policy has been written; without it everything is denied.
    pub const ACTIVE: u32 = 1;
    /// [`super::Policy::ipv4`] is assigned.
    pub const IPV4: u32 = 1 << 1;
    /// [`super::Policy::ipv6`] is assigned.
    pub const IPV6: u32 = 1 << 2;
}

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
}

/// How many hooks there are.
pub const HOOKS: usize = 6;

/// Calls that one hook decided.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HookCounters {
    /// Calls whose address was replaced by the assigned one.
    pub rewritten: u64,
    /// Calls left as they were.
    pub passed: u64,
    /// Calls refused.
    pub denied: u64,
}

/// Calls decided in one cgroup since its first attachment, one copy for each
/// CPU: the value of the map [`COUNTERS_MAP`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By hook, indexed by [`Hook`].
    pub hooks: [HookCounters; HOOKS],
}

/// Name of the `BPF_MAP_TYPE_CGROUP_STORAGE` map that holds [`Policy`].
pub const POLICY_MAP: &str = "POLICY";
/// Name of the `BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE` map that holds [`Counters`].
pub const COUNTERS_MAP: &str = "COUNTERS";

/// Name of the global that says whether the kernel has `bpf_set_retval`: a
/// `u8`, 0 or 1.
pub const HAS_SET_RETVAL: &str = "HAS_SET_RETVAL";
/// Name of the global that says where `sock_common.skc_ipv6only` is: a `u32`,
/// in bits from the start of the struct, or [`V6ONLY_UNKNOWN`].
pub const V6ONLY_BIT: &str = "V6ONLY_BIT";
/// Value of [`V6ONLY_BIT`] where the kernel has no type information.
pub const V6ONLY_UNKNOWN: u32 = u32::MAX;

const _: () = assert!(size_of::<Policy>() == 24);
const _: () = assert!(size_of::<Counters>() == 6 * 24);
