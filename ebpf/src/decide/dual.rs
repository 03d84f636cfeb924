//! Dual-stack servers: one `::` socket that answers at both assigned addresses.
//!
//! Such a socket is bound to the IPv4 address, IPv4-mapped, since the kernel makes a
//! socket with an IPv6 address IPv6-only. A TCP socket is added to a map when it listens,
//! and a program that the kernel asks for the receiver of a packet (`BPF_SK_LOOKUP`) finds
//! it there by the IPv6 address. Datagrams to the IPv6 address are delivered to a UDP
//! socket where they enter the host ([`crate::decide::deliver`]).

use crate::abi::{DUAL_COUNTS, Policy, flag};
use crate::decide::address::{ANY4, ANY6, Family, mapped};
use crate::decide::loopback::Found;
use crate::decide::port::{TCP, UDP};
use crate::net::{Port, V6};

/// Where a server can be called: the key of [`crate::abi::DUAL_MAP`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The inode number of the network namespace.
    pub namespace: u64,
    /// The IPv6 address.
    pub address: V6,
    /// The port.
    pub port: Port,
    /// [`TCP`] or [`UDP`].
    pub protocol: u16,
    /// Tells the sockets of one group (`SO_REUSEPORT`) apart: less than
    /// [`SLOTS`], host byte order.
    pub slot: u32,
}

/// How many servers are kept for one place. Whichever of them is found, the kernel chooses
/// among all members of the group; the others are kept so that one remains when some of
/// them close.
pub const SLOTS: u32 = 256;

/// The slots in groups, each with its own count, so that a lookup does not search all of
/// them in vain: most servers are alone. Group `n` begins with slot `GROUPS[n]` and ends
/// before `GROUPS[n + 1]`.
pub const GROUPS: [u32; 5] = [0, 1, 8, 64, SLOTS];

/// What one server in this slot adds to the counts of its [`bucket`], which have 16 bits
/// for each group of slots.
#[inline(always)]
pub const fn one(slot: u32) -> u64 {
    let group = match slot {
        0 => 0,
        1..8 => 1,
        8..64 => 2,
        _ => 3,
    };
    1 << (16 * group)
}

/// Whether there are servers in the group that begins with this slot.
#[inline(always)]
pub const fn has_servers(counts: u64, slot: u32) -> bool {
    counts & (one(slot) * 0xffff) != 0
}

/// What is kept about a socket from its bind until it closes: the value of the map
/// `DUAL_BINDS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DualBind {
    /// Where it can be called, except for the port.
    pub place: Place,
    /// The IPv4 address that it was bound to, IPv4-mapped. A socket that is elsewhere when
    /// it listens was bound again.
    pub bound: V6,
    /// 1 while a TCP socket is counted as a server.
    pub is_counted: u32,
    /// 1 if the program asked for the port, so that the bind has checked whether others
    /// have it; 0 if the kernel chose it.
    pub is_asked: u32,
    /// Not 0 when the socket is being closed.
    pub is_closed: u64,
}

/// Whether a policy has what dual-stack servers of this protocol need.
#[inline(always)]
pub const fn is_dual(policy: &Policy, protocol: u32) -> bool {
    let servers = match protocol {
        TCP => flag::DUAL,
        UDP => flag::DUAL_UDP,
        _ => return false,
    };
    let needed = servers | flag::IPV4 | flag::IPV6;
    policy.flags & needed == needed
}

/// Whether a bind of `asked` that was rewritten to `actual` makes a dual-stack
/// server.
#[inline(always)]
pub fn is_dual_bind(policy: &Policy, protocol: u32, asked: V6, actual: V6) -> bool {
    is_dual(policy, protocol) && asked == ANY6 && actual == mapped(policy.ipv4)
}

/// What is kept about a socket of this policy and protocol.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "one of two small numbers")]
pub fn dual_bind(policy: &Policy, protocol: u32, port: Port) -> DualBind {
    DualBind {
        place: Place {
            namespace: policy.namespace,
            address: policy.ipv6,
            port: Port::ANY,
            protocol: protocol as u16,
            slot: 0,
        },
        bound: mapped(policy.ipv4),
        is_counted: 0,
        is_asked: (port != Port::ANY).into(),
        is_closed: 0,
    }
}

/// Under which conditions a socket shares its port with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// [`SHARES_ADDRESS`] and [`SHARES_PORT`].
    pub options: u32,
    /// The id of the user who owns it.
    pub uid: u32,
}

/// `SO_REUSEADDR`
pub const SHARES_ADDRESS: u32 = 1;
/// `SO_REUSEPORT`
pub const SHARES_PORT: u32 = 1 << 1;

/// Whether the kernel lets two sockets have the same address and port: for datagrams
/// (`udp_lib_lport_inuse`), and for TCP if one of them listens (`inet_bind_conflict`).
#[inline(always)]
pub const fn can_share(protocol: u32, one: Sharing, other: Sharing) -> bool {
    let both = one.options & other.options;
    (both & SHARES_PORT != 0 && one.uid == other.uid)
        || (both & SHARES_ADDRESS != 0 && protocol == UDP)
}

/// Who a server at `local` is that was found at `address`, an IPv6 address: if it has an
/// IPv4 address, it was found by steering.
#[inline(always)]
pub fn found(policy: &Policy, address: V6, local: V6) -> Found {
    match Family::of(local) {
        Family::V4(own) if is_dual(policy, TCP) && own == policy.ipv4 => Found::Dual,
        Family::V4(own) if own != ANY4 => Found::Steered,
        _ if local == address => Found::Own,
        _ => Found::Other,
    }
}

/// What a program whose bind arrives as `address` asked for: `::`, if the policy of an
/// inner cgroup has made it a dual-stack server at that policy's IPv4 address.
#[inline(always)]
pub fn asked(policy: &Policy, bind: &DualBind, address: V6) -> V6 {
    let is_own = address == mapped(policy.ipv4);
    if bind.place.namespace != 0 && address == bind.bound && !is_own {
        ANY6
    } else {
        address
    }
}

/// The index of the count for the servers of a place, whatever the slot: less
/// than [`DUAL_COUNTS`]. Several places can share one count, which costs only
/// time.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "as few bits are left")]
pub const fn bucket(place: &Place) -> u32 {
    /// 2^64 divided by the golden ratio: Knuth, The Art of Computer
    /// Programming, volume 3, section 6.4.
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let (high, low) = place.address.halves();
    let mut hash = (high ^ place.namespace).wrapping_mul(MULTIPLIER);
    hash = (hash ^ hash >> 32 ^ low).wrapping_mul(MULTIPLIER);
    let end = (place.protocol as u64) << 16 | place.port.0 as u64;
    hash = (hash ^ hash >> 32 ^ end).wrapping_mul(MULTIPLIER);
    (hash >> (64 - DUAL_COUNTS.ilog2())) as u32
}
