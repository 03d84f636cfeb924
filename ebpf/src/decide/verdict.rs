//! What is decided about a call.

use crate::abi::{Cause, Policy, flag};
use crate::decide::address::{Family, Kind, V4, V6};
use crate::decide::port::Port;

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on as it is.
    Pass,
    /// It goes on with other addresses.
    Rewrite,
    /// A bind goes on where no other host can reach it: at loopback, at a port that the
    /// kernel chooses. The program is told what it asked for.
    Isolate,
    /// It is refused.
    Deny,
}

/// What becomes of one call, and how.
///
/// All fields have a value, whatever the action. With an enum the compiler spills the
/// unused bytes of the other variants from registers that were never written, and the
/// verifier says "R1 !read_ok".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<R> {
    /// What becomes of it.
    pub action: Action,
    /// The addresses for [`Action::Rewrite`] and [`Action::Isolate`].
    pub rewrite: R,
    /// The reason for [`Action::Deny`].
    pub cause: Cause,
}

impl<R: Default> Verdict<R> {
    /// The call goes on as it is.
    #[inline(always)]
    pub fn pass() -> Self {
        Self {
            action: Action::Pass,
            rewrite: R::default(),
            cause: Cause::NoPolicy,
        }
    }

    /// The call goes on with these addresses.
    #[inline(always)]
    pub fn rewrite(rewrite: R) -> Self {
        Self {
            action: Action::Rewrite,
            rewrite,
            cause: Cause::NoPolicy,
        }
    }

    /// The bind goes on at this loopback address.
    #[inline(always)]
    pub fn isolate(rewrite: R) -> Self {
        Self {
            action: Action::Isolate,
            rewrite,
            cause: Cause::NoPolicy,
        }
    }

    /// The call is refused.
    #[inline(always)]
    pub fn deny(cause: Cause) -> Self {
        Self {
            action: Action::Deny,
            rewrite: R::default(),
            cause,
        }
    }

    /// The same verdict with another type of address.
    #[inline(always)]
    pub fn map<S>(self, convert: impl FnOnce(R) -> S) -> Verdict<S> {
        Verdict {
            action: self.action,
            rewrite: convert(self.rewrite),
            cause: self.cause,
        }
    }
}

/// How a connect or a datagram goes on: with another source, another
/// destination, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<A> {
    /// Whether the call is made from `source`, or from where it would have been.
    pub is_moved: bool,
    /// The source.
    pub source: A,
    /// Whether the call goes to `destination` and `port`, or to where it was
    /// going.
    pub is_redirected: bool,
    /// The destination.
    pub destination: A,
    /// The port at the destination.
    pub port: Port,
}

impl<A: Default> Path<A> {
    /// From `source` to where the call was going.
    #[inline(always)]
    pub fn from(source: A) -> Self {
        Self {
            is_moved: true,
            source,
            ..Self::default()
        }
    }
}

impl Cause {
    /// The errno of the refused call, where the kernel lets a program choose
    /// (`bpf_set_retval`, Linux 5.18); before that it is always EPERM.
    ///
    /// The numbers are those of `asm-generic/errno.h`, which every architecture with a
    /// little-endian BPF target uses, except MIPS.
    #[inline(always)]
    pub const fn errno(self) -> i32 {
        match self {
            Self::NoPolicy => 1,
            Self::Family => 97,
            Self::NotAssigned | Self::Immovable => 99,
            Self::Unreachable => 101,
            Self::Refused => 111,
            Self::InUse => 98,
            Self::Protocol => 93,
        }
    }
}

/// The assigned IPv4 address, if there is one.
#[inline(always)]
pub const fn assigned4(policy: &Policy) -> Option<V4> {
    if policy.flags & flag::IPV4 != 0 {
        Some(policy.ipv4)
    } else {
        None
    }
}

/// The assigned IPv6 address, if there is one.
#[inline(always)]
pub const fn assigned6(policy: &Policy) -> Option<V6> {
    if policy.flags & flag::IPV6 != 0 {
        Some(policy.ipv6)
    } else {
        None
    }
}

/// The cgroup's own loopback address, if it has one.
#[inline(always)]
pub fn private_loopback(policy: &Policy) -> Option<V4> {
    if policy.flags & flag::LOOPBACK_PRIVATE != 0 {
        Some(policy.loopback)
    } else {
        None
    }
}

/// The kind of an address. The broadcast address of the assigned address's network, if
/// known, is treated like a multicast group or 255.255.255.255, for binds and for packets.
#[inline(always)]
pub fn kind(policy: &Policy, address: &Family) -> Kind {
    match (address.kind(), address) {
        (Kind::Unicast, Family::V4(address)) if *address == policy.broadcast => Kind::Multicast,
        (kind, _) => kind,
    }
}

/// Whether the policy has been written. Until then, every call of the cgroup is
/// refused.
#[inline(always)]
pub const fn is_active(policy: &Policy) -> bool {
    policy.flags & flag::ACTIVE != 0
}
