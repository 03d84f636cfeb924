//! What user space writes and the programs read: plain structs without
//! padding, in the byte order that each field states.
//!
//! # Worked example
//!
//! A cgroup that owns 192.0.2.10/24 and 2001:db8::10, whose web server believes that it
//! listens on port 80, has this [`Policy`]:
//!
//! ```
//! use core::net::{Ipv4Addr, Ipv6Addr};
//! use oci_bind_hook_ebpf::abi::{Policy, PortRule, flag};
//!
//! let mut policy = Policy {
//!     flags: flag::LAYOUT | flag::ACTIVE | flag::IPV4 | flag::IPV6 | flag::LOOPBACK_AUTO | flag::GUARD,
//!     ipv4: Ipv4Addr::new(192, 0, 2, 10).into(),
//!     ipv6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10).into(),
//!     loopback: Ipv4Addr::new(127, 128, 2, 10).into(),
//!     broadcast: Ipv4Addr::new(192, 0, 2, 255).into(),
//!     ..Policy::default()
//! };
//! assert!(policy.set_rules(&[PortRule {
//!     tcp: 8080,
//!     ..PortRule::unchanged(80, 80)
//! }]));
//! ```

mod counters;

use crate::net::{V4, V6};

pub use counters::{BINDS, CAUSES, Cause, Counters, HOOKS, Hook, HookCounters};

/// What one cgroup is allowed to use: the value of the map [`POLICY_MAP`].
///
/// The key is the cgroup's id, a `u64`; all attach types share the value. The kernel
/// creates it, all zero, when the first program is attached to the cgroup, and keeps it
/// until the cgroup is removed. All zero means "nothing is known yet", and denies every
/// call that a policy would decide.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Bits of [`flag`], host byte order.
    pub flags: u32,
    /// The assigned IPv4 address; meaningful with [`flag::IPV4`].
    pub ipv4: V4,
    /// The assigned IPv6 address; meaningful with [`flag::IPV6`].
    pub ipv6: V6,
    /// The container's own address in 127.0.0.0/8. It is in use as an
    /// address with [`flag::LOOPBACK_PRIVATE`] or [`flag::LOOPBACK_UDP`]; in any case it
    /// tells the policy's sockets from those of other policies.
    pub loopback: V4,
    /// The broadcast address of the network of `ipv4`; 0.0.0.0 if it is not known or there
    /// is none.
    pub broadcast: V4,
    /// How many of `port_rules` are in use, host byte order.
    pub rules: u32,
    /// No implicit padding.
    pub reserved: u32,
    /// The inode number of the network namespace that the policy is for, host byte order:
    /// the namespace in which packets find dual-stack servers.
    pub namespace: u64,
    /// The cookie of the same namespace (`SO_NETNS_COOKIE`), host byte order; meaningful
    /// with [`flag::LOOPBACK_UDP`].
    pub cookie: u64,
    /// Rules for ports that are treated specially, in ascending order and without
    /// overlaps; unused rules, all zero, come first.
    pub port_rules: [PortRule; PORT_RULES],
}

impl Policy {
    /// Replaces the rules with these, in ascending order; false if there is no room.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "there is room for few")]
    pub fn set_rules(&mut self, rules: &[PortRule]) -> bool {
        let Some(unused) = PORT_RULES.checked_sub(rules.len()) else {
            return false;
        };
        self.port_rules = [PortRule::default(); PORT_RULES];
        self.port_rules[unused..].copy_from_slice(rules);
        self.rules = rules.len() as u32;
        true
    }
}

/// Bits of [`Policy::flags`].
pub mod flag {
    /// The policy has been written; without it everything is denied.
    pub const ACTIVE: u32 = 1;
    /// [`super::Policy::ipv4`] is assigned.
    pub const IPV4: u32 = 1 << 1;
    /// [`super::Policy::ipv6`] is assigned.
    pub const IPV6: u32 = 1 << 2;
    /// Loopback: a server at exactly that address, else the cgroup's own, else the host's.
    pub const LOOPBACK_AUTO: u32 = 1 << 3;
    /// Loopback is the cgroup's own.
    pub const LOOPBACK_PRIVATE: u32 = 1 << 4;
    /// Packets from and to other addresses are dropped.
    pub const GUARD: u32 = 1 << 5;
    /// A TCP server at `::` answers at both assigned addresses.
    pub const DUAL: u32 = 1 << 6;
    /// A UDP socket at `::` answers at both assigned addresses.
    pub const DUAL_UDP: u32 = 1 << 7;
    /// UDP sockets at the assigned IPv4 address call loopback from
    /// [`super::Policy::loopback`], and receive the replies that are sent to it.
    pub const LOOPBACK_UDP: u32 = 1 << 8;
    /// The bits that hold the number of the struct's layout, so that a later version can
    /// tell whether it may read what an earlier one wrote.
    pub const LAYOUT_MASK: u32 = 0xff << 24;
    /// The layout of this version. Raise it when a field of [`super::Policy`] or
    /// [`super::Counters`] changes its place or meaning.
    pub const LAYOUT: u32 = 6 << 24;
}

/// How many port ranges one policy can have rules for: a power of two.
pub const PORT_RULES: usize = 32;

/// What happens to the ports from `first` to `last`. All fields are in host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortRule {
    /// The first port of the range that programs ask for; 0 if the rule is unused.
    pub first: u16,
    /// The last port of the range.
    pub last: u16,
    /// The port that `first` becomes with TCP, and so on; 0 if the ports are exempt.
    pub tcp: u16,
    /// The same for UDP and UDP-Lite.
    pub udp: u16,
    /// 1 if a UDP bind to the wildcard address stays there; `udp` then equals `first`.
    pub multicast: u16,
    /// No implicit padding.
    pub reserved: u16,
}

impl PortRule {
    /// The rule that changes nothing.
    #[must_use]
    pub const fn unchanged(first: u16, last: u16) -> Self {
        Self {
            first,
            last,
            tcp: first,
            udp: first,
            multicast: 0,
            reserved: 0,
        }
    }
}

/// Name of the `BPF_MAP_TYPE_CGROUP_STORAGE` map that holds [`Policy`].
pub const POLICY_MAP: &str = "POLICY";
/// Name of the `BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE` map that holds [`Counters`].
pub const COUNTERS_MAP: &str = "COUNTERS";

/// Name of the global that says whether the kernel has `bpf_set_retval`: a
/// `u8`, 0 or 1.
pub const HAS_SET_RETVAL: &str = "HAS_SET_RETVAL";
/// Name of the global that says where `sock_common.skc_ipv6only` is: a `u32`, in
/// bits from the start of the struct, or [`UNKNOWN_BIT`].
pub const V6ONLY_BIT: &str = "V6ONLY_BIT";
/// The same for `sock_common.skc_reuse`.
pub const REUSE_BIT: &str = "REUSE_BIT";
/// The same for `sock_common.skc_reuseport`.
pub const REUSE_PORT_BIT: &str = "REUSE_PORT_BIT";
/// The same for `sock.sk_uid`.
pub const UID_BIT: &str = "UID_BIT";
/// The same for `sock_common.skc_net`, the pointer to a socket's network namespace.
pub const NET_BIT: &str = "NET_BIT";
/// Name of the global that says where a network namespace has its inode number
/// (`net.ns.inum`), in the same form.
pub const INODE_BIT: &str = "INODE_BIT";
/// Name of the global that says whether the kernel delivers datagrams to members of
/// an `SO_REUSEPORT` group (`bpf_sk_assign`, Linux 6.6): a `u8`, 0 or 1.
pub const HAS_GROUPS: &str = "HAS_GROUPS";
/// The value of such a global where the kernel has no type information, or no
/// such member.
pub const UNKNOWN_BIT: u32 = u32::MAX;

/// Name of the `BPF_MAP_TYPE_SOCKHASH` map of listening dual-stack servers, by
/// [`crate::decide::dual::Place`].
pub const DUAL_MAP: &str = "DUAL";
/// Name of the `BPF_MAP_TYPE_ARRAY` map that counts them, by
/// [`crate::decide::dual::bucket`]: a `u64` each, host byte order, laid out as in
/// [`crate::decide::dual::one`].
pub const DUAL_COUNTS_MAP: &str = "DUAL_COUNTS";
/// How many counts there are: a power of two.
pub const DUAL_COUNTS: u32 = 1 << 16;
/// Name of the global that says which network namespace a copy of the program `steer` is
/// for: a `u64`, like [`Policy::namespace`].
pub const NAMESPACE: &str = "NAMESPACE";
/// Name of the `BPF_MAP_TYPE_HASH` map that says where to find the sockets that datagrams
/// are delivered to: an IPv4 address ([`V4`]), by [`Destination`].
pub const DESTINATIONS_MAP: &str = "DESTINATIONS";
/// The most destinations of one host.
pub const DESTINATIONS: usize = 1 << 15;

/// Where datagrams go: the key of [`DESTINATIONS_MAP`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The address in the packet, an IPv4 one IPv4-mapped.
    pub address: V6,
    /// Tells apart the IPv4 addresses that go with it under different policies: less than
    /// [`DESTINATION_SLOTS`], host byte order. If a slot is empty, so are all those after
    /// it.
    pub slot: u32,
}

/// How many IPv4 addresses can go with one address.
pub const DESTINATION_SLOTS: u32 = 4;

const _: () = assert!(size_of::<Policy>() == 56 + PORT_RULES * size_of::<PortRule>());
